// The orders: the newest ones, and what happens to them.

import * as activity from './activity.js';
import { ask } from './api.js';
import { $, keepFocus, notice, once } from './dom.js';
import { Row, later } from './order.js';
import { patiently } from './patience.js';
import { current } from './session.js';

const PAGE = 20;
/** Rows that are shown at most; a shop has more orders than a page can hold. */
const ROWS_MAX = 200;
/** Orders that nobody here has seen are read together, so often at most. */
const PAUSE_MS = 1_000;

/** Rows by the order's id. */
const shown = new Map();
/** What events said of orders that are still being read: a list may be older than those. */
const ahead = new Map();
let next = null;
let reading = null;
let timer = null;

/** Prepares the list. */
export function start() {
  const button = $('more-orders');
  button.addEventListener('click', () => once(button, more));
}

/** Shows the newest orders of whoever is signed in: as many as are shown already, or a page. */
export async function load() {
  reading?.abort();
  reading = new AbortController();
  const { signal } = reading;
  const limit = Math.min(Math.max(PAGE, shown.size), ROWS_MAX);
  let asked = [];
  const read = () => {
    asked = [...ahead.keys()];
    return ask(`/api/v1/orders?sort=newest&limit=${limit}`, { signal });
  };
  try {
    const loaded = await patiently(read, { signal, onProblem: say });
    if (signal.aborted) return;
    for (const order of loaded.data) put(order);
    asked.forEach((id) => ahead.delete(id));
    // Events may have brought newer ones; older ones would leave a gap before those that are
    // shown by and by.
    const oldest = loaded.next ? Math.min(...loaded.data.map(({ id }) => id)) : 0;
    for (const id of [...shown.keys()].filter((id) => id < oldest)) remove(id);
    follow(loaded.next);
    note();
  } catch (problem) {
    if (!signal.aborted) say(problem);
  }
}

/** Shows none: nobody is signed in, or somebody else is. */
export function clear() {
  reading?.abort();
  clearTimeout(timer);
  timer = null;
  shown.clear();
  ahead.clear();
  $('orders').replaceChildren();
  activity.clear();
  follow(null);
  note(current() ? 'Loading…' : 'Sign in to order, and to see your orders arrive and change.');
}

/** Takes an event of the stream. */
export function take(event) {
  if (event.type === 'gap') {
    activity.tell('Some events are no longer kept; the orders were read anew.');
    return load();
  }
  const { order_id: id, status, occurred_at: at } = event;
  activity.tell(`Order ${id} is ${status}`, at);
  const row = shown.get(id);
  if (row) {
    if (row.move(status)) row.flash();
    return;
  }
  // One that is further down than what is shown is read when somebody goes there.
  if (next && id < Math.min(...shown.keys())) return;
  ahead.set(id, status);
  if (ahead.size > ROWS_MAX) ahead.delete(ahead.keys().next().value);
  readSoon();
}

function readSoon() {
  timer ??= setTimeout(async () => {
    await load();
    timer = null;
    // What came while the list was being read may not be in it.
    if (ahead.size) readSoon();
  }, shown.size ? PAUSE_MS : 0);
}

/** Shows an order, or what has become of it. */
export function put(order, fresh = false) {
  const status = later(order.status, ahead.get(order.id) ?? order.status);
  const before = shown.get(order.id);
  if (before) {
    if (before.move(status)) before.flash();
    return;
  }
  const row = new Row({ ...order, status });
  shown.set(order.id, row);
  const below = [...$('orders').children].find((other) => Number(other.dataset.order) < order.id);
  $('orders').insertBefore(row.element, below ?? null);
  if (fresh || ahead.has(order.id)) row.flash();
  note();
}

function remove(id) {
  const { element } = shown.get(id);
  shown.delete(id);
  keepFocus(() => element.remove(), () => [$('more-orders')]);
}

async function more() {
  const { signal } = reading;
  try {
    const loaded = await ask(next, { signal });
    if (signal.aborted) return;
    for (const order of loaded.data) put(order);
    const first = shown.get(loaded.data[0]?.id);
    keepFocus(() => follow(loaded.next), () => [first?.element.querySelector('summary')]);
  } catch (problem) {
    if (!signal.aborted) notice(problem.message, 'bad');
  }
}

function follow(path) {
  const full = shown.size >= ROWS_MAX;
  next = path;
  $('more-orders').hidden = !path || full;
  $('orders-end').hidden = !path || !full;
}

const say = (problem) => note(problem.passes ? `${problem.message} Trying again…` : problem.message);

function note(text = shown.size === 0 ? 'No orders yet.' : '') {
  $('orders-note').textContent = text;
}
