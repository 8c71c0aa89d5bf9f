/**
 * The transaction entries of a batch as bytes, one behind the other, so that a batch of thousands of small transactions
 * is no thousands of objects. They stand in the log's files just so. All integers big-endian:
 *
 *      0  u8  flags: 1 begins, 2 commits, 4 of the hub
 *      1  u8  0
 *      2  u32 records of it in this batch
 *      6  u64 xid
 *     14  i64 commit time, microseconds since 1970
 *     22  u32 position length
 *     26  u16 origin length
 *     28  position, origin (UTF-8)
 */
import { TidemarkError } from './errors/error.ts';
import type { Position } from './position.ts';
import { readU32, writeU32 } from './record.ts';
import type { TransactionEntry } from './transaction.ts';

const HEADER = 28;
const BEGINS = 1;
const COMMITS = 2;
const OF_HUB = 4;
const MAX_ORIGIN = 0xffff;
const TWO_32 = 0x1_0000_0000;
const INITIAL_BYTES = 4096;
/** For the one entry that nearly every batch has that is not made of a stream. */
const FEW_BYTES = 128;
const KEPT_BYTES = 1 << 20;

/** Entries in order. Immutable, as the batch is. */
export class PackedTransactions {
  readonly bytes: Buffer;
  readonly length: number;
  /** Of all entries. */
  readonly records: number;
  /** The last of the commit times of those of the source; 0 when none commits. */
  readonly maxCommitTime: number;
  /** One of them at least is of the hub. */
  readonly hasOfHub: boolean;
  /** Byte and first record of an entry; -1: there is none. */
  readonly #last: Spot;
  readonly #lastCommit: Spot;
  readonly #lastSource: Spot;

  private constructor(bytes: Buffer, scan: Scan) {
    this.bytes = bytes;
    this.length = scan.length;
    this.records = scan.records;
    this.maxCommitTime = scan.maxCommitTime;
    this.hasOfHub = scan.hasOfHub;
    this.#last = scan.last;
    this.#lastCommit = scan.lastCommit;
    this.#lastSource = scan.lastSource;
  }

  /** @throws TidemarkError `LOG_BATCH_INVALID` for an origin that is too long */
  static of(entries: readonly TransactionEntry[]): PackedTransactions {
    const packer = new TransactionPacker(FEW_BYTES);
    for (const entry of entries) packer.add(entry, entry.count, entry.commits, entry.position);
    return packer.take();
  }

  /**
   * Shares the bytes. Null when they are not whole entries.
   * @throws TidemarkError `OFFSET_RANGE` for a number that is not a safe integer
   */
  static over(bytes: Buffer): PackedTransactions | null {
    const scan = scanned(bytes);
    return scan === null ? null : new PackedTransactions(bytes, scan);
  }

  /** Lists of which only the last may end inside a transaction, as one. */
  static joined(lists: readonly PackedTransactions[]): PackedTransactions {
    const joined = PackedTransactions.over(Buffer.concat(lists.map((list) => list.bytes)));
    if (joined === null) throw new TidemarkError('INTERNAL', 'transactions that are joined are not whole');
    return joined;
  }

