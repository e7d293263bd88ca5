// The orders: those that there are, and what happens to them.

import { ask } from './api.js';
import { $, element, money, notice, time } from './dom.js';
import { nameOf } from './products.js';
import { current } from './session.js';

const PAGE = 20;
const ACTIVITY_MAX = 50;

/** Where an order may go, and what the step is called. The service decides; this only offers. */
const STEPS = {
  pending: [['processing', 'Process'], ['cancelled', 'Cancel']],
  processing: [['shipped', 'Ship'], ['cancelled', 'Cancel']],
  shipped: [['delivered', 'Deliver']],
};
/** How far along: an event that arrives late never turns an order back. */
const FAR = { pending: 0, processing: 1, shipped: 2, delivered: 3, cancelled: 3 };

/** Orders by id. */
const shown = new Map();
let next = null;
let generation = 0;

/** Prepares the list. */
export function start() {
  $('more-orders').addEventListener('click', async () => {
    try {
      await page(next);
    } catch (problem) {
      notice(problem.message, 'bad');
    }
  });
}

/** Shows the newest orders of whoever is signed in. */
export async function load() {
  generation += 1;
  const mine = generation;
  try {
    const loaded = await ask(`/api/v1/orders?sort=newest&limit=${PAGE}`);
    if (mine !== generation) return;
    // Events may have come meanwhile; what they brought is not older than the list.
    for (const order of loaded.data) put(order);
    follow(loaded.next);
    note();
  } catch (problem) {
    if (mine === generation) $('orders-note').textContent = problem.message;
  }
}

/** Shows none: nobody is signed in, or somebody else is. */
export function clear() {
  generation += 1;
  shown.clear();
  $('orders').replaceChildren();
  $('activity').replaceChildren();
  $('activity-empty').hidden = false;
  follow(null);
  $('orders-note').textContent = current()
    ? 'Loading…'
    : 'Sign in to order, and to see your orders arrive and change.';
}

/** Takes an event of the stream. */
export async function take(event) {
  if (event.type === 'gap') {
    log('Some events are no longer kept; the orders were read anew.', event.occurred_at);
    return load();
  }
  log(`Order ${event.order_id} is ${event.status}`, event.occurred_at);
  const order = shown.get(event.order_id);
  if (order) return put({ ...order, status: event.status }, true);
  const mine = generation;
  try {
    const { data } = await ask(`/api/v1/orders/${event.order_id}`);
    if (mine === generation) put(data, true);
  } catch (problem) {
    if (problem.status !== 404) notice(problem.message, 'bad');
  }
  note();
}

/** Shows an order, or what has become of it. */
export function put(order, fresh = false) {
  const before = shown.get(order.id);
  const status = before && FAR[before.status] > FAR[order.status] ? before.status : order.status;
  const now = { ...order, status };
  shown.set(order.id, now);
  if (before && before.status === status) return;
  const made = row(now);
  if (fresh) made.classList.add('fresh');
  const old = $('orders').querySelector(`[data-order="${order.id}"]`);
  if (old) {
    old.replaceWith(made);
  } else {
    const later = [...$('orders').children].find((other) => Number(other.dataset.order) < order.id);
    $('orders').insertBefore(made, later ?? null);
  }
  note();
}

async function page(path) {
  const mine = generation;
  const loaded = await ask(path);
  if (mine !== generation) return;
  for (const order of loaded.data) put(order);
  follow(loaded.next);
}

function follow(path) {
  next = path;
  $('more-orders').hidden = !path;
}

function note() {
  $('orders-note').textContent = shown.size === 0 ? 'No orders yet.' : '';
}

function row(order) {
  const lines = order.items ?? [order];
  const what = element('span', { class: 'grow' });
  Promise.all(lines.map(async (line) => `${line.quantity} × ${await nameOf(line.product_id)}`))
    .then((texts) => { what.textContent = texts.join(', '); });
  const admin = current()?.role === 'admin';
  const steps = admin ? STEPS[order.status] ?? [] : [];
  return element(
    'li',
    { class: 'order', 'data-order': order.id, 'data-status': order.status },
    element(
      'div',
      { class: 'row' },
      element('strong', {}, `#${order.id}`),
      what,
      element('span', {}, money(order.total_price)),
      element('span', { class: `badge ${order.status}` }, order.status),
    ),
    element(
      'div',
      { class: 'row note' },
      element('span', { class: 'grow' }, admin ? `User ${order.user_id}, ` : '', time(order.created_at)),
      ...steps.map(([status, verb]) => element(
        'button',
        { type: 'button', class: 'small', onclick: (event) => bring(order.id, status, event.target) },
        verb, element('span', { class: 'unseen' }, ` order ${order.id}`),
      )),
    ),
    history(order.id),
  );
}

function history(id) {
  const steps = element('ol', { class: 'history' });
  const details = element('details', {}, element('summary', {}, 'History'), steps);
  details.addEventListener('toggle', async () => {
    if (!details.open) return;
    try {
      const { data } = await ask(`/api/v1/orders/${id}/history`);
      steps.replaceChildren(...data.map(({ status, changed_at, changed_by }) => element(
        'li', {}, `${status} `, time(changed_at), changed_by ? ` by user ${changed_by}` : '',
      )));
    } catch (problem) {
      steps.replaceChildren(element('li', { class: 'fault' }, problem.message));
    }
  });
  return details;
}

/** Takes a step of the workflow. Somebody else may have been first: then the order shows where it is. */
async function bring(id, status, button) {
  button.disabled = true;
  try {
    put((await ask(`/api/v1/orders/${id}/status`, { method: 'PATCH', body: { status } })).data, true);
  } catch (problem) {
    notice(problem.message, 'bad');
    const now = problem.body?.current;
    if (now && shown.has(id)) put({ ...shown.get(id), status: now }, true);
  } finally {
    button.disabled = false;
  }
}

function log(text, at) {
  $('activity-empty').hidden = true;
  $('activity').prepend(element('li', {}, text, ' ', at ? element('span', { class: 'note' }, time(at)) : null));
  while ($('activity').children.length > ACTIVITY_MAX) $('activity').lastChild.remove();
}
