/**
 * How long a busy source's bytes are left to gather in the socket before they are read. A server sends each change as a
 * packet of its own, and that costs it more than decoding, unless the last ones were not read yet: then it adds to what
 * waits. While the stream is behind, a long pause makes the server quicker by half and more. It is left again where the
 * socket holds less than the server could send in that time, which nobody tells: both pauses are tried, and rated by what
 * came through. Pure: the caller tells the time.
 */

/** Milliseconds, for a stream that is not behind: it costs no one who waits a noticeable time. */
export const SHORT_BREATH_MS = 1;
export const LONG_BREATH_MS = 20;
/** A commit that was sent this long after it was made comes from a backlog, microseconds. */
export const BEHIND_MICROS = 200_000;

/** How long the first measurements of a pause take, and how long the better one is used before the other is tried again. */
const TRIAL_MS = 200;
const TERM_MS = 5_000;
/** The long pause costs the hub and the server less: the short one must be better by so much. */
const WORTH = 1.1;

type Pause = 'short' | 'long';

export class BreathPace {
  #pause: Pause = 'long';
  /** Bytes per millisecond while the pause was used last; 0: not tried. */
  readonly #rates: Record<Pause, number> = { short: 0, long: 0 };
  /** Monotonic milliseconds; null: the stream was not behind. */
  #since: number | null = null;
  #until = 0;
  #bytes = 0;

  /**
   * The pause before the next read, in milliseconds.
   * @param now monotonic milliseconds
   * @param bytes that came since the last call
   * @param behindMicros from the commit that came last to when the server sent it
   */
  next(now: number, bytes: number, behindMicros: number): number {
    if (behindMicros < BEHIND_MICROS) {
      this.#since = null;
      return SHORT_BREATH_MS;
    }
    if (this.#since === null) this.#begin('long', now, TRIAL_MS);
    else this.#bytes += bytes;
    if (now >= this.#until) this.#judge(now, now - (this.#since ?? now));
    return this.#pause === 'long' ? LONG_BREATH_MS : SHORT_BREATH_MS;
  }

  #judge(now: number, elapsed: number): void {
    const used = this.#pause;
    const other = used === 'long' ? 'short' : 'long';
    const hasServed = elapsed >= TERM_MS;
    this.#rates[used] = this.#bytes / Math.max(elapsed, 1);
    if (hasServed || this.#rates[other] === 0) return this.#begin(other, now, TRIAL_MS);
    this.#begin(this.#rates.short > this.#rates.long * WORTH ? 'short' : 'long', now, TERM_MS);
  }

  #begin(pause: Pause, now: number, ms: number): void {
    this.#pause = pause;
    this.#since = now;
    this.#until = now + ms;
    this.#bytes = 0;
  }
}
