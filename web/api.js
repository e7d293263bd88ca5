// Requests to the services, in the name of whoever is signed in.

import { Problem, current, renew, token } from './session.js';

const DEADLINE_MS = 10_000;

/**
 * Asks, and gives what the answer's body says. A token that the server no longer takes is
 * renewed once.
 *
 * @param {string} path
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<{data: any, next: string|null}>} `next` is the path of the next page (RFC 8288)
 * @throws {Problem} what the server said against it
 */
export async function ask(path, { method = 'GET', body, headers = {}, signal } = {}) {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const send = (bearer) =>
    fetch(path, {
      method,
      headers: {
        ...headers,
        ...(bearer && { authorization: `Bearer ${bearer}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });

  const bearer = current() ? await token() : null;
  let response = await send(bearer);
  if (response.status === 401 && bearer) {
    const renewed = await renew(bearer);
    if (renewed) response = await send(renewed);
  }
  if (!response.ok) throw await Problem.of(response);
  return { data: await response.json(), next: nextPage(response.headers.get('link')) };
}

function nextPage(link) {
  return link?.match(/<([^>]+)>\s*;\s*rel="next"/)?.[1] ?? null;
}
