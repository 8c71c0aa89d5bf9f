import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { compareEntries, type EntryCursor } from './run-format.ts';

/**
 * `all`: every entry, those with the same key from the oldest cursor to the newest.
 * `newest`: of the entries with the same table and key only the newest cursor's; no cursor may hold a key twice.
 */
export type Duplicates = 'all' | 'newest';

/**
 * The entries of several sorted cursors, given from the oldest to the newest, as one sorted cursor: a k-way merge over
 * a binary heap. Memory: what the cursors hold. Does not own them.
 */
export class MergeCursor implements EntryCursor {
  readonly #cursors: readonly EntryCursor[];
  readonly #newestOnly: boolean;
  /** Indexes of the cursors that stand at an entry; the one that comes next first. */
  readonly #heap: number[] = [];
  #started = false;
  #lastKey: Buffer = Buffer.alloc(0);
  #lastKeyLength = 0;
  #lastTable = -1;

  constructor(cursors: readonly EntryCursor[], duplicates: Duplicates) {
    this.#cursors = cursors;
    this.#newestOnly = duplicates === 'newest';
  }

  get bytes(): Buffer {
    return this.#top.bytes;
  }

  get tableId(): number {
    return this.#top.tableId;
  }

  get keyStart(): number {
    return this.#top.keyStart;
  }

  get keyEnd(): number {
    return this.#top.keyEnd;
  }

  get valueEnd(): number {
    return this.#top.valueEnd;
  }

  /** Index of the cursor that the current entry comes from. */
  get origin(): number {
    return this.#heap[0] ?? -1;
  }

  next(): boolean | Promise<boolean> {
    if (!this.#started) return this.#start();
    for (;;) {
      if (this.#heap.length === 0) return false;
      const more = this.#top.next();
      if (more instanceof Promise) return this.#nextAfter(more);
      this.#reorder(more);
      if (!this.#isReplaced()) return this.#heap.length > 0;
    }
  }

  async #start(): Promise<boolean> {
    this.#started = true;
    for (const [index, cursor] of this.#cursors.entries()) {
      if (!(await cursor.next())) continue;
      this.#heap.push(index);
      this.#rise(this.#heap.length - 1);
    }
    return !this.#isReplaced() && this.#heap.length > 0;
  }

  async #nextAfter(moving: Promise<boolean>): Promise<boolean> {
    this.#reorder(await moving);
    return this.#isReplaced() ? this.next() : this.#heap.length > 0;
  }

  /** In `newest`: true when the current entry has the key of the one before; else remembers its key. */
  #isReplaced(): boolean {
    if (!this.#newestOnly || this.#heap.length === 0) return false;
    const { bytes, tableId, keyStart, keyEnd } = this.#top;
    if (tableId === this.#lastTable && bytes.compare(this.#lastKey, 0, this.#lastKeyLength, keyStart, keyEnd) === 0) return true;
    const length = keyEnd - keyStart;
    if (this.#lastKey.length < length) this.#lastKey = Buffer.allocUnsafe(Math.max(256, length * 2));
    bytes.copy(this.#lastKey, 0, keyStart, keyEnd);
    this.#lastKeyLength = length;
    this.#lastTable = tableId;
    return false;
  }

  get #top(): EntryCursor {
    return this.#at(0);
  }

  #at(place: number): EntryCursor {
    const cursor = this.#cursors[this.#heap[place] ?? -1];
    if (cursor === undefined) throw new TidemarkError('INTERNAL', 'a merge stands at no entry');
    return cursor;
  }

  /** After the top's cursor has moved. */
  #reorder(hasEntry: boolean): void {
    if (!hasEntry) {
      const last = this.#heap.pop();
      if (last === undefined || this.#heap.length === 0) return;
      this.#heap[0] = last;
    }
    this.#sink();
  }

  #comesBefore(a: number, b: number): boolean {
    const order = compareEntries(this.#at(a), this.#at(b));
    if (order !== 0) return order < 0;
    const isOlder = (this.#heap[a] ?? 0) < (this.#heap[b] ?? 0);
    return this.#newestOnly ? !isOlder : isOlder;
  }

  #rise(from: number): void {
    for (let place = from; place > 0; ) {
      const parent = (place - 1) >> 1;
      if (!this.#comesBefore(place, parent)) return;
      this.#swap(place, parent);
      place = parent;
    }
  }

  #sink(): void {
    for (let place = 0; ; ) {
      const left = 2 * place + 1;
      if (left >= this.#heap.length) return;
      const right = left + 1;
      const child = right < this.#heap.length && this.#comesBefore(right, left) ? right : left;
      if (!this.#comesBefore(child, place)) return;
      this.#swap(place, child);
      place = child;
    }
  }

  #swap(a: number, b: number): void {
    const kept = this.#heap[a] ?? 0;
    this.#heap[a] = this.#heap[b] ?? 0;
    this.#heap[b] = kept;
  }
}
