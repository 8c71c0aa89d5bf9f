import { TidemarkError } from '../contracts/errors/error.ts';

interface Waiter<T> {
  readonly ready: (value: T) => boolean;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

/** Those who wait for a value that satisfies them. Each is told once, and forgotten; nobody is polled. */
export class Waiters<T> {
  readonly #waiting = new Set<Waiter<T>>();

  get size(): number {
    return this.#waiting.size;
  }

  /**
   * Resolves with the first value for which `ready` is true.
   * @throws TidemarkError `ABORTED` when the signal aborts first, or what `failAll` is given
   */
  wait(ready: (value: T) => boolean, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted === true) return Promise.reject(aborted(signal));
    return new Promise<T>((resolve, reject) => {
      const done = (): void => {
        this.#waiting.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter<T> = {
        ready,
        resolve: (value) => {
          done();
          resolve(value);
        },
        reject: (reason) => {
          done();
          reject(reason instanceof Error ? reason : new Error(String(reason)));
        },
      };
      const onAbort = (): void => waiter.reject(aborted(signal));
      this.#waiting.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** A new value: those whom it satisfies go on. */
  test(value: T): void {
    for (const waiter of this.#waiting) if (waiter.ready(value)) waiter.resolve(value);
  }

  failAll(reason: unknown): void {
    for (const waiter of this.#waiting) waiter.reject(reason);
  }
}

/**
 * What `waiting` resolves with, which is given a signal to give up on.
 * @throws what `over` resolves with, when that comes first; what `waiting` rejects with
 */
export async function unless<T>(waiting: (signal: AbortSignal) => Promise<T>, over: (signal: AbortSignal) => Promise<TidemarkError>, signal: AbortSignal): Promise<T> {
  const ends = new AbortController();
  const either = AbortSignal.any([signal, ends.signal]);
  const failed = over(either).then((error) => {
    throw error;
  });
  const waited = waiting(either);
  try {
    return await Promise.race([waited, failed]);
  } finally {
    ends.abort(new Error('the wait is over'));
    await Promise.allSettled([waited, failed]);
  }
}

/** What a wait ends with that its signal gave up. */
export function aborted(signal: AbortSignal | undefined): TidemarkError {
  return new TidemarkError('ABORTED', 'the wait was given up', { cause: signal?.reason });
}
