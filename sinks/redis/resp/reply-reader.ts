/**
 * Reads replies of the Redis protocol (RESP2) from chunks as they come:
 *
 *     reply = "+" text CRLF                    simple string
 *           | "-" text CRLF                    error
 *           | ":" integer CRLF
 *           | "$" length CRLF bytes CRLF       "$-1" CRLF: null
 *           | "*" count CRLF reply{count}      "*-1" CRLF: null
 *
 * Lengths are checked before anything is allocated for them; anything else is `REDIS_PROTOCOL`.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';

/** An error as the server sent it: a value, not an exception, since one reply of many may be one. */
export class ReplyError {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Reply = null | number | string | Buffer | ReplyError | Reply[];

/** What `skip` says of a reply. */
export const Skipped = { more: 0, plain: 1, error: 2, none: 3 } as const;

/** Redis itself takes no value above this (`proto-max-bulk-len`). */
const MAX_BULK = 1 << 29;
const MAX_ARRAY = 1 << 24;
/** Longest line without a CRLF that is still waited for. */
const MAX_LINE = 64 << 10;
const MAX_DEPTH = 16;
/** Digits of a number that is certainly a small integer. */
const SHORT_DIGITS = 9;

const CR = 0x0d;
const LF = 0x0a;
const MORE = Symbol('more');

/** The rest of QUEUED: two shorter replies may end where it does. */
function isQueued(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0x55 && bytes[at + 1] === 0x45 && bytes[at + 2] === 0x55 && bytes[at + 3] === 0x45 && bytes[at + 4] === 0x44;
}

export class ReplyReader {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Chunks that wait until `#bytes` would reach to `#need`, so that a large value is put together once. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #need = 0;
  /** The text of the last error that `skip` walked over. */
  lastError = '';

  /** The next bytes from the server. They must not change afterwards. */
  push(chunk: Buffer): void {
    const left = this.#bytes.length - this.#at;
    if (left === 0 && this.#waiting.length === 0) {
      this.#bytes = chunk;
      this.#at = 0;
      return;
    }
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#bytes.length + this.#waitingBytes < this.#need) return;
    this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), ...this.#waiting]);
    this.#at = 0;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#need = 0;
  }

  /** True when nothing is left to be read. */
  get isEmpty(): boolean {
    return this.#at === this.#bytes.length && this.#waiting.length === 0;
  }

