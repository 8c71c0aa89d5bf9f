/**
 * Sets of MySQL's global transaction ids: per server UUID (and tag, MySQL 8.3 and newer) the numbers of the transactions.
 *
 * Text, as the server prints it: UUIDs in order, divided by `,` and a line's end; numbers without tag first, then each
 * tag with its own: `3e11fa47-…:1-5:9:nightly:1-3`.
 *
 * Binary, as COM_BINLOG_DUMP_GTID and the event of previous GTIDs have it, little-endian:
 *
 *      0  u64  number of sources; where one has a tag: 0x01, u48 number of sources, 0x01
 *         per source:
 *          16 bytes  UUID
 *          with tags: u8 twice the length of the tag, then the tag
 *          u64  number of intervals
 *          per interval: u64 first number, u64 the number after the last
 *
 * Numbers are safe integers: a server that writes a million transactions a second stays below 2^53 for 285 years.
 */
import { TidemarkError } from '../../contracts/errors/error.ts';

/** A UUID in lower case with hyphens, or that and `:` and a tag. */
export type GtidSource = string;

/** Numbers of one source: first, after the last, first, after the last, … ascending, with gaps in between. */
type Intervals = number[];

const MAX_NUMBER = Number.MAX_SAFE_INTEGER - 1;
const UUID = /^\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?$/i;
const TAG = /^[a-z_][a-z0-9_]{0,31}$/i;
const INTERVAL = /^([0-9]{1,19})(?:\s*-\s*([0-9]{1,19}))?$/;
const UUID_BYTES = 16;
const MAX_TAG = 32;
/** In the last byte of the count, where an encoding without tags has the highest byte of a number. */
const TAGGED = 1;

export class GtidSet {
  readonly #sources: Map<GtidSource, Intervals>;

  constructor() {
    this.#sources = new Map();
  }

  /** @throws TidemarkError `MYSQL_GTID` */
  static parse(text: string): GtidSet {
    const set = new GtidSet();
    for (const part of text.split(',')) {
      const words = part.split(':').map((word) => word.trim());
      if (words.length === 1 && words[0] === '') continue;
      const uuid = uuidOf(words[0] ?? '');
      if (uuid === null || words.length < 2) throw malformed(part);
      let source = uuid;
      for (const word of words.slice(1)) {
        const match = INTERVAL.exec(word);
        if (match === null && !TAG.test(word)) throw malformed(part);
        if (match === null) source = `${uuid}:${word.toLowerCase()}`;
        else set.addRange(source, numberOf(match[1], part), numberOf(match[2] ?? match[1], part) + 1);
      }
    }
    return set;
  }

  /** @throws TidemarkError `MYSQL_GTID` when the bytes are no such set */
  static decode(bytes: Uint8Array): GtidSet {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const set = new GtidSet();
    const need = (at: number, length: number): number => {
      if (at + length > buffer.length) throw new TidemarkError('MYSQL_GTID', `a set of GTIDs ends after ${buffer.length} bytes, within an entry`);
      return at;
    };
    const tagged = buffer[need(0, 8) + 7] === TAGGED;
    const sources = tagged ? buffer.readUIntLE(1, 6) : safeNumber(buffer, 0);
    let at = 8;
    for (let count = 0; count < sources; count++) {
      const uuid = formatUuid(buffer, need(at, UUID_BYTES));
      at += UUID_BYTES;
      let tag = '';
      if (tagged) {
        const length = (buffer[need(at, 1)] as number) >> 1;
        tag = buffer.toString('latin1', need(at + 1, length), at + 1 + length);
        if (length > 0 && !TAG.test(tag)) throw new TidemarkError('MYSQL_GTID', 'a set of GTIDs has a tag that is none');
        at += 1 + length;
      }
      const intervals = safeNumber(buffer, need(at, 8));
      at += 8;
      if (intervals > (buffer.length - at) / 16) throw new TidemarkError('MYSQL_GTID', 'a set of GTIDs has fewer intervals than it says');
      for (let index = 0; index < intervals; index++, at += 16) {
        const [first, after] = [safeNumber(buffer, at), safeNumber(buffer, at + 8)];
        if (first < 1 || after <= first) throw new TidemarkError('MYSQL_GTID', 'a set of GTIDs has an interval that is none');
        set.addRange(tag === '' ? uuid : `${uuid}:${tag}`, first, after);
      }
    }
    if (at !== buffer.length) throw new TidemarkError('MYSQL_GTID', `${buffer.length - at} bytes follow a set of GTIDs`);
    return set;
  }

  get isEmpty(): boolean {
    return this.#sources.size === 0;
  }

