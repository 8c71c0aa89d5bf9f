/**
 * What changed in a table between two moments, folded: rows that were added, removed, or are others than they were.
 *
 * The stretch of history between the two is sorted by key, in bounded memory, and its net tells which rows can differ at
 * all; only those are looked up as of the earlier moment: in the history before it, of which as much is sorted as speaks
 * of them, and in the base, row by row as long as they are few, else by one walk through it. So the cost follows what has
 * happened since the horizon, not the size of the table. Both tables are walked side by side only where every row counts:
 * the table was emptied in between, or made anew.
 */
import { join } from 'node:path';
import type { BaseReader, BaseRows } from '../../contracts/base.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import { Projectors } from '../../contracts/projection.ts';
import type { FileSystem } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { EntryKind, ValueView } from '../log/embedded/base/base-entry.ts';
import { HistorySort } from '../log/embedded/base/history-sort.ts';
import { NetCursor } from '../log/embedded/base/net-cursor.ts';
import { RowsOfTable } from '../log/embedded/base/rows-of-table.ts';
import { aborted } from '../waiters.ts';
import type { MomentTable, TablePair } from './named-table.ts';
import { OldRows } from './old-rows.ts';
import { RowComparer } from './row-compare.ts';
import { ScratchFolder } from './scratch.ts';
import { SortedRows } from './sorted-rows.ts';
import { addHistory, SORT_MEMORY, tableAt, type HistoryProgress } from './table-at.ts';
import { TouchedKeys } from './touched-keys.ts';

export interface RowChange {
  readonly kind: 'added' | 'removed' | 'changed';
  /** Empty for a table without a key. */
  readonly key: Buffer;
  /** The row as it was, in the shape that the table had then; of a table without a key, in its later shape. Null: added. */
  readonly before: Buffer | null;
  /** The row as it is at the later moment, in the shape that the table has then. Null: removed. */
  readonly after: Buffer | null;
  /** Of a changed row: which columns of the later shape are others than they were. */
  readonly columns: readonly number[];
  /** How often the row was added or removed; 1 where the table has a key. */
  readonly count: number;
}

export interface TableDiffOptions {
  readonly pair: TablePair;
  readonly files: FileSystem;
  /** For sorting; made, and removed at the end. */
  readonly directory: string;
  /** Bytes of rows in memory in each of two sorts. Default 32 MiB. */
  readonly memoryBytes?: number;
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: HistoryProgress) => void) | undefined;
}

/** Changes are given in portions of this many, or as soon as they hold so many bytes. */
const PORTION = 256;
const PORTION_BYTES = 256 << 10;

/**
 * The changes in order of their keys (of a table without a key: of the rows), some at a time; none twice.
 * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `LOG_DISK_FULL`, `ABORTED`
 */
export async function* tableDiff(log: SourceLog, options: TableDiffOptions): AsyncGenerator<readonly RowChange[], void, void> {
  await using scratch = await ScratchFolder.make(options.files, options.directory);
  // Held to the end: the horizon does not pass the earlier moment meanwhile.
  await using base = await log.openBase();
  const diff = new TableDiff(log, options, base, scratch.path);
  yield* diff.changes();
}

class TableDiff {
  readonly #log: SourceLog;
  readonly #options: TableDiffOptions;
  readonly #base: BaseReader | null;
  readonly #directory: string;
  readonly #projectors = new Projectors();
  readonly #value = new ValueView();
  #portion: RowChange[] = [];
  #portionBytes = 0;

  constructor(log: SourceLog, options: TableDiffOptions, base: BaseReader | null, directory: string) {
    this.#log = log;
    this.#options = options;
    this.#base = base;
    this.#directory = directory;
  }

