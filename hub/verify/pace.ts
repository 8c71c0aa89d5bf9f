import type { Clock } from '../../contracts/runtime.ts';

/** How fast a place may be read. */
export type ReadRate = { readonly bytesPerSecond: number } | { readonly rowsPerSecond: number };

/** How long one reader may be ahead of its rate before it waits, milliseconds. */
const SLACK_MS = 20;

/** Keeps one reader to a rate, from its first reading on. */
export class Pace {
  readonly #clock: Clock;
  readonly #rate: ReadRate | null;
  /** When what was read so far may have been read, monotonic milliseconds. */
  #due: number;

  constructor(clock: Clock, rate: ReadRate | null) {
    this.#clock = clock;
    this.#rate = rate;
    this.#due = clock.monotonic();
  }

  /** So much was read: waits until the next may be. @throws the signal's reason */
  async took(rows: number, bytes: number, signal: AbortSignal): Promise<void> {
    const rate = this.#rate;
    if (rate === null) return;
    const now = this.#clock.monotonic();
    const seconds = 'bytesPerSecond' in rate ? bytes / rate.bytesPerSecond : rows / rate.rowsPerSecond;
    // Time in which nothing was asked for is not made up for.
    this.#due = Math.max(this.#due, now - SLACK_MS) + seconds * 1000;
    if (this.#due - now > SLACK_MS) await this.#clock.sleep(this.#due - now, signal);
  }
}
