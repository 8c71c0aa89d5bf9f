import { TidemarkError } from '../../../../contracts/errors/error.ts';

/** A number of places, each held by one at a time; given in the order asked for. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** A place if one is free, else null. */
  tryTake(): Disposable | null {
    if (this.#free === 0) return null;
    this.#free--;
    return this.#place();
  }

  /** Resolves with a place, to be disposed. @throws TidemarkError `ABORTED` */
  async take(signal: AbortSignal): Promise<Disposable> {
    if (signal.aborted) throw new TidemarkError('ABORTED', 'asked to stop while waiting for a place');
    const free = this.tryTake();
    if (free !== null) return free;
    await new Promise<void>((resolve, reject) => {
      const granted = () => {
        signal.removeEventListener('abort', stop);
        resolve();
      };
      const stop = () => {
        this.#waiting.splice(this.#waiting.indexOf(granted), 1);
        reject(new TidemarkError('ABORTED', 'asked to stop while waiting for a place'));
      };
      signal.addEventListener('abort', stop, { once: true });
      this.#waiting.push(granted);
    });
    return this.#place();
  }

  #place(): Disposable {
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        const next = this.#waiting.shift();
        if (next === undefined) this.#free++;
        else next();
      },
    };
  }
}
