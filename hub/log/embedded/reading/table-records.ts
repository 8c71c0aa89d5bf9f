import { BATCH_BYTES, BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { ReadOptions, TableRecords } from '../../../../contracts/log-engine.ts';
import { MAX_OFFSET, type Offset } from '../../../../contracts/offset.ts';
import { archivedRecord, archiveEntry, readTransaction, transactionAt, transactionKey, type ArchivedTransaction } from '../base/archive-entry.ts';
import { pinHorizon, type Pin } from '../base/pins.ts';
import { readError } from '../disk-error.ts';
import type { LogCore } from '../log-core.ts';
import { MergeCursor } from '../runs/merge.ts';
import { corruptRun, type EntryCursor } from '../runs/run-format.ts';
import { RunReader } from '../runs/run-reader.ts';
import { readLog } from './reader.ts';
import { aborted } from '../../../waiters.ts';

/** Tables that are put in order below the horizon: each has its own place in the archive. */
const MOST_TABLES = 64;
/** Control records that concern every table. */
const NO_TABLE = 0;

/** @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_TABLES`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `LOG_CLOSED`, `ABORTED` */
export async function* readTables(core: LogCore, tableIds: readonly number[], options: ReadOptions): AsyncGenerator<TableRecords, void, void> {
  const to = options.to ?? MAX_OFFSET;
  let { after } = options;
  const pin = await pinHorizon(core);
  const { horizon } = core.view;
  try {
    if (after < horizon) {
      await using archive = await Archive.open(core, [...new Set([NO_TABLE, ...tableIds])], after);
      const last = Math.min(to, horizon);
      for (let records = await archive.next(last); records !== null; records = await archive.next(last)) {
        if (options.signal.aborted) throw aborted(options.signal);
        pin.moveTo(horizon);
        yield records;
      }
      after = horizon;
    }
    if (to <= horizon && !options.follow) return;
    for await (const batch of releasing(pin, readLog(core, { ...options, after }))) yield { batch, offsets: null };
  } finally {
    pin[Symbol.dispose]();
  }
}

/** A reader has a pin of its own as soon as it has begun: the one that kept its place until then goes. */
async function* releasing(pin: Pin, batches: AsyncGenerator<ChangeBatch, void, void>): AsyncGenerator<ChangeBatch, void, void> {
  try {
    const first = batches.next();
    pin[Symbol.dispose]();
    const { value, done } = await first;
    if (done === true) return;
    yield value;
    yield* batches;
  } finally {
    await batches.return();
  }
}

/** Some tables' records from below the horizon, in order of their offsets. Owns the files it has open. */
class Archive implements AsyncDisposable {
  readonly #readers: readonly RunReader[];
  readonly #tables: TableCursor[] = [];
  readonly #builder = new BatchBuilder(BATCH_BYTES + (64 << 10));
  /** The offset of the entry that is added last. */
  #last: Offset = 0;

  private constructor(readers: readonly RunReader[]) {
    this.#readers = readers;
  }

  static async open(core: LogCore, tableIds: readonly number[], after: Offset): Promise<Archive> {
    if (tableIds.length > MOST_TABLES + 1) {
      throw new TidemarkError('LOG_TABLES', `records of ${tableIds.length - 1} tables were asked for from below the horizon; the most is ${MOST_TABLES}`, { where: { source: core.source } });
    }
    const { base, horizon, extents } = core.view;
    for (const tableId of tableIds) {
      const from = tableId === NO_TABLE ? 0 : (extents.get(tableId)?.recordsAfter ?? horizon);
      if (after >= from) continue;
      throw new TidemarkError('LOG_BELOW_HORIZON', `records of table id ${tableId} were asked for after offset ${after}; the log has them after ${from}`, {
        where: { source: core.source, offset: from },
      });
    }
    const readers: RunReader[] = [];
    const archive = new Archive(readers);
    try {
      for (const run of base?.archive ?? []) if (run.to > after) readers.push(await RunReader.open(core.files, core.runPath(run.number)));
      for (const tableId of tableIds) {
        const table = new TableCursor(readers, tableId);
        if (await table.begin(after)) archive.#tables.push(table);
      }
      return archive;
    } catch (error) {
      await archive[Symbol.asyncDispose]();
      // Merged or dropped between the look and the opening.
      if (core.view.base !== base && !core.closed) return Archive.open(core, tableIds, after);
      throw readError(error, { source: core.source });
    }
  }

  /** The next records up to `to`; null at the end. */
  async next(to: Offset): Promise<TableRecords | null> {
    const builder = this.#builder;
    const offsets: Offset[] = [];
    let open: { readonly table: TableCursor; readonly at: Offset; readonly transaction: ArchivedTransaction } | null = null;
    for (let table = this.#lowest(to); table !== null && builder.length < BATCH_BYTES; table = this.#lowest(to)) {
      // The same control record stands in the archive of each age.
      if (table.offset > this.#last) {
        const transaction = await table.transaction();
        if (open === null || !isSame(open, table, transaction)) {
          if (open !== null) builder.commit(open.transaction.position);
          builder.begin(transaction.kind, transaction.xid, transaction.commitTime, transaction.origin);
          open = { table, at: table.transactionAt, transaction };
        }
        builder.copy(table.record());
        offsets.push(table.offset);
        this.#last = table.offset;
      }
      if (!(await table.next())) this.#tables.splice(this.#tables.indexOf(table), 1);
    }
    if (open === null) return null;
    builder.commit(open.transaction.position);
    return { batch: builder.take(), offsets };
  }

  #lowest(to: Offset): TableCursor | null {
    let lowest: TableCursor | null = null;
    for (const table of this.#tables) if (table.offset <= to && (lowest === null || table.offset < lowest.offset)) lowest = table;
    return lowest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const reader of this.#readers) await reader[Symbol.asyncDispose]();
  }
}

/** Transactions of one table are told apart by where they stand; those of several by what they are. */
function isSame(open: { readonly table: TableCursor; readonly at: Offset; readonly transaction: ArchivedTransaction }, table: TableCursor, transaction: ArchivedTransaction): boolean {
  if (open.table === table) return open.at === table.transactionAt;
  const one = open.transaction;
  return one.xid === transaction.xid && one.kind === transaction.kind && one.commitTime === transaction.commitTime && Buffer.compare(one.position, transaction.position) === 0;
}

/** The archived records of one table, over all runs. */
class TableCursor {
  offset: Offset = 0;
  transactionAt: Offset = 0;
  readonly #readers: readonly RunReader[];
  readonly #tableId: number;
  #cursor: EntryCursor | null = null;
  #transaction: { readonly at: Offset; readonly value: ArchivedTransaction } | null = null;

  constructor(readers: readonly RunReader[], tableId: number) {
    this.#readers = readers;
    this.#tableId = tableId;
  }

  /** Goes to the first record behind `after`; false: there is none. */
  begin(after: Offset): Promise<boolean> {
    const from = { tableId: this.#tableId, key: transactionKey(after + 1) };
    this.#cursor = new MergeCursor(this.#readers.map((reader) => reader.cursor(from)), 'all');
    return this.next();
  }

  async next(): Promise<boolean> {
    const cursor = this.#cursor;
    if (cursor === null) return false;
    for (;;) {
      const moving = cursor.next();
      if (!(moving instanceof Promise ? await moving : moving) || cursor.tableId !== this.#tableId) return false;
      const { offset, isRecord } = archiveEntry(cursor);
      if (!isRecord) {
        this.#transaction = { at: offset, value: readTransaction(cursor.bytes, cursor.keyEnd, cursor.valueEnd) };
        continue;
      }
      this.offset = offset;
      this.transactionAt = transactionAt(cursor);
      return true;
    }
  }

  record(): Buffer {
    if (this.#cursor === null) throw new TidemarkError('INTERNAL', 'a record is taken before the first');
    return archivedRecord(this.#cursor);
  }

  /** Of the record where it stands; that of a record in the middle of one is looked up. */
  async transaction(): Promise<ArchivedTransaction> {
    const at = this.transactionAt;
    if (this.#transaction?.at === at) return this.#transaction.value;
    for (const reader of this.#readers) {
      const found = await reader.find(this.#tableId, transactionKey(at));
      if (found === null) continue;
      this.#transaction = { at, value: readTransaction(found, 0, found.length) };
      return this.#transaction.value;
    }
    throw corruptRun(`the transaction at offset ${at} is not in the archive`, '');
  }
}
