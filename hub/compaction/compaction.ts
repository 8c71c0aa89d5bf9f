import { asTidemarkError, describeError, type TidemarkError } from '../../contracts/errors/error.ts';
import type { CompactionBudget, SourceLog } from '../../contracts/log-engine.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import { horizonTarget, type Retention } from './retention.ts';

/** How often it is looked whether there is something to fold, in milliseconds. */
const INTERVAL_MS = 10_000;

export interface CompactionParts {
  readonly log: SourceLog;
  readonly retention: Retention;
  readonly budget: CompactionBudget;
  readonly runtime: Runtime;
}

/**
 * Keeps the history of one log within its retention: folds what is older into the base, beside everything else. A failure
 * is said and tried again; nothing else waits for it.
 */
export class Compaction {
  readonly #parts: CompactionParts;
  #stop: AbortController | null = null;
  #done: Promise<void> = Promise.resolve();
  #isFolding = false;
  #failure: TidemarkError | null = null;

  constructor(parts: CompactionParts) {
    this.#parts = parts;
  }

  /** History is being folded now. */
  get isFolding(): boolean {
    return this.#isFolding;
  }

  /** Why the last attempt failed; null when it did not. */
  get failure(): TidemarkError | null {
    return this.#failure;
  }

  start(): void {
    if (this.#stop !== null) return;
    this.#stop = new AbortController();
    this.#done = this.#run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop?.abort(new Error('compaction is stopped'));
    this.#stop = null;
    await this.#done;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { runtime, log } = this.#parts;
    while (!signal.aborted) {
      try {
        await this.#fold(signal);
        this.#failure = null;
      } catch (failure) {
        if (signal.aborted) return;
        this.#failure = asTidemarkError(failure, 'INTERNAL', { source: log.source });
        runtime.logger.log('warn', 'log.compaction-failed', { source: log.source, what: describeError(this.#failure) });
      }
      await runtime.clock.sleep(INTERVAL_MS, signal).catch((reason: unknown) => {
        if (!signal.aborted) throw reason;
      });
    }
  }

  async #fold(signal: AbortSignal): Promise<void> {
    const { log, retention, budget, runtime } = this.#parts;
    const marks = log.marks();
    const { horizon, historyBytes } = log.state();
    const target = horizonTarget(marks, historyBytes, retention, runtime.clock.now());
    if (target <= horizon) return;
    this.#isFolding = true;
    try {
      await log.compact(target, budget, signal);
    } finally {
      this.#isFolding = false;
    }
  }
}
