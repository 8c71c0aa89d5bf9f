import { join } from 'node:path';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { MergeCursor, type Duplicates } from './merge.ts';
import { Page } from './page.ts';
import type { EntryCursor, EntryPlace } from './run-format.ts';
import { RunReader } from './run-reader.ts';
import { RunWriter, SPILLED, writeAll } from './run-writer.ts';

export interface SortOptions {
  readonly files: FileSystem;
  /** A folder that exists and is the sorter's alone; it leaves no file behind. */
  readonly directory: string;
  /** Bytes of entries kept in memory before a run is written. Default 16 MiB. */
  readonly memoryBytes?: number;
  /** Runs merged at once; each needs about a megabyte while it is merged. Default 32. */
  readonly fanIn?: number;
  readonly duplicates: Duplicates;
}

export type { EntryPlace };

/**
 * Sorts any number of entries (table id, key) -> value in bounded memory: pages are sorted in memory, runs of them are
 * written, runs are merged. Owned by one caller; its files are removed on disposal. Nothing is durable.
 */
export class ExternalSorter implements AsyncDisposable {
  readonly #options: Required<SortOptions>;
  #page: Page;
  #pages: Page[] = [];
  #pageBytes = 0;
  /** Pages whose entries have been written. */
  readonly #spare: Page[] = [];
  /** Paths, from the oldest to the newest. */
  #runs: string[] = [];
  #readers: RunReader[] = [];
  #named = 0;
  #isSorted = false;

  constructor(options: SortOptions) {
    this.#options = { memoryBytes: 16 << 20, fanIn: 32, ...options };
    this.#page = new Page(this.#options.memoryBytes);
  }

  /**
   * Takes a copy of an entry. A promise only when a run is written: wait for it before the next call.
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
   */
  add(tableId: number, key: Uint8Array, value: Uint8Array): void | Promise<void> {
    const at = this.reserve(tableId, key.length, value.length);
    this.buffer.set(key, at);
    this.buffer.set(value, at + key.length);
    return this.reserved();
  }

  /** For who makes entries in place: answers where in `buffer` key and value must be written before `reserved` is called. */
  reserve(tableId: number, keyLength: number, valueLength: number): number {
    if (this.#isSorted) throw new TidemarkError('INTERNAL', 'an entry is added to a sorter that has been read');
    return this.#page.reserve(tableId, keyLength, valueLength);
  }

  get buffer(): Buffer {
    return this.#page.buffer;
  }

  /** The entry that was reserved is complete. As `add`. */
  reserved(): void | Promise<void> {
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
      this.#spare.length = 0;
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
    this.#page = this.#spare.pop() ?? new Page(this.#options.memoryBytes);
  }

  async #spill(): Promise<void> {
    const pages = this.#pages;
    this.#pages = [];
    this.#pageBytes = 0;
    this.#runs.push(await this.#write(pages.map((page) => page.cursor())));
    for (const page of pages) {
      const cleared = page.cleared();
      if (cleared !== null) this.#spare.push(cleared);
    }
  }

  async #write(cursors: readonly EntryCursor[]): Promise<string> {
    const path = join(this.#options.directory, `${String(++this.#named).padStart(6, '0')}.run`);
    await using writer = await RunWriter.create(this.#options.files, path, SPILLED);
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
