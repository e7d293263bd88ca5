// What serves: each service, its version, and what it needs.

import { $, element } from './dom.js';

const PERIOD_MS = 5_000;
/** The host itself gives up on its services after 2 s. */
const DEADLINE_MS = 6_000;
/** After a failure it is looked at again sooner: one slow answer says nothing. */
const AGAIN_MS = 1_000;
/** Failures in a row that say that the host is gone. */
const FAILURES_MAX = 2;

let failures = 0;
let timer = null;

/** Looks again and again while the page is seen; `onLost` is called when the host cannot be reached. */
export function start(onLost) {
  const look = async () => {
    timer = null;
    if (document.visibilityState === 'hidden') return;
    await ask(onLost);
    timer ??= setTimeout(look, failures ? AGAIN_MS : PERIOD_MS);
  };
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    look();
  });
  look();
}

async function ask(onLost) {
  let answer;
  try {
    const response = await fetch('/api/health', { signal: AbortSignal.timeout(DEADLINE_MS) });
    answer = await response.text();
    failures = 0;
  } catch {
    failures += 1;
    if (failures % FAILURES_MAX > 0) return;
    $('services-note').textContent = 'The host cannot be reached.';
    onLost();
    return;
  }
  try {
    // 503 says which service is down, in the same words. Anything but JSON is a proxy's: the
    // network works, and what is open may well be.
    show(JSON.parse(answer));
  } catch {
    $('services-note').textContent = 'The services do not tell how they are.';
  }
}

function show(health) {
  const names = Object.keys(health.services ?? {});
  $('services-note').textContent = health.status === 'ok' ? '' : `The shop is ${health.status}.`;
  const before = new Map([...$('services').rows].map((row) => [row.dataset.service, row.dataset.version]));
  $('services').replaceChildren(...names.map((name) => {
    const { status, version, database, redis } = health.services[name];
    const row = element(
      'tr',
      { 'data-service': name, 'data-version': version },
      element('th', { scope: 'row' }, name),
      element('td', {}, element('span', { class: `badge ${status}` }, status)),
      element('td', {}, element('code', {}, version ?? '–')),
      element('td', {}, reached(database)),
      element('td', {}, reached(redis)),
    );
    if (before.has(name) && before.get(name) !== version) row.classList.add('fresh');
    return row;
  }));
}

function reached(backend) {
  if (!backend) return '–';
  return backend.status === 'up' ? `${backend.latency_ms} ms` : backend.status;
}
