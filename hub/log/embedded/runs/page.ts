/** A stretch of entries in memory, and how it is sorted. */
import { readU32, writeU32 } from '../../../../contracts/record.ts';
import type { Duplicates } from './merge.ts';
import { ENTRY_HEADER, EntryWalker, type EntryCursor, type EntryPlace } from './run-format.ts';
import { compareSpans } from './span-order.ts';

/** Entries sorted at once: few, so that nothing else waits long for the processor. */
const PAGE_ENTRIES = 8192;
const PAGE_BYTES = 1 << 20;
const LEAST_BYTES = 32 << 10;
const FIRST_BYTES = 64 << 10;
/** Of a page whose entries are all of an ordinary size. */
const ORDINARY_BYTES = PAGE_BYTES + (64 << 10);

const DIGIT_BITS = 8;
const DIGITS = 1 << DIGIT_BITS;
/** Groups of equal prefixes that are put in order one by one. */
const SMALL_GROUP = 24;

/** What sorting a page needs beside it; one serves any number of pages, one after the other. */
class SortSpace {
  readonly high = new Uint32Array(PAGE_ENTRIES);
  readonly low = new Uint32Array(PAGE_ENTRIES);
  readonly counts = new Uint32Array(DIGITS);
  order = new Uint32Array(PAGE_ENTRIES);
  spare = new Uint32Array(PAGE_ENTRIES);
}

const space = new SortSpace();

export class Page {
  #buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #starts = new Uint32Array(PAGE_ENTRIES);
  #count = 0;
  #hasOneTable = true;
  readonly #fullBytes: number;
  length = 0;

  /** @param memoryBytes of all pages together */
  constructor(memoryBytes: number) {
    this.#fullBytes = Math.min(PAGE_BYTES, Math.max(LEAST_BYTES, memoryBytes / 16));
  }

  get isFull(): boolean {
    return this.#count >= PAGE_ENTRIES || this.length >= this.#fullBytes;
  }

