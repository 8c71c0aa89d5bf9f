import type { Runtime } from '../../../../contracts/runtime.ts';
import { backOff } from '../../error-policy.ts';

/** Waits longer from failure to failure. */
export class RetryDelay {
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  #attempt = 0;

  constructor(runtime: Pick<Runtime, 'clock' | 'random'>) {
    this.#runtime = runtime;
  }

  /** Milliseconds until the next try; counts this failure. */
  next(): number {
    return backOff(++this.#attempt, this.#runtime.random.unit());
  }

  async wait(signal: AbortSignal): Promise<void> {
    await this.#runtime.clock.sleep(this.next(), signal);
  }
}
