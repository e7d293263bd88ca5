// The products: search, and what a search found.

import { ask } from './api.js';
import { $, element, money, notice } from './dom.js';

const PAGE = 12;
const TYPING_MS = 200;

/** Products by id, as last seen. */
const known = new Map();
let asking = null;
let next = null;
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
  $('more-products').addEventListener('click', more);
  show();
}

/** Looks again: stock has changed. */
export const refresh = () => show();

/** A product's name, from what is known or from the service. */
export async function nameOf(id) {
  if (!known.has(id)) {
    try {
      remember([(await ask(`/api/v1/products/${id}`)).data]);
    } catch {
      return `Product ${id}`;
    }
  }
  return known.get(id).name;
}

async function show() {
  asking?.abort();
  asking = new AbortController();
  const signal = asking.signal;
  try {
    const page = await first(signal);
    if (signal.aborted) return;
    $('products').replaceChildren(...page.products.map(card));
    $('found').textContent = said(page);
    if (page.categories) offer(page.categories);
    follow(page.next);
  } catch (problem) {
    if (!signal.aborted) $('found').textContent = problem.message;
  }
}

async function more() {
  const signal = asking?.signal;
  try {
    const page = await read(next, signal);
    if (signal?.aborted) return;
    $('products').append(...page.products.map(card));
    follow(page.next);
  } catch (problem) {
    notice(problem.message, 'bad');
  }
}

/** The first page: of a search, or of all products when nothing is searched for. */
function first(signal) {
  const form = new FormData($('search'));
  const [q, category] = [form.get('q').trim(), form.get('category')];
  const query = new URLSearchParams({ limit: PAGE });
  if (category) query.set('category', category);
  if (!q) return read(`/api/v1/products?${query}`, signal, form.has('in_stock'));
  query.set('q', q);
  query.set('facets', 'true');
  if (form.has('in_stock')) query.set('in_stock', 'true');
  return read(`/api/v1/products/search?${query}`, signal);
}

async function read(path, signal, inStock = false) {
  const { data, next: link } = await ask(path, { signal });
  const products = (Array.isArray(data) ? data : data.products).filter((one) => !inStock || one.stock > 0);
  remember(products);
  return { products, match: data.match, categories: data.facets?.categories, next: link };
}

function remember(products) {
  for (const product of products) known.set(product.id, product);
  if (!$('search').elements.q.value.trim()) offer([...known.values()]);
}

function follow(path) {
  next = path;
  $('more-products').hidden = !path;
}

function said({ products, match }) {
  if (products.length === 0) return 'Nothing found.';
  return match === 'similarity' ? 'No product has these words; these are similar.' : '';
}

/** Offers categories to choose from; the chosen one stays. */
function offer(categories) {
  const select = $('category');
  const names = new Set([...select.options].map((option) => option.value));
  for (const { category } of categories) {
    if (category && !names.has(category)) {
      names.add(category);
      select.append(element('option', { value: category }, category));
    }
  }
}

function card(product) {
  const { name, category, price, stock, snippet, description } = product;
  const left = stock > 0 ? `${stock} in stock` : 'Sold out';
  return element(
    'li',
    { class: 'card', 'data-product': product.id },
    element('h3', {}, name),
    element('p', { class: 'note' }, category ?? ''),
    element('p', { class: 'text' }, ...(snippet ? marked(snippet) : [description ?? ''])),
    element(
      'p',
      { class: 'row' },
      element('strong', {}, money(price)),
      element('span', { class: stock > 0 ? 'note' : 'note out' }, left),
    ),
    element('button', { type: 'button', disabled: stock < 1, onclick: () => add(product) },
      'Add', element('span', { class: 'unseen' }, ` ${name} to the basket`)),
  );
}

/** A snippet with its marks. The service escapes what is in it; it is read here without being
 * run, and only text and marks are taken over. */
function marked(html) {
  const parsed = new DOMParser().parseFromString(html, 'text/html').body;
  return [...parsed.childNodes].map((node) =>
    node.nodeName === 'MARK' ? element('mark', {}, node.textContent) : node.textContent);
}
