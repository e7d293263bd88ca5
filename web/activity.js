// What has happened, the newest first.

import { $, element, time } from './dom.js';

const LINES_MAX = 50;
/** Of a crowd of events only the last ones are ever written. */
const PAUSE_MS = 50;

/** Lines that wait to be written, the oldest first. */
let waiting = [];
let timer = null;

/** Tells something that happened `at` a time (RFC 3339), if it is known. */
export function tell(text, at) {
  waiting.push({ text, at });
  if (waiting.length > LINES_MAX) waiting.shift();
  timer ??= setTimeout(write, PAUSE_MS);
}

/** Forgets it all: it was somebody else's. */
export function clear() {
  waiting = [];
  $('activity').replaceChildren();
  $('activity-empty').hidden = false;
}

function write() {
  timer = null;
  if (!waiting.length) return;
  $('activity-empty').hidden = true;
  const lines = waiting.map(({ text, at }) =>
    element('li', {}, text, ' ', at ? element('span', { class: 'note' }, time(at)) : null));
  waiting = [];
  $('activity').prepend(...lines.reverse());
  while ($('activity').children.length > LINES_MAX) $('activity').lastChild.remove();
}
