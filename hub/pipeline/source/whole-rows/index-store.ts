/**
 * The index on disk: from a row to the newest record that may hold an out-of-line value of it. It can be thrown away at
 * any time: it is rebuilt from the log. Keys of the store:
 *
 *     m                      JSON {logId, epoch, offset}: the index is that of the log up to `offset`
 *     e row id               u64 offset of the newest whole image
 *     i row id               the newest record is incomplete (while the table is copied); no value
 *     w table id             u64 offset: every row of the table behind it is followed (generation.ts, followedFrom)
 *     d row id               u64 offset: the row was gone there. Of followed tables, while the base may still have the row
 *     p row id               of an unfinished large transaction: u64 offset, u32 schema version, and where the image
 *                            stands in the file beside (spilled-images.ts): u64 position, u32 length;
 *                            schema version 0: no image (a row that is gone, or narrow)
 */
import { ClassicLevel } from 'classic-level';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { rowId, type RowId } from './row-id.ts';

export interface IndexMark {
  readonly logId: string;
  readonly epoch: string;
  readonly offset: Offset;
}

type Space = 'e' | 'i' | 'p' | 'w' | 'd';
type Change = { type: 'put'; key: Buffer; value: Buffer } | { type: 'del'; key: Buffer };

const MARK = Buffer.from('m');
const NOTHING = Buffer.alloc(0);
const TABLE_BYTES = 4;
/** Entries of one atomic write. */
const WRITE_BATCH = 1_000;

export class IndexStore implements AsyncDisposable {
  readonly #level: ClassicLevel<Buffer, Buffer>;
  #changes: Change[] = [];

  private constructor(level: ClassicLevel<Buffer, Buffer>) {
    this.#level = level;
  }

  /** Opens the store in a directory; one that cannot be read is thrown away. @throws TidemarkError `WHOLE_ROW_INDEX` */
  static async open(directory: string): Promise<IndexStore> {
    return guarded(async () => {
      try {
        return new IndexStore(await opened(directory));
      } catch (failure) {
        if (isLocked(failure)) throw failure;
        await ClassicLevel.destroy(directory);
        return new IndexStore(await opened(directory));
      }
    });
  }

  async mark(): Promise<IndexMark | null> {
    const bytes = await guarded(() => this.#level.get(MARK));
    if (bytes === undefined) return null;
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value !== 'object' || value === null) return null;
    const { logId, epoch, offset } = { logId: '', epoch: '', offset: -1, ...value };
    return offset < 0 ? null : { logId, epoch, offset };
  }

  /** Takes part in the next {@link write}. */
  put(space: Space, id: RowId, value: Buffer = NOTHING): void {
    this.#changes.push({ type: 'put', key: keyIn(space, id), value });
  }

  /** Takes part in the next {@link write}. */
  delete(space: Space, id: RowId): void {
    this.#changes.push({ type: 'del', key: keyIn(space, id) });
  }

  /** Changes that wait for {@link write}. */
  get pending(): number {
    return this.#changes.length;
  }

  get isFull(): boolean {
    return this.#changes.length >= WRITE_BATCH;
  }

