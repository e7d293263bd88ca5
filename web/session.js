// Who is signed in, and the tokens that prove it.
//
// All of it is one entry of localStorage, so that a reload keeps the session and tabs share
// it: the tokens too, since a refresh token is good once, and whoever uses it a second time
// ends the session for all. It is only ever used under a lock (Web Locks), by whoever has
// read the entry under that lock. A session has an id, given at sign-in: other tabs look at
// that alone, and not at tokens that come and go.
//
// Any script of this origin could read the entry. Those are the page's own and, under
// /api/docs, Swagger UI's; the host's Content-Security-Policy runs no other.

import { send } from './http.js';
import { patiently } from './patience.js';

const ENTRY = 'wasmyard.session';
const LOCK = 'wasmyard.session';
/** A token with less time than this is renewed before it is used. */
const SPARE_MS = 30_000;

/** The session that this tab shows: its id, and the user as `/api/v1/auth/me` has them. */
let shown = null;
/** Tells `change` whenever somebody has signed in or out, and `ended` when the server has ended it. */
export const session = new EventTarget();

/** The user who is signed in, or null. */
export const current = () => shown?.user ?? null;

/** Signs in. Throws a `Problem` when the server refuses. */
export async function signIn(username, password) {
  const { data: pair } = await send('/api/v1/auth/login', { method: 'POST', body: { username, password } });
  const { data: user } = await send('/api/v1/auth/me', { bearer: pair.access_token });
  store({ id: crypto.randomUUID(), user, ...tokens(pair) });
  show();
}

/** Ends the session here, in other tabs and on the server. */
export async function signOut() {
  const body = { refresh_token: stored()?.refresh };
  forget();
  // The server may be away; then the token just runs out.
  if (body.refresh_token) await send('/api/v1/auth/logout', { method: 'POST', body }).catch(() => {});
}

/** Takes up the session of an earlier visit, if there is one. */
export async function resume() {
  show();
  // The user may be another one by now, as one who has become an admin.
  if (current()) await patiently(identify);
}

/** An access token that is good for a while, or null when nobody is signed in. */
export async function token() {
  const now = stored();
  return now && now.until - Date.now() > SPARE_MS ? now.access : renew(now?.access);
}

/** A token other than `stale`, which the server no longer takes. */
export function renew(stale) {
  return navigator.locks.request(LOCK, async () => {
    const now = stored();
    if (!now) {
      forget();
      return null;
    }
    // Whoever held the lock before may have done it, in this tab or in another.
    if (now.access !== stale && now.until > Date.now()) return now.access;
    try {
      const body = { refresh_token: now.refresh };
      const { data: pair } = await send('/api/v1/auth/refresh', { method: 'POST', body });
      // Somebody may have signed out meanwhile.
      if (stored()?.id !== now.id) return null;
      store({ ...now, ...tokens(pair) });
      return pair.access_token;
    } catch (problem) {
      // Everything else says nothing about the token.
      if (problem.status !== 401) throw problem;
      if (stored()?.id !== now.id) return null;
      forget();
      session.dispatchEvent(new Event('ended'));
      return null;
    }
  });
}

async function identify() {
  const { id } = shown ?? {};
  const me = (bearer) => send('/api/v1/auth/me', { bearer });
  const bearer = await token();
  if (!bearer) return;
  const { data: user } = await me(bearer).catch(async (problem) => {
    const renewed = problem.status === 401 ? await renew(bearer) : null;
    if (!renewed) throw problem;
    return me(renewed);
  });
  await navigator.locks.request(LOCK, () => {
    if (stored()?.id === id) store({ ...stored(), user });
  });
  show();
}

const tokens = (pair) => ({
  access: pair.access_token,
  until: Date.now() + pair.expires_in * 1000,
  refresh: pair.refresh_token,
});

function stored() {
  try {
    const entry = JSON.parse(localStorage.getItem(ENTRY));
    return entry?.id && entry.user && entry.refresh ? entry : null;
  } catch {
    return null;
  }
}

const store = (entry) => localStorage.setItem(ENTRY, JSON.stringify(entry));

function forget() {
  localStorage.removeItem(ENTRY);
  show();
}

/** Shows the session that is stored; `change` only tells of another session or another role. */
function show() {
  const { id, user } = stored() ?? {};
  const same = id === shown?.id && user?.role === shown?.user.role;
  shown = user ? { id, user } : null;
  if (!same) session.dispatchEvent(new Event('change'));
}

// Another tab has signed out, in as somebody else, or only renewed the tokens.
addEventListener('storage', (event) => {
  if (event.key === ENTRY || event.key === null) show();
});
