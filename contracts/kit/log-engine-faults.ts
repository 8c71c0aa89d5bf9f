/**
 * Log engines that misbehave on command: wrappers around a real one. Disposing a wrapper disposes the real one.
 *
 * A writer whose append fails is over, as with a real engine: every later call rejects with the same error, and the next
 * `openWriter` closes it first.
 */
import type { ChangeBatch } from '../change-batch.ts';
import { asTidemarkError, TidemarkError } from '../errors/error.ts';
import type { DurableProgress, LogEngine, LogWriter, ReadOptions, SourceLog } from '../log-engine.ts';
import { createGate, type Gate } from './gate.ts';

/** True for the appends that a fault strikes. */
export type StrikesAppend = (batch: ChangeBatch) => boolean;

type Place = Awaited<ReturnType<LogWriter['append']>>;
type Append = (batch: ChangeBatch, writer: LogWriter) => Promise<Place>;
type Read = (log: SourceLog, options: ReadOptions) => AsyncIterable<ChangeBatch>;

/** The batch never reaches the log; `LOG_WRITE_FAILED` unless another error is given. */
export function rejectAppend(engine: LogEngine, strikes: StrikesAppend, error: TidemarkError = writeFailed('rejected before the work')): LogEngine {
  return new FaultyEngine(engine, (batch, writer) => (strikes(batch) ? Promise.reject(error) : writer.append(batch)), plainRead);
}

/** The batch and all before it become durable and are told so, and then the append fails; `LOG_WRITE_FAILED`. */
export function failAfterAppend(engine: LogEngine, strikes: StrikesAppend): LogEngine {
  const append: Append = async (batch, writer) => {
    const place = await writer.append(batch);
    if (!strikes(batch)) return place;
    await writer.flush();
    throw writeFailed('failed after the work was done');
  };
  return new FaultyEngine(engine, append, plainRead);
}

/** The log gets no batch before `before` has resolved: a slow disk, by whatever clock the caller waits with. */
export function slowAppend(engine: LogEngine, before: (batch: ChangeBatch) => Promise<void>): LogEngine {
  return new FaultyEngine(engine, (batch, writer) => before(batch).then(() => writer.append(batch)), plainRead);
}

/** A log engine whose appends wait between `hold` and `go`. */
export type HeldLogEngine = LogEngine & Gate;

export function holdAppend(engine: LogEngine): HeldLogEngine {
  const gate = createGate();
  const slow = slowAppend(engine, gate.pass);
  return {
    sources: () => slow.sources(),
    open: (source, options) => slow.open(source, options),
    hold: gate.hold,
    go: gate.go,
    get waiting() {
      return gate.waiting;
    },
    [Symbol.asyncDispose]: () => slow[Symbol.asyncDispose](),
  };
}

/** `cut` is called once the log has the batch, before the append resolves: a process that dies in the middle. */
export function cutDuringAppend(engine: LogEngine, strikes: StrikesAppend, cut: () => void): LogEngine {
  const append: Append = (batch, writer) => {
    const appending = writer.append(batch);
    if (strikes(batch)) cut();
    return appending;
  };
  return new FaultyEngine(engine, append, plainRead);
}

/** Readers fail with `LOG_READ_FAILED` in place of the batches that the fault strikes; a new reader may get them. */
export function failRead(engine: LogEngine, strikes: (batch: ChangeBatch) => boolean): LogEngine {
  async function* read(log: SourceLog, options: ReadOptions): AsyncGenerator<ChangeBatch, void, void> {
    for await (const batch of log.read(options)) {
      if (strikes(batch)) throw new TidemarkError('LOG_READ_FAILED', 'rejected before the batch was given', { where: { source: log.source, offset: batch.baseOffset } });
      yield batch;
    }
  }
  return new FaultyEngine(engine, plainAppend, read);
}

const plainAppend: Append = (batch, writer) => writer.append(batch);
const plainRead: Read = (log, options) => log.read(options);

function writeFailed(what: string): TidemarkError {
  return new TidemarkError('LOG_WRITE_FAILED', what);
}

class FaultyEngine implements LogEngine {
  readonly #engine: LogEngine;
  readonly #append: Append;
  readonly #read: Read;
  readonly #logs = new Map<string, FaultyLog>();

