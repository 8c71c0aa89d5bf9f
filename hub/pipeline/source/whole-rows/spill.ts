import type { Offset } from '../../../../contracts/offset.ts';
import type { Image } from './fill.ts';
import type { Generation, RowEntry } from './generation.ts';
import { offsetValue, writeEntry, writeFollowed, type IndexStore } from './index-store.ts';
import { rowIdOfName, tableOf, type RowId } from './row-id.ts';
import type { Place, SpilledImages } from './spilled-images.ts';

const ENTRY_BYTES = 24;
/** In place of the offset, of entries without an image. */
const NONE = 0;
const INCOMPLETE = 1;

/**
 * Generations of a transaction that is larger than memory, on disk with their images, which cannot be read from the log
 * before it is durable. Newer than the index and older than every generation in memory.
 */
export class Spill {
  readonly #store: IndexStore;
  readonly #images: SpilledImages;
  readonly #cleared = new Set<number>();
  readonly #marked = new Set<number>();
  readonly #unmarked = new Set<number>();
  readonly #followed = new Map<number, Offset>();
  #last: Offset = 0;

  constructor(store: IndexStore, images: SpilledImages) {
    this.#store = store;
    this.#images = images;
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
    for (const tableId of generation.cleared) {
      this.#cleared.add(tableId);
      await store.clear('p', tableId);
    }
    for (const tableId of generation.marked) this.#marked.add(tableId);
    for (const [tableId, from] of generation.followed) this.#followed.set(tableId, from);
    if (generation.unmarked.size > 0) await this.#settle(generation.unmarked);
    const images = [...generation.entries.values()].flatMap((entry) => (entry.kind === 'image' ? [entry.image] : []));
    const places = (await this.#images.add(images)).values();
    for (const [name, entry] of generation.entries) {
      store.put('p', rowIdOfName(name), encoded(entry, entry.kind === 'image' ? (places.next().value ?? null) : null));
      if (store.isFull) await store.write();
    }
    await store.write();
    this.#last = generation.lastOffset;
  }

  /** Images of rows; null: the spill knows that there is none; undefined: look in the index. */
  async get(ids: readonly RowId[]): Promise<(Image | null | undefined)[]> {
    const entries = await this.#store.getMany('p', ids);
    const images = (await this.#images.read(entries.flatMap((entry) => (entry !== undefined && hasImage(entry) ? [placeOf(entry)] : [])))).values();
    return entries.map((entry, index) => {
      if (entry === undefined) return this.#cleared.has(tableOf(ids[index] as RowId)) ? null : undefined;
      const bytes = hasImage(entry) ? images.next().value : undefined;
      return bytes === undefined ? null : { bytes, start: 0, end: bytes.length, schemaVersion: entry.readUInt32BE(8), offset: Number(entry.readBigUInt64BE(0)) };
    });
  }

  /** Everything in it is durable: it goes into the index. `keepsGone`: of such tables what is gone is noted, too. */
  async moveToIndex(keepsGone: (tableId: number) => boolean): Promise<void> {
    const store = this.#store;
    for (const space of ['e', 'i', 'd'] as const) {
      for (const tableId of this.#cleared) await store.clear(space, tableId);
    }
    writeFollowed(store, this.#followed);
    // Before the entries: those that are incomplete became so after their table was settled.
    for (const tableId of this.#unmarked) await store.clear('i', tableId);
    for await (const [id, bytes] of store.entries('p')) {
      const offset = Number(bytes.readBigUInt64BE(0));
      const entry = hasImage(bytes) ? offset : offset === INCOMPLETE ? 'incomplete' : 'none';
      writeEntry(store, id, entry, this.#marked.has(tableOf(id)));
      if (entry === 'none' && keepsGone(tableOf(id))) store.put('d', id, offsetValue(this.#last));
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
      store.put('p', id, encoded({ kind: 'none' }, null));
      if (store.isFull) await store.write();
    }
    await store.write();
  }

  /** Forgets everything, also what an earlier process left. */
  async clear(): Promise<void> {
    await this.#store.clear('p');
    await this.#images.clear();
    this.#cleared.clear();
    this.#marked.clear();
    this.#unmarked.clear();
    this.#followed.clear();
    this.#last = 0;
  }
}

/** The layout that index-store.ts describes. */
function encoded(entry: RowEntry, place: Place | null): Buffer {
  const bytes = Buffer.alloc(ENTRY_BYTES);
  bytes.writeBigUInt64BE(BigInt(entry.kind === 'image' ? entry.offset : entry.kind === 'incomplete' ? INCOMPLETE : NONE), 0);
  if (entry.kind !== 'image' || place === null) return bytes;
  bytes.writeUInt32BE(entry.image.schemaVersion, 8);
  bytes.writeBigUInt64BE(BigInt(place.position), 12);
  bytes.writeUInt32BE(place.length, 20);
  return bytes;
}

function hasImage(entry: Buffer): boolean {
  return entry.readUInt32BE(8) !== 0;
}

function placeOf(entry: Buffer): Place {
  return { position: Number(entry.readBigUInt64BE(12)), length: entry.readUInt32BE(20) };
}
