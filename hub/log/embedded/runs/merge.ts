import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { compareEntries, type EntryCursor } from './run-format.ts';
import { compareSpans } from './span-order.ts';

/**
 * `all`: every entry, those with the same key from the oldest cursor to the newest.
 * `newest`: of the entries with the same table and key only the newest cursor's; no cursor may hold a key twice.
 */
export type Duplicates = 'all' | 'newest';

/**
 * The entries of several sorted cursors, given from the oldest to the newest, as one sorted cursor: a k-way merge by a
 * tree of losers. Each inner node has the cursor that lost there; the one that lost nowhere is the winner, whose entry is
 * the current one. When it moves, only the nodes above it are played again. Memory: what the cursors hold. Does not own them.
 */
export class MergeCursor implements EntryCursor {
  bytes: Buffer = Buffer.alloc(0);
  tableId = 0;
  keyStart = 0;
  keyEnd = 0;
  valueEnd = 0;
  readonly #cursors: readonly EntryCursor[];
  readonly #newestOnly: boolean;
  /** Of node 1 and up; the children of node n are 2n and 2n + 1, those from the number of cursors on are cursors. */
  readonly #losers: Int32Array;
  readonly #hasEnded: Uint8Array;
  #winner = -1;
  #started = false;
  #lastKey: Buffer = Buffer.alloc(256);
  #lastKeyLength = 0;
  #lastTable = -1;

  constructor(cursors: readonly EntryCursor[], duplicates: Duplicates) {
    this.#cursors = cursors;
    this.#newestOnly = duplicates === 'newest';
    this.#losers = new Int32Array(Math.max(1, cursors.length));
    this.#hasEnded = new Uint8Array(cursors.length);
  }

  /** Index of the cursor that the current entry comes from. */
  get origin(): number {
    return this.#winner;
  }

  next(): boolean | Promise<boolean> {
    if (!this.#started) return this.#start();
    for (;;) {
      if (this.#isOver) return false;
      const more = this.#at(this.#winner).next();
      if (more instanceof Promise) return this.#nextAfter(more);
      this.#moved(more);
      if (this.#isOver) return false;
      if (!this.#isReplaced()) return true;
    }
  }

  async #start(): Promise<boolean> {
    this.#started = true;
    for (const [index, cursor] of this.#cursors.entries()) if (!(await cursor.next())) this.#hasEnded[index] = 1;
    if (this.#cursors.length === 0) return false;
    this.#winner = this.#play(1);
    this.#show();
    return !this.#isOver && !this.#isReplaced();
  }

  async #nextAfter(moving: Promise<boolean>): Promise<boolean> {
    this.#moved(await moving);
    if (this.#isOver) return false;
    return this.#isReplaced() ? this.next() : true;
  }

  get #isOver(): boolean {
    return this.#winner < 0 || this.#hasEnded[this.#winner] === 1;
  }

  /** Plays all below a node; answers who wins there. */
  #play(node: number): number {
    const count = this.#cursors.length;
    if (node >= count) return node - count;
    const left = this.#play(2 * node);
    const right = this.#play(2 * node + 1);
    const isLeft = this.#comesBefore(left, right);
    this.#losers[node] = isLeft ? right : left;
    return isLeft ? left : right;
  }

  /** The winner's cursor has moved: it plays its way up again. */
  #moved(hasEntry: boolean): void {
    const losers = this.#losers;
    let winner = this.#winner;
    if (!hasEntry) this.#hasEnded[winner] = 1;
    for (let node = (winner + this.#cursors.length) >> 1; node > 0; node >>= 1) {
      const loser = losers[node] as number;
      if (!this.#comesBefore(loser, winner)) continue;
      losers[node] = winner;
      winner = loser;
    }
    this.#winner = winner;
    this.#show();
  }

  #show(): void {
    const { bytes, tableId, keyStart, keyEnd, valueEnd } = this.#at(this.#winner);
    this.bytes = bytes;
    this.tableId = tableId;
    this.keyStart = keyStart;
    this.keyEnd = keyEnd;
    this.valueEnd = valueEnd;
  }

  /** In `newest`: true when the current entry has the key of the one before; else remembers its key. */
  #isReplaced(): boolean {
    if (!this.#newestOnly) return false;
    const { bytes, tableId, keyStart, keyEnd } = this;
    if (tableId === this.#lastTable && compareSpans(this.#lastKey, 0, this.#lastKeyLength, bytes, keyStart, keyEnd) === 0) return true;
    const length = keyEnd - keyStart;
    if (this.#lastKey.length < length) this.#lastKey = Buffer.allocUnsafe(length * 2);
    bytes.copy(this.#lastKey, 0, keyStart, keyEnd);
    this.#lastKeyLength = length;
    this.#lastTable = tableId;
    return false;
  }

  #at(index: number): EntryCursor {
    const cursor = this.#cursors[index];
    if (cursor === undefined) throw new TidemarkError('INTERNAL', 'a merge stands at no entry');
    return cursor;
  }

  #comesBefore(a: number, b: number): boolean {
    if (this.#hasEnded[a] === 1) return false;
    if (this.#hasEnded[b] === 1) return true;
    const order = compareEntries(this.#at(a), this.#at(b));
    if (order !== 0) return order < 0;
    return this.#newestOnly ? a > b : a < b;
  }
}