  constructor(engine: LogEngine, append: Append, read: Read) {
    this.#engine = engine;
    this.#append = append;
    this.#read = read;
  }

  sources(): Promise<string[]> {
    return this.#engine.sources();
  }

  async open(source: string, options: { create: boolean }): Promise<SourceLog> {
    const log = await this.#engine.open(source, options);
    const known = this.#logs.get(source) ?? new FaultyLog(log, this.#append, this.#read);
    this.#logs.set(source, known);
    return known;
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#engine[Symbol.asyncDispose]();
  }
}

class FaultyLog implements SourceLog {
  readonly source: string;
  readonly #log: SourceLog;
  readonly #append: Append;
  readonly #read: Read;
  #writer: FaultyWriter | null = null;

  constructor(log: SourceLog, append: Append, read: Read) {
    this.source = log.source;
    this.#log = log;
    this.#append = append;
    this.#read = read;
  }

  state: SourceLog['state'] = () => this.#log.state();
  catalog: SourceLog['catalog'] = () => this.#log.catalog();
  epochAt: SourceLog['epochAt'] = (offset) => this.#log.epochAt(offset);
  catalogAt: SourceLog['catalogAt'] = (offset, signal) => this.#log.catalogAt(offset, signal);
  lastCommit: SourceLog['lastCommit'] = (accepts, signal) => this.#log.lastCommit(accepts, signal);
  pin: SourceLog['pin'] = () => this.#log.pin();
  openBase: SourceLog['openBase'] = () => this.#log.openBase();
  marks: SourceLog['marks'] = () => this.#log.marks();
  compact: SourceLog['compact'] = (to, options, signal) => this.#log.compact(to, options, signal);
  compaction: SourceLog['compaction'] = () => this.#log.compaction();
  extent: SourceLog['extent'] = (tableId) => this.#log.extent(tableId);
  readTables: SourceLog['readTables'] = (tableIds, options) => this.#log.readTables(tableIds, options);
  newest: SourceLog['newest'] = (tableId, key, options) => this.#log.newest(tableId, key, options);
  leaseHorizon: SourceLog['leaseHorizon'] = (name) => this.#log.leaseHorizon(name);
  lease: SourceLog['lease'] = (name, offset) => this.#log.lease(name, offset);
  leases: SourceLog['leases'] = () => this.#log.leases();
  release: SourceLog['release'] = (name) => this.#log.release(name);
  plan: SourceLog['plan'] = (checkpoint) => this.#log.plan(checkpoint);
  reached: SourceLog['reached'] = (offset, signal) => this.#log.reached(offset, signal);

  read(options: ReadOptions): AsyncIterable<ChangeBatch> {
    return this.#read(this.#log, options);
  }

  async openWriter(onDurable: (progress: DurableProgress) => void): Promise<LogWriter> {
    if (this.#writer?.hasFailed === true) await this.#writer[Symbol.asyncDispose]();
    this.#writer = new FaultyWriter(await this.#log.openWriter(onDurable), this.#append);
    return this.#writer;
  }
}

class FaultyWriter implements LogWriter {
  readonly start: LogWriter['start'];
  readonly #writer: LogWriter;
  readonly #append: Append;
  #failure: TidemarkError | null = null;

  constructor(writer: LogWriter, append: Append) {
    this.start = writer.start;
    this.#writer = writer;
    this.#append = append;
  }

  get hasFailed(): boolean {
    return this.#failure !== null;
  }

  get lastOffset(): number {
    return this.#writer.lastOffset;
  }

  async append(batch: ChangeBatch): Promise<Place> {
    this.#assertUsable();
    try {
      return await this.#append(batch, this.#writer);
    } catch (error) {
      this.#failure ??= asTidemarkError(error, 'INTERNAL');
      throw this.#failure;
    }
  }

  async rollback(): Promise<number> {
    this.#assertUsable();
    return await this.#writer.rollback();
  }

  async flush(): Promise<DurableProgress> {
    this.#assertUsable();
    return await this.#writer.flush();
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#writer[Symbol.asyncDispose]();
  }

  #assertUsable(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}
