import { asTidemarkError, describeError, type TidemarkError } from '../../contracts/errors/error.ts';
import type { CompactionOptions, CompactionProgress, SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { DiskGuard } from './disk-guard.ts';
import { excessOf } from './disk-limit.ts';
import { horizonTarget, type Retention } from './retention.ts';

/** How often it is looked whether there is something to fold, in milliseconds. */
const INTERVAL_MS = 10_000;
/** Less than this is not closed for the sake of room on the disk, bytes. */
const LEAST_SEALED = 32 << 20;

export interface CompactionParts {
  readonly log: SourceLog;
  readonly retention: Retention;
  readonly options: Omit<CompactionOptions, 'force'>;
  readonly runtime: Runtime;
  /** Watches the disk. Default: there is room enough. */
  readonly disk?: Pick<DiskGuard, 'room' | 'look'>;
}

/** What is known of a log's compaction. */
export interface CompactionState extends CompactionProgress {
  /** Where the horizon should be, by what is configured; at or below the horizon: it is there. */
  readonly target: Offset;
  /** Why the last attempt failed; null when it did not. */
  readonly failure: TidemarkError | null;
}

/**
 * Keeps the history of one log within its retention, and within the room that the disk has: folds what is older into the
 * base, beside everything else. A failure is said and tried again; nothing else waits for it.
 */
export class Compaction {
  readonly #parts: CompactionParts;
  #stop: AbortController | null = null;
  #done: Promise<void> = Promise.resolve();
  #wake = new AbortController();
  #failure: TidemarkError | null = null;
  #failedAt = 0;

  constructor(parts: CompactionParts) {
    this.#parts = parts;
  }

  state(): CompactionState {
    return { ...this.#parts.log.compaction(), target: this.#target(), failure: this.#failure };
  }

  /** When the last attempt that failed did, milliseconds since 1970. */
  get failedAt(): number {
    return this.#failedAt;
  }

  start(): void {
    if (this.#stop !== null) return;
    this.#stop = new AbortController();
    this.#done = this.#run(this.#stop.signal);
  }

  /** Looks again now: the room on the disk has changed. */
  wake(): void {
    this.#wake.abort(new Error('compaction looks again'));
  }

  async stop(): Promise<void> {
    this.#stop?.abort(new Error('compaction is stopped'));
    this.#stop = null;
    await this.#done;
  }

  /**
   * Folds on demand: as far towards `to` as the history is sealed, and as nobody holds it. Answers the horizon.
   * @throws TidemarkError as `SourceLog.compact`
   */
  async compact(to: Offset, signal: AbortSignal): Promise<Offset> {
    const { log, options } = this.#parts;
    const horizon = await log.compact(to, { ...options, seals: true }, signal);
    this.#failure = null;
    return horizon;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { runtime, log } = this.#parts;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      try {
        await this.#fold(signal);
        this.#failure = null;
      } catch (failure) {
        if (signal.aborted) return;
        this.#failure = asTidemarkError(failure, 'INTERNAL', { source: log.source });
        this.#failedAt = runtime.clock.now();
        runtime.logger.log('warn', 'log.compaction-failed', { source: log.source, what: describeError(this.#failure) });
      }
      const either = AbortSignal.any([signal, this.#wake.signal]);
      await runtime.clock.sleep(INTERVAL_MS, either).catch((reason: unknown) => {
        if (!either.aborted) throw reason;
      });
    }
  }

  async #fold(signal: AbortSignal): Promise<void> {
    const { log, options, disk } = this.#parts;
    // History that is folded does not come back: what was seen seconds ago is no reason.
    if (disk !== undefined && disk.room.level !== 'ok') await disk.look();
    const level = disk?.room.level ?? 'ok';
    const force = level === 'short' || level === 'full';
    const seals = this.#needsAll();
    const { horizon, highWatermark } = log.state();
    const target = seals ? highWatermark : this.#target();
    if (target > horizon) await log.compact(target, { ...options, force, seals }, signal);
  }

  /** True when the disk lacks more than the sealed parts of the history take. */
  #needsAll(): boolean {
    const { log, disk } = this.#parts;
    const excess = disk === undefined ? 0 : excessOf(disk.room);
    const sealed = log.marks().reduce((sum, { bytes }) => sum + bytes, 0);
    return excess > sealed && log.state().historyBytes - sealed >= LEAST_SEALED;
  }

  #target(): Offset {
    const { log, retention, runtime, disk } = this.#parts;
    const marks = log.marks();
    const { historyBytes } = log.state();
    const excess = disk === undefined ? 0 : excessOf(disk.room);
    const least = Math.max(0, historyBytes - excess);
    const bytes = excess === 0 ? retention.bytes : Math.min(retention.bytes ?? Number.POSITIVE_INFINITY, least);
    return horizonTarget(marks, historyBytes, { ageMs: retention.ageMs, bytes }, runtime.clock.now());
  }
}
