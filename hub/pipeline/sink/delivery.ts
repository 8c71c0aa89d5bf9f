import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import { type Applying, DEFAULT_LIMITS, type Sink, type SinkBatch, type TableSelector } from '../../../contracts/sink.ts';
import type { BaseLoad } from './base-load.ts';
import { Budget, isReady } from './budget.ts';
import { Fold, type FoldStart } from './fold.ts';
import { MirroredTables } from './mirrored-tables.ts';

/** A batch refers to at most this many bytes of the log. */
const FOLD_BYTES = 16 << 20;
/** How often the checkpoint of a sink moves while only tables of others change, in milliseconds. */
const IDLE_CHECKPOINT_MS = 1000;
/** How long batches in flight may take to end when the delivery is asked to stop, in milliseconds. */
const DRAIN_MS = 4000;

/** How many bytes of the log one batch refers to at most. @param bytes that the delivery may hold in flight */
export function foldBytes(bytes: number): number {
  return Math.min(FOLD_BYTES, bytes / 2);
}

export interface DeliveryParts {
  readonly sink: Sink;
  readonly log: SourceLog;
  readonly selects: TableSelector;
  readonly clock: Clock;
  /** Bytes that this delivery may hold in flight. */
  readonly bytes: number;
  /** The sink stands before everything, and is filled with this first; null: it stands where the delivery starts. */
  readonly load: BaseLoad | null;
}

export interface DeliveryEvents {
  /** A batch is about to be handed over; not null: it is once that has resolved. It does not reject. */
  onHanded(batch: SinkBatch): Promise<void> | null;
  /** The sink has made the batch durable. The rows of a part of a transaction are not in it any more. */
  onDurable(batch: SinkBatch, ms: number): void;
  /** The sink equals the source as of `offset`, in the tables that it mirrors. */
  onProgress(offset: Offset): void;
  /** The sink has failed; `batch` is the first one that it rejected. */
  onFailed(batch: SinkBatch, failure: unknown): void;
}

interface Flight {
  /**
   * Without its rows once the sink has accepted a part of a transaction: the parts of one larger than memory all become
   * durable with the last of them, and must not be held until then.
   */
  batch: SinkBatch;
  /** Commit time of its first transaction, microseconds since 1970. */
  readonly oldest: number;
}

/**
 * Log to sink, from one opening of the sink to its failure or stop: the base, where the sink has nothing; then the history,
 * folded. Keeps several batches in flight within a budget. Progress moves on what the sink calls durable alone; over records that the sink does not
 * mirror it moves at once, and the checkpoint follows each second, and when the delivery is asked to stop.
 */
export class Delivery {
  readonly #parts: DeliveryParts;
  readonly #events: DeliveryEvents;
  readonly #fold: Fold;
  readonly #budget: Budget;
  readonly #life = new AbortController();
  /** Aborts what is in flight; only when draining takes too long. */
  readonly #cut = new AbortController();
  readonly #flights = new Set<Flight>();
  readonly #settling = new Set<Promise<void>>();
  readonly tables: MirroredTables;
  #accepted: Promise<void> = Promise.resolve();
  #durable: Offset;
  #progress: Offset;
  #oldest = 0;
  #reading = false;
  /** Not all of the base has been handed over. */
  #filling: boolean;
  #spaceFreed: () => void = () => undefined;

  /** @param start where the history goes on: behind the load, if there is one */
  constructor(parts: DeliveryParts, start: FoldStart, events: DeliveryEvents) {
    this.#parts = parts;
    this.#events = events;
    const { limits = DEFAULT_LIMITS } = parts.sink;
    this.#budget = new Budget(parts.bytes);
    this.tables = new MirroredTables(parts.log.catalog(), start.after, parts.selects, parts.sink.handsNamesOn);
    this.#fold = new Fold(this.tables, { ...limits, maxBytes: foldBytes(parts.bytes) }, start);
    this.#filling = parts.load !== null;
    this.#durable = this.#progress = parts.load === null ? start.after : 0;
  }

  /** The sink equals the source as of this offset. */
  get progress(): Offset {
    return this.#progress;
  }

  /** The offset of the sink's checkpoint. */
  get durable(): Offset {
    return this.#durable;
  }

