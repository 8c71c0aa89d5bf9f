import type { Clock } from '../../../../contracts/runtime.ts';

/** Work goes on for so long before it rests, in milliseconds. */
const SLICE_MS = 20;

/** Keeps work within a share of the time, so that capture and delivery find the processor free. */
export class Pace {
  readonly #clock: Clock;
  readonly #share: number;
  readonly #signal: AbortSignal;
  #since: number;

  /** @param share of the time that the work may take: above 0, at most 1 */
  constructor(clock: Clock, share: number, signal: AbortSignal) {
    this.#clock = clock;
    this.#share = share;
    this.#signal = signal;
    this.#since = clock.monotonic();
  }

  /** To be called often; rests when it is time. @throws the signal's reason */
  breathe(): void | Promise<void> {
    this.#signal.throwIfAborted();
    const worked = this.#clock.monotonic() - this.#since;
    if (this.#share >= 1 || worked < SLICE_MS) return;
    return this.#rest((worked * (1 - this.#share)) / this.#share);
  }

  async #rest(ms: number): Promise<void> {
    await this.#clock.sleep(ms, this.#signal);
    this.#since = this.#clock.monotonic();
  }
}