  /** Sources in the order in which the server prints them. */
  get sources(): GtidSource[] {
    return [...this.#sources.keys()].toSorted(bySource);
  }

  clone(): GtidSet {
    const copy = new GtidSet();
    for (const [source, intervals] of this.#sources) copy.#sources.set(source, [...intervals]);
    return copy;
  }

  /** Transactions in the set. */
  count(): number {
    let count = 0;
    for (const intervals of this.#sources.values()) {
      for (let at = 0; at < intervals.length; at += 2) count += (intervals[at + 1] as number) - (intervals[at] as number);
    }
    return count;
  }

  /** The number after the last one of that source; 1: it has none. */
  next(source: GtidSource): number {
    return this.#sources.get(source)?.at(-1) ?? 1;
  }

  has(source: GtidSource, number: number): boolean {
    const intervals = this.#sources.get(source);
    if (intervals === undefined) return false;
    const at = placeOf(intervals, number);
    return at < intervals.length && (intervals[at] as number) <= number;
  }

  /** In place. The usual case, the number after the last one, costs a look-up. @throws TidemarkError `MYSQL_GTID` when the number is out of range */
  add(source: GtidSource, number: number): void {
    const intervals = this.#sources.get(source);
    if (intervals?.at(-1) === number && number <= MAX_NUMBER) intervals[intervals.length - 1] = number + 1;
    else this.addRange(source, number, number + 1);
  }

  /** In place: `first` up to, not including, `after`; nothing where that is nothing. @throws TidemarkError `MYSQL_GTID` */
  addRange(source: GtidSource, first: number, after: number): void {
    if (!(first >= 1) || !(after <= MAX_NUMBER + 1)) throw new TidemarkError('MYSQL_GTID', `the GTID ${source}:${first} is out of range`);
    if (after <= first) return;
    const intervals = this.#sources.get(source);
    if (intervals === undefined) this.#sources.set(source, [first, after]);
    else addTo(intervals, first, after);
  }

  /** In place. */
  addAll(other: GtidSet): void {
    for (const [source, intervals] of other.#sources) {
      for (let at = 0; at < intervals.length; at += 2) this.addRange(source, intervals[at] as number, intervals[at + 1] as number);
    }
  }

  union(other: GtidSet): GtidSet {
    const set = this.clone();
    set.addAll(other);
    return set;
  }

  /** What is here and not in `other`. */
  subtract(other: GtidSet): GtidSet {
    const rest = new GtidSet();
    for (const [source, intervals] of this.#sources) {
      const left = subtracted(intervals, other.#sources.get(source) ?? []);
      if (left.length > 0) rest.#sources.set(source, left);
    }
    return rest;
  }

  isSubsetOf(other: GtidSet): boolean {
    for (const [source, intervals] of this.#sources) {
      const theirs = other.#sources.get(source);
      if (theirs === undefined || !isWithin(intervals, theirs)) return false;
    }
    return true;
  }

  equals(other: GtidSet): boolean {
    return this.#sources.size === other.#sources.size && this.isSubsetOf(other) && other.isSubsetOf(this);
  }

  /** As the server prints it; '' for the empty set. `divider`: between UUIDs. */
  format(divider = ',\n'): string {
    const parts: string[] = [];
    let before = '';
    for (const source of this.sources) {
      const uuid = source.slice(0, 36);
      const numbers = formatIntervals(this.#sources.get(source) ?? []);
      const tagged = source.length > 36 ? `${source.slice(37)}:${numbers}` : numbers;
      if (uuid === before) parts[parts.length - 1] += `:${tagged}`;
      else parts.push(`${uuid}:${tagged}`);
      before = uuid;
    }
    return parts.join(divider);
  }

  toString(): string {
    return this.format(',');
  }

  /** As COM_BINLOG_DUMP_GTID wants it: without tags where there are none, so that every server reads it. */
  encode(): Buffer {
    const bytes = Buffer.alloc(this.encodedLength());
    this.encodeInto(bytes, 0, null);
    return bytes;
  }

  encodedLength(): number {
    const tagged = this.#hasTags();
    let length = 8;
    for (const [source, intervals] of this.#sources) {
      length += UUID_BYTES + (tagged ? 1 + Math.max(0, source.length - 37) : 0) + 8 + intervals.length * 8;
    }
    return length;
  }

  /**
   * Writes the set at `start`, in the server's order. `lastEnds`, where given, gets per source where the end of its last
   * interval stands, so that it can be moved on in place.
   */
  encodeInto(bytes: Buffer, start: number, lastEnds: Map<GtidSource, number> | null): void {
    const tagged = this.#hasTags();
    if (tagged) {
      bytes.writeUIntLE(TAGGED, start, 1);
      bytes.writeUIntLE(this.#sources.size, start + 1, 6);
      bytes.writeUIntLE(TAGGED, start + 7, 1);
    } else bytes.writeBigUInt64LE(BigInt(this.#sources.size), start);
    let at = start + 8;
    for (const source of this.sources) {
      const intervals = this.#sources.get(source) ?? [];
      bytes.write(source.slice(0, 36).replaceAll('-', ''), at, 'hex');
      at += UUID_BYTES;
      if (tagged) {
        const tag = source.slice(37);
        bytes.writeUInt8(tag.length * 2, at);
        bytes.write(tag, at + 1, 'latin1');
        at += 1 + tag.length;
      }
      bytes.writeBigUInt64LE(BigInt(intervals.length / 2), at);
      at += 8;
      for (const number of intervals) {
        writeNumber(bytes, number, at);
        at += 8;
      }
      lastEnds?.set(source, at - 8);
    }
  }

  #hasTags(): boolean {
    for (const source of this.#sources.keys()) if (source.length > 36) return true;
    return false;
  }
}

/** A UUID in lower case with hyphens; null: the text is none. */
export function uuidOf(text: string): string | null {
  const match = UUID.exec(text);
  return match === null ? null : match.slice(1).join('-').toLowerCase();
}

/** The UUID of 16 bytes at `at`. */
export function formatUuid(bytes: Uint8Array, at: number): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset + at, UUID_BYTES).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** @throws TidemarkError `MYSQL_GTID` when the tag is none; '' is no tag */
export function gtidSource(uuid: string, tag: string): GtidSource {
  if (tag === '') return uuid;
  if (tag.length > MAX_TAG || !TAG.test(tag)) throw new TidemarkError('MYSQL_GTID', `'${tag}' is no tag of a GTID`);
  return `${uuid}:${tag.toLowerCase()}`;
}

/** As eight bytes, little-endian. */
export function writeNumber(bytes: Buffer, number: number, at: number): void {
  bytes.writeUInt32LE(number % 0x1_0000_0000, at);
  bytes.writeUInt32LE(Math.floor(number / 0x1_0000_0000), at + 4);
}

/** By the bytes of UUID, then tag; no tag comes first. */
function bySource(a: GtidSource, b: GtidSource): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Index of the first interval that ends after `number`. */
function placeOf(intervals: Intervals, number: number): number {
  let [low, high] = [0, intervals.length / 2];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((intervals[middle * 2 + 1] as number) <= number) low = middle + 1;
    else high = middle;
  }
  return low * 2;
}

function addTo(intervals: Intervals, first: number, after: number): void {
  // The first one that touches or overlaps, up to, not including, the first one behind.
  const from = placeOf(intervals, first - 1);
  let to = from;
  while (to < intervals.length && (intervals[to] as number) <= after) to += 2;
  if (from === to) intervals.splice(from, 0, first, after);
  else intervals.splice(from, to - from, Math.min(first, intervals[from] as number), Math.max(after, intervals[to - 1] as number));
}

function subtracted(intervals: Intervals, others: Intervals): Intervals {
  const left: Intervals = [];
  let other = 0;
  for (let at = 0; at < intervals.length; at += 2) {
    let first = intervals[at] as number;
    const after = intervals[at + 1] as number;
    while (other < others.length && (others[other + 1] as number) <= first) other += 2;
    for (let next = other; next < others.length && (others[next] as number) < after && first < after; next += 2) {
      if ((others[next] as number) > first) left.push(first, others[next] as number);
      first = Math.max(first, others[next + 1] as number);
    }
    if (first < after) left.push(first, after);
  }
  return left;
}

function isWithin(intervals: Intervals, others: Intervals): boolean {
  for (let at = 0; at < intervals.length; at += 2) {
    const place = placeOf(others, intervals[at] as number);
    if (place >= others.length || (others[place] as number) > (intervals[at] as number) || (others[place + 1] as number) < (intervals[at + 1] as number)) return false;
  }
  return true;
}

function formatIntervals(intervals: Intervals): string {
  const parts: string[] = [];
  for (let at = 0; at < intervals.length; at += 2) {
    const [first, last] = [intervals[at] as number, (intervals[at + 1] as number) - 1];
    parts.push(first === last ? String(first) : `${first}-${last}`);
  }
  return parts.join(':');
}

function numberOf(digits: string | undefined, part: string): number {
  const number = Number(digits);
  if (!(number >= 1 && number <= MAX_NUMBER)) throw malformed(part);
  return number;
}

/** @throws TidemarkError `MYSQL_GTID` */
function safeNumber(buffer: Buffer, at: number): number {
  const high = buffer.readUInt32LE(at + 4);
  if (high > 0x1f_ffff) throw new TidemarkError('MYSQL_GTID', 'a number in a set of GTIDs is out of range');
  return high * 0x1_0000_0000 + buffer.readUInt32LE(at);
}

function malformed(part: string): TidemarkError {
  return new TidemarkError('MYSQL_GTID', `'${part.trim().slice(0, 100)}' is no set of GTIDs`);
}
