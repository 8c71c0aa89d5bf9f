import { join } from 'node:path';
import type { Catalog } from '../../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { Projectors } from '../../../../contracts/projection.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { ExternalSorter, type EntryPlace } from '../runs/external-sort.ts';
import { MergeCursor } from '../runs/merge.ts';
import type { EntryCursor } from '../runs/run-format.ts';
import { bagValue, bareValue, EntryKind, VALUE_HEADER, writeValueHeader } from './base-entry.ts';

const NO_KEY = Buffer.alloc(0);
/** Runs merged at once: of a step of the largest size, if half of the memory is for something else. */
const FAN_IN = 64;

export interface HistorySortOptions {
  readonly files: FileSystem;
  /** A folder that exists and is the sort's alone. */
  readonly directory: string;
  /** Bytes of entries in memory. */
  readonly memoryBytes: number;
  /** As of the end of the stretch: rows of keyless tables are put into their newest shape, so that equal rows are equal. */
  readonly catalog: Catalog;
  /** Records of other tables are passed over; default: all count. */
  readonly tableId?: number;
  /** The same for several tables. */
  readonly tables?: ReadonlySet<number>;
}

/**
 * The records of a stretch of history as entries of the base, sorted by table and key, in bounded memory. Several may
 * stand for one key; {@link NetCursor} makes the net of them. Owned by one caller; its files go with it.
 */
export class HistorySort implements AsyncDisposable {
  readonly #catalog: Catalog;
  readonly #tableId: number | null;
  readonly #tables: ReadonlySet<number> | null;
  readonly #keyed: ExternalSorter;
  readonly #bags: ExternalSorter;
  readonly #view = new RecordView();
  readonly #projectors = new Projectors();

  private constructor({ files, directory, memoryBytes, catalog, tableId, tables }: HistorySortOptions) {
    this.#catalog = catalog;
    this.#tableId = tableId ?? null;
    this.#tables = tables ?? null;
    const hasBags = catalog.some(({ versions }) => versions.at(-1)?.schema.keyKind === 'none');
    const own = hasBags ? memoryBytes / 2 : memoryBytes;
    this.#keyed = new ExternalSorter({ files, directory: join(directory, 'keyed'), memoryBytes: own, fanIn: FAN_IN, duplicates: 'newest' });
    this.#bags = new ExternalSorter({ files, directory: join(directory, 'bags'), memoryBytes: memoryBytes / 2, fanIn: FAN_IN, duplicates: 'all' });
  }

  /** What an ended process left in the folder is removed. */
  static async create(options: HistorySortOptions): Promise<HistorySort> {
    const { files, directory } = options;
    for (const name of ['keyed', 'bags']) {
      await files.remove(join(directory, name));
      await files.makeDirectory(join(directory, name));
    }
    return new HistorySort(options);
  }

  /**
   * Takes the records of a batch up to offset `to`.
   * @param takes false: the record with that index in the batch is passed over. Transactions that change the same row are
   *   taken in an order without holes, as every snapshot of the source sees them: else the net is that of no moment
   * @throws TidemarkError `RECORD_CORRUPT`, `SCHEMA_INVALID`, `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
   */
  async add(batch: ChangeBatch, to: Offset, takes: ((index: number) => boolean) | null = null): Promise<void> {
    const view = this.#view.reset(batch.records);
    while (view.next()) {
      const offset = batch.baseOffset + view.index;
      if (offset > to) return;
      if (takes !== null && !takes(view.index)) continue;
      const added = this.#record(view, offset);
      if (added instanceof Promise) await added;
    }
  }

  /** Takes rows of a keyless table as a base has them. */
  async addRows(rows: ChangeBatch, offsets: readonly Offset[]): Promise<void> {
    const view = this.#view.reset(rows.records);
    while (view.next()) await this.#bagRow(view, view.afterStart, view.afterEnd, offsets[view.index] ?? 0, 1);
  }

  /** All entries, with `from` those that are not before it; valid until disposal. Nothing can be added any more. */
  async sorted(from: EntryPlace | null = null): Promise<EntryCursor> {
    return new MergeCursor([await this.#keyed.sorted(from), await this.#bags.sorted(from)], 'all');
  }

  #record(view: RecordView, offset: Offset): void | Promise<void> {
    const { tableId, op, flags, schemaVersion } = view;
    if (this.#tableId !== null && tableId !== this.#tableId) return;
    if (this.#tables !== null && !this.#tables.has(tableId)) return;
    if ((flags & (Flag.notApplied | Flag.incomplete)) !== 0) return;
    if (op === Op.truncate) return this.#keyed.add(tableId, NO_KEY, bareValue(EntryKind.emptied, schemaVersion, offset));
    if (!isRowOp(op)) return;
    if (view.keyEnd === view.keyStart) return this.#bagRecord(view, offset);
    if (op === Op.delete) return this.#keyed.add(tableId, view.key(), bareValue(EntryKind.deleted, schemaVersion, offset));
    if (!view.hasAfter) return;
    const keyed = this.#keyed;
    const keyLength = view.keyEnd - view.keyStart;
    const at = keyed.reserve(tableId, keyLength, VALUE_HEADER + view.afterEnd - view.afterStart);
    const { buffer } = keyed;
    view.bytes.copy(buffer, at, view.keyStart, view.keyEnd);
    view.bytes.copy(buffer, writeValueHeader(buffer, at + keyLength, EntryKind.row, flags & Flag.wide, schemaVersion, offset), view.afterStart, view.afterEnd);
    return keyed.reserved();
  }

  async #bagRecord(view: RecordView, offset: Offset): Promise<void> {
    const { op } = view;
    if ((op === Op.delete || op === Op.update) && view.hasBefore) await this.#bagRow(view, view.beforeStart, view.beforeEnd, offset, -1);
    if (op !== Op.delete && view.hasAfter) await this.#bagRow(view, view.afterStart, view.afterEnd, offset, 1);
  }

  #bagRow(view: RecordView, start: number, end: number, offset: Offset, count: number): void | Promise<void> {
    const { tableId, schemaVersion, bytes } = view;
    const newest = this.#catalog.schema(tableId);
    const from = this.#catalog.schemaOf(tableId, schemaVersion);
    const version = newest?.version ?? schemaVersion;
    const image = newest === undefined || version === schemaVersion ? bytes.subarray(start, end) : this.#projectors.get(from, newest).image(bytes, start, end);
    return this.#bags.add(tableId, image, bagValue(version, offset, count));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keyed[Symbol.asyncDispose]();
    await this.#bags[Symbol.asyncDispose]();
  }
}