  async *changes(): AsyncGenerator<readonly RowChange[], void, void> {
    const { from, to } = this.#options.pair;
    if (from !== null && to !== null && from.tableId === to.tableId) yield* this.#touched(from, to);
    else if (from !== null && to !== null && haveSameKey(from.schema, to.schema)) yield* this.#merged(this.#rows(from), this.#rows(to));
    else {
      if (from !== null) yield* this.#merged(this.#rows(from), NO_ROWS);
      if (to !== null) yield* this.#merged(NO_ROWS, this.#rows(to));
    }
    if (this.#portion.length > 0) yield this.#take();
  }

  async *#touched(from: MomentTable, to: MomentTable): AsyncGenerator<readonly RowChange[], void, void> {
    const { signal, onProgress } = this.#options;
    await using stretch = await this.#sort('stretch', to.catalog, to.tableId);
    const touched = new TouchedKeys(to.tableId);
    await addHistory(stretch, this.#log, { after: from.at, to: to.at, signal, onProgress, onBatch: (batch) => touched.see(batch) });
    const net = new NetCursor(await stretch.sorted(), { isBottom: false, keeps: () => true });
    if (!(await net.next())) return;
    if (this.#value.read(net.bytes, net.keyEnd, net.valueEnd).kind === EntryKind.emptied) {
      const after = new RowsOfTable(net, to.tableId, null, 0);
      yield* this.#merged(this.#rows(from, to.catalog), rowsOf(after));
    } else if (to.schema.keyKind === 'none') yield* this.#bags(net);
    else yield* this.#lookedUp(net, touched, from, to);
  }

  /** A table without a key that was never emptied: what its changes add up to is the difference. */
  async *#bags(net: NetCursor): AsyncGenerator<readonly RowChange[], void, void> {
    do {
      const { count } = this.#value.read(net.bytes, net.keyEnd, net.valueEnd);
      const image = Buffer.from(net.bytes.subarray(net.keyStart, net.keyEnd));
      this.#add(bagChange(image, count));
      if (this.#isFull) yield this.#take();
    } while (await net.next());
  }

  async *#lookedUp(net: NetCursor, touched: TouchedKeys, from: MomentTable, to: MomentTable): AsyncGenerator<readonly RowChange[], void, void> {
    const { signal } = this.#options;
    await using history = await this.#sort('history', from.catalog, from.tableId);
    const after = this.#base?.horizon ?? 0;
    if (from.at > after) await addHistory(history, this.#log, { after, to: from.at, signal, only: touched });
    const older = new NetCursor(await history.sorted(), { isBottom: false, keeps: () => true });
    await using old = new OldRows(this.#base, older, from.tableId, signal);
    const comparer = new RowComparer(from.schema, to.schema);
    do {
      const key = Buffer.from(net.bytes.subarray(net.keyStart, net.keyEnd));
      const { kind, version, imageStart, imageEnd } = this.#value.read(net.bytes, net.keyEnd, net.valueEnd);
      const image = kind === EntryKind.row ? this.#shaped(net.bytes, imageStart, imageEnd, version, to) : null;
      const found = await old.find(key);
      const before = found === null ? null : this.#shaped(found.image, 0, found.image.length, found.schemaVersion, from);
      this.#addPair(key, before, image, comparer);
      if (this.#isFull) yield this.#take();
    } while (await net.next());
  }

  /** Both tables, side by side. */
  async *#merged(before: AsyncIterable<BaseRows>, after: AsyncIterable<BaseRows>): AsyncGenerator<readonly RowChange[], void, void> {
    const { from, to } = this.#options.pair;
    const comparer = from === null || to === null ? null : new RowComparer(from.schema, to.schema);
    const older = new SortedRows(before);
    const newer = new SortedRows(after);
    try {
      await older.next();
      await newer.next();
      while (!older.ended || !newer.ended) {
        const order = older.ended ? 1 : newer.ended ? -1 : older.key.compare(newer.key);
        this.#addWalked(order <= 0 ? older : null, order >= 0 ? newer : null, comparer);
        const movedOlder = order <= 0 ? older.next() : true;
        if (movedOlder instanceof Promise) await movedOlder;
        const movedNewer = order >= 0 ? newer.next() : true;
        if (movedNewer instanceof Promise) await movedNewer;
        if (!this.#isFull) continue;
        if (this.#options.signal.aborted) throw aborted(this.#options.signal);
        yield this.#take();
      }
    } finally {
      await older.close();
      await newer.close();
    }
  }

  #addWalked(older: SortedRows | null, newer: SortedRows | null, comparer: RowComparer | null): void {
    const { from, to, toCatalog } = this.#options.pair;
    const row = older ?? newer;
    if (row === null) return;
    const { view } = row;
    if (view.keyEnd > view.keyStart) {
      const shaped = (side: SortedRows | null, table: MomentTable | null): Buffer | null =>
        side === null || table === null ? null : this.#shaped(side.view.bytes, side.view.afterStart, side.view.afterEnd, side.view.schemaVersion, table);
      this.#addPair(Buffer.from(view.key()), shaped(older, from), shaped(newer, to), comparer);
      return;
    }
    // Rows without a key are equal or are others.
    if (older !== null && newer !== null) return;
    const shape = from === null || to === null || from.tableId !== to.tableId ? (older === null ? to : from) : { ...to, catalog: toCatalog };
    if (shape === null) return;
    this.#add(bagChange(this.#shaped(view.bytes, view.afterStart, view.afterEnd, view.schemaVersion, shape), older === null ? 1 : -1));
  }

  #addPair(key: Buffer, before: Buffer | null, after: Buffer | null, comparer: RowComparer | null): void {
    if (before === null && after === null) return;
    if (before === null || after === null) {
      this.#add({ kind: before === null ? 'added' : 'removed', key, before, after, columns: [], count: 1 });
      return;
    }
    const columns = comparer?.changed(before, after) ?? [];
    if (columns.length > 0) this.#add({ kind: 'changed', key, before, after, columns, count: 1 });
  }

  #add(change: RowChange): void {
    const last = this.#portion.at(-1);
    if (last !== undefined && isSameBag(last, change)) {
      this.#portion[this.#portion.length - 1] = { ...last, count: last.count + change.count };
      return;
    }
    this.#portion.push(change);
    this.#portionBytes += change.key.length + (change.before?.length ?? 0) + (change.after?.length ?? 0);
  }

  get #isFull(): boolean {
    return this.#portion.length >= PORTION || this.#portionBytes >= PORTION_BYTES;
  }

