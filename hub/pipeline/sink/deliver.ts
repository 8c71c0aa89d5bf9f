import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { LoadCursor } from '../../../contracts/load-cursor.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { Sink, SinkBatch } from '../../../contracts/sink.ts';
import type { DeadLetters } from '../../dead-letters/dead-letters.ts';
import type { PrintPosition } from '../../print-position.ts';
import { BaseLoad } from './base-load.ts';
import { Delivery, foldBytes } from './delivery.ts';
import { openSink, type DeliveryStart, type InPlaceOrder } from './delivery-plan.ts';
import type { FoldStart } from './fold.ts';
import { isDataError, sinkFailure, type FailureAction } from '../error-policy.ts';
import type { LifeEnd, Work } from '../part.ts';
import { SettlingLetters } from './settling-letters.ts';
import { Sift } from './sift.ts';
import { joinEnd, joinTables } from './join.ts';
import type { LoadProgress, SinkProgress } from './progress.ts';
import { leaseOf, type SinkTables } from './sink-tables.ts';
import { type DeliverVisit, Visits } from './visits.ts';
import { Waiters } from '../../waiters.ts';

export interface DeliverParts {
  readonly config: SinkConfig;
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly letters: DeadLetters;
  /** Null: the selection does not change while the sink is delivered to. */
  readonly tables: SinkTables | null;
  readonly runtime: Runtime;
  readonly printPosition: PrintPosition;
  /** Bytes that this pipeline may hold in flight. */
  readonly bytes: number;
  /** Keeps the horizon from passing the sink while it is filled; null: the sink's own, which is released once it is here. */
  readonly heldLease: string | null;
  /** Rows of the log's base are durable at the sink, which does not stand anywhere yet; and how far it is with them. */
  readonly onLoaded: (batch: SinkBatch, ms: number, progress: LoadProgress) => void;
  /** A batch is durable at the sink, so many milliseconds after it was handed over. */
  readonly onApplied: (batch: SinkBatch, ms: number) => void;
  /** Asked between two openings of the sink: it is to rest where it stands. */
  readonly rests: () => boolean;
  /** Tables came under the sink's selection without their older rows: they must be copied again. */
  readonly onJoined: (tables: readonly TableSchema[]) => void;
}

/** A rebuild in place that is led through by the delivery. Told in order; the next is not begun before one has resolved. */
export interface InPlaceRebuilding extends InPlaceOrder {
  onBegun(): Promise<void>;
  /** What was not written anew is gone; the sink stands at `offset`. */
  onSwept(offset: Offset): Promise<void>;
}

/** What a life does after the sink is open, and then ends to open it again. */
type Errand =
  | { readonly kind: 'sift'; readonly to: Offset; readonly refusal: TidemarkError }
  | { readonly kind: 'retry-letters' };

/**
 * Log to sink. One life: take the sink over, find where to go on, deliver until it fails or is stopped. The sink is the
 * caller's; only this part applies to it. Rows that the sink refuses become dead letters where the configuration says so.
 */
export class Deliver implements Work {
  readonly kind = 'sink';
  readonly retries: Work['retries'];
  readonly #parts: DeliverParts;
  readonly #reached = new Waiters<Offset>();
  #delivery: Delivery | null = null;
  /** Where `deliverTo` has left the sink, open and well: it goes on from there. Null: the sink is to be opened. */
  #left: DeliveryStart | null = null;
  #offset: Offset = 0;
  /** Where the checkpoint at the sink stands, as last seen. */
  #stored: Offset | null = null;
  #fence = 0;
  /** What the last batch that is durable at the sink says of its end. */
  #place: Pick<SinkBatch, 'position' | 'commitTime'> = { position: new Uint8Array(0), commitTime: 0 };
  #rebuilding = false;
  #loading: LoadProgress | null = null;
  #errand: Errand | null = null;
  readonly #visits = new Visits();
  #rebuild: InPlaceRebuilding | null = null;
  readonly #settling: SettlingLetters;
  #again = new AbortController();
  /** Once the sink is here the log need not keep its history for it. */
  #leasedUntil: Offset = Number.POSITIVE_INFINITY;
  /**
   * Where the sink stood when it failed on a batch. That it opens again there says nothing yet: it is well once it has
   * taken something.
   */
  #hurdle: Offset | null = null;
  /** The horizon that was last found to be past the sink. */
  #passedBy: Offset | null = null;

