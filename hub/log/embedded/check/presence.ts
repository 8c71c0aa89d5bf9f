import type { Catalog, CatalogTable } from '../../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { readU64, writeU64 } from '../bytes.ts';
import { EntryKind, ValueView } from '../base/base-entry.ts';
import { ExternalSorter } from '../runs/external-sort.ts';
import { MergeCursor } from '../runs/merge.ts';
import type { EntryCursor } from '../runs/run-format.ts';

const NO_KEY = Buffer.alloc(0);
/** Changes kept in memory while they are sorted, bytes. */
const MEMORY = 32 << 20;

/** Changes of one table that have no row to act on. */
export interface RowlessChanges {
  readonly tableId: number;
  readonly count: number;
  readonly first: Offset;
  readonly last: Offset;
}

export interface PresenceOptions {
  /** As of the history's end. */
  readonly catalog: Catalog;
  /** False: rows of the table have been dropped. */
  readonly isWhole: (tableId: number) => boolean;
  readonly signal: AbortSignal;
}

/**
 * Whether each update and delete of a history has a row to act on, in tables that are consistent there. Sorts keys and
 * offsets in bounded memory. Owned by one caller; its files go with it.
 */
export class Presence implements AsyncDisposable {
  readonly #sorter: ExternalSorter;
  readonly #horizon: Offset;
  readonly #view = new RecordView();
  readonly #value = Buffer.allocUnsafe(9);

  /** @param directory a folder that exists and is this one's alone */
  constructor(files: FileSystem, directory: string, horizon: Offset) {
    this.#sorter = new ExternalSorter({ files, directory, memoryBytes: MEMORY, duplicates: 'all' });
    this.#horizon = horizon;
  }

  /** Takes the records of a batch, in order of their offsets. @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL` */
  async add(batch: ChangeBatch): Promise<void> {
    const view = this.#view.reset(batch.records);
    while (view.next()) {
      const offset = batch.baseOffset + view.index;
      if (offset <= this.#horizon) continue;
      const added = this.#record(view, offset);
      if (added instanceof Promise) await added;
    }
  }

  #record(view: RecordView, offset: Offset): void | Promise<void> {
    const { op, flags, tableId } = view;
    if ((flags & (Flag.notApplied | Flag.incomplete)) !== 0) return;
    if (op === Op.truncate) return this.#put(tableId, NO_KEY, offset, op);
    if (!isRowOp(op)) return;
    if (view.keyEnd > view.keyStart) return this.#put(tableId, view.key(), offset, op);
    return this.#bag(view, offset);
  }

  async #bag(view: RecordView, offset: Offset): Promise<void> {
    const { op, tableId } = view;
    if ((op === Op.delete || op === Op.update) && view.hasBefore) await this.#put(tableId, view.before(), offset, Op.delete);
    if (op !== Op.delete && view.hasAfter) await this.#put(tableId, view.after(), offset, Op.create);
  }

  #put(tableId: number, key: Buffer, offset: Offset, op: number): void | Promise<void> {
    this.#value[8] = op;
    writeU64(this.#value, offset, 0);
    return this.#sorter.add(tableId, key, this.#value);
  }

  /** @param base the net entries of the base; null: there is none */
  async rowless(base: EntryCursor | null, { catalog, isWhole, signal }: PresenceOptions): Promise<RowlessChanges[]> {
    const history = await this.#sorter.sorted();
    const cursor = new MergeCursor(base === null ? [history] : [base, history], 'all');
    const walk = new PresenceWalk(catalog, isWhole);
    const fromBase = base === null ? -1 : 0;
    for (let entries = 0; ; entries++) {
      const moving = cursor.next();
      if (!(moving instanceof Promise ? await moving : moving)) return walk.found();
      if ((entries & 0xfff) === 0) signal.throwIfAborted();
      walk.take(cursor, cursor.origin === fromBase);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sorter[Symbol.asyncDispose]();
  }
}

/** Follows one key after the other through its changes. */
class PresenceWalk {
  readonly #catalog: Catalog;
  readonly #isWhole: (tableId: number) => boolean;
  readonly #found = new Map<number, { count: number; first: Offset; last: Offset }>();
  readonly #value = new ValueView();
  #table: CatalogTable | null = null;
  #tableId = -1;
  #isChecked = false;
  #isBag = false;
  #key: Buffer = NO_KEY;
  /** By how often the row stands there. */
  #count = 0;
  /** Offsets at which the table was emptied, in order, and how many of them have passed for the current key. */
  #emptied: Offset[] = [];
  #passed = 0;

  constructor(catalog: Catalog, isWhole: (tableId: number) => boolean) {
    this.#catalog = catalog;
    this.#isWhole = isWhole;
  }

  take({ tableId, bytes, keyStart, keyEnd, valueEnd }: EntryCursor, isOfBase: boolean): void {
    if (tableId !== this.#tableId) this.#begin(tableId);
    if (!this.#isChecked) return;
    const isSame = this.#key.length > 0 && bytes.compare(this.#key, 0, this.#key.length, keyStart, keyEnd) === 0;
    if (!isSame) {
      this.#key = Buffer.from(bytes.subarray(keyStart, keyEnd));
      this.#count = 0;
      this.#passed = 0;
    }
    if (isOfBase) {
      const value = this.#value.read(bytes, keyEnd, valueEnd);
      this.#count = value.kind === EntryKind.bag ? value.count : 1;
      return;
    }
    const offset = readU64(bytes, keyEnd);
    const op = bytes[keyEnd + 8] as number;
    if (op === Op.truncate) this.#emptied.push(offset);
    else this.#change(offset, op);
  }

  found(): RowlessChanges[] {
    return [...this.#found].map(([tableId, rest]) => ({ tableId, ...rest }));
  }

  #begin(tableId: number): void {
    const table = this.#catalog.table(tableId);
    this.#tableId = tableId;
    this.#table = table ?? null;
    this.#isBag = table?.versions.at(-1)?.schema.keyKind === 'none';
    // Rows without a key are told apart by all that is in them, which another shape changes.
    this.#isChecked = table !== undefined && this.#isWhole(tableId) && !(this.#isBag && table.versions.length > 1);
    this.#key = NO_KEY;
    this.#emptied = [];
  }

  #change(offset: Offset, op: number): void {
    for (; (this.#emptied[this.#passed] ?? Number.POSITIVE_INFINITY) < offset; this.#passed++) this.#count = 0;
    const needsRow = op === Op.update || op === Op.delete;
    if (needsRow && this.#count <= 0 && this.#isConsistent(offset)) this.#note(offset);
    if (this.#isBag) this.#count = op === Op.delete ? Math.max(this.#count - 1, 0) : this.#count + 1;
    else this.#count = op === Op.delete ? 0 : 1;
  }

  #isConsistent(offset: Offset): boolean {
    return this.#table?.consistent.some(({ from, to }) => offset > from && (to === null || offset <= to)) ?? false;
  }

  #note(offset: Offset): void {
    const before = this.#found.get(this.#tableId);
    if (before === undefined) this.#found.set(this.#tableId, { count: 1, first: offset, last: offset });
    else this.#found.set(this.#tableId, { count: before.count + 1, first: Math.min(before.first, offset), last: Math.max(before.last, offset) });
  }
}
