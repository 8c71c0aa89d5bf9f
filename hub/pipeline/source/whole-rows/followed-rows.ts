import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import type { Logger } from '../../../../contracts/runtime.ts';
import { leavesOutOfAnyRow } from './any-row.ts';
import type { Asking } from './batch-completion.ts';
import type { Image } from './fill.ts';
import type { Watched } from './generation.ts';
import { offsetOf, offsetValue, writeFollowed, type IndexStore } from './index-store.ts';
import type { LoggedImages, Wanted } from './logged-images.ts';
import { OlderRows } from './older-rows.ts';
import { tableOf, type RowId } from './row-id.ts';

export interface FollowedRowsParts {
  readonly log: SourceLog;
  readonly logger: Logger;
  readonly store: IndexStore;
  readonly logged: LoggedImages;
  readonly watched: Watched;
}

/**
 * Tables whose source may leave columns out of any row. As long as none does they cost nothing: no row of them is in the
 * index. From the first such row on every row is followed; those from before are looked up when they are wanted: the history
 * is read once, the base is asked by key.
 *
 * Invariant: of a table that is followed from an offset, the index has the newest record of every row that has one behind it.
 * What it says of an older place counts for nothing.
 */
export class FollowedRows {
  readonly #parts: FollowedRowsParts;
  readonly #older: OlderRows;
  readonly #stop = new AbortController();
  /** Tables that are to be followed from where the log was cut. */
  readonly #wanted = new Set<number>();
  #prunedAt: Offset = 0;

  constructor(parts: FollowedRowsParts) {
    this.#parts = parts;
    this.#older = new OlderRows(parts.log, parts.store);
  }

  /** What the index and the log's catalog say, where everything after `offset` has been cut. */
  async recall(offset: Offset): Promise<void> {
    const { watched, store, log } = this.#parts;
    watched.anyRow.clear();
    for (const { tableId, versions } of log.catalog().tables()) {
      const schema = versions.at(-1)?.schema;
      if (schema !== undefined && leavesOutOfAnyRow(schema)) watched.anyRow.add(tableId);
    }
    watched.followedFrom.clear();
    for await (const [id, value] of store.entries('w')) watched.followedFrom.set(tableOf(id), offsetOf(value));
    for (const tableId of this.#wanted) if (!watched.followedFrom.has(tableId)) watched.followedFrom.set(tableId, offset);
    this.#wanted.clear();
    for (const tableId of watched.followedFrom.keys()) watched.indexed.add(tableId);
  }

  /** The index has been emptied, and what comes into it begins behind `offset`. Takes part in its next write. */
  indexedBehind(offset: Offset): void {
    const { watched, store } = this.#parts;
    for (const [tableId, from] of watched.followedFrom) watched.followedFrom.set(tableId, Math.max(from, offset));
    writeFollowed(store, watched.followedFrom);
  }

  /** Every row of the table that counts and may be asked for is in the index, or is to come into it. */
  knowsAll(tableId: number): boolean {
    const { watched } = this.#parts;
    return !watched.anyRow.has(tableId) || watched.followedFrom.get(tableId) === 0;
  }

  /** What the index has of the row is the last word on it. `entry`: its offset there. */
  isKnown(id: RowId, entry: Buffer | undefined): boolean {
    const { watched } = this.#parts;
    const from = watched.followedFrom.get(tableOf(id));
    return this.knowsAll(tableOf(id)) || (from !== undefined && entry !== undefined && offsetOf(entry) > from);
  }

  /** The base may have rows of the table that are gone. */
  keepsGone(tableId: number): boolean {
    return (this.#parts.watched.followedFrom.get(tableId) ?? 0) > 0;
  }

  /**
   * Fills in the images of those rows of which the index does not have the last word. Not of a table that is copied: what it
   * has from before its copy does not count. @throws TidemarkError `WHOLE_ROWS_AGAIN`
   */
  async find(ids: readonly RowId[], unsure: readonly number[], found: (Image | null)[], asking: Asking): Promise<void> {
    const looked = unsure.filter((index) => asking.mustBeWhole(tableOf(ids[index] as RowId)));
    if (looked.length === 0) return;
    const rows = looked.map((index) => ids[index] as RowId);
    for (const tableId of new Set(rows.map(tableOf))) await this.#follow(tableId, asking);
    const { store, logged } = this.#parts;
    const [entries, gone] = [await store.getMany('e', rows), await store.getMany('d', rows)];
    const wanted: { readonly place: number; readonly at: Wanted }[] = [];
    const folded: number[] = [];
    for (const [place, id] of rows.entries()) {
      const entry = entries[place];
      if (entry !== undefined && this.isKnown(id, entry)) wanted.push({ place, at: { id, offset: offsetOf(entry) } });
      else if (gone[place] === undefined && this.keepsGone(tableOf(id))) folded.push(place);
    }
    const put = (place: number, image: Image | null | undefined): void => {
      found[looked[place] as number] = image ?? null;
    };
    const images = await logged.read(wanted.map(({ at }) => at), this.#stop.signal);
    wanted.forEach(({ place }, index) => put(place, images[index]));
    const bases = await logged.folded(folded.map((place) => rows[place] as RowId));
    folded.forEach((place, index) => put(place, bases[index]));
  }

  /** What was gone before the horizon is gone from the base, too. */
  async prune(): Promise<void> {
    const { store, log } = this.#parts;
    const { horizon } = log.state();
    if (horizon <= this.#prunedAt) return;
    for await (const [id, value] of store.entries('d')) {
      if (offsetOf(value) <= horizon) store.delete('d', id);
      if (store.isFull) await store.write();
    }
    await store.write();
    this.#prunedAt = horizon;
  }

  /** Notes that a row of a table was gone at that offset. Takes part in the next write of the index. */
  putGone(id: RowId, offset: Offset): void {
    this.#parts.store.put('d', id, offsetValue(offset));
  }

  close(): void {
    this.#stop.abort();
  }

  /** From here on every row of the table is followed, and those from before can be found. */
  async #follow(tableId: number, { end }: Asking): Promise<void> {
    const { watched, store, log, logger } = this.#parts;
    const known = watched.followedFrom.get(tableId);
    const upTo = known ?? end.last;
    if (upTo > log.state().horizon) {
      if (upTo > end.committed) {
        // What has been appended of an open transaction cannot be read.
        this.#wanted.add(tableId);
        throw new TidemarkError('WHOLE_ROWS_AGAIN', `rows of table id ${tableId} begin to come without columns in the middle of a transaction that is larger than a batch`);
      }
      await log.reached(upTo, this.#stop.signal);
      logger.log('info', 'source.rows-followed', { tableId, upTo });
      watched.followedFrom.set(tableId, await this.#older.index(tableId, upTo, this.#stop.signal));
    } else if (known === undefined) {
      writeFollowed(store, new Map([[tableId, upTo]]));
      await store.write();
      watched.followedFrom.set(tableId, upTo);
    }
    watched.indexed.add(tableId);
  }
}
