import { join } from 'node:path';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { MergeCursor, type Duplicates } from './merge.ts';
import { ENTRY_HEADER, EntryWalker, type EntryCursor } from './run-format.ts';
import { RunReader } from './run-reader.ts';
import { RunWriter, writeAll } from './run-writer.ts';

export interface SortOptions {
  readonly files: FileSystem;
  /** A folder that exists and is the sorter's alone; it leaves no file behind. */
  readonly directory: string;
  /** Bytes of entries kept in memory before a run is written. Default 16 MiB. */
  readonly memoryBytes?: number;
  /** Runs merged at once; each needs about 200 KiB while it is merged. Default 32. */
  readonly fanIn?: number;
  readonly duplicates: Duplicates;
}

/** Where a walk begins. */
export interface EntryPlace {
  readonly tableId: number;
  readonly key: Uint8Array;
}

/** Entries sorted at once: small, so that nothing else waits long for the processor. */
const PAGE_ENTRIES = 4096;
const PAGE_BYTES = 512 * 1024;

/**
 * Sorts any number of entries (table id, key) -> value in bounded memory: pages are sorted in memory, runs of them are
 * written, runs are merged. Owned by one caller; its files are removed on disposal. Nothing is durable.
 */
export class ExternalSorter implements AsyncDisposable {
  readonly #options: Required<SortOptions>;
  #page = new Page();
  #pages: Page[] = [];
  #pageBytes = 0;
  /** Paths, from the oldest to the newest. */
  #runs: string[] = [];
  #readers: RunReader[] = [];
  #named = 0;
  #isSorted = false;

  constructor(options: SortOptions) {
    this.#options = { memoryBytes: 16 << 20, fanIn: 32, ...options };
  }

  /**
   * Takes a copy of an entry. A promise only when a run is written: wait for it before the next call.
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
   */
  add(tableId: number, key: Uint8Array, value: Uint8Array): void | Promise<void> {
    if (this.#isSorted) throw new TidemarkError('INTERNAL', 'an entry is added to a sorter that has been read');
    this.#page.put(tableId, key, value);
    if (!this.#page.isFull) return;
    this.#closePage();
    if (this.#pageBytes >= this.#options.memoryBytes) return this.#spill();
  }

  /** Bytes of entries in memory. */
  get memoryBytes(): number {
    return this.#pageBytes + this.#page.length;
  }

  /**
   * All entries in order, with `from` those that are not before it; valid until disposal. Nothing can be added any more;
   * called again, it gives another cursor.
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `LOG_CORRUPT`
   */
  async sorted(from: EntryPlace | null = null): Promise<EntryCursor> {
    const { fanIn, duplicates } = this.#options;
    if (!this.#isSorted) {
      this.#closePage();
      this.#isSorted = true;
      while (this.#runs.length > fanIn) await this.#mergeSome();
      for (const path of this.#runs) this.#readers.push(await RunReader.open(this.#options.files, path));
    }
    const inMemory = this.#pages.map((page) => page.cursor(from));
    return new MergeCursor([...this.#readers.map((reader) => reader.cursor(from)), ...inMemory], duplicates);
  }

  #closePage(): void {
    if (this.#page.length === 0) return;
    this.#page.sort(this.#options.duplicates);
    this.#pages.push(this.#page);
    this.#pageBytes += this.#page.length;
    this.#page = new Page();
  }

  async #spill(): Promise<void> {
    const pages = this.#pages;
    this.#pages = [];
    this.#pageBytes = 0;
    this.#runs.push(await this.#write(pages.map((page) => page.cursor())));
  }

  async #write(cursors: readonly EntryCursor[]): Promise<string> {
    const path = join(this.#options.directory, `${String(++this.#named).padStart(6, '0')}.run`);
    await using writer = await RunWriter.create(this.#options.files, path);
    await writeAll(writer, new MergeCursor(cursors, this.#options.duplicates));
    await writer.finish(false);
    return path;
  }

  /** Merges runs that stand beside each other into one in their place, so that the order by age is kept. */
  async #mergeSome(): Promise<void> {
    const { files, fanIn } = this.#options;
    const merged = this.#runs.slice(0, fanIn);
    const readers: RunReader[] = [];
    try {
      for (const path of merged) readers.push(await RunReader.open(files, path));
      const path = await this.#write(readers.map((reader) => reader.cursor()));
      this.#runs = [path, ...this.#runs.slice(fanIn)];
    } finally {
      for (const reader of readers) await reader[Symbol.asyncDispose]();
    }
    for (const path of merged) await files.remove(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const reader of this.#readers) await reader[Symbol.asyncDispose]();
    this.#readers = [];
    for (const path of this.#runs) await this.#options.files.remove(path);
    this.#runs = [];
    this.#pages = [];
  }
}

/** A stretch of entries in memory. */
class Page {
  #buffer = Buffer.allocUnsafe(PAGE_BYTES);
  #starts: number[] = [];
  length = 0;

  get isFull(): boolean {
    return this.#starts.length >= PAGE_ENTRIES || this.length >= PAGE_BYTES;
  }

  put(tableId: number, key: Uint8Array, value: Uint8Array): void {
    const size = ENTRY_HEADER + key.length + value.length;
    const at = this.length;
    if (at + size > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(at + size, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#buffer.writeUInt32BE(tableId, at);
    this.#buffer.writeUInt32BE(key.length, at + 4);
    this.#buffer.writeUInt32BE(value.length, at + 8);
    this.#buffer.set(key, at + ENTRY_HEADER);
    this.#buffer.set(value, at + ENTRY_HEADER + key.length);
    this.#starts.push(at);
    this.length += size;
  }

  /** Puts the entries in order; with `newest` only the last added of each key stays. */
  sort(duplicates: Duplicates): void {
    const buffer = this.#buffer;
    const compare = (a: number, b: number): number => {
      const order = buffer.readUInt32BE(a) - buffer.readUInt32BE(b);
      if (order !== 0) return order;
      const aKey = a + ENTRY_HEADER;
      const bKey = b + ENTRY_HEADER;
      return buffer.compare(buffer, bKey, bKey + buffer.readUInt32BE(b + 4), aKey, aKey + buffer.readUInt32BE(a + 4));
    };
    // The sort is stable: entries with the same key stay in the order in which they were added.
    const sorted = this.#starts.toSorted(compare);
    this.#starts =
      duplicates === 'all' ? sorted : sorted.filter((start, index) => index + 1 === sorted.length || compare(start, sorted[index + 1] ?? start) !== 0);
  }

  cursor(from: EntryPlace | null = null): EntryCursor {
    return new PageCursor(this.#buffer, from === null ? this.#starts : this.#starts.slice(this.#firstAt(from)));
  }

  /** Of the sorted entries the first that is not before a place. */
  #firstAt({ tableId, key }: EntryPlace): number {
    const buffer = this.#buffer;
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = this.#starts[middle] ?? 0;
      const keyAt = at + ENTRY_HEADER;
      const order = buffer.readUInt32BE(at) - tableId || buffer.compare(key, 0, key.length, keyAt, keyAt + buffer.readUInt32BE(at + 4));
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

class PageCursor extends EntryWalker implements EntryCursor {
  readonly #starts: readonly number[];
  #index = 0;

  constructor(buffer: Buffer, starts: readonly number[]) {
    super();
    this.reset(buffer);
    this.#starts = starts;
  }

  next(): boolean {
    const start = this.#starts[this.#index++];
    if (start === undefined) return false;
    this.seek(start);
    return this.step();
  }
}
