import { BatchBuilder, ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { CopiedChunk, CopyPlan, TableCopier } from '../../../../contracts/connector.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { buildKey, readKey } from '../../../../contracts/key.ts';
import { Flag, Op } from '../../../../contracts/op.ts';
import type { Position } from '../../../../contracts/position.ts';
import { buildImage, Cell, PLACEHOLDER } from '../../../../contracts/row-image.ts';
import { encodeSchema, type TableSchema } from '../../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';
import { positionOf, valueOf } from './numbered-positions.ts';

const NONE = Buffer.alloc(0);

export interface ModelRow {
  /** Narrow, changed by most updates. */
  readonly note: string;
  /** May be large: kept out of line, and left out of the stream when an update does not change it. */
  readonly big: string | null;
}

/** `part`: what of `big` has changed, where the stream is to send that in its place. */
export type ModelChange =
  | { readonly op: 'put'; readonly key: number; readonly row: ModelRow; readonly part?: Buffer }
  | { readonly op: 'delete'; readonly key: number }
  | { readonly op: 'move'; readonly from: number; readonly to: number; readonly row: ModelRow; readonly part?: Buffer }
  | { readonly op: 'truncate' };

interface Transaction {
  readonly xid: number;
  readonly changes: ModelChange[];
  /** LSN of the commit record's end; 0: not committed. */
  end: number;
  visible: boolean;
  /** Rows as of the commit, in commit order. */
  state: ReadonlyMap<number, ModelRow>;
  /** What the stream sends of it; null: it is not streamed. */
  parts: ChangeBatch[] | null;
}

const PLACES = 100;

export const MODEL_SCHEMA: TableSchema = {
  tableId: 1,
  version: 1,
  sourceTableId: '4711',
  namespace: 'public',
  name: 'rows',
  columns: ['id', 'note', 'big'].map((name, index) => ({
    number: index + 1, name, type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', nullable: index > 0,
    constantDefault: null, fill: null, generated: 'no', identity: 'no',
  })),
  keyKind: 'primary',
  key: [0],
};

/** `big` is JSON, and any row may come without some of its columns. */
export const JSON_SCHEMA: TableSchema = {
  ...MODEL_SCHEMA,
  dialect: 'mysql',
  columns: MODEL_SCHEMA.columns.map((column) => (column.name === 'big' ? { ...column, type: { kind: 'json' }, nativeType: 'json' } : column)),
};

/** A large value counts as one that may be out of line. */
function isWide(row: ModelRow): boolean {
  return row.big !== null && row.big.length > 100;
}

export function keyOf(key: number): Buffer {
  return buildKey([String(key)]);
}

export function imageOf(key: number, row: ModelRow): Buffer {
  return buildImage([String(key), row.note, row.big]);
}

/** A row without its large value, or with what of it has changed. */
export function partialImage(key: number, row: ModelRow, part: Buffer | undefined): Buffer {
  const image = buildImage([String(key), row.note, PLACEHOLDER]);
  if (part === undefined) return image;
  const head = Buffer.alloc(5);
  head[0] = Cell.part;
  head.writeUInt32BE(part.length, 1);
  return Buffer.concat([image.subarray(0, -1), head, part]);
}

/**
 * A database with one table, as a replication slot and a snapshot see it. Commits get into the WAL in one order and become
 * visible in another, any time later; the rows that an invisible transaction changed stay locked until then. The stream
 * leaves out large values that an update did not change. Rows have places in a heap, which updates change.
 */
export class ModelSource implements TableCopier {
  readonly keyless: boolean;
  /** In commit order. */
  readonly committed: Transaction[] = [];
  readonly open: Transaction[] = [];
  /** Rows as of the last commit. */
  current: ReadonlyMap<number, ModelRow> = new Map();
  #visible = new Map<number, ModelRow>();
  /** Where the visible version of a row stands; every rewrite begins a new file. */
  #places = new Map<number, number>();
  #file = 1;
  #nextXid = 100;
  #lsn = 1_000;
  #begin = 0;
  /** Index in `committed` of what the stream sends next. */
  delivered = 0;
  /** Parts of it that were sent. */
  #part = 0;
  readonly #random: () => number;
  readonly #isJson: boolean;
  /** Ends when the waiting may have changed something. */
  #moved: (() => void)[] = [];
  readonly schema: TableSchema;

  constructor(random: () => number, kind: 'keyed' | 'keyless' | 'json' = 'keyed') {
    this.#random = random;
    this.keyless = kind === 'keyless';
    this.#isJson = kind === 'json';
    this.schema = kind === 'keyless' ? { ...MODEL_SCHEMA, keyKind: 'none', key: [] } : kind === 'json' ? JSON_SCHEMA : MODEL_SCHEMA;
  }

  get end(): number {
    return this.#lsn;
  }

  /** Position at which the stream stands: everything that ends at or before it has been delivered. */
  streamPosition(): Position {
    const next = this.committed[this.delivered];
    return positionOf(next === undefined ? this.#lsn : (this.committed[this.delivered - 1]?.end ?? 0));
  }

  #locked(): Set<number> {
    const keys = new Set<number>();
    for (const transaction of [...this.open, ...this.committed.filter(({ visible }) => !visible)]) {
      for (const change of transaction.changes) {
        if (change.op === 'truncate') for (let key = 0; key < 1_000; key++) keys.add(key);
        else if (change.op === 'move') keys.add(change.from).add(change.to);
        else keys.add(change.key);
      }
    }
    return keys;
  }

  begin(): Transaction {
    const transaction: Transaction = { xid: this.#nextXid++, changes: [], end: 0, visible: false, state: new Map(), parts: null };
    this.open.push(transaction);
    return transaction;
  }

  /** Adds a change if the rows are free; false when it would wait for a lock. */
  change(transaction: Transaction, change: ModelChange): boolean {
    const locked = this.#locked();
    const own = new Set(transaction.changes.flatMap((done) => (done.op === 'move' ? [done.from, done.to] : done.op === 'truncate' ? [] : [done.key])));
    const keys = change.op === 'move' ? [change.from, change.to] : change.op === 'truncate' ? [] : [change.key];
    if (change.op === 'truncate' && (locked.size > 0 || this.open.length > 1 || transaction.changes.length > 0)) return false;
    if (keys.some((key) => locked.has(key) || own.has(key))) return false;
    transaction.changes.push(change);
    return true;
  }

  commit(transaction: Transaction, streamed = true): void {
    this.open.splice(this.open.indexOf(transaction), 1);
    const rows = new Map(this.current);
    const builder = new BatchBuilder(1_024);
    const parts: ChangeBatch[] = [];
    builder.begin('source', transaction.xid, this.#lsn);
    for (const change of transaction.changes) {
      this.#record(builder, rows, change);
      apply(rows, change);
      if (builder.count > 0 && this.#random() < 0.15) parts.push(builder.take());
    }
    this.#lsn += 10;
    transaction.end = this.#lsn;
    builder.commit(positionOf(this.#lsn));
    transaction.parts = streamed ? [...parts, builder.take()] : null;
    transaction.state = rows;
    this.current = rows;
    this.committed.push(transaction);
    this.#wake();
  }

  makeVisible(transaction: Transaction): void {
    transaction.visible = true;
    for (const change of transaction.changes) {
      apply(this.#visible, change);
      this.#place(change);
    }
    this.#wake();
  }

  /** VACUUM FULL, if nobody holds a lock: the rows are where they never were. */
  rewrite(): void {
    if (this.#locked().size > 0 || this.open.length > 0) return;
    this.#file++;
    this.#places.clear();
  }

  /** The next batch of the stream, a transaction or a part of one; null when there is none. */
  next(): ChangeBatch | null {
    const transaction = this.committed[this.delivered];
    if (transaction === undefined) return null;
    const part = transaction.parts?.[this.#part];
    if (part !== undefined && !part.transactions.some(({ commits }) => commits)) {
      this.#part++;
      return part;
    }
    this.#part = 0;
    this.delivered++;
    return part ?? new ChangeBatch({ count: 0, records: Buffer.alloc(0), transactions: [], progress: positionOf(transaction.end) });
  }

  /** The stream is inside a transaction. */
  get inTransaction(): boolean {
    return this.#part > 0;
  }

  /** What is committed now was never streamed: it was before the slot. */
  startSlot(): void {
    this.#begin = this.#lsn;
    this.delivered = this.committed.length;
  }

  /** The stream goes on after that position. */
  resumeAfter(position: Position | null): void {
    const end = position === null ? this.#begin : valueOf(position);
    const next = this.committed.findIndex((transaction) => transaction.end > end);
    this.#part = 0;
    this.delivered = next < 0 ? this.committed.length : next;
  }

  schemaBatch(position: Position): ChangeBatch {
    const builder = new BatchBuilder(1_024);
    builder.begin('hub', 0, 0);
    builder.record(Op.schema, 0, 1, 1, NONE, NONE, encodeSchema(this.schema));
    builder.commit(position);
    return builder.take();
  }

  #record(builder: BatchBuilder, rows: ReadonlyMap<number, ModelRow>, change: ModelChange): void {
    const put = (op: number, flags: number, key: Buffer, before: Uint8Array, after: Uint8Array) =>
      builder.record(op, flags, 1, 1, this.keyless ? NONE : key, before, after);
    if (change.op === 'truncate') {
      builder.record(Op.truncate, 0, 1, 1, NONE, NONE, NONE);
      return;
    }
    const oldKey = change.op === 'move' ? change.from : change.key;
    const old = rows.get(oldKey);
    const before = this.keyless && old !== undefined ? imageOf(oldKey, old) : NONE;
    if (change.op === 'delete') {
      if (old !== undefined) put(Op.delete, 0, keyOf(change.key), before, NONE);
      return;
    }
    const key = change.op === 'move' ? change.to : change.key;
    const isSame = !this.keyless && old !== undefined && (this.#isJson ? this.#random() < 0.8 : isWide(old)) && old.big === change.row.big;
    const part = old === undefined ? undefined : change.part;
    const unchanged = isSame || part !== undefined;
    const after = unchanged ? partialImage(key, change.row, part) : imageOf(key, change.row);
    const wide = isWide(change.row) || (this.#isJson && unchanged);
    const flags = (unchanged ? Flag.incomplete : 0) | (wide && !this.keyless ? Flag.wide : 0);
    if (this.keyless && old !== undefined) put(Op.delete, 0, NONE, before, NONE);
    if (change.op === 'move' && old !== undefined) {
      if (!this.keyless) put(Op.delete, Flag.keyChange, keyOf(oldKey), NONE, NONE);
      put(Op.create, flags | (this.keyless ? 0 : Flag.keyChange), keyOf(key), NONE, after);
    } else put(old === undefined || this.keyless ? Op.create : Op.update, flags, keyOf(key), NONE, after);
  }

  #place(change: ModelChange): void {
    if (change.op === 'truncate') {
      this.#file++;
      this.#places.clear();
    } else if (change.op === 'delete') this.#places.delete(change.key);
    else {
      const key = change.op === 'move' ? change.to : change.key;
      if (change.op === 'move') this.#places.delete(change.from);
      if (!this.#places.has(key) || this.#random() < 0.5) this.#places.set(key, Math.floor(this.#random() * PLACES));
    }
  }

  #placeOf(key: number): number {
    return this.#places.get(key) ?? (key * 37 + this.#file * 11) % PLACES;
  }

  // TableCopier

  async plan(table: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan> {
    const running = [...this.open, ...this.committed.filter(({ visible }) => !visible)];
    await this.until(() => running.every(({ visible }) => visible), signal);
    const copyState = String(this.#file);
    if (resume !== null && (resume.copyState !== copyState || this.keyless)) throw new TidemarkError('COPY_VOID', 'rewritten');
    const ranges = this.keyless ? ['whole'] : ['0-30', '30-50', '50-90', '90-100'].filter((range) => resume?.done.includes(range) !== true);
    // Some are small, some are not.
    return { table, copyState, ranges, estimatedRows: this.current.size, estimatedBytes: this.current.size % 2 === 0 ? 0 : 1 << 30, whole: this.keyless };
  }

  async chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    await this.until(() => this.#random() < 0.5, signal);
    if (this.keyless) return this.#whole(plan.table);
    if (plan.copyState !== String(this.#file)) throw new TidemarkError('COPY_VOID', 'rewritten');
    const [from, to] = range.split('-').map(Number);
    return this.#snapshot(plan.table, range, (key) => this.#placeOf(key) >= (from ?? 0) && this.#placeOf(key) < (to ?? 0));
  }

  async rows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal, exact = false): Promise<CopiedChunk> {
    if (exact) await this.until(() => this.committed.every(({ visible }) => visible), signal);
    const wanted = new Set(keys.map((key) => Number(readKey(key)[0]?.toString('utf8'))));
    return this.#snapshot(table, 'rows', (key) => wanted.has(key));
  }

  /** Resolves when `ready`; tested whenever something has moved. */
  async until(ready: () => boolean, signal: AbortSignal): Promise<void> {
    while (!ready()) {
      if (signal.aborted) throw new TidemarkError('ABORTED', 'stopped');
      await new Promise<void>((resolve) => this.#moved.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#moved.splice(0)) resolve();
  }

  /** Lets those who wait look again. */
  tick(): void {
    this.#wake();
  }

  #snapshot(table: TableSchema, range: string, includes: (key: number) => boolean): CopiedChunk {
    const seen = new Set(this.committed.filter(({ visible }) => visible).map(({ xid }) => xid));
    const rows = [...this.#visible].filter(([key]) => includes(key));
    return modelChunk(table, range, rows, false, (transaction) => seen.has(transaction.xid), this.#lsn);
  }

  /** An exported snapshot: everything that was committed by now, visible or not. */
  #whole(table: TableSchema): CopiedChunk {
    const end = this.#lsn;
    return modelChunk(table, 'whole', [...this.current], true, (transaction) => valueOf(transaction.position) <= end, end);
  }
}

function modelChunk(
  table: TableSchema,
  range: string,
  rows: readonly (readonly [number, ModelRow])[],
  keyless: boolean,
  sees: (transaction: TransactionEntry) => boolean,
  end: number,
): CopiedChunk {
  const batches: ChangeBatch[] = [];
  for (let first = 0; first < rows.length; first += 3) {
    const builder = new BatchBuilder(1_024);
    builder.begin('hub', 0, 0);
    for (const [key, row] of rows.slice(first, first + 3)) {
      builder.record(Op.read, isWide(row) && !keyless ? Flag.wide : 0, 0, 0, keyless ? NONE : keyOf(key), NONE, imageOf(key, row));
    }
    const { count, records } = builder.take();
    batches.push(new ChangeBatch({ count, records, transactions: [], progress: null }));
  }
  return {
    schema: { ...table, tableId: 0, version: 0 },
    range,
    rowCount: rows.length,
    async *batches() {
      yield* batches;
    },
    sees,
    // Transaction ids tell exactly, GTIDs do not.
    lacks: (transaction) => (table.dialect === 'mysql' ? transaction.commits && valueOf(transaction.position) > end : !sees(transaction)),
    passedBy: (position) => valueOf(position) >= end,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function apply(rows: Map<number, ModelRow>, change: ModelChange): void {
  if (change.op === 'truncate') rows.clear();
  else if (change.op === 'delete') rows.delete(change.key);
  else {
    if (change.op === 'move') rows.delete(change.from);
    rows.set(change.op === 'move' ? change.to : change.key, change.row);
  }
}