  constructor(parts: DeliverParts) {
    this.#parts = parts;
    this.#settling = new SettlingLetters(parts.letters, parts.runtime.logger);
    this.retries = { metric: 'tidemark_sink_retries_total', labels: { sink: parts.config.name } };
  }

  judge(failure: unknown): FailureAction {
    return sinkFailure(failure, this.#parts.config.onError);
  }

  get progress(): SinkProgress {
    const { highWatermark, position, commitTime } = this.#parts.log.state();
    // Over records of others the offset moves without a batch.
    const place = this.#offset === highWatermark && position !== null ? { position, commitTime } : this.#place;
    return {
      offset: this.#offset,
      position: place.position,
      commitTime: place.commitTime,
      caughtUp: this.#offset >= highWatermark && !this.#hidden,
      rebuilding: this.#rebuilding,
      oldestPending: this.#delivery?.oldestPending ?? 0,
      loading: this.#loading,
    };
  }

  /** What is at the sink is not the source as of its offset. */
  get #hidden(): boolean {
    return this.#rebuilding || this.#loading !== null;
  }

  /** Where the sink's checkpoint stands: at or below `progress.offset`. Null: it has not been opened. */
  get stored(): Offset | null {
    return this.#stored;
  }

  /** Somebody else has found the sink there before it was delivered to. */
  foundAt(offset: Offset): void {
    if (this.#stored === null) this.#stored = this.#offset = offset;
  }

  /** Somebody else has put the sink there, while nothing is delivered. */
  standsAt({ after, position, commitTime }: FoldStart): void {
    this.#place = { position, commitTime };
    this.#stored = after;
    this.#rebuilding = false;
    this.#loading = null;
    this.#moveTo(after);
  }

  #isToBeSifted(failure: unknown): boolean {
    return this.#errand?.kind === 'sift' && this.#errand.refusal === failure;
  }

  /** The horizon was forced past where the sink reads; not true a second time of the same one. */
  #isPassed(failure: unknown): boolean {
    const { horizon } = this.#parts.log.state();
    if (!(failure instanceof TidemarkError) || failure.code !== 'LOG_BELOW_HORIZON' || this.#passedBy === horizon) return false;
    this.#passedBy = horizon;
    return true;
  }