  /** Walks over one whole reply without making a value of it. `none`: a null reply. @throws TidemarkError `REDIS_PROTOCOL` */
  skip(): number {
    if (this.#waiting.length > 0) return Skipped.more;
    const bytes = this.#bytes;
    const at = this.#at;
    // "+QUEUED\r\n", by far the most frequent.
    if (bytes[at + 1] === 0x51 && bytes[at] === 0x2b && bytes[at + 8] === LF && bytes[at + 7] === CR && isQueued(bytes, at + 2)) {
      this.#at = at + 9;
      return Skipped.plain;
    }
    const kind = bytes[at];
    const end = this.#walk(at, 0);
    if (end < 0) return Skipped.more;
    this.#at = end;
    if (kind === 0x2d) {
      this.lastError = bytes.toString('utf8', at + 1, end - 2);
      return Skipped.error;
    }
    return bytes[at + 1] === 0x2d && kind !== 0x3a && kind !== 0x2b ? Skipped.none : Skipped.plain;
  }

  /**
   * The head of an array: its number of elements, -1 for null; undefined when more bytes are needed; an error reply in
   * its place. @throws TidemarkError `REDIS_PROTOCOL`
   */
  arrayHead(): number | ReplyError | undefined {
    if (this.#waiting.length > 0) return undefined;
    const at = this.#at;
    const end = this.#lineEnd(at);
    if (end < 0) return undefined;
    if (this.#bytes[at] === 0x2d) {
      this.#at = end + 2;
      return new ReplyError(this.#bytes.toString('utf8', at + 1, end));
    }
    if (this.#bytes[at] !== 0x2a) throw this.#malformed('an array was expected', at);
    this.#at = end + 2;
    return this.#length(at + 1, end, MAX_ARRAY);
  }

  /** One whole reply as a value, bytes as windows on what was pushed; undefined when more bytes are needed. @throws TidemarkError `REDIS_PROTOCOL` */
  value(): Reply | undefined {
    if (this.#waiting.length > 0) return undefined;
    const start = this.#at;
    const value = this.#value(0);
    if (value !== MORE) return value;
    this.#at = start;
    return undefined;
  }

  #value(depth: number): Reply | typeof MORE {
    const at = this.#at;
    const bytes = this.#bytes;
    const end = this.#lineEnd(at);
    if (end < 0) return MORE;
    this.#at = end + 2;
    switch (bytes[at] as number) {
      case 0x2b:
        return bytes.toString('utf8', at + 1, end);
      case 0x2d:
        return new ReplyError(bytes.toString('utf8', at + 1, end));
      case 0x3a:
        return this.#integer(at + 1, end);
      case 0x24: {
        const length = this.#length(at + 1, end, MAX_BULK);
        if (length < 0) return null;
        if (!this.#has(end + 2, length + 2)) return MORE;
        this.#at = end + 4 + length;
        this.#checkEnd(end + 2 + length);
        return bytes.subarray(end + 2, end + 2 + length);
      }
      case 0x2a:
        return this.#array(this.#length(at + 1, end, MAX_ARRAY), depth);
      default:
        throw this.#malformed('unknown kind of reply', at);
    }
  }

  #array(count: number, depth: number): Reply | typeof MORE {
    if (count < 0) return null;
    if (depth === MAX_DEPTH) throw this.#malformed('arrays are nested too deep', this.#at);
    const values: Reply[] = [];
    for (let i = 0; i < count; i++) {
      const value = this.#value(depth + 1);
      if (value === MORE) return MORE;
      values.push(value);
    }
    return values;
  }

  /** Where the reply at `at` ends; -1 when it is not all there. */
  #walk(at: number, depth: number): number {
    const end = this.#lineEnd(at);
    if (end < 0) return -1;
    switch (this.#bytes[at] as number) {
      case 0x2b:
      case 0x2d:
      case 0x3a:
        return end + 2;
      case 0x24: {
        const length = this.#length(at + 1, end, MAX_BULK);
        if (length < 0) return end + 2;
        if (!this.#has(end + 2, length + 2)) return -1;
        this.#checkEnd(end + 2 + length);
        return end + 4 + length;
      }
      case 0x2a: {
        const count = this.#length(at + 1, end, MAX_ARRAY);
        if (depth === MAX_DEPTH) throw this.#malformed('arrays are nested too deep', at);
        let next = end + 2;
        for (let i = 0; i < count && next >= 0; i++) next = this.#walk(next, depth + 1);
        return next;
      }
      default:
        throw this.#malformed('unknown kind of reply', at);
    }
  }

  /** Position of the CR that ends the line at `at`; -1 when it is not there yet. */
  #lineEnd(at: number): number {
    const bytes = this.#bytes;
    if (at >= bytes.length) return -1;
    const end = bytes.indexOf(CR, at);
    if (end < 0 || end + 1 >= bytes.length) {
      if (bytes.length - at > MAX_LINE) throw this.#malformed('a line has no end', at);
      return -1;
    }
    if (bytes[end + 1] !== LF) throw this.#malformed('a line ends without a line feed', end);
    return end;
  }

  #has(at: number, length: number): boolean {
    if (at + length <= this.#bytes.length) return true;
    this.#need = at + length;
    return false;
  }

  #checkEnd(at: number): void {
    if (this.#bytes[at] !== CR || this.#bytes[at + 1] !== LF) throw this.#malformed('a value is longer than its length', at);
  }

  #integer(start: number, end: number): number {
    const short = this.#shortInteger(start, end);
    if (short >= 0) return short;
    const text = this.#bytes.toString('latin1', start, end);
    if (!/^[+-]?\d{1,19}$/.test(text)) throw this.#malformed('not an integer', start);
    return Number(text);
  }

  /** Digits alone, as most lengths are; -1: anything else. */
  #shortInteger(start: number, end: number): number {
    if (start === end || end - start > SHORT_DIGITS) return -1;
    const bytes = this.#bytes;
    let value = 0;
    for (let at = start; at < end; at++) {
      const digit = (bytes[at] as number) - 0x30;
      if (digit < 0 || digit > 9) return -1;
      value = value * 10 + digit;
    }
    return value;
  }

  #length(start: number, end: number, limit: number): number {
    const value = this.#integer(start, end);
    if (value < -1 || value > limit) throw this.#malformed(`a length of ${value}`, start);
    return value;
  }

  #malformed(what: string, at: number): TidemarkError {
    return new TidemarkError('REDIS_PROTOCOL', `${what} (byte ${at} of a reply)`);
  }
}
