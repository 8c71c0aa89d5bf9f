import type { Offset } from '../../../../contracts/offset.ts';
import type { Image } from './fill.ts';
import type { Generation, RowEntry } from './generation.ts';
import { writeEntry, type IndexStore } from './index-store.ts';
import { rowIdOfName, tableOf, type RowId } from './row-id.ts';

const HEADER = 12;
/** In place of the offset, of entries without an image. */
const NONE = 0;
const INCOMPLETE = 1;

/**
 * Generations of a transaction that is larger than memory, on disk with their images, which cannot be read from the log
 * before it is durable. Newer than the index and older than every generation in memory.
 */
export class Spill {
  readonly #store: IndexStore;
  readonly #cleared = new Set<number>();
  readonly #marked = new Set<number>();
  readonly #unmarked = new Set<number>();
  #clearedAll = false;
  #last: Offset = 0;

  constructor(store: IndexStore) {
    this.#store = store;
  }

  get isEmpty(): boolean {
    return this.#last === 0;
  }

  /** Of the last generation in it. */
  get lastOffset(): Offset {
    return this.#last;
  }

  async add(generation: Generation): Promise<void> {
    const store = this.#store;
    if (generation.clearedAll) {
      this.#clearedAll = true;
      await store.clear('p');
    }
    for (const tableId of generation.cleared) {
      this.#cleared.add(tableId);
      await store.clear('p', tableId);
    }
    for (const tableId of generation.marked) this.#marked.add(tableId);
    if (generation.unmarked.size > 0) await this.#settle(generation.unmarked);
    for (const [name, entry] of generation.entries) {
      store.put('p', rowIdOfName(name), encoded(entry));
      if (store.isFull) await store.write();
    }
    await store.write();
    this.#last = generation.lastOffset;
  }

  /** Images of rows; null: the spill knows that there is none; undefined: look in the index. */
  async get(ids: readonly RowId[]): Promise<(Image | null | undefined)[]> {
    const found = await this.#store.getMany('p', ids);
    return found.map((bytes, index) => {
      if (bytes !== undefined) return imageOf(bytes);
      return this.#clearedAll || this.#cleared.has(tableOf(ids[index] as RowId)) ? null : undefined;
    });
  }

  /** Everything in it is durable: it goes into the index. */
  async moveToIndex(): Promise<void> {
    const store = this.#store;
    for (const space of ['e', 'i'] as const) {
      if (this.#clearedAll) await store.clear(space);
      else for (const tableId of this.#cleared) await store.clear(space, tableId);
    }
    // Before the entries: those that are incomplete became so after their table was settled.
    for (const tableId of this.#unmarked) await store.clear('i', tableId);
    for await (const [id, bytes] of store.entries('p')) {
      const offset = Number(bytes.readBigUInt64BE(0));
      const entry = hasImage(bytes) ? offset : offset === INCOMPLETE ? 'incomplete' : 'none';
      writeEntry(store, id, entry, this.#marked.has(tableOf(id)));
      if (store.isFull) await store.write();
    }
    await store.write();
    await this.clear();
  }

  /** No row of these tables that is in the spill, or in the index, is incomplete any more. */
  async #settle(tables: ReadonlySet<number>): Promise<void> {
    const store = this.#store;
    for (const tableId of tables) this.#unmarked.add(tableId);
    for await (const [id, bytes] of store.entries('p')) {
      if (!tables.has(tableOf(id)) || hasImage(bytes) || Number(bytes.readBigUInt64BE(0)) !== INCOMPLETE) continue;
      store.put('p', id, encoded({ kind: 'none' }));
      if (store.isFull) await store.write();
    }
    await store.write();
  }

  /** Forgets everything, also what an earlier process left. */
  async clear(): Promise<void> {
    await this.#store.clear('p');
    this.#cleared.clear();
    this.#marked.clear();
    this.#unmarked.clear();
    this.#clearedAll = false;
    this.#last = 0;
  }
}

function encoded(entry: RowEntry): Buffer {
  const image = entry.kind === 'image' ? entry.image : null;
  const length = image === null ? 0 : image.end - image.start;
  const bytes = Buffer.allocUnsafe(HEADER + length);
  bytes.writeBigUInt64BE(BigInt(entry.kind === 'image' ? entry.offset : entry.kind === 'incomplete' ? INCOMPLETE : NONE), 0);
  bytes.writeUInt32BE(image?.schemaVersion ?? 0, 8);
  if (image !== null) image.bytes.copy(bytes, HEADER, image.start, image.end);
  return bytes;
}

function hasImage(bytes: Buffer): boolean {
  return bytes.readUInt32BE(8) !== 0;
}

function imageOf(bytes: Buffer): Image | null {
  return hasImage(bytes) ? { bytes, start: HEADER, end: bytes.length, schemaVersion: bytes.readUInt32BE(8) } : null;
}
