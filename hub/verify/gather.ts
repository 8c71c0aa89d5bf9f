/** Finds the rows that differ among those of buckets whose sums differ. */
import { join } from 'node:path';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { FileSystem } from '../../contracts/runtime.ts';
import { ExternalSorter } from '../log/embedded/runs/external-sort.ts';
import type { EntryCursor } from '../log/embedded/runs/run-format.ts';
import { forRows, type BucketSet } from './buckets.ts';
import type { RowHasher } from './row-hash.ts';

/** A row that is not on both sides as often, and with the same values. */
export interface WrongRow {
  /** Empty in a keyless table. */
  readonly key: Buffer;
  /** Its image; null: the side does not have it. Of a keyless table the same on both sides. */
  readonly left: Buffer | null;
  readonly right: Buffer | null;
  /** How often it stands there. */
  readonly leftCount: number;
  readonly rightCount: number;
  /** The key of the row in the log; null: the place has keys of its own, and nobody knows whose this one is. */
  readonly logKey: Buffer | null;
}

export interface GatherOptions {
  readonly files: FileSystem;
  /** A folder of its own; made, and removed at the end. */
  readonly directory: string;
  readonly memoryBytes: number;
  readonly buckets: BucketSet;
  readonly keyless: boolean;
  /** The place has keys of its own: whose row one is, only the log's rows that are added with `logs` tell. */
  readonly ownKeys: boolean;
}

type Side = 'left' | 'right';

const NOTHING = Buffer.alloc(0);
const ADDED = Buffer.from([1]);
const TAKEN = Buffer.from([0]);
const TABLE = 0;
/** Before the image: the length of the row's key in the log, where that is another. */
const LENGTH = 4;

export class Gather implements AsyncDisposable {
  readonly #options: GatherOptions;
  readonly #sorters: Readonly<Record<Side, ExternalSorter>>;
  rows = 0;

  private constructor(options: GatherOptions) {
    const { files, directory, memoryBytes } = options;
    this.#options = options;
    const sorter = (side: Side): ExternalSorter => new ExternalSorter({ files, directory: join(directory, side), memoryBytes: memoryBytes / 2, duplicates: 'all' });
    this.#sorters = { left: sorter('left'), right: sorter('right') };
  }

  static async create(options: GatherOptions): Promise<Gather> {
    for (const side of ['left', 'right']) await options.files.makeDirectory(join(options.directory, side));
    return new Gather(options);
  }

  /**
   * Takes those rows of a batch that are in the buckets.
   * @param logs the same rows in the log, one for one, where the place has keys of its own; null: they are the log's
   * @throws TidemarkError `RECORD_CORRUPT`, `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
   */
  async add(side: Side, batch: ChangeBatch, hash: RowHasher, options: { readonly sign?: 1 | -1; readonly logs?: ChangeBatch | null } = {}): Promise<void> {
    const { buckets: { marked, mask }, keyless } = this.#options;
    const { sign = 1, logs = null } = options;
    const sorter = this.#sorters[side];
    const found: number[] = [];
    let index = 0;
    forRows(batch, (view, keyStart, keyEnd, end) => {
      hash.row(view, keyStart, keyEnd, end);
      if (marked[hash.place & mask] === 1) found.push(keyStart, keyEnd, end, index);
      index++;
    });
    if (found.length === 0) return;
    const keys = logs === null ? null : keysOf(logs);
    const { records } = batch;
    for (let at = 0; at < found.length; at += 4) {
      const keyStart = found[at] ?? 0;
      const keyEnd = found[at + 1] ?? 0;
      const image = records.subarray(keyEnd, found[at + 2]);
      const logKey = keys?.[found[at + 3] ?? 0] ?? NOTHING;
      const writing = keyless
        ? sorter.add(TABLE, image, sign === 1 ? ADDED : TAKEN)
        : sorter.add(TABLE, records.subarray(keyStart, keyEnd), valueOf(logKey, image));
      if (writing !== undefined) await writing;
    }
    this.rows += found.length / 4;
  }

