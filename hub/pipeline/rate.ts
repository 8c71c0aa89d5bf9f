import type { Clock } from '../../contracts/runtime.ts';

/** Seconds over which a rate is taken. */
const WINDOW_S = 10;

/** Counts events and answers how many there were per second, over the last ten full seconds. */
export class Rate {
  readonly #clock: Clock;
  readonly #counts = new Float64Array(WINDOW_S + 1);
  readonly #began: number;
  #second: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#began = this.#second = this.#now();
  }

  add(count: number): void {
    this.#moveOn();
    const slot = this.#second % this.#counts.length;
    this.#counts[slot] = (this.#counts[slot] as number) + count;
  }

  perSecond(): number {
    this.#moveOn();
    const seconds = Math.min(WINDOW_S, this.#second - this.#began);
    if (seconds === 0) return this.#counts[this.#second % this.#counts.length] as number;
    let sum = 0;
    for (let ago = 1; ago <= seconds; ago++) sum += this.#counts[(this.#second - ago) % this.#counts.length] as number;
    return Math.round(sum / seconds);
  }

  /** Empties the seconds that have passed without an event. */
  #moveOn(): void {
    const now = this.#now();
    for (let n = Math.min(now - this.#second, this.#counts.length); n > 0; n--) this.#counts[(now - n + 1) % this.#counts.length] = 0;
    this.#second = now;
  }

  /** Seconds; large enough that those before the first one are not negative. */
  #now(): number {
    return Math.floor(this.#clock.monotonic() / 1000) + WINDOW_S;
  }
}
