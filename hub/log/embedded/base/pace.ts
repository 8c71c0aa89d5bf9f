import type { CompactionBudget } from '../../../../contracts/log-engine.ts';
import type { Clock } from '../../../../contracts/runtime.ts';

/** Work goes on for so long before it rests, in milliseconds. */
const SLICE_MS = 20;

/** Keeps work within a share of the time and a number of bytes a second, so that capture and delivery find processor and disk free. */
export class Pace {
  readonly #clock: Clock;
  readonly #share: number;
  readonly #bytesPerMs: number;
  readonly #signal: AbortSignal;
  #since: number;
  #bytes = 0;

  constructor(clock: Clock, { share, bytesPerSecond = null }: Pick<CompactionBudget, 'share' | 'bytesPerSecond'>, signal: AbortSignal) {
    this.#clock = clock;
    this.#share = share;
    this.#bytesPerMs = bytesPerSecond === null ? Number.POSITIVE_INFINITY : bytesPerSecond / 1000;
    this.#signal = signal;
    this.#since = clock.monotonic();
  }

  /** So many bytes more were worked on: to be called often; rests when it is time. @throws the signal's reason */
  breathe(bytes: number): void | Promise<void> {
    this.#signal.throwIfAborted();
    this.#bytes += bytes;
    const worked = this.#clock.monotonic() - this.#since;
    const byBytes = this.#bytes / this.#bytesPerMs;
    if (Math.max(worked, byBytes) < SLICE_MS) return;
    const due = Math.max(worked / this.#share, byBytes);
    if (due > worked) return this.#rest(due - worked);
    // Time in which less was done than might have been is not made up for.
    this.#begin();
  }

  async #rest(ms: number): Promise<void> {
    await this.#clock.sleep(ms, this.#signal);
    this.#begin();
  }

  #begin(): void {
    this.#since = this.#clock.monotonic();
    this.#bytes = 0;
  }
}
