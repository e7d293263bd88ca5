// What all parts of the page use to write into it.

/** The element of that id; the page has each one that the scripts name. */
export const $ = (id) => document.getElementById(id);

/**
 * A new element. Text always becomes a text node, so nothing that a server or a user wrote
 * is ever read as markup.
 *
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] `on…` functions listen; `true` sets an attribute without a value
 * @param {...(Node|string|null|undefined)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value != null) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

const euros = new Intl.NumberFormat(undefined, { style: 'currency', currency: 'EUR' });
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** An amount as people read it. The server computes with exact decimals; this only shows them. */
export const money = (amount) => euros.format(amount);

/** An RFC 3339 time, in the reader's own zone. */
export const time = (text) =>
  element('time', { datetime: text }, clock.format(new Date(text)));

const NOTICE_MS = 6_000;
const NOTICES_MAX = 3;

/** Shows a line for a few seconds; assistive technology reads it out. */
export function notice(text, kind = 'info') {
  const shown = element('p', { class: `notice ${kind}` }, text);
  [...$('notices').children].find((other) => other.textContent === text)?.remove();
  $('notices').append(shown);
  while ($('notices').children.length > NOTICES_MAX) $('notices').firstChild.remove();
  setTimeout(() => shown.remove(), NOTICE_MS);
}

/**
 * Works for a button, once at a time. The button is not disabled meanwhile, since it would
 * lose the focus.
 */
export async function once(button, work) {
  if (isOff(button)) return;
  turn(button, false);
  try {
    await work();
  } finally {
    turn(button, true);
  }
}

/** Makes a button one that can be used, or that cannot; it keeps the focus either way. */
export function turn(button, on) {
  if (on) button.removeAttribute('aria-disabled');
  else button.setAttribute('aria-disabled', 'true');
}

/** Whether a button cannot be used. */
export const isOff = (button) => button.getAttribute('aria-disabled') === 'true';

/**
 * Makes a change that may remove or hide what has the focus; then the first of `others` that
 * is seen gets it.
 *
 * @param {() => void} change
 * @param {() => (Element|null|undefined)[]} others
 */
export function keepFocus(change, others) {
  const had = focused();
  change();
  // What a dialog hides keeps the focus for a moment, though nobody sees it.
  if (!had || focused()) return;
  others().find((other) => other && seen(other))?.focus();
}

const seen = (one) => one.isConnected && one.checkVisibility();

function focused() {
  const active = document.activeElement;
  return active && active !== document.body && seen(active) ? active : null;
}