  /** Commit time of the oldest transaction that is not durable at the sink, microseconds since 1970; 0: none is known. */
  get oldestPending(): number {
    for (const flight of this.#flights) return flight.oldest;
    return this.#fold.isIdle ? 0 : this.#oldest;
  }

  /**
   * Delivers until `signal` aborts; what is in flight then ends first.
   * @param to ends there, with the sink's checkpoint exactly there and durable: a transaction's end where the sink keeps
   *   transactions whole, not beyond the high watermark; null: follows the log
   * @throws TidemarkError the sink's or log's failure
   */
  async run(signal: AbortSignal, to: Offset | null = null): Promise<void> {
    const { log, clock } = this.#parts;
    const either = AbortSignal.any([signal, this.#life.signal]);
    // A sink that is opened again begins at its checkpoint.
    const range = { keeps: () => this.#durable, ...(to === null ? { follow: true } : { follow: false, to }) };
    let isAsked = false;
    using _checkpoints = clock.every(IDLE_CHECKPOINT_MS, () => this.#checkpointIdle());
    try {
      await this.#fill(either);
      this.#reading = true;
      const isThere = to !== null && this.#fold.to >= to;
      for await (const batch of isThere ? [] : log.read({ after: this.#fold.to, ...range, signal: either })) {
        this.#reading = false;
        await this.#deliver(batch, either, to);
        this.#reading = true;
      }
      if (to === null) throw new TidemarkError('INTERNAL', 'the log ended although it was followed');
      this.#reading = false;
      await this.#handLast(to, either);
    } catch (failure) {
      if (this.#life.signal.aborted) throw reasonOf(this.#life.signal);
      if (!signal.aborted) throw failure;
      isAsked = true;
    } finally {
      this.#reading = false;
      await this.#drain(isAsked);
    }
  }

  async #deliver(batch: ChangeBatch, signal: AbortSignal, to: Offset | null): Promise<void> {
    const fold = this.#fold;
    if (fold.isIdle) this.#oldest = batch.packed.firstCommitTime;
    fold.feed(batch);
    while (!fold.run()) await this.#handFolded(signal);
    const end = to ?? this.#parts.log.state().highWatermark;
    fold.reached(end);
    const folded = fold.records + 1;
    if (!fold.isIdle && isReady({ folded, ahead: end - fold.to, full: fold.isFull, mayEnd: fold.mayEnd })) {
      await this.#handFolded(signal);
    }
    this.#moved();
  }

  /** Hands over what is left up to `to`, its checkpoint at least, and waits until all of it is durable. */
  async #handLast(to: Offset, signal: AbortSignal): Promise<void> {
    const fold = this.#fold;
    fold.reached(to);
    if (!fold.isEmpty) await this.#handFolded(signal);
    await orAborted(Promise.all(this.#settling).then(() => undefined), signal);
  }

  async #fill(signal: AbortSignal): Promise<void> {
    const { load } = this.#parts;
    if (load === null) return;
    this.#oldest = load.end.commitTime;
    for await (const batch of load.batches(signal)) {
      await this.#room(batch.bytes, signal);
      this.#send(batch);
    }
    this.#filling = false;
    await load[Symbol.asyncDispose]();
  }

  async #handFolded(signal: AbortSignal): Promise<void> {
    await this.#room(this.#fold.bytes, signal);
    this.#sendFolded();
  }

  /** Waits until the sink takes another batch, of so many bytes. */
  async #room(bytes: number, signal: AbortSignal): Promise<void> {
    await orAborted(this.#accepted, signal);
    while (!this.#budget.allows(bytes)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#spaceFreed = resolve;
      await orAborted(promise, signal);
    }
  }

  #sendFolded(): void {
    const { log } = this.#parts;
    const oldest = this.#oldest;
    const batch = this.#fold.take((offset) => log.epochAt(offset));
    this.#oldest = batch.commitTime;
    this.#send(batch, oldest);
  }

  /** @param oldest commit time of its first transaction */
  #send(batch: SinkBatch, oldest = this.#oldest): void {
    const { sink, clock } = this.#parts;
    const flight: Flight = { batch, oldest };
    const begun = clock.monotonic();
    this.#flights.add(flight);
    this.#budget.take(batch.bytes);
    const ready = this.#events.onHanded(batch);
    const { accepted, durable } = ready === null ? sink.apply(batch, this.#cut.signal) : applyOnce(ready, () => sink.apply(batch, this.#cut.signal));
    this.#follow(flight, begun, accepted, durable);
  }

  /** What follows a hand-over. It holds the batch through its flight alone. */
  #follow(flight: Flight, begun: number, accepted: Promise<void>, durable: Promise<Offset>): void {
    const { clock } = this.#parts;
    const fail = (failure: unknown): void => this.#fail(failure, flight.batch);
    this.#accepted = accepted.then(() => {
      if (!flight.batch.endsOpen) return;
      this.#give(flight.batch.bytes);
      flight.batch = { ...flight.batch, steps: [] };
    });
    this.#accepted.catch(fail);
    const settled = durable.then((offset) => {
      const { batch } = flight;
      if (offset < batch.to) throw new TidemarkError('INTERNAL', `the sink calls ${offset} durable for a batch that ends at ${batch.to}`);
      this.#flights.delete(flight);
      if (!batch.endsOpen) this.#give(batch.bytes);
      this.#durable = Math.max(this.#durable, batch.to);
      this.#events.onDurable(batch, clock.monotonic() - begun);
      this.#moved();
    }).catch(fail).finally(() => this.#settling.delete(settled));
    this.#settling.add(settled);
  }

  #give(bytes: number): void {
    this.#budget.give(bytes);
    this.#spaceFreed();
  }

  #fail(failure: unknown, batch: SinkBatch): void {
    if (!this.#life.signal.aborted) this.#events.onFailed(batch, failure);
    this.#life.abort(failure);
    this.#spaceFreed();
  }

  /** Tells progress: what is durable, and beyond it what the sink has nothing to do for. */
  #moved(): void {
    const fold = this.#fold;
    const idle = !this.#filling && this.#flights.size === 0 && fold.isIdle && !fold.endsOpen;
    const progress = idle ? Math.max(this.#durable, fold.to) : this.#durable;
    if (progress <= this.#progress) return;
    this.#progress = progress;
    this.#events.onProgress(progress);
  }

  /** Moves the sink's checkpoint over records of tables that it does not mirror. */
  #checkpointIdle(): void {
    const fold = this.#fold;
    if (!this.#reading || this.#flights.size > 0 || fold.isEmpty || !fold.isIdle || fold.endsOpen) return;
    if (!this.#life.signal.aborted) this.#sendFolded();
  }

  /** Ends what is in flight, then moves the checkpoint to what has been read since, where that is nothing of the sink's. */
  async #leave(): Promise<void> {
    await Promise.allSettled(this.#settling);
    const fold = this.#fold;
    const isOver = this.#life.signal.aborted || this.#cut.signal.aborted || this.#filling;
    if (isOver || fold.isEmpty || !fold.isIdle || fold.endsOpen) return;
    this.#sendFolded();
    await Promise.allSettled(this.#settling);
  }

  /** Lets what is in flight end, for a bounded time; a part of a transaction whose rest will not come is cut at once. */
  async #drain(leavesCheckpoint: boolean): Promise<void> {
    const last = [...this.#flights].at(-1);
    if (last?.batch.endsOpen === true) this.#cut.abort(new TidemarkError('ABORTED', 'the delivery stops inside a transaction'));
    const all = leavesCheckpoint ? this.#leave() : Promise.allSettled(this.#settling);
    const ended = new AbortController();
    const deadline = this.#parts.clock.sleep(DRAIN_MS, ended.signal).then(
      () => this.#cut.abort(new TidemarkError('ABORTED', 'the delivery did not end in time')),
      () => undefined,
    );
    await all;
    ended.abort();
    await deadline;
  }
}

/** The next batch waits until this one is accepted, so that they stay in order. */
function applyOnce(ready: Promise<void>, apply: () => Applying): Applying {
  const applying = ready.then(apply);
  return { accepted: applying.then(({ accepted }) => accepted), durable: applying.then(({ durable }) => durable) };
}

/** What the sink takes its time for must not keep a delivery that is asked to stop. */
function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = (): void => reject(reasonOf(signal));
  signal.addEventListener('abort', stop, { once: true });
  work.then(resolve, reject);
  return promise.finally(() => signal.removeEventListener('abort', stop));
}

function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error(String(reason));
}
