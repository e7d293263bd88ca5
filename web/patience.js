// Trying again.

const WAIT_MIN_MS = 500;
const WAIT_MAX_MS = 15_000;

/** How long to wait after so many failures in a row: longer each time, and spread, so that the
 * clients of a host that went away do not come back as one. */
export function backoff(failures) {
  const most = Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** failures);
  return most / 2 + (Math.random() * most) / 2;
}

/**
 * Does something until it goes well, or a problem comes that does not pass.
 *
 * @param {() => Promise<T>} work
 * @param {{signal?: AbortSignal, onProblem?: (problem: Error) => void}} [options] `onProblem`
 *   hears of each problem after which it is tried again
 * @returns {Promise<T>}
 * @template T
 */
export async function patiently(work, { signal, onProblem = () => {} } = {}) {
  for (let failures = 0; ; failures += 1) {
    try {
      return await work();
    } catch (problem) {
      if (signal?.aborted || !problem.passes) throw problem;
      onProblem(problem);
      await pause(problem.pauseMs ?? backoff(failures), signal);
    }
  }
}

/** Ends after a while, and at once when the browser is online again. */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const ended = new AbortController();
    const end = (how) => {
      ended.abort();
      clearTimeout(timer);
      how();
    };
    const timer = setTimeout(() => end(resolve), ms);
    addEventListener('online', () => end(resolve), { signal: ended.signal });
    signal?.addEventListener('abort', () => end(() => reject(signal.reason)), { signal: ended.signal });
  });
}
