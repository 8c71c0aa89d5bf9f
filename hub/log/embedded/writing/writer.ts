import type { Catalog } from '../../../../contracts/catalog.ts';
import { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { asTidemarkError, TidemarkError } from '../../../../contracts/errors/error.ts';
import type { DurableProgress, LogWriter, WriterStart } from '../../../../contracts/log-engine.ts';
import { MAX_OFFSET, type Offset } from '../../../../contracts/offset.ts';
import { PackedTransactions } from '../../../../contracts/packed-transactions.ts';
import type { Position } from '../../../../contracts/position.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { MAX_BATCH_RECORDS_BYTES, MAX_ENTRIES } from '../segments/batch-codec.ts';
import { checkTransactions, hasContent, progressOf, splitBatch, splitIndex, surveyRecords, type RecordSurvey } from '../segments/batch-rules.ts';
import { GroupCommit } from './group-commit.ts';
import type { CatalogChange, LogCore } from '../log-core.ts';
import { SmallMemory } from './small-memory.ts';
import { cutLog } from '../segments/sealing.ts';

type Place = { baseOffset: Offset; lastOffset: Offset };

interface WaitingAppend {
  readonly batch: ChangeBatch;
  readonly resolve: (place: Place) => void;
  readonly reject: (error: Error) => void;
}

const EMPTY = Buffer.alloc(0);

/**
 * Gives offsets, checks what comes in, and hands it to the group commit.
 *
 * A batch that breaks a rule is refused, and with it every later one until `rollback`: what follows a refused batch
 * would leave a hole.
 */
export class EmbeddedLogWriter implements LogWriter {
  readonly start: WriterStart;
  readonly #core: LogCore;
  readonly #onDurable: (progress: DurableProgress) => void;
  readonly #release: () => void;
  readonly #view = new RecordView();
  readonly #idle = new AbortController();
  #commit: GroupCommit;
  /** As of the last accepted record; `core.catalog` follows it at the high watermark. */
  #tail: Catalog;
  readonly #small = new SmallMemory();
  #lastOffset: Offset;
  #open = false;
  #waiting: WaitingAppend[] = [];
  #draining: Promise<void> | null = null;
  #cutting: Promise<void> | null = null;
  #refused: TidemarkError | null = null;
  /** A cut that failed: what the files hold is settled only by the next writer's. */
  #cutFailure: TidemarkError | null = null;
  #activity = 0;
  #watching: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  /** @param release tells the log that it has no writer any more */
  constructor(core: LogCore, start: WriterStart, onDurable: (progress: DurableProgress) => void, release: () => void) {
    this.#core = core;
    this.start = start;
    this.#release = release;
    this.#onDurable = onDurable;
    this.#tail = core.catalog.clone();
    this.#lastOffset = core.view.end.offset;
    this.#commit = this.#newCommit();
  }

  get lastOffset(): Offset {
    return this.#lastOffset;
  }

  /** True when a failure has ended it, so that another may be opened. */
  get hasFailed(): boolean {
    return this.#commit.failure !== null || this.#cutFailure !== null;
  }

  append(batch: ChangeBatch): Promise<Place> {
    if (this.#draining === null && this.#cutting === null && this.#hasRoom()) {
      try {
        return Promise.resolve(this.#accept(batch));
      } catch (error) {
        return Promise.reject(asTidemarkError(error, 'INTERNAL'));
      }
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, resolve, reject });
      this.#draining ??= this.#drain();
    });
  }

  async rollback(): Promise<Offset> {
    await this.#draining;
    this.#assertUsable();
    await this.#commit.flush();
    if (this.#open || this.#refused !== null) {
      this.#cutting = this.#cut().finally(() => {
        this.#cutting = null;
      });
      await this.#cutting;
    }
    return this.#lastOffset;
  }

  async #cut(): Promise<void> {
    try {
      await this.#commit.close();
      await cutLog(this.#core);
    } catch (error) {
      this.#cutFailure = asTidemarkError(error, 'LOG_WRITE_FAILED', { source: this.#core.source });
      throw this.#cutFailure;
    }
    this.#lastOffset = this.#core.view.end.offset;
    this.#tail = this.#core.catalog.clone();
    this.#open = false;
    this.#refused = null;
    this.#commit = this.#newCommit();
  }

  async flush(): Promise<DurableProgress> {
    await this.#draining;
    this.#assertUsable();
    await this.#commit.flush();
    return this.#core.progress();
  }

  /** Closes the active segment, however small it is: once it is behind the high watermark it can be folded. */
  async closeSegment(): Promise<void> {
    await this.#draining;
    await this.#cutting;
    if (this.#closing !== null || this.hasFailed || !this.#commit.closeSegment()) return;
    this.#enqueueMark();
    await this.#commit.flush();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #newCommit(): GroupCommit {
    return new GroupCommit(this.#core, this.start.epoch, (progress) => {
      this.#watchIdle();
      this.#onDurable(progress);
    });
  }

  async #close(): Promise<void> {
    this.#idle.abort();
    await this.#watching;
    await this.#draining;
    const hadFailed = this.hasFailed;
    try {
      if (!hadFailed) {
        await this.#commit.flush();
        if (!this.#open) this.#mark();
        await this.#commit.flush();
      }
    } finally {
      await this.#commit.close();
      try {
        if (!this.hasFailed) await cutLog(this.#core);
      } finally {
        this.#release();
      }
    }
  }

  #assertUsable(): void {
    if (this.#closing !== null) throw new TidemarkError('LOG_CLOSED', 'the writer has been closed', { where: { source: this.#core.source } });
    const failure = this.#commit.failure ?? this.#cutFailure;
    if (failure !== null) throw failure;
  }

  #hasRoom(): boolean {
    return this.#commit.unsynced < this.#core.options.unsyncedBytes;
  }

  async #drain(): Promise<void> {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      try {
        await this.#cutting;
        await this.#commit.until(() => this.#hasRoom());
        next.resolve(this.#accept(next.batch));
      } catch (error) {
        next.reject(asTidemarkError(error, 'INTERNAL'));
      }
      this.#waiting.shift();
    }
    this.#draining = null;
  }

  /** @throws TidemarkError `LOG_BATCH_INVALID`, `LOG_CLOSED`, or the failure that ended the writer */
  #accept(given: ChangeBatch): Place {
    this.#assertUsable();
    if (this.#refused !== null) throw this.#refused;
    const baseOffset = this.#lastOffset + 1;
    try {
      const batch = this.#unpinned(given).placedAt(baseOffset);
      if (hasContent(batch) || batch.progress !== null) this.#take(batch);
    } catch (error) {
      this.#refused = asTidemarkError(error, 'LOG_BATCH_INVALID', { source: this.#core.source, offset: baseOffset });
      throw this.#refused;
    }
    return { baseOffset, lastOffset: this.#lastOffset };
  }

  /**
   * A batch whose records use little of the memory behind them gets other memory: batches are kept until they are
   * durable, and the newest for readers, counted by their own length.
   */
  #unpinned(batch: ChangeBatch): ChangeBatch {
    const { count, packed, progress, records } = batch;
    const small = this.#small;
    if (small.takes(records.length) && small.takes(packed.bytes.length)) {
      const transactions = PackedTransactions.over(small.keep(packed.bytes)) ?? packed;
      return new ChangeBatch({ count, records: small.keep(records), transactions, progress });
    }
    if (records.length * 2 >= records.buffer.byteLength) return batch;
    return new ChangeBatch({ count, records: Buffer.from(records), transactions: packed, progress });
  }

  #take(batch: ChangeBatch): void {
    checkLimits(batch);
    const openAfter = checkTransactions(batch, this.#open);
    if (!hasContent(batch) && this.#open) throw new TidemarkError('LOG_BATCH_INVALID', 'progress inside a transaction');
    const split = splitIndex(batch);
    const tables = new Set<number>();
    const survey = surveyRecords(batch, split ?? 0, (table) => tables.add(table));
    const changes = this.#changes(batch, survey);
    this.#lastOffset = batch.lastOffset;
    this.#open = openAfter;
    this.#activity++;
    const listed = [...tables];
    if (split === null) {
      this.#enqueue(batch, openAfter, listed, changes);
    } else {
      const [committed, open] = splitBatch(batch, split, survey.splitByte);
      this.#enqueue(committed, false, listed, changes.filter((change) => change.offset < open.baseOffset));
      this.#enqueue(open, true, listed, changes.filter((change) => change.offset >= open.baseOffset));
    }
  }

  #enqueue(batch: ChangeBatch, openAfter: boolean, tables: readonly number[], changes: readonly CatalogChange[]): void {
    const progress = progressOf(batch);
    const commitTime = batch.packed.lastCommit?.commitTime ?? null;
    this.#commit.enqueue({ batch: withProgress(batch, progress), openAfter, progress, commitTime, tables, changes });
  }

  /**
   * Applies `s` and `h` records to the tail catalog: what cannot be applied is refused before it is written. The tail is
   * then wrong, but nothing is taken any more until a rollback makes it anew.
   */
  #changes(batch: ChangeBatch, { controls }: RecordSurvey): CatalogChange[] {
    const tail = this.#tail;
    return controls.map(({ index, at }) => {
      const view = this.#view.seek(batch.records, at);
      const before = tail.table(view.tableId);
      tail.apply(view, batch.baseOffset + index);
      const table = tail.table(view.tableId);
      return { offset: batch.baseOffset + index, tables: table === undefined || table === before ? tail.tables() : [table] };
    });
  }

  /** Once nothing has come for a while, the durable offset is written down: else damage to the tail looks like a torn one. */
  #watchIdle(): void {
    if (this.#watching !== null || !this.#commit.hasUnnamed || this.#idle.signal.aborted) return;
    this.#watching = this.#markWhenIdle().finally(() => {
      this.#watching = null;
    });
  }

  async #markWhenIdle(): Promise<void> {
    for (let seen = -1; seen !== this.#activity; ) {
      seen = this.#activity;
      try {
        await this.#core.runtime.clock.sleep(this.#core.options.idleMs, this.#idle.signal);
      } catch (error) {
        if (this.#idle.signal.aborted) return;
        throw error;
      }
    }
    if (this.#draining === null && this.#cutting === null) this.#mark();
  }

  /** An empty batch; its header names what is durable. */
  #mark(): void {
    if (this.#commit.hasUnnamed && !this.hasFailed) this.#enqueueMark();
  }

  #enqueueMark(): void {
    const batch = new ChangeBatch({ baseOffset: this.#lastOffset + 1, count: 0, records: EMPTY, transactions: [], progress: null });
    this.#commit.enqueue({ batch, openAfter: this.#open, progress: null, commitTime: null, tables: [], changes: [] });
  }
}

function withProgress(batch: ChangeBatch, progress: Position | null): ChangeBatch {
  if (batch.progress === progress) return batch;
  const { baseOffset, count, records, packed } = batch;
  return new ChangeBatch({ baseOffset, count, records, transactions: packed, progress });
}

function checkLimits(batch: ChangeBatch): void {
  if (batch.records.length > MAX_BATCH_RECORDS_BYTES || batch.packed.length > MAX_ENTRIES) {
    throw new TidemarkError('LOG_BATCH_INVALID', `a batch of ${batch.records.length} bytes and ${batch.packed.length} transactions is above the limit`);
  }
  if (batch.lastOffset > MAX_OFFSET) throw new TidemarkError('OFFSET_RANGE', 'the log has reached the last offset');
}
