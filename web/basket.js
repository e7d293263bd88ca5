// The basket, and the order that is made of it.

import { ask } from './api.js';
import { $, element, keepFocus, money, notice, once } from './dom.js';
import { current } from './session.js';

const QUANTITY_MAX = 10_000;

/** Lines by product id: `{product, quantity, row, input}`. */
const lines = new Map();
/**
 * Names the attempt to order just this: sent again with it, an order is made once. It is kept
 * until an order has been made or the basket is another one; an answer that is none, or says
 * that something is in the way, may follow an order that was made all the same.
 */
let key = null;
/** Whether an order with that key may have been made. */
let unsure = false;
let signIn = () => {};
let placed = () => {};

/** Shows the basket. `onSignIn` is called when somebody must sign in first, `onPlaced` with the new order. */
export function start(onSignIn, onPlaced) {
  signIn = onSignIn;
  placed = onPlaced;
  const button = $('place');
  button.addEventListener('click', () => (current() ? once(button, place) : signIn()));
}

/** Puts one more of a product into it. */
export function add(product) {
  const line = lines.get(product.id) ?? made(product);
  if (line.quantity === QUANTITY_MAX) return notice(`More than ${QUANTITY_MAX} of ${product.name} cannot be ordered at once.`, 'bad');
  set(line, line.quantity + 1);
  notice(`${product.name} is in the basket.`);
}

/** Shows what the button says for whoever is signed in. */
export function render() {
  const all = [...lines.values()];
  const pieces = all.reduce((sum, { quantity }) => sum + quantity, 0);
  $('basket-count').textContent = pieces > 0 ? ` (${pieces})` : '';
  $('basket-empty').hidden = all.length > 0;
  $('total').hidden = $('place').hidden = all.length === 0;
  // In cents, so that a sum of decimals shows no dust; the order's own total is the server's.
  const cents = all.reduce((sum, { product, quantity }) => sum + Math.round(product.price * 100) * quantity, 0);
  $('total-price').textContent = money(cents / 100);
  $('place').textContent = current() ? 'Place the order' : 'Sign in to order';
}

function changed() {
  fault(unsure ? 'The order before this change was not answered, and may have been made. Look at your orders first.' : '');
  key = null;
  unsure = false;
  render();
}

function set(line, quantity) {
  line.quantity = quantity;
  line.input.value = quantity;
  changed();
}

function remove(line) {
  const next = line.row.nextElementSibling ?? line.row.previousElementSibling;
  lines.delete(line.product.id);
  keepFocus(() => {
    line.row.remove();
    changed();
  }, () => [next?.querySelector('button'), $('basket-title')]);
}

function made(product) {
  const { id, name, price } = product;
  const line = { product, quantity: 0 };
  line.input = element('input', {
    type: 'number', min: 1, max: QUANTITY_MAX, inputmode: 'numeric', 'aria-label': `Quantity of ${name}`,
    onchange: () => {
      const wanted = Math.trunc(Number(line.input.value));
      set(line, wanted >= 1 ? Math.min(wanted, QUANTITY_MAX) : line.quantity);
    },
  });
  line.row = element(
    'li',
    { class: 'row', 'data-line': id },
    element('span', { class: 'grow' }, name, element('span', { class: 'note each' }, `${money(price)} each`)),
    line.input,
    element('button', { type: 'button', class: 'quiet', onclick: () => remove(line), 'aria-label': `Remove ${name}` }, '✕'),
  );
  lines.set(id, line);
  $('basket').append(line.row);
  return line;
}

function fault(text) {
  $('basket-fault').textContent = text;
  $('basket-fault').hidden = !text;
}

/** What went wrong, in the words of whoever orders. */
function said(problem) {
  if (unsure) return `${problem.status === 0 ? 'No answer.' : 'No certain answer.'} Try again: it is ordered only once.`;
  const { product, available } = problem.body;
  const short = lines.get(product)?.product;
  return short ? `Only ${available} of ${short.name} left.` : problem.message;
}

async function place() {
  fault('');
  const items = [...lines.values()].map(({ product, quantity }) => ({ product_id: product.id, quantity }));
  key ??= crypto.randomUUID();
  const mine = key;
  try {
    const { data } = await ask('/api/v1/orders', {
      method: 'POST',
      body: items.length === 1 ? items[0] : { items },
      headers: { 'idempotency-key': `"${mine}"` },
    });
    unsure = false;
    keepFocus(() => takeOut(items), () => [$('place'), $('basket-title')]);
    notice(`Order ${data.id} is placed.`, 'good');
    placed(data);
  } catch (problem) {
    const open = mayHaveBeenMade(problem);
    if (mine === key) {
      // Neither of these two comes from whoever makes orders.
      unsure = open || (unsure && [401, 429].includes(problem.status));
      fault(said(problem));
    } else if (open) {
      fault('The order was not answered, and may have been made. The basket is another one by now: look at your orders first.');
    } else {
      fault(problem.message);
    }
  }
}

/** A refusal is certain, but for that of a repetition whose first is still being worked on. */
function mayHaveBeenMade(problem) {
  return (problem.passes && problem.status !== 429) || (problem.status === 409 && problem.pauseMs !== null);
}

/** Takes out what has been ordered; what was put in meanwhile stays. */
function takeOut(items) {
  for (const { product_id: id, quantity } of items) {
    const line = lines.get(id);
    if (!line) continue;
    if (line.quantity > quantity) {
      set(line, line.quantity - quantity);
    } else {
      lines.delete(id);
      line.row.remove();
    }
  }
  changed();
}
