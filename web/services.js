// What serves: each service, its version, and what it needs.

import { $, element } from './dom.js';

const PERIOD_MS = 5_000;
const DEADLINE_MS = 4_000;

/** Looks again and again while the page is seen; `onLost` is called when the host cannot be reached. */
export function start(onLost) {
  const look = async () => {
    if (document.visibilityState === 'visible') {
      try {
        // 503 says which service is down, in the same words.
        const response = await fetch('/api/health', { signal: AbortSignal.timeout(DEADLINE_MS) });
        show(await response.json());
      } catch {
        $('services-note').textContent = 'The host cannot be reached.';
        onLost();
      }
    }
    setTimeout(look, PERIOD_MS);
  };
  look();
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
