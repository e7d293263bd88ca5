// One product, as it stands among others.

import { element, isOff, money, turn } from './dom.js';

export class Card {
  #stock = element('span', {});
  #button;

  /** @param {(product: object) => void} onAdd is given the product that somebody wants */
  constructor(product, onAdd) {
    const { id, name, category, price, snippet, description } = product;
    this.product = product;
    this.#button = element(
      'button',
      { type: 'button', class: 'soft', onclick: () => isOff(this.#button) || onAdd(this.product) },
      'Add', element('span', { class: 'unseen' }, ` ${name} to the basket`),
    );
    this.element = element(
      'li',
      { class: 'card', 'data-product': id },
      element('h3', {}, name),
      element('p', { class: 'note' }, category ?? ''),
      element('p', { class: 'text' }, ...(snippet ? marked(snippet) : [description ?? ''])),
      element('p', { class: 'row' }, element('strong', {}, money(price)), this.#stock),
      this.#button,
    );
    this.restock(product.stock);
  }

  /** Shows how many there are now. */
  restock(stock) {
    this.product = { ...this.product, stock };
    this.#stock.className = stock > 0 ? 'note' : 'note out';
    this.#stock.textContent = stock > 0 ? `${stock} in stock` : 'Sold out';
    turn(this.#button, stock > 0);
  }

  /** Where the focus goes. */
  get button() {
    return this.#button;
  }
}

/** A snippet with its marks. The service escapes what is in it; it is read here without being
 * run, and only text and marks are taken over. */
function marked(html) {
  const parsed = new DOMParser().parseFromString(html, 'text/html').body;
  return [...parsed.childNodes].map((node) =>
    node.nodeName === 'MARK' ? element('mark', {}, node.textContent) : node.textContent);
}
