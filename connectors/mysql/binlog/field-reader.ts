/** Fields of an event, each read only after its length was checked. Integers are little-endian. */
import { TidemarkError } from '../../../contracts/errors/error.ts';

const TWO_32 = 0x1_0000_0000;
const MAX_HIGH = 0x1f_ffff;
const EMPTY = Buffer.alloc(0);

/** Walks one span of bytes. Reusable; nothing is copied unless a method says so. */
export class FieldReader {
  bytes: Buffer = EMPTY;
  at = 0;
  end = 0;
  #what = 'an event';

  /** Before the first byte of `bytes[start .. end)`; `what` names it in errors. */
  reset(bytes: Buffer, start: number, end: number, what: string): this {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.#what = what;
    return this;
  }

  get left(): number {
    return this.end - this.at;
  }

  /** Moves over `length` bytes and answers where they begin. @throws TidemarkError `MYSQL_BINLOG` */
  skip(length: number): number {
    const at = this.at;
    if (length > this.end - at) throw binlogError(`${this.#what} ends after ${this.end - at} of ${length} bytes of a field`);
    this.at = at + length;
    return at;
  }

  u8(): number {
    return this.bytes[this.skip(1)] as number;
  }

  u16(): number {
    const at = this.skip(2);
    return (this.bytes[at] as number) | ((this.bytes[at + 1] as number) << 8);
  }

  u24(): number {
    return this.bytes.readUIntLE(this.skip(3), 3);
  }

  u32(): number {
    return this.bytes.readUInt32LE(this.skip(4));
  }

  u48(): number {
    return this.bytes.readUIntLE(this.skip(6), 6);
  }

  u56(): number {
    const at = this.skip(7);
    return this.#safe(this.bytes.readUInt32LE(at), this.bytes.readUIntLE(at + 4, 3));
  }

  /** A number of 64 bits that counts something. @throws TidemarkError `MYSQL_BINLOG` above 2^53 - 1 */
  u64(): number {
    const at = this.skip(8);
    return this.#safe(this.bytes.readUInt32LE(at), this.bytes.readUInt32LE(at + 4));
  }

  /** All 64 bits. */
  bits64(): bigint {
    return this.bytes.readBigUInt64LE(this.skip(8));
  }

  /** A length-encoded integer of the protocol. */
  packed(): number {
    const first = this.u8();
    if (first < 0xfb) return first;
    if (first === 0xfc) return this.u16();
    if (first === 0xfd) return this.u24();
    if (first === 0xfe) return this.u64();
    throw binlogError(`${this.#what} has a packed integer that begins with ${first}`);
  }

  /** A packed integer that is the length of what follows, or a count of it. @throws TidemarkError `MYSQL_BINLOG` */
  packedLength(): number {
    const length = this.packed();
    if (length > this.end - this.at) throw binlogError(`${this.#what} announces ${length} bytes and has ${this.end - this.at}`);
    return length;
  }

  /** A window, not a copy. */
  slice(length: number): Buffer {
    const at = this.skip(length);
    return this.bytes.subarray(at, at + length);
  }

  /** The bytes as bytes of their own. */
  copy(length: number): Buffer {
    return Buffer.from(this.slice(length));
  }

  utf8(length: number): string {
    const at = this.skip(length);
    return this.bytes.toString('utf8', at, at + length);
  }

  /** Until a byte of 0, which is passed over. */
  terminated(): string {
    const found = this.bytes.indexOf(0, this.at);
    if (found < 0 || found >= this.end) throw binlogError(`${this.#what} has a name without end`);
    const name = this.bytes.toString('utf8', this.at, found);
    this.at = found + 1;
    return name;
  }

  /** @throws TidemarkError `MYSQL_BINLOG` when bytes are left */
  finish(): void {
    if (this.at !== this.end) throw binlogError(`${this.#what} has ${this.end - this.at} bytes too many`);
  }

  #safe(low: number, high: number): number {
    if (high > MAX_HIGH) throw binlogError(`${this.#what} has a number above 2^53 - 1`);
    return high * TWO_32 + low;
  }
}

export function binlogError(what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('MYSQL_BINLOG', what, cause === undefined ? {} : { cause });
}
