// Who is signed in, and the tokens that prove it.
//
// The access token stays in memory. The refresh token is kept in localStorage so that a
// reload does not end the session; it can be used once, and all tabs share it, so it is only
// ever used under a lock (Web Locks). Scripts of others cannot read it: the page's policy
// runs none.

const REFRESH = 'wasmyard.refresh_token';
const LOCK = 'wasmyard.session';
const DEADLINE_MS = 10_000;
/** A token with less time than this is renewed before it is used. */
const SPARE_MS = 30_000;

let access = null;
let user = null;
/** Tells `change` whenever somebody has signed in or out. */
export const session = new EventTarget();

/** The user who is signed in, as `/api/v1/auth/me` has them, or null. */
export const current = () => user;

/** Signs in. Throws a `Problem` when the server refuses. */
export async function signIn(username, password) {
  await navigator.locks.request(LOCK, async () => {
    take(await post('login', { username, password }));
  });
  await identify();
}

/** Ends the session here, in other tabs and on the server. */
export async function signOut() {
  await navigator.locks.request(LOCK, async () => {
    const token = localStorage.getItem(REFRESH);
    forget();
    // The server may be away; then the token just runs out.
    if (token) await post('logout', { refresh_token: token }).catch(() => {});
  });
}

/** Takes up the session of an earlier visit, if there is one. */
export async function resume() {
  if (localStorage.getItem(REFRESH)) await identify();
}

/** An access token that is good for a while, or null when nobody is signed in. */
export async function token() {
  if (access && access.until - Date.now() > SPARE_MS) return access.token;
  return renew(access?.token);
}

/** A token other than `stale`, which the server no longer took. */
export function renew(stale) {
  return navigator.locks.request(LOCK, async () => {
    // Somebody who held the lock before may have done it.
    if (access && access.token !== stale && access.until > Date.now()) return access.token;
    const refresh = localStorage.getItem(REFRESH);
    if (!refresh) {
      forget();
      return null;
    }
    try {
      take(await post('refresh', { refresh_token: refresh }));
    } catch (problem) {
      if (!(problem.status >= 400 && problem.status < 500)) throw problem;
      // Too many requests say nothing about the token.
      if (problem.status === 429) throw problem;
      forget();
      return null;
    }
    return access.token;
  });
}

/** What a server said against a request (RFC 9457). */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The server answered with ${status}.`);
    this.status = status;
    this.body = body;
  }

  /** The problem that an answer carries. */
  static async of(response) {
    const json = response.headers.get('content-type')?.includes('json');
    return new Problem(response.status, json ? await response.json().catch(() => ({})) : {});
  }
}

async function identify() {
  const good = await token();
  if (!good) return;
  const response = await fetch('/api/v1/auth/me', {
    headers: { authorization: `Bearer ${good}` },
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  if (!response.ok) throw await Problem.of(response);
  user = await response.json();
  session.dispatchEvent(new Event('change'));
}

async function post(verb, body) {
  const response = await fetch(`/api/v1/auth/${verb}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  if (!response.ok) throw await Problem.of(response);
  return response.status === 204 ? null : response.json();
}

function take(pair) {
  access = { token: pair.access_token, until: Date.now() + pair.expires_in * 1000 };
  localStorage.setItem(REFRESH, pair.refresh_token);
}

function forget() {
  access = null;
  localStorage.removeItem(REFRESH);
  if (user) {
    user = null;
    session.dispatchEvent(new Event('change'));
  }
}

// Another tab has signed out, or in as somebody else.
addEventListener('storage', (event) => {
  if (event.key !== REFRESH && event.key !== null) return;
  if (!localStorage.getItem(REFRESH)) return forget();
  access = null;
  identify().catch(() => {});
});
