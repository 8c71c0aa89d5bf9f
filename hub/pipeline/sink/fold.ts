import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import type { EpochId } from '../../../contracts/checkpoint.ts';
import { decodeControl } from '../../../contracts/control.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../contracts/op.ts';
import { TransactionWalk } from '../../../contracts/packed-transactions.ts';
import type { Position } from '../../../contracts/position.ts';
import { Projectors } from '../../../contracts/projection.ts';
import { RecordView } from '../../../contracts/record.ts';
import { decodeSchema } from '../../../contracts/schema.ts';
import type { BatchLimits, FoldedTable, RecordRef, SinkBatch, SinkStep } from '../../../contracts/sink.ts';
import { RowBag } from './row-bag.ts';
import { KeyTable } from './key-table.ts';
import type { MirroredTable, MirroredTables } from './mirrored-tables.ts';

/** Where a fold begins: the sink's place in the log. */
export interface FoldStart {
  readonly after: Offset;
  readonly position: Position;
  readonly commitTime: number;
}

/** How much is folded into one batch. */
export interface FoldLimits extends BatchLimits {
  /** Bytes of the batches referred to, above which a batch is full. */
  readonly maxBytes: number;
}

/** Where records are this long on average, a batch is full at a fraction of its bytes: large ones gain nothing there. */
const WIDE_ROW = 1024;
const WIDE_PART = 8;

/**
 * Steps, and tables in them, above which a batch is full where it may end at a transaction's end: a sink that applies it
 * in one transaction holds locks on each of them, and its server has room for some thousands only.
 */
export const MOST_PARTS = 400;

/** So many keys and bytes are enough for one batch. */
export function isLargeBatch(keys: number, records: number, bytes: number, { maxKeys, maxBytes }: Pick<FoldLimits, 'maxKeys' | 'maxBytes'>): boolean {
  if (keys >= maxKeys || bytes >= maxBytes) return true;
  return bytes >= maxBytes / WIDE_PART && bytes >= WIDE_ROW * records;
}

/** The mark of a key that did not exist before this batch. */
const KNOWN_NEW = 1;

/** What one rows step says of one table so far. */
interface FoldingTable {
  /** Its place among the step's tables. */
  readonly index: number;
  readonly mirrored: MirroredTable;
  truncate: boolean;
  /** Entries of the key table below it are void: the table was truncated after them. */
  floor: number;
  /** Of a keyless table, else null. */
  readonly bag: RowBag | null;
}

/**
 * Folds the records of (after, to] into batches for a sink that holds state: per rows step the last write of each key,
 * truncates first, net counts of keyless rows; schema changes and table states are steps of their own, in order.
 * Records flagged incomplete or not applied are left out.
 *
 * `feed` gives it a batch of the log, `run` folds until the batch is used up or the fold is full, `take` hands out what is
 * folded so far and starts the next one. Holds on to the batches that it refers to until `take`. Not re-entrant.
 */
export class Fold {
  readonly #tables: MirroredTables;
  readonly #limits: FoldLimits;
  readonly #keys = new KeyTable();
  readonly #projectors = new Projectors();
  readonly #view = new RecordView();

  #batch: ChangeBatch | null = null;
  #entry: TransactionWalk | null = null;
  /** The entry is begun and not used up. */
  #inEntry = false;
  /** Byte of the last entry of the batch that committed at a position; -1: none, or the position is known already. */
  #committedAt = -1;
  #index = 0;
  /** The record under the view is still to be folded: it begins the next batch. */
  #isHeld = false;
  /** Index of `#batch` in `#batches`; -1 while nothing of it is referred to. */
  #batchIndex = -1;

  #batches: ChangeBatch[] = [];
  #bytesOf: Buffer[] = [];
  #steps: SinkStep[] = [];
  #step = new Map<number, FoldingTable | null>();
  #stepTables: FoldingTable[] = [];
  #lastTableId = -1;
  #lastTable: FoldingTable | null = null;
  /** Keys in the steps that are closed already, and bag rows. */
  #closedKeys = 0;
  /** Tables of the rows steps that are closed already. */
  #closedTables = 0;

