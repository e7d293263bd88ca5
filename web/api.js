// Requests to the services, in the name of whoever is signed in.

import { send } from './http.js';
import { current, renew, token } from './session.js';

/**
 * Asks as `send` does. A token that the server no longer takes is renewed once.
 *
 * @param {string} path
 * @param {Parameters<typeof send>[1]} [options]
 */
export async function ask(path, options = {}) {
  const bearer = current() ? await token() : null;
  try {
    return await send(path, { ...options, bearer });
  } catch (problem) {
    const renewed = problem.status === 401 && bearer ? await renew(bearer) : null;
    if (!renewed) throw problem;
    return send(path, { ...options, bearer: renewed });
  }
}