  #take(): readonly RowChange[] {
    const portion = this.#portion;
    this.#portion = [];
    this.#portionBytes = 0;
    return portion;
  }

  /** A copy of an image, in the shape that the table had at its moment. */
  #shaped(bytes: Buffer, start: number, end: number, version: number, { tableId, catalog, schema }: MomentTable): Buffer {
    if (version === schema.version) return Buffer.from(bytes.subarray(start, end));
    return this.#projectors.get(catalog.schemaOf(tableId, version), schema).image(bytes, start, end);
  }

  #sort(name: string, catalog: Catalog, tableId: number): Promise<HistorySort> {
    const { files, memoryBytes = SORT_MEMORY } = this.#options;
    return HistorySort.create({ files, directory: join(this.#directory, name), memoryBytes, catalog, tableId });
  }

  /** The whole table at its moment; rows without a key in the shape of `catalog`. */
  #rows({ tableId, at }: MomentTable, catalog?: Catalog): AsyncIterable<BaseRows> {
    const { files, memoryBytes = SORT_MEMORY, signal, onProgress } = this.#options;
    const directory = join(this.#directory, `rows-${tableId}-${at}`);
    return tableAt(this.#log, { tableId, at, files, directory, memoryBytes, signal, onProgress, ...(catalog === undefined ? {} : { catalog }) });
  }
}

async function* nothing(): AsyncGenerator<BaseRows, void, void> {}

const NO_ROWS: AsyncIterable<BaseRows> = { [Symbol.asyncIterator]: nothing };

async function* rowsOf(walk: RowsOfTable): AsyncGenerator<BaseRows, void, void> {
  for (let rows = await walk.next(); rows !== null; rows = await walk.next()) yield rows;
}

function bagChange(image: Buffer, count: number): RowChange {
  const isAdded = count > 0;
  return { kind: isAdded ? 'added' : 'removed', key: NO_KEY, before: isAdded ? null : image, after: isAdded ? image : null, columns: [], count: Math.abs(count) };
}

const NO_KEY = Buffer.alloc(0);

/** True of two changes that are one row of a table without a key, so and so often. */
function isSameBag(a: RowChange, b: RowChange): boolean {
  if (a.key.length > 0 || b.key.length > 0 || a.kind !== b.kind) return false;
  const image = a.before ?? a.after;
  return image !== null && (b.before ?? b.after)?.equals(image) === true;
}

/** True when keys of the two tables can be compared: the same columns, by name and type. */
function haveSameKey(a: TableSchema, b: TableSchema): boolean {
  const keyOf = ({ key, columns }: TableSchema): string => JSON.stringify(key.map((index) => [columns[index]?.name, columns[index]?.type]));
  return a.key.length > 0 && keyOf(a) === keyOf(b);
}
