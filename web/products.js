// The products: search, and what a search found.

import { ask } from './api.js';
import { Card } from './card.js';
import { $, element, keepFocus, notice, once } from './dom.js';
import { patiently } from './patience.js';

const PAGE = 12;
const TYPING_MS = 200;
/** A list knows nothing of stock: pages are read until there is enough to show, so many at
 * most, each as long as this. */
const SIEVED_PAGES_MAX = 10;
const SIEVED_PAGE = 100;
/** Cards whose stock is looked at again: a page of a search has at most so many. */
const REFRESHED_MAX = 100;

/** Promises of names by product id. */
const names = new Map();
/** The cards that are shown by product id. */
const cards = new Map();
/** What is shown: its address, and where it goes on. */
let shown = { query: new URLSearchParams(), path: null, next: null, sieve: false };
let asking = null;
let add = () => {};

/** Shows the products; `onAdd` is given the one that somebody puts into the basket. */
export function start(onAdd) {
  add = onAdd;
  let typing;
  $('search').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(show, TYPING_MS);
  });
  $('search').addEventListener('submit', (event) => {
    event.preventDefault();
    clearTimeout(typing);
    show();
  });
  const button = $('more-products');
  button.addEventListener('click', () => once(button, more));
  show();
}

/** Stock has changed: shows how many there are of what is shown. */
export async function restock() {
  const { path, query } = shown;
  if (!path || !cards.size) return;
  const signal = asking?.signal;
  const again = new URLSearchParams(query);
  again.set('limit', Math.min(Math.max(cards.size, PAGE), REFRESHED_MAX));
  again.delete('facets');
  again.delete('in_stock');
  try {
    const { data } = await ask(`${path}?${again}`, { signal });
    if (!signal?.aborted) listed(data).forEach(({ id, stock }) => cards.get(id)?.restock(stock));
  } catch {
    // The next event asks again; and who orders what has gone is told.
  }
}

/** A product's name, from what is known or from the service. */
export function nameOf(id) {
  if (!names.has(id)) {
    const asked = ask(`/api/v1/products/${id}`).then(({ data }) => data.name, () => {
      names.delete(id);
      return `Product ${id}`;
    });
    names.set(id, asked);
  }
  return names.get(id);
}

async function show() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const wanted = asked();
  try {
    const first = `${wanted.path}?${wanted.query}`;
    const onProblem = ({ message }) => say(`${message} Trying again…`);
    const page = await patiently(() => read(first, wanted.sieve, signal), { signal, onProblem });
    if (signal.aborted) return;
    shown = { ...wanted, next: page.next };
    cards.clear();
    $('products').replaceChildren();
    append(page.products);
    $('more-products').hidden = !page.next;
    say(summary(page));
    $('search').dataset.shown = wanted.query.get('q') ?? '';
  } catch (problem) {
    if (!signal.aborted) say(problem.message);
  }
}

async function more() {
  const { signal } = asking;
  try {
    const page = await read(shown.next, shown.sieve, signal);
    if (signal.aborted) return;
    shown.next = page.next;
    const made = append(page.products);
    keepFocus(() => { $('more-products').hidden = !page.next; }, () => [made[0]?.button, [...cards.values()].at(-1)?.button]);
    say(summary(page));
  } catch (problem) {
    if (!signal.aborted) notice(problem.message, 'bad');
  }
}

/** What the form asks for: a search, or all products when nothing is searched for. */
function asked() {
  const form = new FormData($('search'));
  const [q, category, inStock] = [form.get('q').trim(), form.get('category'), form.has('in_stock')];
  const sieve = inStock && !q;
  const query = new URLSearchParams({ limit: sieve ? SIEVED_PAGE : PAGE });
  if (category) query.set('category', category);
  if (!q) return { path: '/api/v1/products', query, sieve };
  query.set('q', q);
  query.set('facets', 'true');
  if (inStock) query.set('in_stock', 'true');
  return { path: '/api/v1/products/search', query, sieve };
}

/** Reads a page; with a sieve, pages until enough of what is in stock has been found. */
async function read(path, sieve, signal) {
  let next = path;
  let match;
  const products = [];
  for (let pages = 0; next && pages < (sieve ? SIEVED_PAGES_MAX : 1) && products.length < PAGE; pages += 1) {
    const page = await ask(next, { signal });
    const found = listed(page.data);
    offer(page.data.facets?.categories ?? found);
    products.push(...found.filter(({ stock }) => !sieve || stock > 0));
    match = page.data.match;
    next = page.next;
  }
  return { products, match, next };
}

const listed = (data) => (Array.isArray(data) ? data : data.products);

/** Shows more cards, and gives them. A product that has moved to a later page is shown once. */
function append(products) {
  const made = products.filter(({ id }) => !cards.has(id)).map((product) => {
    const card = new Card(product, add);
    cards.set(product.id, card);
    names.set(product.id, Promise.resolve(product.name));
    return card;
  });
  $('products').append(...made.map((card) => card.element));
  return made;
}

function say(text) {
  $('found').textContent = text;
}

function summary({ match, next }) {
  const count = cards.size;
  if (count === 0) return next ? 'None so far; there are more to look through.' : 'Nothing found.';
  const found = `${count} ${count === 1 ? 'product' : 'products'}${next ? ', and there are more' : ''}.`;
  return match === 'similarity' ? `No product has these words. With a similar name: ${found}` : found;
}

/** Offers categories to choose from; the chosen one stays. */
function offer(categories) {
  const select = $('category');
  const known = new Set([...select.options].map((option) => option.value));
  for (const { category } of categories) {
    if (category && !known.has(category)) {
      known.add(category);
      select.append(element('option', { value: category }, category));
    }
  }
}
