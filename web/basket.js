// The basket, and the order that is made of it.

import { ask } from './api.js';
import { $, element, money, notice } from './dom.js';
import { current } from './session.js';

const QUANTITY_MAX = 10_000;

/** Lines by product id: `{product, quantity}`. */
const lines = new Map();
/** One for each attempt to order just this; sent again with it, an order is made once. */
let key = null;
let signIn = () => {};
let placed = () => {};

/** Shows the basket. `onSignIn` is called when somebody must sign in first, `onPlaced` with the new order. */
export function start(onSignIn, onPlaced) {
  signIn = onSignIn;
  placed = onPlaced;
  $('place').addEventListener('click', place);
}

/** Puts one more of a product into it. */
export function add(product) {
  const line = lines.get(product.id) ?? { product, quantity: 0 };
  line.quantity = Math.min(line.quantity + 1, QUANTITY_MAX);
  lines.set(product.id, line);
  changed();
  notice(`${product.name} is in the basket.`);
}

/** Shows what the button says for whoever is signed in. */
export function render() {
  const all = [...lines.values()];
  $('basket').replaceChildren(...all.map(row));
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
  key = null;
  $('basket-fault').hidden = true;
  render();
}

function row({ product, quantity }) {
  const set = (event) => {
    const wanted = Math.trunc(Number(event.target.value));
    if (wanted >= 1) lines.get(product.id).quantity = Math.min(wanted, QUANTITY_MAX);
    changed();
  };
  const remove = () => {
    lines.delete(product.id);
    changed();
  };
  return element(
    'li',
    { class: 'row' },
    element('span', { class: 'grow' }, product.name),
    element('input', {
      type: 'number', min: 1, max: QUANTITY_MAX, value: quantity, onchange: set,
      'aria-label': `Quantity of ${product.name}`,
    }),
    element('button', { type: 'button', class: 'quiet', onclick: remove, 'aria-label': `Remove ${product.name}` }, '✕'),
  );
}

/** What went wrong, in the words of whoever orders. */
function said(problem) {
  if (!problem.status) return 'No answer. Try again: it is ordered only once.';
  const { product, available } = problem.body;
  const short = lines.get(product)?.product;
  return short ? `Only ${available} of ${short.name} left.` : problem.message;
}

async function place() {
  if (!current()) return signIn();
  const items = [...lines.values()].map(({ product, quantity }) => ({ product_id: product.id, quantity }));
  key ??= crypto.randomUUID();
  $('place').disabled = true;
  try {
    const { data } = await ask('/api/v1/orders', {
      method: 'POST',
      body: items.length === 1 ? items[0] : { items },
      headers: { 'idempotency-key': `"${key}"` },
    });
    lines.clear();
    changed();
    notice(`Order ${data.id} is placed.`, 'good');
    placed(data);
  } catch (problem) {
    // The same key again where the answer was lost: then the order may have been made.
    if (problem.status) key = null;
    $('basket-fault').textContent = said(problem);
    $('basket-fault').hidden = false;
  } finally {
    $('place').disabled = false;
  }
}
