/**
 * Whole rows (docs/protocol-copy.md, "Whole rows"): fills in what a source left out before a record enters the log.
 *
 * Three places know the newest whole image of a row, newest first: the generations (one for each appended batch that is
 * not in the index yet), the spill (generations of a large unfinished transaction, on disk), and the index on disk, which
 * holds durable offsets only. So whatever is cut from the log was never in the index, and after a cut it is enough to
 * forget the rest and read the log on from the index's mark.
 *
 * Narrow rows cost one look at their flags.
 */
import type { Catalog } from '../../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { FileSystem, Logger } from '../../../../contracts/runtime.ts';
import { tableName } from '../../../../contracts/schema.ts';
import type { RepairSet } from '../copy/session.ts';
import type { RowCompleter } from '../stream-feed.ts';
import { BatchCompletion, type Asking, type Images } from './batch-completion.ts';
import type { Image } from './fill.ts';
import { FollowedRows } from './followed-rows.ts';
import { Generation, watchedNone, type RowEntry, type Watched } from './generation.ts';
import { IndexStore, offsetOf, writeEntry, writeFollowed } from './index-store.ts';
import { LoggedImages, type Wanted } from './logged-images.ts';
import { keyOf, rowId, rowIdOfName, rowName, tableOf, type RowId } from './row-id.ts';
import { Spill } from './spill.ts';
import { isMendedByCopy } from './table-stops.ts';
import { SpilledImages } from './spilled-images.ts';

/** Generations are written to the index once they hold this much, as far as they are durable. */
const FLUSH_BYTES = 4 << 20;
const FLUSH_ENTRIES = 4_096;
/** A transaction that is not durable yet is spilled once its generations hold this much. */
const SPILL_BYTES = 16 << 20;
const SPILL_ENTRIES = 20_000;
/** What completing one batch may make of it, about; and how many incomplete records are tried before anything is known. */
const COMPLETED_BYTES = 4 << 20;
const FIRST_INCOMPLETE = 8;
/** The index's mark follows the log at this distance, so that little is read after a crash. */
const MARK_BYTES = 64 << 20;
/** Spaces of the index by row. */
const ROW_SPACES = ['e', 'i', 'd'] as const;

export interface WholeRowsOptions {
  /** Of this source's index alone; made if it is not there. Beside it, while a large transaction is open, a file `.spill`. */
  readonly directory: string;
  readonly files: FileSystem;
  readonly log: SourceLog;
  readonly logger: Logger;
}

export class WholeRows implements RowCompleter, RepairSet, Images, AsyncDisposable {
  readonly #store: IndexStore;
  readonly #log: SourceLog;
  readonly #logger: Logger;
  readonly #logged: LoggedImages;
  readonly #images: SpilledImages;
  readonly #spill: Spill;
  readonly #watched: Watched = watchedNone();
  readonly #followed: FollowedRows;
  readonly #stop = new AbortController();
  #completion: BatchCompletion;
  #generations: Generation[] = [];
  #held = { bytes: 0, entries: 0 };
  #unmarkedBytes = 0;
  #mostIncomplete = FIRST_INCOMPLETE;
  #marked: Offset = 0;

  private constructor(options: WholeRowsOptions, store: IndexStore) {
    this.#store = store;
    this.#log = options.log;
    this.#logger = options.logger;
    this.#logged = new LoggedImages(options.log);
    this.#followed = new FollowedRows({ ...options, store, logged: this.#logged, watched: this.#watched });
    this.#images = new SpilledImages(options.files, `${options.directory}.spill`);
    this.#spill = new Spill(store, this.#images);
    this.#completion = new BatchCompletion(this, 0);
  }

  /**
   * Opens the index. It is brought to the log's end by the first {@link rolledBack}, which comes when the log's writer is
   * opened. @throws TidemarkError `WHOLE_ROW_INDEX`
   */
  static async open(options: WholeRowsOptions): Promise<WholeRows> {
    return new WholeRows(options, await IndexStore.open(options.directory));
  }