  /** Resolves with the sink's offset once it is at or beyond `offset`, and no rebuild hides it. @throws `ABORTED` */
  async reached(offset: Offset, signal: AbortSignal): Promise<Offset> {
    if (this.#offset >= offset && !this.#hidden && this.#delivery !== null) return this.#offset;
    return this.#reached.wait((at) => at >= offset, signal);
  }

  /** Ends every wait. To be called when no life will run any more. */
  close(): void {
    this.#reached.failAll(new TidemarkError('ABORTED', 'the sink is closed', { where: { sink: this.#parts.config.name } }));
    this.#visits.giveUp();
  }

  /** Tries the open dead letters again with what their keys are now: at once, or when the sink is delivered to again. */
  retryLetters(): void {
    if (this.#parts.letters.count === 0) return;
    this.#errand ??= { kind: 'retry-letters' };
    this.#again.abort(new Error('dead letters are tried again'));
  }

  /**
   * Runs `work` between two openings of the sink, at once or when it is delivered to again; nothing else is applied until
   * it has resolved. @throws what `work` throws, `ABORTED`
   */
  visit(work: (visit: DeliverVisit) => Promise<void>, signal: AbortSignal): Promise<void> {
    const visited = this.#visits.ask(work, signal);
    this.#again.abort(new Error('somebody looks at the sink while it stands still'));
    return visited;
  }

  /**
   * Rebuilds the sink in place from its next opening on, which is at once where it is delivered to.
   * @param rebuild null: none that was asked for; one that was begun goes on to the end of the log
   */
  rebuildInPlace(rebuild: InPlaceRebuilding | null): void {
    this.#rebuild = rebuild;
    this.#again.abort(new Error('a rebuild in place was asked for'));
  }

  async live(signal: AbortSignal, healthy: () => void): Promise<LifeEnd | void> {
    const { config } = this.#parts;
    try {
      while (!signal.aborted) {
        this.#again = new AbortController();
        await this.#openOnce(signal, AbortSignal.any([signal, this.#again.signal]), healthy).catch((failure: unknown) => {
          // What the sink refuses is looked for at once, so that the error that it stops on can name it.
          if (config.onError === 'stop' && this.#isToBeSifted(failure)) return;
          if (!this.#isPassed(failure)) throw failure;
        });
        if (this.#parts.rests()) return 'paused';
      }
    } catch (failure) {
      if (signal.aborted) return;
      throw asTidemarkError(failure, 'INTERNAL', { sink: config.name, source: config.from });
    } finally {
      this.#delivery = null;
    }
  }

  /**
   * Delivers up to exactly `to` and ends with the sink open there; one that stands beyond it stays where it is. Answers
   * its checkpoint. The next call goes on from there without opening the sink, which nobody closes between them.
   * @param to not beyond the high watermark; a transaction's end where the sink keeps transactions whole
   * @throws TidemarkError the failure, after which it may be called again; `ABORTED`
   */
  async deliverTo(to: Offset, signal: AbortSignal, healthy: () => void): Promise<Checkpoint> {
    const { log, config } = this.#parts;
    const where = { sink: config.name, source: config.from };
    try {
      do {
        signal.throwIfAborted();
        await this.#openOnce(signal, signal, healthy, to).catch((failure: unknown) => {
          if (!this.#isToBeSifted(failure) && !this.#isPassed(failure)) throw failure;
        });
      } while (this.#stored === null || this.#stored < to || this.#errand !== null);
    } catch (failure) {
      throw asTidemarkError(failure, signal.aborted ? 'ABORTED' : 'INTERNAL', where);
    } finally {
      this.#delivery = null;
    }
    const { logId } = log.state();
    return { logId, epoch: log.epochAt(this.#stored), offset: this.#stored, position: this.#place.position, fence: this.#fence, cursor: null };
  }

  /** One opening of the sink, until `either` aborts: `signal`, or to open it again at once. @param to where it ends; null: nowhere */
  async #openOnce(signal: AbortSignal, either: AbortSignal, healthy: () => void, to: Offset | null = null): Promise<void> {
    const { sink, log, config, runtime } = this.#parts;
    const rebuild = this.#rebuild;
    const whenBehind = config.whenBehind ?? (sink.inPlace === null ? 'stop' : 'rebuild');
    const left = this.#left;
    this.#left = null;
    const start = left ?? (await openSink({ sink, log, selects: config.tables, whenBehind, lease: this.#lease, order: rebuild }, signal));
    if (left === null) runtime.logger.log('info', 'sink.opened', { offset: start.after, sweepAt: start.sweepAt });
    if (start.begins) await rebuild?.onBegun();
    // Swept before, and nobody could be told.
    else if (rebuild !== null && start.sweepAt === null) return this.#endRebuild(rebuild, start.after);
    await using load = await this.#openLoad(start);
    // The horizon was forced past the lease: opened again.
    if (start.load !== null && load === null) return;
    // What was applied before the end of an earlier life.
    if (load === null) await this.#parts.letters.closeSettled(start.after);
    // Until the sink has come to where the log ends now, the horizon does not pass it again.
    this.#leasedUntil = log.state().highWatermark;
    if (load === null) await this.#join(start, signal);
    // What is selected is what is loaded.
    else await this.#parts.tables?.settled(start);
    // While the sink is filled there is nothing to be visited: they wait.
    if (to === null && load === null && !this.#visits.isEmpty) return await this.#visited(start, signal);
    const errand = this.#errand;
    this.#errand = null;
    if (errand !== null && load !== null) await this.#siftLoad(errand, load, signal);
    else if (errand !== null) await this.#run(errand, start, to ?? rebuild?.to ?? Infinity, signal);
    if (errand !== null) return;
    this.#settling.clear();
    const delivery = this.#newDelivery(start, load, healthy);
    this.#delivery = delivery;
    this.#rebuilding = start.sweepAt !== null;
    this.#place = { position: start.position, commitTime: start.commitTime };
    this.#stored = start.after;
    this.#fence = start.fence;
    this.#moveTo(start.after);
    if (to !== null && start.after >= to && load === null) {
      if (start.sweepAt === null) this.#left = start;
      return;
    }
    if (this.#hurdle !== start.after) healthy();
    if (start.sweepAt !== null && start.after >= start.sweepAt) this.#again.abort(new Error('the rebuild has reached its end'));
    await delivery.run(either, to ?? rebuild?.to ?? null);
    if (to !== null && start.sweepAt === null) this.#left = { after: delivery.durable, ...this.#place, sweepAt: null, load: null, cursor: null, fence: start.fence, begins: false };
    if (start.sweepAt === null || delivery.progress < start.sweepAt) return;
    await this.#sweep(delivery.progress, signal);
    if (rebuild !== null && rebuild === this.#rebuild) await this.#endRebuild(rebuild, delivery.durable);
  }

  async #visited(start: DeliveryStart, signal: AbortSignal): Promise<void> {
    const sift = this.#sift(signal);
    await this.#visits.run({ at: start, apply: (batch) => sift.still(batch) });
  }

  /** What the sink is to be filled with first, if it is. While that goes on what is at the sink is hidden. */
  async #openLoad({ load: start, sweepAt }: DeliveryStart): Promise<BaseLoad | null> {
    const { sink, log, config, bytes, runtime } = this.#parts;
    this.#loading = null;
    if (start === null) return null;
    const { horizon, from } = start;
    const parts = { sink, log, selects: config.tables, random: runtime.random, maxBytes: foldBytes(bytes) };
    const load = await BaseLoad.open(parts, horizon, { from, empties: sweepAt === null });
    if (load === null) return null;
    this.#loading = { rows: load.rowsBefore, estimatedRows: load.estimatedRows };
    runtime.logger.log('info', 'sink.loading', { horizon, rows: load.rowsBefore, estimatedRows: load.estimatedRows });
    return load;
  }

  /** The first batch that is left of a load, in which the sink refuses something. Letters are tried again after the load. */
  async #siftLoad(errand: Errand, load: BaseLoad, signal: AbortSignal): Promise<void> {
    if (errand.kind !== 'sift') return;
    const sift = this.#sift(signal);
    for await (const batch of load.batches(signal)) {
      await sift.still(batch, load.cursor);
      return;
    }
  }

  get #lease(): string {
    return this.#parts.heldLease ?? leaseOf(this.#parts.config.name);
  }

  #releaseLease(offset: Offset): void {
    if (offset < this.#leasedUntil || this.#parts.heldLease !== null) return;
    this.#leasedUntil = Number.POSITIVE_INFINITY;
    this.#parts.log.release(this.#lease).catch((failure: unknown) => {
      this.#parts.runtime.logger.log('warn', 'sink.lease-not-released', { what: String(failure) });
    });
  }

  /** Gives the sink the tables that its configuration has come to select, or the rest of them; nothing of one that is given up stays noted. */
  async #join(start: DeliveryStart, signal: AbortSignal): Promise<void> {
    const { sink, log, tables, runtime } = this.#parts;
    const change = tables === null ? null : await tables.change(start);
    const sift = this.#sift(signal);
    if (tables !== null && change !== null) {
      if (change.joins !== null) {
        runtime.logger.log('info', 'sink.tables-joining', { offset: start.after, goesOn: start.cursor !== null });
        await log.leaseHorizon(this.#lease);
        const apply = (batch: SinkBatch, cursor: LoadCursor | null): Promise<void> => sift.still(batch, cursor);
        await joinTables({ sink, log, joins: change.joins, change: change.change, random: runtime.random, apply }, start, signal);
      }
      await tables.settled(start);
    }
    if (start.after > 0 && (start.cursor !== null || (change?.joins ?? null) !== null)) {
      await sift.still(joinEnd(start, log));
      await sift.retry(start);
    }
  }

  #newDelivery(start: DeliveryStart, load: BaseLoad | null, healthy: () => void): Delivery {
    const { sink, log, config, bytes, runtime } = this.#parts;
    const delivery = new Delivery({ sink, log, selects: config.tables, clock: runtime.clock, bytes, load }, load?.end ?? start, {
      onHanded: (batch) => {
        this.#parts.onJoined(delivery.tables.takeJoined());
        return this.#settling.handed(batch);
      },
      onDurable: (batch, ms) => {
        this.#hurdle = null;
        healthy();
        this.#place = { position: batch.position, commitTime: batch.commitTime };
        this.#stored = batch.to;
        this.#settling.durable(batch);
        if (this.#loading === null) this.#parts.onApplied(batch, ms);
        else this.#loaded(batch, ms, this.#loading);
      },
      onProgress: (offset) => {
        const sweepsNow = start.sweepAt !== null && offset >= start.sweepAt;
        // Where the end is named, the delivery itself ends there, with the checkpoint.
        if (sweepsNow && (this.#rebuild?.to ?? null) !== null) return;
        if (sweepsNow) this.#again.abort(new Error('the rebuild has reached its end'));
        else this.#moveTo(offset);
      },
      onFailed: (batch, failure) => {
        this.#hurdle = start.after;
        if (!(failure instanceof TidemarkError) || !isDataError(failure)) return;
        this.#errand = { kind: 'sift', to: batch.to, refusal: failure };
      },
    });
    return delivery;
  }

  /** A rebuild in place has been replayed to the end that the log had: removes what the replay did not write. */
  async #sweep(offset: Offset, signal: AbortSignal): Promise<void> {
    const { sink, runtime } = this.#parts;
    if (sink.inPlace === null) throw new TidemarkError('INTERNAL', 'a rebuild in place of a sink that has none');
    await sink.inPlace.sweep(signal);
    runtime.logger.log('info', 'sink.rebuilt', { offset });
    this.#rebuilding = false;
  }

  async #endRebuild(rebuild: InPlaceRebuilding, offset: Offset): Promise<void> {
    this.#moveTo(offset);
    await rebuild.onSwept(offset);
    if (this.#rebuild === rebuild) this.#rebuild = null;
  }

  /** @param end not beyond it: what was refused may lie beyond where the sink has been asked to be put since */
  async #run(errand: Errand, start: DeliveryStart, end: Offset, signal: AbortSignal): Promise<void> {
    const { config, letters, runtime } = this.#parts;
    const sift = this.#sift(signal);
    if (errand.kind === 'retry-letters') await sift.retry(start);
    else if (start.after < Math.min(errand.to, end)) await sift.over(start, Math.min(errand.to, end));
    if (config.onError === 'dead-letter') runtime.logger.log('info', 'sink.dead-letters', { open: letters.count });
  }

  #sift(signal: AbortSignal): Sift {
    const { sink, log, config, letters, runtime, printPosition, bytes } = this.#parts;
    const onProgress = ({ after, position, commitTime }: FoldStart): void => {
      this.#place = { position, commitTime };
      this.#moveTo(after);
    };
    return new Sift({
      sink, log, letters, printPosition, onProgress, selects: config.tables, clock: runtime.clock,
      maxBytes: foldBytes(bytes), refused: config.onError === 'stop' ? 'name' : 'set-aside',
    }, signal);
  }

  /** A batch of a load is durable, or the one that ends it. */
  #loaded(batch: SinkBatch, ms: number, before: LoadProgress): void {
    const { letters, runtime } = this.#parts;
    const rows = before.rows + batch.records;
    const progress: LoadProgress = { rows, estimatedRows: Math.max(rows, before.estimatedRows) };
    this.#parts.onLoaded(batch, ms, progress);
    this.#loading = batch.cursor === null ? null : progress;
    if (batch.cursor !== null) return;
    runtime.logger.log('info', 'sink.loaded', { offset: batch.to, rows });
    // Keys that are not in the base have nothing left to be tried for.
    if (letters.count > 0) this.retryLetters();
    if (!this.#visits.isEmpty) this.#again.abort(new Error('somebody waits to visit the sink'));
  }

  #moveTo(offset: Offset): void {
    this.#offset = offset;
    this.#releaseLease(offset);
    if (!this.#hidden) this.#reached.test(offset);
  }
}
