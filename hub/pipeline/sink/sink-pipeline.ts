import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import type { Sink, SinkBatch } from '../../../contracts/sink.ts';
import type { DeadLetters } from '../../dead-letters/dead-letters.ts';
import { errorView } from '../../error-view.ts';
import type { PrintPosition } from '../../print-position.ts';
import type { SinkStatusView } from '../../service.ts';
import { Deliver, type InPlaceRebuilding } from './deliver.ts';
import type { LoadProgress } from './progress.ts';
import { sinkStart } from './delivery-plan.ts';
import type { Pause, PauseFile } from './pause-file.ts';
import type { FoldStart } from './fold.ts';
import { Part, type Work } from '../part.ts';
import { unless, Waiters } from '../../waiters.ts';
import { Rate } from '../rate.ts';
import type { SinkTables } from './sink-tables.ts';
import type { Supervised } from '../supervisor.ts';
import type { DeliverVisit } from './visits.ts';
import { WaitingSince } from './waiting-since.ts';

export interface SinkPipelineParts {
  readonly config: SinkConfig;
  /** Owned by the pipeline from here. */
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly letters: DeadLetters;
  readonly tables: SinkTables;
  readonly pauses: PauseFile;
  readonly runtime: Runtime;
  /** Bytes that the pipeline may hold in flight. */
  readonly bytes: number;
  readonly printPosition: PrintPosition;
  /** These tables must be copied again: the sink has none of their older rows. */
  readonly recopy: (tableIds: readonly number[]) => void;
  /**
   * It cannot go on from its checkpoint, and is configured to be rebuilt then. It stops once this has resolved; what this
   * rejects with says whether it is to try again.
   */
  readonly onBehind: (why: TidemarkError, signal: AbortSignal) => Promise<void>;
}

/** One sink: what delivers to it, and what is known of it. */
export class SinkPipeline implements Supervised {
  readonly name: string;
  readonly config: SinkConfig;
  readonly log: SourceLog;
  readonly sink: Sink;
  readonly letters: DeadLetters;
  readonly tables: SinkTables;
  readonly #pauses: PauseFile;
  readonly #runtime: Runtime;
  readonly #deliver: Deliver;
  readonly #part: Part;
  readonly #rate: Rate;
  readonly #printPosition: PrintPosition;
  readonly #waiting: WaitingSince;
  readonly #rested = new Waiters<Pause>();
  /** Somebody else has the sink: nothing is applied. */
  #held = false;

