import { RECORD_HEADER, readU32 } from '../../../contracts/record.ts';

/** Index of the key length in a record's header, and of its table id. */
const KEY_LENGTH_AT = 16;
const TABLE_ID_AT = 8;
const INITIAL_ENTRIES = 64;
/** Above this many entries the arrays are given back after use. */
const KEPT_ENTRIES = 1 << 17;

/**
 * A hash table from (table, key) to the newest record of that key, by open addressing over the bytes of the records
 * themselves: no string and no object per record. An entry is a number, given in order of first sight.
 *
 * Entries below a table's `floor` are void (it was truncated), and never found again. `reset` is O(1): slots hold entry
 * numbers above a base that moves on.
 */
export class KeyTable {
  /** Entries so far, void ones included. */
  count = 0;
  /** Per entry: index of the newest record's batch, its byte position, and the caller's table and mark. */
  batch = new Int32Array(INITIAL_ENTRIES);
  at = new Int32Array(INITIAL_ENTRIES);
  table = new Int32Array(INITIAL_ENTRIES);
  mark = new Uint8Array(INITIAL_ENTRIES);
  #hashes = new Int32Array(INITIAL_ENTRIES);
  #slots = new Int32Array(INITIAL_ENTRIES * 2);
  #base = 0;

  reset(): void {
    if (this.#hashes.length > KEPT_ENTRIES) {
      this.#size(INITIAL_ENTRIES);
      this.#slots = new Int32Array(INITIAL_ENTRIES * 2);
      this.#base = 0;
    } else if (this.#base > 0x3fff_ffff) {
      this.#slots.fill(0);
      this.#base = 0;
    } else {
      this.#base += this.count;
    }
    this.count = 0;
  }

  /**
   * The entry of the key of the record at byte `at` of `batches[batchIndex]`, which becomes its newest record. A new entry
   * has mark 0 and equals the `count` of before the call.
   */
  put(batches: readonly Buffer[], batchIndex: number, at: number, table: number, floor: number): number {
    const bytes = batches[batchIndex] as Buffer;
    const length = readU32(bytes, at + KEY_LENGTH_AT);
    const tableId = readU32(bytes, at + TABLE_ID_AT);
    const start = at + RECORD_HEADER;
    const hash = hashOf(bytes, start, start + length, tableId);
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (;;) {
      const entry = (slots[slot] as number) - this.#base - 1;
      if (entry < 0) break;
      if (entry >= floor && this.#hashes[entry] === hash && this.#sameKey(batches, entry, bytes, start, length, tableId)) {
        this.batch[entry] = batchIndex;
        this.at[entry] = at;
        return entry;
      }
      slot = (slot + 1) & mask;
    }
    return this.#insert(slot, hash, batchIndex, at, table);
  }

  #insert(slot: number, hash: number, batchIndex: number, at: number, table: number): number {
    const entry = this.count++;
    this.#slots[slot] = this.#base + entry + 1;
    if (entry === this.#hashes.length) this.#size(entry * 2);
    this.#hashes[entry] = hash;
    this.batch[entry] = batchIndex;
    this.at[entry] = at;
    this.table[entry] = table;
    this.mark[entry] = 0;
    if (this.count * 2 > this.#slots.length) this.#rehash();
    return entry;
  }

  #sameKey(batches: readonly Buffer[], entry: number, bytes: Buffer, start: number, length: number, tableId: number): boolean {
    const other = batches[this.batch[entry] as number] as Buffer;
    const at = this.at[entry] as number;
    if (readU32(other, at + KEY_LENGTH_AT) !== length || readU32(other, at + TABLE_ID_AT) !== tableId) return false;
    const otherStart = at + RECORD_HEADER;
    if (length > 64) return bytes.compare(other, otherStart, otherStart + length, start, start + length) === 0;
    for (let i = length - 1; i >= 0; i--) if (bytes[start + i] !== other[otherStart + i]) return false;
    return true;
  }

  #rehash(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    this.#base = 0;
    for (let entry = 0; entry < this.count; entry++) {
      let slot = (this.#hashes[entry] as number) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = entry + 1;
    }
    this.#slots = slots;
  }

  #size(entries: number): void {
    this.#hashes = resized(this.#hashes, entries);
    this.batch = resized(this.batch, entries);
    this.at = resized(this.at, entries);
    this.table = resized(this.table, entries);
    const mark = new Uint8Array(entries);
    mark.set(this.mark.subarray(0, entries));
    this.mark = mark;
  }
}

function resized(array: Int32Array, entries: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(entries);
  larger.set(array.subarray(0, entries));
  return larger;
}

/** FNV-1a over the key with the table mixed in, then stirred so that the low bits depend on all. */
function hashOf(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = 0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1);
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}