  /** All but the last entry, and the last one by itself. Shares the bytes. */
  splitAtLast(): readonly [PackedTransactions, PackedTransactions] {
    const cut = Math.max(this.#last.at, 0);
    const parts = [PackedTransactions.over(this.bytes.subarray(0, cut)), PackedTransactions.over(this.bytes.subarray(cut))] as const;
    const [before, last] = parts;
    if (before === null || last === null) throw new TidemarkError('INTERNAL', 'transactions that are divided are not whole');
    return [before, last];
  }

  /** True when the last entry does not commit. */
  get endsOpen(): boolean {
    return this.length > 0 && this.#last.at !== this.#lastCommit.at;
  }

  /** Commit time of the first entry, 0 when there is none. */
  get firstCommitTime(): number {
    return this.length === 0 ? 0 : readTime(this.bytes, 14);
  }

  get last(): TransactionEntry | null {
    return this.#entryAt(this.#last);
  }

  /** The last entry that commits. */
  get lastCommit(): TransactionEntry | null {
    return this.#entryAt(this.#lastCommit);
  }

  /** The last entry of the source that commits and names a position. */
  get lastSourceCommit(): TransactionEntry | null {
    return this.#entryAt(this.#lastSource);
  }

  /** An object for each. Positions share the bytes. */
  entries(): TransactionEntry[] {
    const entries: TransactionEntry[] = [];
    for (let at = 0, first = 0; at < this.bytes.length; ) {
      const entry = entryOf(this.bytes, at, first);
      entries.push(entry);
      first += entry.count;
      at = endOf(this.bytes, at);
    }
    return entries;
  }

  /** The position of the entry at byte `at`, in bytes of its own. */
  positionAt(at: number): Position {
    return Buffer.from(this.bytes.subarray(at + HEADER, at + HEADER + readU32(this.bytes, at + 22)));
  }

  #entryAt({ at, first }: Spot): TransactionEntry | null {
    return at < 0 ? null : entryOf(this.bytes, at, first);
  }
}

/** Walks entries in order without an object for each. */
export class TransactionWalk {
  #bytes: Buffer;
  #next = 0;
  /** Byte of the entry in the list. */
  at = 0;
  first = 0;
  count = 0;
  begins = false;
  commits = false;
  ofHub = false;

  constructor(list: PackedTransactions) {
    this.#bytes = list.bytes;
  }

