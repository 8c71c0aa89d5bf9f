import { TidemarkError } from '../../../contracts/errors/error.ts';

/** Those who wait for the stream's place to move. Each is told once. */
export class StreamWatch {
  readonly #waiting = new Set<PromiseWithResolvers<void>>();
  #isClosed = false;

  /** Resolves when the place has moved, or may have. @throws TidemarkError `ABORTED` */
  async wait(signal: AbortSignal): Promise<void> {
    const waiter = Promise.withResolvers<void>();
    const abort = (): void => waiter.reject(new TidemarkError('ABORTED', 'waiting for the stream was given up'));
    if (signal.aborted || this.#isClosed) abort();
    signal.addEventListener('abort', abort, { once: true });
    this.#waiting.add(waiter);
    try {
      await waiter.promise;
    } finally {
      this.#waiting.delete(waiter);
      signal.removeEventListener('abort', abort);
    }
  }

  moved(): void {
    for (const waiter of this.#waiting) waiter.resolve();
  }

  close(): void {
    this.#isClosed = true;
    for (const waiter of this.#waiting) waiter.reject(new TidemarkError('ABORTED', 'the source is closed'));
  }
}