  /** The rows that differ, in order. Called once. @throws TidemarkError `LOG_CORRUPT`, `LOG_WRITE_FAILED`, `LOG_DISK_FULL` */
  async *wrong(): AsyncGenerator<WrongRow, void, void> {
    const left = new Group(await this.#sorters.left.sorted(), this.#options.keyless);
    const right = new Group(await this.#sorters.right.sorted(), this.#options.keyless);
    await left.next();
    await right.next();
    while (left.isAt || right.isAt) {
      const order = !left.isAt ? 1 : !right.isAt ? -1 : Buffer.compare(left.key, right.key);
      const row = this.#row(order <= 0 ? left : null, order >= 0 ? right : null);
      if (row !== null) yield row;
      if (order <= 0) await left.next();
      if (order >= 0) await right.next();
    }
  }

  #row(left: Group | null, right: Group | null): WrongRow | null {
    const leftCount = left?.count ?? 0;
    const rightCount = right?.count ?? 0;
    const key = (left ?? right)?.key ?? NOTHING;
    if (this.#options.keyless) {
      if (leftCount === rightCount) return null;
      return { key: NOTHING, left: leftCount === 0 ? null : key, right: rightCount === 0 ? null : key, leftCount, rightCount, logKey: NOTHING };
    }
    if (left !== null && right !== null && leftCount === rightCount && left.isUniform && right.isUniform && left.image.equals(right.image)) return null;
    const logKey = this.#options.ownKeys ? (left?.logKey ?? right?.logKey ?? null) : key;
    return { key, left: left?.image ?? null, right: right?.image ?? null, leftCount, rightCount, logKey };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sorter of Object.values(this.#sorters)) await sorter[Symbol.asyncDispose]();
    await this.#options.files.remove(this.#options.directory);
  }
}

function valueOf(logKey: Uint8Array, image: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(LENGTH + logKey.length + image.length);
  value.writeUInt32BE(logKey.length, 0);
  value.set(logKey, LENGTH);
  value.set(image, LENGTH + logKey.length);
  return value;
}

function keysOf(batch: ChangeBatch): Buffer[] {
  const keys: Buffer[] = [];
  forRows(batch, (_view, keyStart, keyEnd) => keys.push(batch.records.subarray(keyStart, keyEnd)));
  return keys;
}

/** All entries of one key. */
class Group {
  key: Buffer = Buffer.alloc(0);
  /** The first one's. */
  image: Buffer = Buffer.alloc(0);
  logKey: Buffer | null = null;
  count = 0;
  /** All have the same image. */
  isUniform = true;
  isAt = false;
  readonly #cursor: EntryCursor;
  readonly #keyless: boolean;
  #has: boolean | null = null;

  constructor(cursor: EntryCursor, keyless: boolean) {
    this.#cursor = cursor;
    this.#keyless = keyless;
  }

  async next(): Promise<void> {
    this.#has ??= await this.#cursor.next();
    this.isAt = this.#has;
    if (!this.#has) return;
    const { bytes, keyStart, keyEnd, valueEnd } = this.#cursor;
    this.key = Buffer.from(bytes.subarray(keyStart, keyEnd));
    this.image = this.#keyless ? this.key : Buffer.from(bytes.subarray(this.#imageStart, valueEnd));
    this.logKey = this.#keyless || this.#imageStart === keyEnd + LENGTH ? null : Buffer.from(bytes.subarray(keyEnd + LENGTH, this.#imageStart));
    this.count = this.#weight;
    this.isUniform = true;
    while ((this.#has = await this.#cursor.next())) {
      const other = this.#cursor;
      if (other.bytes.compare(this.key, 0, this.key.length, other.keyStart, other.keyEnd) !== 0) return;
      this.count += this.#weight;
      if (!this.#keyless && other.bytes.compare(this.image, 0, this.image.length, this.#imageStart, other.valueEnd) !== 0) this.isUniform = false;
    }
  }

  get #imageStart(): number {
    const { bytes, keyEnd } = this.#cursor;
    return keyEnd + LENGTH + bytes.readUInt32BE(keyEnd);
  }

  get #weight(): number {
    const { bytes, keyEnd } = this.#cursor;
    return this.#keyless && bytes[keyEnd] === 0 ? -1 : 1;
  }
}