  /** To the next entry; false at the end. */
  next(): boolean {
    const at = this.#next;
    if (at >= this.#bytes.length) return false;
    const flags = this.#bytes[at] as number;
    this.at = at;
    this.#next = endOf(this.#bytes, at);
    this.first += this.count;
    this.count = readU32(this.#bytes, at + 2);
    this.begins = (flags & BEGINS) !== 0;
    this.commits = (flags & COMMITS) !== 0;
    this.ofHub = (flags & OF_HUB) !== 0;
    return true;
  }

  get isLast(): boolean {
    return this.#next >= this.#bytes.length;
  }

  get commitTime(): number {
    return readTime(this.#bytes, this.at + 14);
  }

  get hasPosition(): boolean {
    return readU32(this.#bytes, this.at + 22) > 0;
  }
}

/** What an entry says besides its records and its end. */
export type PackedHead = Pick<TransactionEntry, 'kind' | 'begins' | 'xid' | 'commitTime' | 'origin'>;

/** Gathers entries as bytes. Owned by one producer. */
export class TransactionPacker {
  readonly #initial: number;
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  constructor(initialBytes: number = INITIAL_BYTES) {
    this.#initial = initialBytes;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** @throws TidemarkError `LOG_BATCH_INVALID` for an origin that is too long */
  add(head: PackedHead, count: number, commits: boolean, position: Position): void {
    const origin = head.origin === '' ? 0 : Buffer.byteLength(head.origin);
    if (origin > MAX_ORIGIN) throw new TidemarkError('LOG_BATCH_INVALID', `an origin of ${origin} bytes is above the limit`);
    const at = this.#length;
    const end = at + HEADER + position.length + origin;
    if (end > this.#bytes.length) this.#grow(end);
    const bytes = this.#bytes;
    bytes[at] = (head.begins ? BEGINS : 0) | (commits ? COMMITS : 0) | (head.kind === 'hub' ? OF_HUB : 0);
    bytes[at + 1] = 0;
    writeU32(bytes, at + 2, count);
    writeHalves(bytes, at + 6, head.xid);
    writeHalves(bytes, at + 14, head.commitTime);
    writeU32(bytes, at + 22, position.length);
    bytes[at + 26] = origin >>> 8;
    bytes[at + 27] = origin & 0xff;
    for (let i = 0; i < position.length; i++) bytes[at + HEADER + i] = position[i] as number;
    if (origin > 0) bytes.write(head.origin, at + HEADER + position.length, 'utf8');
    this.#length = end;
  }

  /** What was gathered, in bytes of its own; begins anew. */
  take(): PackedTransactions {
    const list = PackedTransactions.over(Buffer.from(this.#bytes.subarray(0, this.#length)));
    if (list === null) throw new TidemarkError('INTERNAL', 'transactions that were packed are not whole');
    this.#length = 0;
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = Buffer.alloc(0);
    return list;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#initial, needed, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}

interface Spot {
  readonly at: number;
  readonly first: number;
}

interface Scan {
  readonly length: number;
  readonly records: number;
  readonly maxCommitTime: number;
  readonly hasOfHub: boolean;
  readonly last: Spot;
  readonly lastCommit: Spot;
  readonly lastSource: Spot;
}

const NOWHERE: Spot = { at: -1, first: 0 };

/** One walk over all entries. Null when the last one ends behind the bytes. */
function scanned(bytes: Buffer): Scan | null {
  let [length, records, maxCommitTime] = [0, 0, 0];
  let hasOfHub = false;
  let [lastAt, lastFirst, commitAt, commitFirst, sourceAt, sourceFirst] = [-1, 0, -1, 0, -1, 0];
  for (let at = 0; at < bytes.length; length++) {
    if (at + HEADER > bytes.length) return null;
    const end = endOf(bytes, at);
    if (end > bytes.length) return null;
    const flags = bytes[at] as number;
    [lastAt, lastFirst] = [at, records];
    if ((flags & OF_HUB) !== 0) hasOfHub = true;
    const commitTime = readTime(bytes, at + 14);
    if ((flags & COMMITS) !== 0) {
      [commitAt, commitFirst] = [at, records];
      if ((flags & OF_HUB) === 0 && commitTime > maxCommitTime) maxCommitTime = commitTime;
      if ((flags & OF_HUB) === 0 && readU32(bytes, at + 22) > 0) [sourceAt, sourceFirst] = [at, records];
    }
    records += readU32(bytes, at + 2);
    at = end;
  }
  return { length, records, maxCommitTime, hasOfHub, last: spot(lastAt, lastFirst), lastCommit: spot(commitAt, commitFirst), lastSource: spot(sourceAt, sourceFirst) };
}

function spot(at: number, first: number): Spot {
  return at < 0 ? NOWHERE : { at, first };
}

/** Byte behind the entry at `at`. */
function endOf(bytes: Buffer, at: number): number {
  return at + HEADER + readU32(bytes, at + 22) + (((bytes[at + 26] as number) << 8) | (bytes[at + 27] as number));
}

function entryOf(bytes: Buffer, at: number, first: number): TransactionEntry {
  const flags = bytes[at] as number;
  const positionEnd = at + HEADER + readU32(bytes, at + 22);
  const end = endOf(bytes, at);
  return {
    kind: (flags & OF_HUB) === 0 ? 'source' : 'hub',
    first,
    count: readU32(bytes, at + 2),
    begins: (flags & BEGINS) !== 0,
    commits: (flags & COMMITS) !== 0,
    xid: safe(readU32(bytes, at + 6) * TWO_32 + readU32(bytes, at + 10)),
    commitTime: readTime(bytes, at + 14),
    position: bytes.subarray(at + HEADER, positionEnd),
    origin: end === positionEnd ? '' : bytes.toString('utf8', positionEnd, end),
  };
}

function readTime(bytes: Buffer, at: number): number {
  return safe((readU32(bytes, at) | 0) * TWO_32 + readU32(bytes, at + 4));
}

/** A safe integer in 64 bits, signed. */
function writeHalves(bytes: Buffer, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  writeU32(bytes, at, high);
  writeU32(bytes, at + 4, value - high * TWO_32);
}

function safe(value: number): number {
  if (!Number.isSafeInteger(value)) throw new TidemarkError('OFFSET_RANGE', 'a stored number is not a safe integer');
  return value;
}
