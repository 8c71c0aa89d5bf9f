/** A table as it was: the base, and the history up to an offset folded over it. */
import type { BaseRows } from '../../contracts/base.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import { RecordView } from '../../contracts/record.ts';
import type { FileSystem } from '../../contracts/runtime.ts';
import { EntryKind, VALUE_HEADER, writeValueHeader } from '../log/embedded/base/base-entry.ts';
import { HistorySort } from '../log/embedded/base/history-sort.ts';
import { NetCursor } from '../log/embedded/base/net-cursor.ts';
import { RowsOfTable } from '../log/embedded/base/rows-of-table.ts';
import { MergeCursor } from '../log/embedded/runs/merge.ts';
import type { EntryCursor } from '../log/embedded/runs/run-format.ts';
import { aborted } from '../waiters.ts';
import { ScratchFolder } from './scratch.ts';
import type { TouchedKeys } from './touched-keys.ts';

export interface TableAtOptions {
  readonly tableId: number;
  /** From the horizon to the high watermark. */
  readonly at: Offset;
  readonly files: FileSystem;
  /** For sorting; made, and removed at the end. */
  readonly directory: string;
  /** Bytes of rows in memory while sorting. Default 32 MiB. */
  readonly memoryBytes?: number;
  readonly signal: AbortSignal;
  /** Rows of a table without a key come in the shape that it has in this one, in that shape's order. Default: as of `at`. */
  readonly catalog?: Catalog;
  /** Told how far the history has been read, batch by batch. */
  readonly onProgress?: ((progress: HistoryProgress) => void) | undefined;
  /** Told before the first row about how many rows the base has of the table; 0: nobody can tell. */
  readonly onBase?: ((estimatedRows: number) => void) | undefined;
}

/** Records read of those that have to be. */
export interface HistoryProgress {
  readonly done: number;
  readonly total: number;
}

/** Bytes of rows in memory while sorting, unless others are asked for. */
export const SORT_MEMORY = 32 << 20;

/**
 * The rows of a table as of an offset, in order of their keys, in bounded memory. `r` records of the schema version that
 * they were written in.
 * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `LOG_DISK_FULL`, `ABORTED`
 */
export async function* tableAt(log: SourceLog, options: TableAtOptions): AsyncGenerator<BaseRows, void, void> {
  const { tableId, at, files, directory, signal, memoryBytes = SORT_MEMORY } = options;
  await using base = await log.openBase();
  const after = base?.horizon ?? 0;
  const catalog = options.catalog ?? (await log.catalogAt(at, signal));
  await using scratch = await ScratchFolder.make(files, directory);
  await using sort = await HistorySort.create({ files, directory: scratch.path, memoryBytes, catalog, tableId });
  await addHistory(sort, log, { after, to: at, signal, onProgress: options.onProgress });
  options.onBase?.((await base?.estimateRows((id) => id === tableId)) ?? 0);
  const isBag = catalog.schema(tableId)?.keyKind === 'none';
  const rows = base?.rows(tableId, { signal }) ?? null;
  // Rows without a key are counted by what they are in the newest shape, which may order them anew.
  if (isBag && rows !== null) for await (const { batch, offsets } of rows) await sort.addRows(batch, offsets);
  const cursors: EntryCursor[] = isBag || rows === null ? [] : [new BaseCursor(rows)];
  cursors.push(await sort.sorted());
  const net = new NetCursor(new MergeCursor(cursors, 'all'), { isBottom: true, keeps: () => true });
  const walk = new RowsOfTable(net, tableId, null, log.state().commitTime);
  for (let found = await walk.next(); found !== null; found = await walk.next()) {
    if (signal.aborted) throw aborted(signal);
    yield found;
  }
}

export interface StretchOptions {
  readonly after: Offset;
  readonly to: Offset;
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: HistoryProgress) => void) | undefined;
  /** Told of every batch. */
  readonly onBatch?: (batch: ChangeBatch) => void;
  /** Only what it says of these rows, where they are few. */
  readonly only?: TouchedKeys;
}

/** Puts a stretch of the history into a sort. */
export async function addHistory(sort: HistorySort, log: SourceLog, { after, to, signal, onProgress, onBatch, only }: StretchOptions): Promise<void> {
  for await (const batch of log.read({ after, to, follow: false, signal })) {
    onBatch?.(batch);
    await sort.add(batch, to, only?.filter(batch));
    onProgress?.({ done: batch.lastOffset - after, total: to - after });
  }
}

/** The rows of a keyed table as entries of the base. */
export class BaseCursor implements EntryCursor {
  bytes: Buffer = Buffer.alloc(4096);
  tableId = 0;
  readonly keyStart = 0;
  keyEnd = 0;
  valueEnd = 0;
  readonly #rows: AsyncIterator<BaseRows>;
  readonly #view = new RecordView();
  #offsets: readonly Offset[] = [];

  constructor(rows: AsyncIterable<BaseRows>) {
    this.#rows = rows[Symbol.asyncIterator]();
  }

  next(): boolean | Promise<boolean> {
    if (!this.#view.next()) return this.#nextRows();
    this.#load();
    return true;
  }

  async #nextRows(): Promise<boolean> {
    const step = await this.#rows.next();
    if (step.done === true) return false;
    this.#offsets = step.value.offsets;
    this.#view.reset(step.value.batch.records);
    return this.next();
  }

  #load(): void {
    const view = this.#view;
    const keyLength = view.keyEnd - view.keyStart;
    const size = keyLength + VALUE_HEADER + view.afterEnd - view.afterStart;
    if (size > this.bytes.length) this.bytes = Buffer.allocUnsafe(size * 2);
    view.bytes.copy(this.bytes, 0, view.keyStart, view.keyEnd);
    const at = writeValueHeader(this.bytes, keyLength, EntryKind.row, view.flags, view.schemaVersion, this.#offsets[view.index] ?? 0);
    view.bytes.copy(this.bytes, at, view.afterStart, view.afterEnd);
    this.tableId = view.tableId;
    this.keyEnd = keyLength;
    this.valueEnd = size;
  }
}
