import type { HubLimits } from '../../../contracts/config.ts';
import type { SourceConnector, SourceStatus } from '../../../contracts/connector.ts';
import { describeError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { LogState } from '../../../contracts/log-engine.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { SourceLag, type Lag } from './source-lag.ts';

/** How often a source is asked how it is, in milliseconds. */
const INTERVAL_MS = 5000;

export interface WatchParts {
  readonly name: string;
  readonly connector: SourceConnector;
  readonly runtime: Runtime;
  readonly limits: HubLimits;
  /** The source holds back more than it may, and the configuration says what is to be done. */
  readonly onLimit: (action: 'stop' | 'drop-slot-and-recopy', error: TidemarkError) => void;
}

/** What the limit on retained WAL asks for. A pure decision. */
export function retainedWalAction(retained: number | null, limits: HubLimits): 'none' | HubLimits['onRetainedWal'] {
  if (retained === null || limits.retainedWal === null || retained <= limits.retainedWal) return 'none';
  return limits.onRetainedWal;
}

/**
 * Asks a source every few seconds how it is, whether or not it streams, so that status answers at once, and a source that
 * holds back too much WAL for this hub is never left to fill its disk unnoticed.
 */
export class SourceWatch {
  readonly #parts: WatchParts;
  readonly #lag: SourceLag;
  #source: SourceStatus | null = null;
  #retainedWarning: string | null = null;
  #stop: AbortController | null = null;
  #done: Promise<void> = Promise.resolve();

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#lag = new SourceLag(parts.connector.positions);
  }

  /** How far a log that has come to `position` is behind the source, as of the last answer. */
  lagOf({ position, commitTime }: Pick<LogState, 'position' | 'commitTime'>): Lag {
    return this.#lag.of(position, commitTime, this.#parts.runtime.clock.now());
  }

  /** The last answer; null before the first. */
  get source(): SourceStatus | null {
    return this.#source;
  }

  /** What is wrong with what the source retains, for people. */
  get warning(): string | null {
    return this.#retainedWarning;
  }

  start(): void {
    if (this.#stop !== null) return;
    this.#stop = new AbortController();
    this.#done = this.#run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop?.abort(new Error('the source is stopped'));
    this.#stop = null;
    await this.#done;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { connector, runtime } = this.#parts;
    while (!signal.aborted) {
      try {
        this.#source = await connector.status(signal);
        this.#lag.seen(this.#source.head, runtime.clock.now());
        this.#judgeRetained(this.#source.retainedBytes);
      } catch (failure) {
        if (signal.aborted) return;
        this.#lag.seen(null, runtime.clock.now());
        this.#source = { head: null, retainedBytes: null, connected: false, waitingFor: describeError(failure) };
        runtime.logger.log('debug', 'source.status-failed', { what: describeError(failure) });
      }
      await runtime.clock.sleep(INTERVAL_MS, signal).catch((reason: unknown) => {
        if (!signal.aborted) throw reason;
      });
    }
  }

  #judgeRetained(retained: number | null): void {
    const { limits, name, runtime, onLimit } = this.#parts;
    const action = retainedWalAction(retained, limits);
    if (action === 'none') {
      this.#retainedWarning = null;
      return;
    }
    const isNew = this.#retainedWarning === null;
    const what = `the source holds back ${retained} bytes of WAL for this hub, above hub.limits.retainedWal`;
    this.#retainedWarning = what;
    if (isNew) runtime.logger.log('warn', 'source.retained-wal', { bytes: retained, limit: limits.retainedWal });
    if (isNew && action !== 'warn') onLimit(action, new TidemarkError('RETAINED_WAL', what, { where: { source: name } }));
  }
}
