// Requests, and what comes of those that fail.

const DEADLINE_MS = 10_000;
/** A server that asks for a longer pause is asked again all the same. */
const PAUSE_MAX_MS = 120_000;

/** What stands against a request: the server's word (RFC 9457), or with status 0 that there is none. */
export class Problem extends Error {
  constructor(status, body, pauseMs = null) {
    super(body.detail ?? body.title ?? `The server answered with ${status}.`);
    this.status = status;
    this.body = body;
    /** How long the server wants to be left alone, if it says so. */
    this.pauseMs = pauseMs;
  }

  /** Whether the same request may go well later, and may have been carried out as it is. */
  get passes() {
    return this.status === 0 || this.status >= 500 || [408, 425, 429].includes(this.status);
  }

  /** The problem that an answer carries. */
  static async of(response) {
    const json = response.headers.get('content-type')?.includes('json');
    const body = json ? await response.json().catch(() => null) : null;
    return new Problem(response.status, body ?? {}, pause(response.headers.get('retry-after')));
  }

  /** That nobody answered. */
  static unanswered() {
    const detail = navigator.onLine === false ? 'You are offline.' : 'The shop cannot be reached.';
    return new Problem(0, { detail });
  }
}

/**
 * Sends, and gives the answer with its JSON.
 *
 * @param {string} path
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, bearer?: string|null, signal?: AbortSignal}} [options]
 * @returns {Promise<{data: any, next: string|null}>} `next` is the path of the next page (RFC 8288)
 * @throws {Problem} whatever went wrong, but for `signal`, whose reason is thrown
 */
export async function send(path, { method = 'GET', body, headers = {}, bearer, signal } = {}) {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  try {
    const response = await fetch(path, {
      method,
      headers: {
        ...headers,
        ...(bearer && { authorization: `Bearer ${bearer}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
    if (!response.ok) throw await Problem.of(response);
    const data = response.status === 204 ? null : await response.json();
    return { data, next: nextPage(response.headers.get('link')) };
  } catch (problem) {
    if (problem instanceof Problem) throw problem;
    signal?.throwIfAborted();
    // A network's error, the deadline, or an answer that breaks off or is somebody else's.
    throw Problem.unanswered();
  }
}

/** `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3). */
function pause(field) {
  if (!field) return null;
  const ms = /^\d+$/.test(field) ? Number(field) * 1000 : Date.parse(field) - Date.now();
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), PAUSE_MAX_MS);
}

function nextPage(link) {
  return link?.match(/<([^>]+)>\s*;\s*rel="next"/)?.[1] ?? null;
}