  /** Writes what has been put and deleted, and the mark if given, as one. Survives the end of this process. */
  async write(mark: IndexMark | null = null): Promise<void> {
    const changes = this.#changes;
    this.#changes = [];
    if (mark !== null) changes.push({ type: 'put', key: MARK, value: Buffer.from(JSON.stringify(mark)) });
    if (changes.length > 0) await guarded(() => this.#level.batch(changes));
  }

  get(space: Space, id: RowId): Promise<Buffer | undefined> {
    return guarded(() => this.#level.get(keyIn(space, id)));
  }

  getMany(space: Space, ids: readonly RowId[]): Promise<(Buffer | undefined)[]> {
    return guarded(() => this.#level.getMany(ids.map((id) => keyIn(space, id))));
  }

  /** The rows of a table that have an entry in a space, in key order, at most `limit`. */
  async rows(space: Space, tableId: number, limit: number): Promise<RowId[]> {
    const keys = await guarded(() => this.#level.keys({ ...rangeOf(space, tableId), limit }).all());
    return keys.map((key) => key.subarray(1));
  }

  /** Every entry of a space, or of one table in it, in order. */
  async *entries(space: Space, tableId?: number): AsyncGenerator<[RowId, Buffer], void, void> {
    const iterator = this.#level.iterator(tableId === undefined ? { gte: Buffer.from(space), lt: afterSpace(space) } : rangeOf(space, tableId));
    try {
      for (;;) {
        const some = await guarded(() => iterator.nextv(1_000));
        if (some.length === 0) return;
        for (const [key, value] of some) yield [key.subarray(1), value];
      }
    } finally {
      await iterator.close();
    }
  }

  /** The tables that have an entry in a space. */
  async tables(space: Space): Promise<number[]> {
    const tables: number[] = [];
    for (let from: Buffer = Buffer.from(space); ; ) {
      const range = { gte: from, lt: afterSpace(space), limit: 1 };
      const [key] = await guarded(() => this.#level.keys(range).all());
      if (key === undefined) return tables;
      const tableId = key.readUInt32BE(1);
      tables.push(tableId);
      from = keyIn(space, tableEnd(tableId));
    }
  }

  /** Removes a table's entries, or all of them, from a space; at once, not with the next {@link write}. */
  async clear(space: Space, tableId?: number): Promise<void> {
    const range = tableId === undefined ? { gte: Buffer.from(space), lt: afterSpace(space) } : rangeOf(space, tableId);
    await guarded(() => this.#level.clear(range));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#level.close();
  }
}

async function opened(directory: string): Promise<ClassicLevel<Buffer, Buffer>> {
  const level = new ClassicLevel<Buffer, Buffer>(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  await level.open();
  return level;
}

function isLocked(failure: unknown): boolean {
  if (!(failure instanceof Error)) return false;
  const cause: unknown = failure.cause;
  return cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_LOCKED';
}

function keyIn(space: Space, id: Uint8Array): Buffer {
  const key = Buffer.allocUnsafe(1 + id.length);
  key[0] = space.charCodeAt(0);
  key.set(id, 1);
  return key;
}

function afterSpace(space: Space): Buffer {
  return Buffer.from([space.charCodeAt(0) + 1]);
}

/** What follows every row of a table: the next table's beginning, or, for the last one, a byte more. */
function tableEnd(tableId: number): Buffer {
  const end = Buffer.alloc(TABLE_BYTES);
  if (tableId < 0xffff_ffff) end.writeUInt32BE(tableId + 1, 0);
  else return Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]);
  return end;
}

function rangeOf(space: Space, tableId: number): { gte: Buffer; lt: Buffer } {
  const begin = Buffer.alloc(TABLE_BYTES);
  begin.writeUInt32BE(tableId, 0);
  return { gte: keyIn(space, begin), lt: keyIn(space, tableEnd(tableId)) };
}

async function guarded<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TidemarkError('WHOLE_ROW_INDEX', `the index of large rows cannot be used: ${why}`, { cause });
  }
}

/**
 * What the newest record says of a row: where its whole image stands, that it is incomplete, or that it needs no entry.
 * @param marked the table may have incomplete rows, of which this may be one
 */
export function writeEntry(store: IndexStore, id: RowId, entry: Offset | 'incomplete' | 'none', marked: boolean): void {
  if (typeof entry === 'number') store.put('e', id, offsetValue(entry));
  else store.delete('e', id);
  if (entry === 'incomplete') store.put('i', id);
  else if (marked) store.delete('i', id);
}

/** From where the rows of tables are followed. */
export function writeFollowed(store: IndexStore, followed: ReadonlyMap<number, Offset>): void {
  for (const [tableId, from] of followed) store.put('w', rowId(tableId, NOTHING), offsetValue(from));
}

export function offsetValue(offset: Offset): Buffer {
  const value = Buffer.alloc(8);
  value.writeBigUInt64BE(BigInt(offset), 0);
  return value;
}

export function offsetOf(value: Buffer): Offset {
  return Number(value.readBigUInt64BE(0));
}
