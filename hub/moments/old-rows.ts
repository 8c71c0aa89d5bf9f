import type { BaseReader } from '../../contracts/base.ts';
import type { Offset } from '../../contracts/offset.ts';
import { EntryKind, ValueView } from '../log/embedded/base/base-entry.ts';
import type { NetCursor } from '../log/embedded/base/net-cursor.ts';
import type { RowAt } from './row-at.ts';
import { SortedRows } from './sorted-rows.ts';

/** Rows looked up in the base one by one, a few blocks each, before it is cheaper to walk through the table once. */
const LOOK_UPS = 5000;

/**
 * Rows of a table with a key as of some moment, asked for in order of their keys: in the net of the history up to there,
 * else in the base. Owns neither; owns the walk through the base.
 */
export class OldRows implements AsyncDisposable {
  readonly #base: BaseReader | null;
  readonly #history: NetCursor;
  readonly #tableId: number;
  readonly #signal: AbortSignal;
  readonly #value = new ValueView();
  /** The cursor stands at an entry; null: it has not been moved yet. */
  #hasEntry: boolean | null = null;
  /** The table was emptied after the horizon: nothing of the base counts. */
  #emptied = false;
  #lookedUp = 0;
  #lastKey: Buffer | null = null;
  #walk: SortedRows | null = null;

  /** @param history the net of what came after the base's horizon, deletions included */
  constructor(base: BaseReader | null, history: NetCursor, tableId: number, signal: AbortSignal) {
    this.#base = base;
    this.#history = history;
    this.#tableId = tableId;
    this.#signal = signal;
  }

  /** @param key after every key that was asked for before. @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED` */
  async find(key: Buffer): Promise<RowAt | null> {
    const found = await this.#inHistory(key);
    if (found !== undefined) return found;
    return this.#emptied || this.#base === null ? null : this.#inBase(key, this.#base);
  }

  /** Undefined: the history says nothing of the key. */
  async #inHistory(key: Buffer): Promise<RowAt | null | undefined> {
    const cursor = this.#history;
    for (;;) {
      this.#hasEntry ??= await cursor.next();
      if (!this.#hasEntry) return undefined;
      const { kind, offset, version, imageStart, imageEnd } = this.#value.read(cursor.bytes, cursor.keyEnd, cursor.valueEnd);
      if (kind === EntryKind.emptied) this.#emptied = true;
      else {
        const order = cursor.bytes.compare(key, 0, key.length, cursor.keyStart, cursor.keyEnd);
        if (order > 0) return undefined;
        if (order === 0) return kind === EntryKind.row ? { offset, schemaVersion: version, image: Buffer.from(cursor.bytes.subarray(imageStart, imageEnd)) } : null;
      }
      this.#hasEntry = null;
    }
  }

  async #inBase(key: Buffer, base: BaseReader): Promise<RowAt | null> {
    if (this.#walk === null && this.#lookedUp < LOOK_UPS) {
      this.#lookedUp++;
      this.#lastKey = key;
      return base.find(this.#tableId, key);
    }
    return this.#walkTo(key, base);
  }

  async #walkTo(key: Buffer, base: BaseReader): Promise<RowAt | null> {
    let walk = this.#walk;
    if (walk === null) {
      walk = this.#walk = new SortedRows(base.rows(this.#tableId, { after: this.#lastKey, signal: this.#signal }));
      await walk.next();
    }
    while (!walk.ended) {
      const order = walk.key.compare(key);
      if (order > 0) return null;
      if (order === 0) return rowOf(walk, walk.offset);
      const moved = walk.next();
      if (moved instanceof Promise) await moved;
    }
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#walk?.close();
  }
}

function rowOf({ view }: SortedRows, offset: Offset): RowAt {
  return { offset, schemaVersion: view.schemaVersion, image: Buffer.from(view.after()) };
}
