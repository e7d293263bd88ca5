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

/** Shows a line for a few seconds; assistive technology reads it out. */
export function notice(text, kind = 'info') {
  const shown = element('p', { class: `notice ${kind}` }, text);
  $('notices').append(shown);
  setTimeout(() => shown.remove(), 6000);
}