  #after: Offset;
  #to: Offset;
  #position: Position;
  #commitTime: number;
  #records = 0;
  #bytes = 0;
  #endsOpen = false;
  /** The batch that was taken last ended inside the transaction. */
  #takenOpen = false;

  constructor(tables: MirroredTables, limits: FoldLimits, start: FoldStart) {
    this.#tables = tables;
    this.#limits = limits;
    this.#after = this.#to = start.after;
    this.#position = start.position;
    this.#commitTime = start.commitTime;
  }

  /** The last offset folded. */
  get to(): Offset {
    return this.#to;
  }

  /** Records of mirrored tables folded since `take`. */
  get records(): number {
    return this.#records;
  }

  /** Bytes held by the batches referred to. */
  get bytes(): number {
    return this.#bytes;
  }

  /** True when the sink would have nothing to do but to move its checkpoint. */
  get isIdle(): boolean {
    return this.#records === 0 && this.#steps.length === 0 && !this.#closes;
  }

  /** True when there is nothing to hand to the sink. */
  get isEmpty(): boolean {
    return this.#to === this.#after && !this.#closes;
  }

  /** The sink holds a transaction open, and it has ended: it must be told, even if no record is left. */
  get #closes(): boolean {
    return this.#takenOpen && !this.#endsOpen;
  }

  /** True when the fold ends inside a transaction. */
  get endsOpen(): boolean {
    return this.#endsOpen;
  }

  get isFull(): boolean {
    return this.#isLarge || (!this.#endsOpen && this.#steps.length + this.#closedTables + this.#stepTables.length >= MOST_PARTS);
  }

  /** So large that it ends within a transaction, too. */
  get #isLarge(): boolean {
    return isLargeBatch(this.#keyCount, this.#records, this.#bytes, this.#limits);
  }

  /** True when `take` may be called: at a transaction's end, or where that does not matter, or when it is full. */
  get mayEnd(): boolean {
    return !this.#endsOpen || !this.#limits.wholeTransactions || this.#isLarge;
  }

  /**
   * The log's high watermark, which ends a transaction: where the fold has come to it, no transaction is open. The entry
   * that commits may hold no record, and so may not be read as a batch.
   */
  reached(highWatermark: Offset): void {
    if (this.#to >= highWatermark) this.#endsOpen = false;
  }

  /** The next batch of the log. The one before must be used up. */
  feed(batch: ChangeBatch): void {
    if (this.#batch !== null) throw new TidemarkError('INTERNAL', 'a batch is fed before the last one was folded');
    if (batch.count > 0 && batch.baseOffset !== this.#to + 1) {
      throw new TidemarkError('INTERNAL', `a fold at ${this.#to} is fed a batch at ${batch.baseOffset}`);
    }
    this.#batch = batch;
    this.#entry = new TransactionWalk(batch.packed);
    this.#inEntry = false;
    this.#index = 0;
    this.#batchIndex = -1;
    this.#view.reset(batch.records);
  }

  /** Folds on. True: the batch is used up, feed the next. False: full, `take` first. @throws TidemarkError on corrupt bytes */
  run(): boolean {
    const batch = this.#batch;
    const entry = this.#entry;
    if (batch === null || entry === null) return true;
    while (this.#inEntry || entry.next()) {
      this.#inEntry = true;
      if (entry.begins) this.#endsOpen = false;
      if (!this.#foldRecords(batch, entry.first + entry.count)) return false;
      this.#inEntry = false;
      this.#endsOpen = !entry.commits;
      if (!entry.commits) continue;
      if (entry.hasPosition) this.#committedAt = entry.at;
      this.#commitTime = entry.commitTime;
      if (this.isFull && this.#index < batch.count) return false;
    }
    if (this.#index !== batch.count) throw new TidemarkError('INTERNAL', 'a batch has records outside its transactions');
    this.#settlePosition();
    this.#batch = null;
    return true;
  }

  /** What was folded since the last `take`. @param epochAt the log's: the epoch of the record at an offset */
  take(epochAt: (offset: Offset) => EpochId): SinkBatch {
    this.#closeRows();
    this.#settlePosition();
    this.#takenOpen = this.#endsOpen && this.#limits.wholeTransactions;
    const batch: SinkBatch = {
      after: this.#after,
      to: this.#to,
      endsOpen: this.#takenOpen,
      epoch: epochAt(this.#to),
      position: this.#position,
      cursor: null,
      commitTime: this.#commitTime,
      steps: this.#steps,
      records: this.#records,
      bytes: this.#bytes,
    };
    this.#after = this.#to;
    this.#steps = [];
    this.#batches = [];
    this.#bytesOf = [];
    this.#batchIndex = -1;
    this.#records = 0;
    this.#bytes = 0;
    this.#closedKeys = 0;
    this.#closedTables = 0;
    return batch;
  }

  #settlePosition(): void {
    if (this.#committedAt >= 0 && this.#batch !== null) this.#position = this.#batch.packed.positionAt(this.#committedAt);
    this.#committedAt = -1;
  }

  get #keyCount(): number {
    return this.#closedKeys + this.#keys.count;
  }

  /** Folds up to the record with index `end`. False when it stopped before, because a batch may end anywhere and is full. */
  #foldRecords(batch: ChangeBatch, end: number): boolean {
    const view = this.#view;
    const stopsAnywhere = !this.#limits.wholeTransactions;
    while (this.#index < end) {
      if (stopsAnywhere && this.#isLarge) {
        this.#endsOpen = true;
        return false;
      }
      if (!this.#isHeld && !view.next()) throw new TidemarkError('RECORD_CORRUPT', 'a batch has fewer records than its transactions say');
      this.#isHeld = this.#endsBefore(view);
      if (this.#isHeld) return false;
      const offset = batch.baseOffset + this.#index;
      this.#index++;
      if (isRowOp(view.op) || view.op === Op.truncate) this.#row(view);
      else if (view.op === Op.schema) this.#schema(view);
      else if (view.op === Op.control) this.#control(view);
      this.#to = offset;
    }
    return true;
  }

  /** The sink wants steps of other kinds before its rows, and this record may be one: the batch has to end before it. */
  #endsBefore(view: RecordView): boolean {
    if (this.#limits.stepsFirst !== true || (this.#stepTables.length === 0 && this.#closedTables === 0)) return false;
    const isStep = view.op === Op.schema || (view.op === Op.control && this.#tables.concerns(view.tableId, decodeControl(view.after())));
    if (isStep) this.#endsOpen = this.#entry?.begins !== true || this.#index > this.#entry.first;
    return isStep;
  }

  #row(view: RecordView): void {
    const table = view.tableId === this.#lastTableId ? this.#lastTable : this.#tableOf(view.tableId);
    if (table === null || (view.flags & (Flag.incomplete | Flag.notApplied)) !== 0) return;
    this.#records++;
    if (view.op === Op.truncate) {
      table.truncate = true;
      table.floor = this.#keys.count;
      table.bag?.clear();
      return;
    }
    let batchIndex = this.#batchIndex;
    let at = view.at;
    if (view.schemaVersion !== table.mirrored.schema.version && this.#needsProjection(view, table)) {
      batchIndex = this.#project(view, table);
      at = 0;
    } else if (batchIndex < 0) {
      batchIndex = this.#hold(this.#batch as ChangeBatch);
      this.#batchIndex = batchIndex;
    }
    if (table.bag !== null) {
      this.#closedKeys += table.bag.add(this.#batches[batchIndex] as ChangeBatch, at);
      return;
    }
    const before = this.#keys.count;
    const entry = this.#keys.put(this.#bytesOf, batchIndex, at, table.index, table.floor);
    if (entry === before && view.op === Op.create && table.mirrored.consistent) this.#keys.mark[entry] = KNOWN_NEW;
  }

  #tableOf(tableId: number): FoldingTable | null {
    let table = this.#step.get(tableId);
    if (table === undefined) {
      const mirrored = this.#tables.get(tableId);
      table = mirrored === undefined ? null : {
        index: this.#stepTables.length, mirrored, truncate: false, floor: 0, bag: mirrored.schema.keyKind === 'none' ? new RowBag() : null,
      };
      this.#step.set(tableId, table);
      if (table !== null) this.#stepTables.push(table);
    }
    this.#lastTableId = tableId;
    this.#lastTable = table;
    return table;
  }

  #schema(view: RecordView): void {
    const after = decodeSchema(view.after());
    if (this.#tables.get(after.tableId) !== undefined) this.#closeRows();
    const steps = this.#tables.schemaChanged(after);
    this.#step.delete(after.tableId);
    this.#lastTableId = -1;
    if (steps.length === 0) return;
    this.#closeRows();
    this.#steps.push(...steps);
  }

  #control(view: RecordView): void {
    const control = decodeControl(view.after());
    if (!this.#tables.concerns(view.tableId, control)) return;
    this.#closeRows();
    const step = this.#tables.controlled(view.tableId, control);
    if (step !== null) this.#steps.push(step);
  }

  #needsProjection(view: RecordView, table: FoldingTable): boolean {
    const from = this.#tables.version(view.tableId, view.schemaVersion);
    return !this.#projectors.get(from, table.mirrored.schema).identical;
  }

  /** An image of an older version, as a batch of its own. Seldom: a version's records stand before the next version. */
  #project(view: RecordView, table: FoldingTable): number {
    const from = this.#tables.version(view.tableId, view.schemaVersion);
    const builder = new BatchBuilder(view.record().length * 2);
    builder.begin('hub', 0, 0);
    this.#projectors.get(from, table.mirrored.schema).record(view, builder);
    return this.#hold(builder.take());
  }

  #hold(batch: ChangeBatch): number {
    this.#batches.push(batch);
    this.#bytesOf.push(batch.records);
    this.#bytes += batch.records.length;
    return this.#batches.length - 1;
  }

  /** Ends the rows step, if one is begun. */
  #closeRows(): void {
    if (this.#stepTables.length > 0) {
      const tables = this.#foldedTables();
      if (tables.length > 0) this.#steps.push({ kind: 'rows', tables });
    }
    this.#closedKeys += this.#keys.count;
    this.#closedTables += this.#stepTables.length;
    this.#keys.reset();
    this.#step = new Map();
    this.#stepTables = [];
    this.#lastTableId = -1;
    this.#lastTable = null;
  }

  #foldedTables(): FoldedTable[] {
    const results = this.#stepTables.map((table) => ({
      deletes: [] as RecordRef[], upserts: [] as RecordRef[], inserts: [] as RecordRef[], table,
    }));
    const keys = this.#keys;
    for (let entry = 0; entry < keys.count; entry++) {
      const result = results[keys.table[entry] as number];
      if (result === undefined || entry < result.table.floor) continue;
      const batch = this.#batches[keys.batch[entry] as number] as ChangeBatch;
      const at = keys.at[entry] as number;
      if (batch.records[at + 4] !== Op.delete) {
        (keys.mark[entry] === KNOWN_NEW ? result.inserts : result.upserts).push({ batch, at });
      } else if (!result.table.truncate) {
        result.deletes.push({ batch, at });
      }
    }
    const folded: FoldedTable[] = [];
    for (const { table, deletes, upserts, inserts } of results) {
      table.bag?.emit(deletes, inserts);
      const changes = deletes.length + upserts.length + inserts.length;
      if (changes === 0 && !table.truncate) continue;
      const { schema, consistent } = table.mirrored;
      folded.push({ schema, truncate: table.truncate, copying: !consistent, deletes, upserts, inserts });
    }
    return folded;
  }
}