  /**
   * The batch with its placeholders filled in: itself when there are none. In a table that is not consistent yet, a row
   * that nothing is known of stays incomplete and is not applied; its key joins the repair set. The records of a keyless
   * table that is not consistent yet are held back (not applied). A consistent table with a row that cannot be made whole
   * stops: its `stopped` record is put in front of that row, and the row is not applied. Each batch is to be appended
   * before the next one comes. @throws TidemarkError `WHOLE_ROW_INDEX`, and what reading the log throws
   */
  async complete(batch: ChangeBatch, catalog: Catalog): Promise<ChangeBatch> {
    await this.#makeRoom();
    const complete = await this.#completion.complete(batch, catalog);
    this.#measure(complete.records.length - batch.records.length, this.#completion.completedAt.size);
    for (const [tableId, error] of this.#completion.stopped) {
      const schema = catalog.schema(tableId);
      this.#logger.log('error', 'table.stopped', { table: schema === undefined ? `id ${tableId}` : tableName(schema), code: error.code, why: error.message, recopy: isMendedByCopy(error) });
    }
    return complete;
  }

  get mostIncomplete(): number {
    return this.#mostIncomplete;
  }

  appended(batch: ChangeBatch): void {
    const generation = new Generation(batch, this.#watched, this.#completion.completedAt);
    this.#completion.appended(batch, generation);
    this.#unmarkedBytes += batch.records.length;
    if (generation.isEmpty) return;
    this.#generations.push(generation);
    this.#held.bytes += generation.bytes;
    this.#held.entries += generation.entries.size;
  }

  /** Everything after `offset` was cut; the rest becomes durable by itself. Also called once at the beginning. */
  async rolledBack(offset: Offset): Promise<void> {
    this.#forget();
    await this.#spill.clear();
    await this.#log.reached(offset, this.#stop.signal);
    const mark = await this.#store.mark();
    if (mark === null || !this.#belongs(mark, offset)) await this.#startOver(mark === null ? 'new' : 'of another log');
    else this.#marked = mark.offset;
    this.#watched.indexed.clear();
    this.#watched.marked.clear();
    await this.#followed.recall(offset);
    for (const tableId of await this.#store.tables('e')) this.#watched.indexed.add(tableId);
    for (const tableId of await this.#store.tables('i')) {
      this.#watched.indexed.add(tableId);
      this.#watched.marked.add(tableId);
    }
    if (offset > this.#marked) await this.#catchUp(offset);
    this.#completion = new BatchCompletion(this, offset);
  }

  async repairKeys(tableId: number, limit: number): Promise<Buffer[]> {
    await this.#flush();
    if (this.#generations.length > 0 || !this.#spill.isEmpty) {
      throw new TidemarkError('INTERNAL', 'the repair set was asked for before everything was durable');
    }
    return (await this.#store.rows('i', tableId, limit)).map(keyOf);
  }

  mayHave(tableId: number): boolean {
    return this.#watched.indexed.has(tableId);
  }

  async newest(ids: readonly RowId[], asking: Asking): Promise<(Image | null)[]> {
    const found = new Array<Image | null>(ids.length).fill(null);
    let left: number[] = [];
    ids.forEach((id, index) => {
      const entry = this.#inMemory(id);
      if (entry === undefined) left.push(index);
      else if (entry.kind === 'image') found[index] = entry.image;
    });
    if (left.length > 0 && !this.#spill.isEmpty) left = await this.#fromSpill(ids, left, found);
    if (left.length > 0 && !(await this.#fromIndex(ids, left, found, asking))) {
      await this.#remake();
      // What is wrong of an index that was made just now is not known: the row's table stops.
      await this.#fromIndex(ids, left, found, asking);
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#followed.close();
    try {
      await this.#flush();
    } finally {
      await this.#images[Symbol.asyncDispose]();
      await this.#store[Symbol.asyncDispose]();
    }
  }

  #inMemory(id: RowId): RowEntry | undefined {
    const name = rowName(id);
    const tableId = tableOf(id);
    for (let index = this.#generations.length - 1; index >= 0; index--) {
      const generation = this.#generations[index] as Generation;
      const entry = generation.entries.get(name);
      if (entry !== undefined) return entry;
      if (generation.cleared.has(tableId)) return { kind: 'none' };
    }
    return undefined;
  }

  /** Fills in what the spill knows; answers the indexes that it does not know. */
  async #fromSpill(ids: readonly RowId[], indexes: readonly number[], found: (Image | null)[]): Promise<number[]> {
    const spilled = await this.#spill.get(indexes.map((index) => ids[index] as RowId));
    return indexes.filter((index, place) => {
      const image = spilled[place];
      if (image !== undefined) found[index] = image;
      return image === undefined;
    });
  }

  /** Fills in what the index knows. False: an entry of it leads to another row, or to none. */
  async #fromIndex(ids: readonly RowId[], indexes: readonly number[], found: (Image | null)[], asking: Asking): Promise<boolean> {
    const entries = await this.#store.getMany('e', indexes.map((index) => ids[index] as RowId));
    const wanted: Wanted[] = [];
    const places: number[] = [];
    const unsure: number[] = [];
    entries.forEach((entry, place) => {
      const index = indexes[place] as number;
      const id = ids[index] as RowId;
      if (!this.#followed.isKnown(id, entry)) unsure.push(index);
      else if (entry !== undefined) {
        wanted.push({ id, offset: offsetOf(entry) });
        places.push(index);
      }
    });
    const images = await this.#logged.read(wanted, this.#stop.signal);
    places.forEach((index, place) => {
      found[index] = images[place] ?? null;
    });
    if (unsure.length > 0) await this.#followed.find(ids, unsure, found, asking);
    return images.every((image) => image !== null);
  }

  async #makeRoom(): Promise<void> {
    const { bytes, entries } = this.#held;
    if (bytes >= FLUSH_BYTES || entries >= FLUSH_ENTRIES || this.#unmarkedBytes >= MARK_BYTES) await this.#flush();
    if (this.#held.bytes < SPILL_BYTES && this.#held.entries < SPILL_ENTRIES) return;
    for (const generation of this.#generations) await this.#spill.add(generation);
    this.#forget();
  }

  /** More at once step by step, fewer at once as soon as rows turn out to be large. */
  #measure(bytes: number, completed: number): void {
    if (completed === 0) return;
    const fitting = Math.floor((COMPLETED_BYTES * completed) / Math.max(1, bytes));
    this.#mostIncomplete = Math.max(1, Math.min(fitting, this.#mostIncomplete * 2));
  }

  #forget(): void {
    this.#generations = [];
    this.#held = { bytes: 0, entries: 0 };
  }

  /** Writes what is durable to the index, and how far the index is. */
  async #flush(): Promise<void> {
    const durable = this.#log.state().highWatermark;
    if (durable <= this.#marked) return;
    if (!this.#spill.isEmpty) {
      if (this.#spill.lastOffset > durable) return;
      await this.#spill.moveToIndex((tableId) => this.#followed.keepsGone(tableId));
    }
    let first = this.#generations[0];
    while (first !== undefined && first.lastOffset <= durable) {
      await this.#write(first);
      this.#generations.shift();
      this.#held.bytes -= first.bytes;
      this.#held.entries -= first.entries.size;
      first = this.#generations[0];
    }
    // A generation that reaches beyond what is durable is not in the index, whole as it is: the mark stays before it.
    const offset = first === undefined ? durable : Math.min(durable, first.firstOffset - 1);
    await this.#setMark(offset);
    if (first === undefined) this.#unmarkedBytes = 0;
    await this.#followed.prune();
  }

  async #setMark(offset: Offset): Promise<void> {
    const { logId } = this.#log.state();
    await this.#store.write({ logId, epoch: offset === 0 ? '' : this.#log.epochAt(offset), offset });
    this.#marked = offset;
  }

  async #write(generation: Generation): Promise<void> {
    const store = this.#store;
    for (const tableId of generation.cleared) for (const space of ROW_SPACES) await store.clear(space, tableId);
    writeFollowed(store, generation.followed);
    // Before the entries: a batch read from the log may hold a `copied` and what came after it.
    for (const tableId of generation.unmarked) await store.clear('i', tableId);
    for (const [name, entry] of generation.entries) {
      const id = rowIdOfName(name);
      writeEntry(store, id, entry.kind === 'image' ? entry.offset : entry.kind, generation.marked.has(tableOf(id)));
      if (entry.kind === 'none' && this.#followed.keepsGone(tableOf(id))) this.#followed.putGone(id, generation.lastOffset);
      if (entry.kind === 'image' && entry.completed) this.#logged.remember(entry.offset, entry.image);
      if (store.isFull) await store.write();
    }
    await store.write();
  }

  #belongs(mark: { logId: string; epoch: string; offset: Offset }, end: Offset): boolean {
    if (mark.logId !== this.#log.state().logId || mark.offset > end) return false;
    return mark.offset === 0 || mark.epoch === this.#log.epochAt(mark.offset);
  }

  /** Makes the index of all that is durable anew. Its mark stays at the beginning until all in memory has followed. */
  async #remake(): Promise<void> {
    await this.#startOver('an entry led to another row');
    this.#followed.indexedBehind(0);
    await this.#readInto(this.#log.state().highWatermark);
  }

  async #startOver(why: string): Promise<void> {
    this.#logger.log('info', 'source.index-rebuilt', { why });
    // First: an index that was emptied must not count as complete, should this process end here.
    await this.#setMark(0);
    for (const space of [...ROW_SPACES, 'w'] as const) await this.#store.clear(space);
  }

  /** Reads the log from the mark to `end`, which is durable, into the index. */
  async #catchUp(end: Offset): Promise<void> {
    await this.#readInto(end);
    await this.#setMark(end);
    this.#unmarkedBytes = 0;
  }

  /**
   * What the base has of rows with out-of-line values, where the mark is of before the horizon; the index is empty then, or
   * has older entries of the same rows. Answers where the history goes on.
   */
  async #readBase(): Promise<Offset> {
    if (this.#marked >= this.#log.state().horizon) return 0;
    await using base = await this.#log.openBase();
    if (base === null) return 0;
    for (const space of ROW_SPACES) await this.#store.clear(space);
    const view = new RecordView();
    for (const { tableId } of base.catalog.tables()) {
      // Rows of these are found in the base by their keys.
      if (this.#watched.anyRow.has(tableId)) continue;
      for await (const { batch, offsets } of base.rows(tableId, { withDropped: true, signal: this.#stop.signal })) {
        for (view.reset(batch.records); view.next(); ) {
          if ((view.flags & Flag.wide) === 0 || view.keyEnd === view.keyStart) continue;
          this.#watched.indexed.add(tableId);
          writeEntry(this.#store, rowId(tableId, view.key()), offsets[view.index] ?? base.horizon, false);
          if (this.#store.isFull) await this.#store.write();
        }
      }
    }
    this.#followed.indexedBehind(base.horizon);
    await this.#store.write();
    return base.horizon;
  }

  async #readInto(end: Offset): Promise<void> {
    const from = await this.#readBase();
    for await (const batch of this.#log.read({ after: Math.max(this.#marked, from), to: end, follow: false, signal: this.#stop.signal })) {
      const generation = new Generation(batch, this.#watched, NONE_COMPLETED);
      if (!generation.isEmpty) await this.#write(generation);
    }
  }
}

const NONE_COMPLETED: ReadonlySet<number> = new Set();
