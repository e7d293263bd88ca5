// One order: its row, its history and the steps that an admin may take with it.

import { ask } from './api.js';
import { element, keepFocus, money, notice, once, time } from './dom.js';
import { nameOf } from './products.js';
import { current } from './session.js';

/** Where an order may go, and what the step is called. The service decides; this only offers. */
const STEPS = {
  pending: [['processing', 'Process'], ['cancelled', 'Cancel']],
  processing: [['shipped', 'Ship'], ['cancelled', 'Cancel']],
  shipped: [['delivered', 'Deliver']],
};
/** How far along: what arrives late never turns an order back. */
const FAR = { pending: 0, processing: 1, shipped: 2, delivered: 3, cancelled: 3 };
/** Products of an order that are named. */
const NAMED_MAX = 3;

/** The status of two that an order has reached later. */
export const later = (one, other) => (FAR[other] > FAR[one] ? other : one);

/** An order as the page shows it. Its row stays the same element, whatever becomes of it. */
export class Row {
  #badge = element('span', {});
  #steps = element('span', { class: 'row' });
  #history = element('ol', { class: 'history' });
  #details = element('details', {}, element('summary', {}, 'History'), this.#history);

  constructor(order) {
    this.order = order;
    this.element = this.#make();
    this.#details.addEventListener('toggle', () => this.#readHistory());
    this.#show();
  }

  /** Moves it to a status, unless it is further along; says whether it has moved. */
  move(status) {
    const next = later(this.order.status, status);
    if (next === this.order.status) return false;
    this.order.status = next;
    this.#show();
    this.#readHistory();
    return true;
  }

  /** Draws the eye to it. */
  flash() {
    this.element.classList.remove('fresh');
    // Read, the width makes the browser take note of the class being gone; so it begins anew.
    void this.element.offsetWidth;
    this.element.classList.add('fresh');
  }

  #make() {
    const { id, user_id: user, total_price: total, created_at: created } = this.order;
    const what = element('span', { class: 'grow what' });
    named(this.order).then((text) => { what.textContent = text; });
    const whose = current()?.role === 'admin' ? `User ${user}, ` : '';
    return element(
      'li',
      { class: 'order', 'data-order': id },
      element('div', { class: 'row' }, element('strong', {}, `#${id}`), what, element('span', {}, money(total)), this.#badge),
      element('div', { class: 'row note' }, element('span', { class: 'grow' }, whose, time(created)), this.#steps),
      this.#details,
    );
  }

  #show() {
    const { id, status } = this.order;
    this.element.dataset.status = status;
    this.#badge.className = `badge ${status}`;
    this.#badge.textContent = status;
    const steps = current()?.role === 'admin' ? STEPS[status] ?? [] : [];
    const buttons = steps.map(([to, verb]) => element(
      'button',
      {
        type: 'button',
        class: to === 'cancelled' ? 'small quiet' : 'small',
        onclick: (event) => once(event.currentTarget, () => this.#bring(to)),
      },
      verb, element('span', { class: 'unseen' }, ` order ${id}`),
    ));
    keepFocus(
      () => this.#steps.replaceChildren(...buttons),
      () => [buttons[0], this.#details.firstChild],
    );
  }

  /** Takes a step of the workflow. Somebody else may have been first: then it shows where it is. */
  async #bring(status) {
    try {
      const body = { status };
      const { data } = await ask(`/api/v1/orders/${this.order.id}/status`, { method: 'PATCH', body });
      if (this.move(data.status)) this.flash();
    } catch (problem) {
      notice(problem.message, 'bad');
      const now = problem.body?.current;
      if (now && this.move(now)) this.flash();
    }
  }

  async #readHistory() {
    if (!this.#details.open) return;
    const { id, status } = this.order;
    try {
      const { data } = await ask(`/api/v1/orders/${id}/history`);
      // What comes after the next step's is out of date.
      if (status !== this.order.status) return;
      this.#history.replaceChildren(...data.map((step) => element(
        'li', {}, `${step.status} `, time(step.changed_at), step.changed_by ? ` by user ${step.changed_by}` : '',
      )));
    } catch (problem) {
      this.#history.replaceChildren(element('li', { class: 'fault' }, problem.message));
    }
  }
}

async function named(order) {
  const lines = order.items ?? [order];
  const texts = lines.slice(0, NAMED_MAX).map(async ({ product_id: id, quantity }) => `${quantity} × ${await nameOf(id)}`);
  const more = lines.length - texts.length;
  return (await Promise.all(texts)).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
