import type { SinkBatch } from '../../../contracts/sink.ts';
import { aborted } from '../../waiters.ts';
import type { FoldStart } from './fold.ts';

/** The sink, open and standing still: nothing is applied to it but by whoever visits it. */
export interface DeliverVisit {
  /** Where it stands. */
  readonly at: FoldStart;
  /** Applies a batch that leaves the checkpoint where it is, as a join does; resolves when it is durable. */
  apply(batch: SinkBatch): Promise<void>;
}

interface AskedVisit {
  readonly run: (visit: DeliverVisit) => Promise<void>;
  readonly giveUp: () => void;
}

/** Visits that are asked for, until the sink is open and stands still. */
export class Visits {
  readonly #asked = new Set<AskedVisit>();

  get isEmpty(): boolean {
    return this.#asked.size === 0;
  }

  /** Resolves when `work` has. @throws what `work` throws; `ABORTED` when `signal` aborts before it has begun */
  ask(work: (visit: DeliverVisit) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const asked: AskedVisit = {
      run: async (visit) => {
        signal.removeEventListener('abort', asked.giveUp);
        await work(visit).then(resolve, reject);
      },
      giveUp: () => {
        if (this.#asked.delete(asked)) reject(aborted(signal));
      },
    };
    if (signal.aborted) return Promise.reject(aborted(signal));
    signal.addEventListener('abort', asked.giveUp, { once: true });
    this.#asked.add(asked);
    return promise;
  }

  /** One after the other. */
  async run(visit: DeliverVisit): Promise<void> {
    for (const asked of this.#asked) {
      this.#asked.delete(asked);
      await asked.run(visit);
    }
  }

  /** No visit will be made any more. */
  giveUp(): void {
    for (const visit of this.#asked) visit.giveUp();
  }
}
