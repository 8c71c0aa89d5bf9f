import { TidemarkError } from '../../../contracts/errors/error.ts';

interface Waiter<T> {
  readonly isSatisfied: (state: T) => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Those who wait for a state to be reached: woken by the change itself, not by a timer. */
export class Waiters<T> {
  readonly #waiting = new Set<Waiter<T>>();

  /** @throws TidemarkError `ABORTED` when the signal aborts first, or what `fail` is given */
  wait(isSatisfied: (state: T) => boolean, signal?: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(aborted(signal));
        return;
      }
      const onAbort = (): void => {
        this.#waiting.delete(waiter);
        if (signal !== undefined) reject(aborted(signal));
      };
      const waiter: Waiter<T> = {
        isSatisfied,
        resolve: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        reject: (error) => {
          signal?.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(waiter);
    });
  }

  /** Wakes those that `state` satisfies. */
  changed(state: T): void {
    for (const waiter of this.#waiting) {
      if (!waiter.isSatisfied(state)) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  }

  /** Ends every wait with `error`. */
  fail(error: Error): void {
    for (const waiter of this.#waiting) waiter.reject(error);
    this.#waiting.clear();
  }

  get size(): number {
    return this.#waiting.size;
  }
}

export function aborted(signal: AbortSignal): TidemarkError {
  return new TidemarkError('ABORTED', 'reading the log was asked to stop', { cause: signal.reason });
}