  constructor(parts: SinkPipelineParts) {
    const { config, sink, log, letters, tables, pauses, runtime, bytes, recopy } = parts;
    this.letters = letters;
    this.tables = tables;
    this.#pauses = pauses;
    this.name = `sink ${config.name}`;
    this.config = config;
    this.log = log;
    this.sink = sink;
    this.#runtime = runtime;
    this.#printPosition = parts.printPosition;
    this.#rate = new Rate(runtime.clock);
    this.#waiting = new WaitingSince(log, runtime.logger);
    const rests = (): boolean => pauses.pause !== null;
    this.#deliver = new Deliver({
      config, sink, log, letters, tables, runtime, bytes,
      printPosition: parts.printPosition,
      heldLease: null,
      onLoaded: (batch, ms) => this.#count(batch, ms),
      onApplied: (batch, ms) => this.#count(batch, ms),
      rests,
      onJoined: (tables) => recopy(tables.map((table) => table.tableId)),
    });
    const deliver = this.#deliver;
    const live: Work['live'] = async (signal, healthy) => {
      try {
        return await deliver.live(signal, healthy);
      } catch (failure) {
        if (config.whenBehind === 'rebuild' && isBehind(failure)) await parts.onBehind(failure, signal);
        throw failure;
      }
    };
    const work: Work = { kind: deliver.kind, retries: deliver.retries, rests, judge: (failure) => deliver.judge(failure), live };
    this.#part = new Part(this.name, work, runtime);
  }

  /** Begins, unless it is paused or held. */
  start(): void {
    if (this.#held) return;
    if (this.#pauses.pause === null) this.#part.start();
    else this.#part.rest();
  }

  /** Resolves when it has stopped at its next boundary; durable, over a restart of the hub. */
  async pause(): Promise<void> {
    const before = this.#pauses.pause;
    const at = before?.at ?? new Date(this.#runtime.clock.now()).toISOString();
    const pause: Pause = { by: before?.by ?? 'operator', offset: before?.offset ?? this.#deliver.stored ?? 0, at };
    await Promise.all([this.#pauses.set(pause), this.#part.pause()]);
    // Resumed meanwhile: what was asked last counts.
    if (this.#pauses.pause !== pause) return;
    const rests: Pause = { ...pause, offset: this.#deliver.stored ?? pause.offset };
    await this.#pauses.set(rests);
    this.#rested.test(rests);
  }

  /** Goes on after a pause, or after a failure. Durable. */
  async resume(): Promise<void> {
    // One that could not be noted before is noted now: else the pause would be back after a restart.
    const saved = this.#pauses.pause === null && this.#pauses.isSaved ? null : this.#pauses.set(null);
    this.start();
    await saved;
  }

  /** It has stopped on a failure that somebody must mend. */
  get hasFailed(): boolean {
    return this.#part.state === 'failed';
  }

  get pausedBy(): Pause | null {
    return this.#pauses.pause;
  }

  /** Rests from here on, where the sink stands; it does nothing now, or ends its life. Durable. */
  async restAt(pause: Pause): Promise<void> {
    await this.#pauses.set(pause);
    this.#rested.test(pause);
  }

  /**
   * What `waiting` resolves with, which is given a signal to give up on.
   * @throws TidemarkError `SINK_PAUSED` when the sink comes to rest meanwhile; what `waiting` rejects with
   */
  unlessPaused<T>(waiting: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    return unless(waiting, (either) => this.#rested.wait(() => true, either).then((pause) => this.#isPausedAt(pause)), signal);
  }

  /**
   * Where the sink rests, if that is at or beyond `offset`. Not of one that may have been changed since it was last seen.
   * @param wanted what `offset` is, for people
   * @throws TidemarkError `SINK_PAUSED`
   */
  restsBeyond(offset: Offset, pause: Pause, wanted: string): Offset {
    const { rebuilding, loading, offset: at } = this.#deliver.progress;
    const isSeen = this.#deliver.stored !== null && !rebuilding && loading === null;
    const known = isSeen ? at : pause.by === 'rebuild' ? pause.offset : null;
    if (known === null || known < offset) throw this.#isPausedAt({ ...pause, offset: known ?? pause.offset }, wanted);
    return known;
  }

  #isPausedAt({ by, offset }: Pause, wanted = 'another one'): TidemarkError {
    const how = by === 'rebuild' ? 'was put to' : 'is paused at';
    const remedy = `Let it go on: \`tidemark sink resume ${this.config.name}\`.`;
    return new TidemarkError('SINK_PAUSED', `the sink ${how} offset ${offset}, rests there, and is not seen at ${wanted}`, { where: { sink: this.config.name, offset }, remedy });
  }

  /**
   * Stops applying at the next boundary and closes the sink, until `release`; a pause, a resume and a retry meanwhile
   * count from then on.
   */
  async hold(): Promise<void> {
    this.#held = true;
    await this.#part.stop();
    await this.sink[Symbol.asyncDispose]();
  }

  /** The sink is gone: nothing is remembered of a pause. Closed before. */
  async forget(): Promise<void> {
    await this.#pauses.set(null);
  }

  /** Goes on after `hold`, unless it is paused. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.start();
  }

  /**
   * The checkpoint that stands at the sink, which is taken over and closed again; null: none, or that of another log.
   * Only while it is held. @throws TidemarkError what the sink throws
   */
  async heldCheckpoint(signal: AbortSignal): Promise<Checkpoint | null> {
    if (!this.#held) throw new TidemarkError('INTERNAL', 'a sink that is applied to is opened by somebody else', { where: { sink: this.config.name } });
    try {
      const checkpoint = await this.sink.open(sinkStart(this.log, this.config.tables), signal);
      this.#deliver.foundAt(checkpoint?.offset ?? 0);
      return checkpoint;
    } catch (failure) {
      if (failure instanceof TidemarkError && failure.code === 'SINK_FOREIGN') return null;
      throw failure;
    } finally {
      await this.sink[Symbol.asyncDispose]();
    }
  }

  /** The sink was put elsewhere while it was held. */
  standsAt(place: FoldStart): void {
    this.#deliver.standsAt(place);
  }

  /**
   * Where the sink's checkpoint stands, as soon as that is known. Null: it has failed, and does not stand anywhere that
   * it could go on from.
   * @param options.filled not before it has been filled, where it has not: whatever is to join it stops it until then
   * @throws `ABORTED`
   */
  async standing(signal: AbortSignal, { filled }: { readonly filled: boolean }): Promise<Offset | null> {
    if (this.#part.state === 'failed') return null;
    const known = this.#deliver.stored ?? this.#pauses.pause?.offset ?? null;
    if (known !== null && (!filled || this.#deliver.progress.loading === null)) return known;
    try {
      await this.reached(0, signal);
    } catch (failure) {
      if (signal.aborted) throw failure;
      return null;
    }
    return this.#deliver.stored;
  }

  /** True while something is applied to it, or will be without anybody's doing. */
  get isAtWork(): boolean {
    return !this.#held && ['starting', 'running', 'retrying'].includes(this.#part.state);
  }

  get isRebuilding(): boolean {
    return this.#held || this.#deliver.progress.rebuilding;
  }

  /**
   * Runs `work` while the sink is open and nothing else is applied to it.
   * @throws TidemarkError what `work` throws; the failure on which the sink has stopped, or stops meanwhile; `ABORTED`
   */
  async visit(work: (visit: DeliverVisit) => Promise<void>, signal: AbortSignal): Promise<void> {
    await this.#part.unlessFailed((either) => this.#deliver.visit(work, either), signal);
  }

  /** Has the delivery rebuild the sink in place; null: it goes on as one that nobody asked for. */
  rebuildInPlace(rebuild: InPlaceRebuilding | null): void {
    this.#deliver.rebuildInPlace(rebuild);
  }

  /** Tries again now, after a failure; open dead letters with what their keys are now. */
  retry(): void {
    this.#deliver.retryLetters();
    if (!this.#held) this.#part.retry();
  }

  stop(): Promise<void> {
    return this.#part.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#deliver.close();
    this.#waiting[Symbol.dispose]();
    // Whoever opens the sink after this one writes the same files.
    await Promise.all([this.#pauses.settled(), this.letters.settled()]);
    await this.sink[Symbol.asyncDispose]();
  }

  /**
   * Resolves with the sink's offset once it is at or beyond `offset`.
   * @throws TidemarkError the failure on which the sink has stopped, or stops meanwhile; `ABORTED`
   */
  async reached(offset: Offset, signal: AbortSignal): Promise<Offset> {
    return this.#part.unlessFailed((either) => this.#deliver.reached(offset, either), signal);
  }

  status(): SinkStatusView {
    const { config } = this;
    const { state: partState, error, failedAt } = this.#part;
    const { pause } = this.#pauses;
    const state = this.#held ? 'rebuilding' : partState;
    const { position, commitTime, caughtUp, rebuilding, oldestPending, loading } = this.#deliver.progress;
    // A paused sink is not opened to ask it.
    const offset = this.#deliver.stored === null && pause !== null ? pause.offset : this.#deliver.progress.offset;
    const log = this.log.state();
    const records = Math.max(0, log.highWatermark - offset);
    const perRecord = log.highWatermark === 0 ? 0 : log.bytes / log.highWatermark;
    const known = partState === 'running' || oldestPending !== 0 || records === 0;
    const since = known ? oldestPending : this.#waiting.after(offset);
    return {
      name: config.name,
      type: config.type,
      from: config.from,
      state: state !== 'running' ? state : rebuilding ? 'rebuilding' : loading !== null ? 'loading' : caughtUp ? 'caught-up' : 'applying',
      degraded: this.letters.count > 0,
      offset,
      position: this.#printPosition(position),
      commitTime,
      lag: { records, bytes: Math.round(records * perRecord), seconds: since === null ? null : this.#age(records === 0 ? 0 : since) },
      recordsPerSecond: this.#rate.perSecond(),
      load: loading === null ? null : { ...loading, etaSeconds: secondsLeft(loading, this.#rate.perSecond()) },
      deadLetters: this.letters.count,
      pause,
      rebuild: null,
      error: error === null ? null : errorView(error, failedAt),
    };
  }

  /** Seconds since a commit time, to the millisecond. 0: none. */
  #age(commitTime: number): number {
    return commitTime === 0 ? 0 : Math.max(0, Math.round(this.#runtime.clock.now() - commitTime / 1000) / 1000);
  }

  #count({ records, bytes }: SinkBatch, ms: number): void {
    const { metrics } = this.#runtime;
    const labels = { sink: this.config.name };
    this.#rate.add(records);
    metrics.add('tidemark_sink_records_total', records, labels);
    metrics.add('tidemark_sink_bytes_total', bytes, labels);
    metrics.add('tidemark_sink_batches_total', 1, labels);
    metrics.observe('tidemark_sink_apply_seconds', ms / 1000, labels);
  }
}

function secondsLeft({ rows, estimatedRows }: LoadProgress, rowsPerSecond: number): number | null {
  return rowsPerSecond > 0 ? Math.round((estimatedRows - rows) / rowsPerSecond) : null;
}

/** The checkpoint at the sink is of no use. */
function isBehind(failure: unknown): failure is TidemarkError {
  return failure instanceof TidemarkError && (failure.code === 'SINK_BEHIND' || failure.code === 'SINK_DIVERGED');
}
