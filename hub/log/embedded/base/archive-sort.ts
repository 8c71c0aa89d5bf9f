import { join } from 'node:path';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';
import { ExternalSorter } from '../runs/external-sort.ts';
import type { EntryCursor } from '../runs/run-format.ts';
import { recordKey, transactionKey, transactionValue, writeRecordValue } from './archive-entry.ts';
import type { KeptTables } from './kept-tables.ts';

export interface ArchiveSortOptions {
  readonly files: FileSystem;
  /** A folder that exists; the sort makes one of its own in it for each age. */
  readonly directory: string;
  /** Bytes of entries in memory, for all ages together. */
  readonly memoryBytes: number;
  readonly kept: KeptTables;
}

/** The first record of a table in the open transaction. */
type Heads = Map<number, Offset>;

/**
 * The records of a stretch of history that are kept, by how long they are, in order of table and offset. The stretch
 * begins and ends between transactions. Owned by one caller; its files go with it.
 */
export class ArchiveSort implements AsyncDisposable {
  readonly #kept: KeptTables;
  readonly #sorters = new Map<number | null, ExternalSorter>();
  readonly #view = new RecordView();
  /** By age, since control records of every table stand in each archive. */
  readonly #heads = new Map<number | null, Heads>();
  #value = Buffer.allocUnsafe(4096);

  private constructor(kept: KeptTables) {
    this.#kept = kept;
  }

  static async create({ files, directory, memoryBytes, kept }: ArchiveSortOptions): Promise<ArchiveSort> {
    const sort = new ArchiveSort(kept);
    for (const [index, ageMs] of kept.ages.entries()) {
      const own = join(directory, `archive-${index}`);
      await files.remove(own);
      await files.makeDirectory(own);
      sort.#sorters.set(ageMs, new ExternalSorter({ files, directory: own, memoryBytes: memoryBytes / kept.ages.length, duplicates: 'all' }));
      sort.#heads.set(ageMs, new Map());
    }
    return sort;
  }

  /** Takes the kept ones among the records of a batch up to offset `to`. @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL` */
  async add(batch: ChangeBatch, to: Offset): Promise<void> {
    if (this.#sorters.size === 0) return;
    const view = this.#view.reset(batch.records);
    for (const entry of batch.transactions) {
      for (let record = 0; record < entry.count && view.next(); record++) {
        const offset = batch.baseOffset + view.index;
        if (offset > to) return;
        await this.#record(view, offset);
      }
      if (entry.commits) await this.#commit(entry);
    }
  }

  /** By age; valid until disposal. Called once. */
  async sorted(): Promise<{ readonly ageMs: number | null; readonly cursor: EntryCursor }[]> {
    const sorted: { ageMs: number | null; cursor: EntryCursor }[] = [];
    for (const [ageMs, sorter] of this.#sorters) sorted.push({ ageMs, cursor: await sorter.sorted() });
    return sorted;
  }

  async #record(view: RecordView, offset: Offset): Promise<void> {
    const { tableId } = view;
    if (tableId === 0) {
      if (view.op === Op.control) for (const ageMs of this.#sorters.keys()) await this.#keep(ageMs, view, offset);
      return;
    }
    const ageMs = this.#kept.ageOf(tableId);
    if (ageMs !== undefined && this.#sorters.has(ageMs)) await this.#keep(ageMs, view, offset);
  }

  #keep(ageMs: number | null, view: RecordView, offset: Offset): void | Promise<void> {
    const heads = this.#heads.get(ageMs);
    const head = heads?.get(view.tableId) ?? offset;
    if (head === offset) heads?.set(view.tableId, offset);
    const record = view.record();
    if (record.length + 8 > this.#value.length) this.#value = Buffer.allocUnsafe((record.length + 8) * 2);
    const length = writeRecordValue(this.#value, head, record);
    return this.#sorters.get(ageMs)?.add(view.tableId, recordKey(offset), this.#value.subarray(0, length));
  }

  async #commit(entry: TransactionEntry): Promise<void> {
    for (const [ageMs, heads] of this.#heads) {
      if (heads.size === 0) continue;
      const value = transactionValue(entry);
      for (const [tableId, offset] of heads) await this.#sorters.get(ageMs)?.add(tableId, transactionKey(offset), value);
      heads.clear();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sorter of this.#sorters.values()) await sorter[Symbol.asyncDispose]();
  }
}