  /** For the next entries: what was in it is not needed any more. One that has grown is not worth keeping. */
  cleared(): Page | null {
    if (this.#buffer.length > ORDINARY_BYTES) return null;
    this.#count = 0;
    this.length = 0;
    this.#hasOneTable = true;
    return this;
  }

  put(tableId: number, key: Uint8Array, value: Uint8Array): void {
    const at = this.reserve(tableId, key.length, value.length);
    this.#buffer.set(key, at);
    this.#buffer.set(value, at + key.length);
  }

  /** Makes an entry, and answers where its key and value must be written, without a gap, before the next call. */
  reserve(tableId: number, keyLength: number, valueLength: number): number {
    const at = this.length;
    const size = ENTRY_HEADER + keyLength + valueLength;
    if (at + size > this.#buffer.length) this.#grow(at + size);
    const buffer = this.#buffer;
    writeU32(buffer, at, tableId);
    writeU32(buffer, at + 4, keyLength);
    writeU32(buffer, at + 8, valueLength);
    if (this.#count > 0 && this.#hasOneTable) this.#hasOneTable = readU32(buffer, 0) === tableId;
    this.#starts[this.#count++] = at;
    this.length += size;
    return at + ENTRY_HEADER;
  }

  /** What `reserve` refers to; changes when the page grows. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  #grow(needed: number): void {
    const { length } = this.#buffer;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, length < ORDINARY_BYTES ? Math.min(length * 2, ORDINARY_BYTES) : length * 2));
    this.#buffer.copy(larger, 0, 0, this.length);
    this.#buffer = larger;
  }

  /** Puts the entries in order; with `newest` only the last added of each key stays. Equal ones stay as they were added. */
  sort(duplicates: Duplicates): void {
    const starts = this.#starts;
    const count = this.#count;
    let sorted: number[] | Uint32Array;
    if (this.#hasOneTable) sorted = this.#sortOfOneTable();
    else sorted = Array.from(starts.subarray(0, count)).sort((a, b) => this.#compare(a, b));
    let kept = 0;
    for (let index = 0; index < count; index++) {
      const start = sorted[index] as number;
      const isReplaced = duplicates === 'newest' && index + 1 < count && this.#compare(start, sorted[index + 1] as number) === 0;
      if (!isReplaced) starts[kept++] = start;
    }
    this.#count = kept;
  }

  /** By eight bytes behind what all keys begin with, digit by digit; what is equal there is compared. */
  #sortOfOneTable(): Uint32Array {
    const starts = this.#starts;
    const count = this.#count;
    const shared = this.#sharedPrefix();
    const { high, low } = space;
    for (let index = 0; index < count; index++) {
      const at = starts[index] as number;
      const from = at + ENTRY_HEADER + shared;
      const end = at + ENTRY_HEADER + readU32(this.#buffer, at + 4);
      high[index] = this.#digits(from, end);
      low[index] = this.#digits(from + 4, end);
    }
    for (let index = 0; index < count; index++) space.order[index] = index;
    for (let shift = 0; shift < 32; shift += DIGIT_BITS) distribute(low, shift, count);
    for (let shift = 0; shift < 32; shift += DIGIT_BITS) distribute(high, shift, count);
    const { order, spare } = space;
    for (let first = 0; first < count; ) {
      let end = first + 1;
      while (end < count && isSame(order[first] as number, order[end] as number)) end++;
      if (end - first > 1) this.#sortGroup(order, first, end);
      first = end;
    }
    for (let index = 0; index < count; index++) spare[index] = starts[order[index] as number] as number;
    return spare;
  }

  /** Bytes of [from, from + 4) as a number; what is behind the key counts as 0. */
  #digits(from: number, end: number): number {
    const buffer = this.#buffer;
    if (from + 4 <= end) return readU32(buffer, from);
    let digits = 0;
    for (let at = from; at < from + 4; at++) digits = digits * 256 + (at < end ? (buffer[at] as number) : 0);
    return digits;
  }

  /** Bytes with which the keys of all entries begin. */
  #sharedPrefix(): number {
    const buffer = this.#buffer;
    const first = (this.#starts[0] as number) + ENTRY_HEADER;
    let shared = readU32(buffer, first - 8);
    for (let index = 1; index < this.#count && shared > 0; index++) {
      const key = (this.#starts[index] as number) + ENTRY_HEADER;
      const length = readU32(buffer, key - 8);
      if (length < shared) shared = length;
      for (let at = 0; at < shared; at++) if (buffer[first + at] !== buffer[key + at]) shared = at;
    }
    return shared;
  }

  #sortGroup(order: Uint32Array, first: number, end: number): void {
    const starts = this.#starts;
    if (end - first > SMALL_GROUP) {
      const sorted = Array.from(order.subarray(first, end)).sort((a, b) => this.#compare(starts[a] as number, starts[b] as number));
      order.set(sorted, first);
      return;
    }
    for (let index = first + 1; index < end; index++) {
      const moved = order[index] as number;
      let to = index;
      for (; to > first && this.#compare(starts[order[to - 1] as number] as number, starts[moved] as number) > 0; to--) order[to] = order[to - 1] as number;
      order[to] = moved;
    }
  }

  #compare(a: number, b: number): number {
    const buffer = this.#buffer;
    const order = readU32(buffer, a) - readU32(buffer, b);
    if (order !== 0) return order;
    const aKey = a + ENTRY_HEADER;
    const bKey = b + ENTRY_HEADER;
    return compareSpans(buffer, aKey, aKey + readU32(buffer, a + 4), buffer, bKey, bKey + readU32(buffer, b + 4));
  }

  /** Of the sorted entries those that are not before `from`. */
  cursor(from: EntryPlace | null = null): EntryCursor {
    return new PageCursor(this.#buffer, this.#starts, from === null ? 0 : this.#firstAt(from), this.#count);
  }

  #firstAt({ tableId, key }: EntryPlace): number {
    const buffer = this.#buffer;
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = this.#starts[middle] as number;
      const keyAt = at + ENTRY_HEADER;
      const order = readU32(buffer, at) - tableId || buffer.compare(key, 0, key.length, keyAt, keyAt + readU32(buffer, at + 4));
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** One pass of the sort by digits, from the last to the first: stable. Skipped where all have the same digit. */
function distribute(digits: Uint32Array, shift: number, count: number): void {
  const { counts, order, spare } = space;
  counts.fill(0);
  for (let index = 0; index < count; index++) (counts[((digits[index] as number) >>> shift) & (DIGITS - 1)] as number)++;
  let sum = 0;
  for (let digit = 0; digit < DIGITS; digit++) {
    const here = counts[digit] as number;
    if (here === count) return;
    counts[digit] = sum;
    sum += here;
  }
  for (let at = 0; at < count; at++) {
    const index = order[at] as number;
    const digit = ((digits[index] as number) >>> shift) & (DIGITS - 1);
    const to = counts[digit] as number;
    counts[digit] = to + 1;
    spare[to] = index;
  }
  space.order = spare;
  space.spare = order;
}

function isSame(a: number, b: number): boolean {
  return space.high[a] === space.high[b] && space.low[a] === space.low[b];
}

class PageCursor extends EntryWalker implements EntryCursor {
  readonly #starts: Uint32Array;
  readonly #count: number;
  #index: number;

  constructor(buffer: Buffer, starts: Uint32Array, first: number, count: number) {
    super();
    this.reset(buffer);
    this.#starts = starts;
    this.#index = first;
    this.#count = count;
  }

  next(): boolean {
    if (this.#index >= this.#count) return false;
    this.seek(this.#starts[this.#index++] as number);
    return this.step();
  }
}
