// The stream of order events: a WebSocket, or Server-Sent Events where no WebSocket gets
// through. It reconnects by itself and goes on after the last event that it has seen.

import { backoff } from './patience.js';
import { renew, token } from './session.js';

const PATH = '/api/v1/orders';
const PROTOCOL = 'wasmyard.events.v1';
/** A server that sends nothing at all for so long, heartbeats included, is gone. */
const SILENCE_MAX_MS = 60_000;
/** Sockets in a row that never open, before the other way is tried. */
const SOCKET_FAILURES_MAX = 2;

/** Codes of an end that say: at once again, with the cursor. */
const AGAIN = new Set([1001, 1012, 1013]);
/** The code that says: the token has run out. */
const EXPIRED = 4401;

/** What an end with this code asks for. */
const ended = (code) => ({ again: AGAIN.has(code), expired: code === EXPIRED });

export class Live {
  /**
   * @param {(event: object) => void} onEvent each event once, in order
   * @param {(state: string, waitMs?: number) => void} onState `connecting`, `live`,
   *   `waiting` with how long, `offline`, `signed-out`
   */
  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.cursor = null;
    this.failures = 0;
    this.socketFailures = 0;
    this.running = false;
    addEventListener('online', () => this.now());
    addEventListener('offline', () => this.suspect());
  }

  /** Begins, from now on. */
  start() {
    this.stop();
    this.running = true;
    this.cursor = null;
    this.#connect();
  }

  /** Ends, and forgets what it has seen. */
  stop() {
    this.running = false;
    this.#drop();
    this.onState('signed-out');
  }

  /** Connects at once instead of waiting any longer. */
  now() {
    if (this.running && !this.abort) this.#connect();
  }

  /** Somebody else could not reach the server: what looks open may be dead. */
  suspect() {
    if (!this.running || !this.abort) return;
    this.#drop();
    this.#again();
  }

  #drop() {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = null;
  }

  async #connect() {
    this.#drop();
    const abort = new AbortController();
    this.abort = abort;
    if (navigator.onLine) this.onState('connecting');
    let end;
    try {
      const bearer = await token();
      if (!bearer) return this.stop();
      const way = this.socketFailures < SOCKET_FAILURES_MAX ? this.#socket : this.#stream;
      end = await way.call(this, bearer, abort.signal);
      if (end.expired && !abort.signal.aborted) await renew(bearer);
    } catch {
      end = { again: false };
    }
    if (abort.signal.aborted) return;
    this.abort = null;
    if (end.again || end.expired) this.failures = Math.min(this.failures, 1);
    this.#again();
  }

  #again() {
    if (!this.running) return;
    const wait = backoff(this.failures);
    this.failures += 1;
    // A browser may be wrong about being offline; so it is tried all the same.
    this.onState(navigator.onLine ? 'waiting' : 'offline', wait);
    this.timer = setTimeout(() => this.#connect(), wait);
  }

  #take(message) {
    if (message.id) this.cursor = message.id;
    if (message.type === 'ready') {
      // Everything that was missed has been told; from here on it comes as it happens.
      this.failures = 0;
      this.socketFailures = 0;
      this.onState('live');
    } else if (message.type !== 'closed') {
      this.onEvent(message);
    }
  }

  #query() {
    return this.cursor ? `?after=${encodeURIComponent(this.cursor)}` : '';
  }

  /** Resolves when the socket has closed. */
  #socket(bearer, signal) {
    return new Promise((resolve) => {
      const url = new URL(`${PATH}/ws${this.#query()}`, location.href);
      url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
      // A browser's WebSocket sends no header fields of ours; the token is not put into the
      // address, which ends up in logs.
      const socket = new WebSocket(url, [PROTOCOL, `bearer.${bearer}`]);
      let open = false;
      signal.addEventListener('abort', () => {
        socket.close();
        resolve({});
      });
      socket.onopen = () => {
        open = true;
      };
      socket.onmessage = ({ data }) => {
        if (!signal.aborted) this.#take(JSON.parse(data));
      };
      socket.onclose = ({ code }) => {
        if (!open && !signal.aborted) this.socketFailures += 1;
        resolve(ended(code));
      };
    });
  }

  /** Resolves when the stream has ended. */
  async #stream(bearer, signal) {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
    const response = await fetch(`${PATH}/events${this.#query()}`, {
      headers: { authorization: `Bearer ${bearer}`, accept: 'text/event-stream' },
      signal: AbortSignal.any([signal, silence.signal]),
      cache: 'no-store',
    });
    if (response.status === 401) return { expired: true };
    if (!response.ok) return { again: false };
    let rest = '';
    let end = { again: true };
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split('\n').filter((line) => line.startsWith('data:'));
        if (!lines.length) continue;
        const message = JSON.parse(lines.map((line) => line.slice(5)).join('\n'));
        if (message.type === 'closed') end = ended(message.code);
        this.#take(message);
      }
    }
    clearTimeout(timer);
    return end;
  }
}
