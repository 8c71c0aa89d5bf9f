/**
 * Values in the binary form of their type: the server takes them as they are, where text would go through the type's
 * input function, which costs it more than writing the row does. A writer takes exactly the canonical text whose meaning
 * it is sure of, and refuses everything else: that goes to the server as text, whose word counts.
 */

/** Types that have a writer, by their name in pg_catalog. */
const WRITERS = {
  int2: { oid: 21, write: writeInt2 },
  int4: { oid: 23, write: writeInt4 },
  int8: { oid: 20, write: writeInt8 },
  float8: { oid: 701, write: writeFloat8 },
  numeric: { oid: 1700, write: writeNumeric },
  bool: { oid: 16, write: writeBool },
  uuid: { oid: 2950, write: writeUuid },
  date: { oid: 1082, write: writeDate },
  timestamp: { oid: 1114, write: writeTimestamp },
  timestamptz: { oid: 1184, write: writeTimestamptz },
} as const satisfies Record<string, { readonly oid: number; readonly write: BinaryWriter }>;

export type BinaryType = keyof typeof WRITERS;

/**
 * Writes the value whose canonical text is `bytes[start .. end]` to `out` at `at`, without its length. There must be room
 * for `mostBytes(end - start)`. Answers where it ends; -1: this text has no binary form here.
 */
export type BinaryWriter = (bytes: Buffer, start: number, end: number, out: Buffer, at: number) => number;

export function isBinaryType(name: string): name is BinaryType {
  return Object.hasOwn(WRITERS, name);
}

export function binaryOid(type: BinaryType): number {
  return WRITERS[type].oid;
}

export function binaryWriter(type: BinaryType): BinaryWriter {
  return WRITERS[type].write;
}

/** Room for any value whose text has this many bytes. */
export function mostBytes(textLength: number): number {
  return 16 + textLength;
}

const ZERO = 0x30;
const MINUS = 0x2d;
const DOT = 0x2e;
const COLON = 0x3a;
const PLUS = 0x2b;
const EXPONENT = 0x65;
const BLANK = 0x20;

const INT32_MAX = 0x7fff_ffff;
const INT32_MIN = -0x8000_0000;
const TWO_16 = 0x1_0000;
const TWO_32 = 0x1_0000_0000;
/** Numbers of so many digits are exact as a double. */
const EXACT_DIGITS = 15;
const BILLION = 1_000_000_000;
const MILLION = 1_000_000;

/** The digits of the span as a number of at most 15 digits; -1: something else. */
function digits(bytes: Buffer, start: number, end: number): number {
  if (start >= end || end - start > EXACT_DIGITS) return -1;
  let value = 0;
  for (let from = start; from < end; from++) {
    const digit = (bytes[from] as number) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

function putInt32(out: Buffer, at: number, value: number): number {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
  return at + 4;
}

function putInt16(out: Buffer, at: number, value: number): number {
  out[at] = value >>> 8;
  out[at + 1] = value;
  return at + 2;
}

/** `many * base + low` as 64 bits, without going through a number that would round it; -1 when it needs more. */
function putInt64(out: Buffer, at: number, many: number, base: number, low: number): number {
  const manyHigh = Math.floor(many / TWO_16);
  const lowest = (many - manyHigh * TWO_16) * base + low;
  const carry = Math.floor(lowest / TWO_16);
  const rest = manyHigh * base + carry;
  const high = Math.floor(rest / TWO_16);
  if (high > INT32_MAX || high < INT32_MIN) return -1;
  putInt32(out, at, high);
  putInt16(out, at + 4, rest - high * TWO_16);
  return putInt16(out, at + 6, lowest - carry * TWO_16);
}

function writeInt2(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  const negative = bytes[start] === MINUS;
  const size = digits(bytes, negative ? start + 1 : start, end);
  if (size < 0 || size > (negative ? 0x8000 : 0x7fff)) return -1;
  return putInt16(out, at, negative ? -size : size);
}

function writeInt4(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  const negative = bytes[start] === MINUS;
  const size = digits(bytes, negative ? start + 1 : start, end);
  if (size < 0 || size > (negative ? -INT32_MIN : INT32_MAX)) return -1;
  return putInt32(out, at, negative ? -size : size);
}

function writeInt8(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  const negative = bytes[start] === MINUS;
  const from = negative ? start + 1 : start;
  if (end - from > EXACT_DIGITS) return writeLongInt8(bytes, from, end, negative, out, at);
  const size = digits(bytes, from, end);
  if (size < 0) return -1;
  const value = negative ? -size : size;
  const high = Math.floor(value / TWO_32);
  putInt32(out, at, high);
  return putInt32(out, at + 4, value - high * TWO_32);
}

function writeLongInt8(bytes: Buffer, from: number, end: number, negative: boolean, out: Buffer, at: number): number {
  if (end - from > 19) return -1;
  const billions = digits(bytes, from, end - 9);
  const low = digits(bytes, end - 9, end);
  if (billions < 0 || low < 0) return -1;
  return putInt64(out, at, negative ? -billions : billions, BILLION, negative ? -low : low);
}

const TENS = Array.from({ length: 23 }, (_, power) => 10 ** power);

function writeFloat8(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  const negative = bytes[start] === MINUS;
  const first = negative ? start + 1 : start;
  let whole = 0;
  let dot = -1;
  for (let from = first; from < end; from++) {
    const digit = (bytes[from] as number) - ZERO;
    if (digit >= 0 && digit <= 9) whole = whole * 10 + digit;
    else if (bytes[from] === DOT && dot < 0) dot = from;
    else return writeOtherFloat8(bytes.toString('latin1', start, end), out, at);
  }
  if (end - first > EXACT_DIGITS || end - first < 1 || first === dot || dot === end - 1) {
    return writeOtherFloat8(bytes.toString('latin1', start, end), out, at);
  }
  // A whole number of 15 digits over a power of ten, both exact, is rounded once: as the decimal would be.
  const value = dot < 0 ? whole : whole / (TENS[end - 1 - dot] as number);
  return out.writeDoubleBE(negative ? -value : value, at);
}

function writeOtherFloat8(text: string, out: Buffer, at: number): number {
  const value = Number(text);
  // What is too large or too small for the type is an error at the server, and infinite or 0 here.
  if (Number.isFinite(value) ? value === 0 || !isDecimal(text) : text !== 'NaN' && text !== 'Infinity' && text !== '-Infinity') return -1;
  return out.writeDoubleBE(value, at);
}

/** Of what Number() takes: no blanks, no other base. */
function isDecimal(text: string): boolean {
  for (let n = 0; n < text.length; n++) {
    const code = text.charCodeAt(n);
    if ((code < ZERO || code > 0x39) && code !== DOT && code !== MINUS && code !== PLUS && code !== EXPONENT) return false;
  }
  return true;
}

/** Longer numbers go as text. */
const MOST_NUMERIC = 200;
const NUMERIC_NEGATIVE = 0x4000;
const NUMERIC_NAN = 0xc000;

/** Digits of base 10,000 from the decimal point to both sides; u16 count, i16 weight of the first, u16 sign, u16 digits behind the point. No 0 at either end. */
function writeNumeric(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  const negative = bytes[start] === MINUS;
  const first = negative ? start + 1 : start;
  let dot = first;
  while (dot < end && bytes[dot] !== DOT) dot++;
  const whole = dot - first;
  const fraction = dot < end ? end - dot - 1 : 0;
  if (whole === 0 || (dot < end && fraction === 0) || end - start > MOST_NUMERIC) return -1;
  const isNan = end - start === 3 && bytes[start] === 0x4e && bytes[start + 1] === 0x61 && bytes[start + 2] === 0x4e;
  if (isNan) return putInt32(out, putInt32(out, at, 0), NUMERIC_NAN << 16);
  let to = at + 8;
  let weight = Math.ceil(whole / 4) - 1;
  for (let from = first, next = first + ((whole + 3) % 4) + 1; from < end; ) {
    const digit = digits(bytes, from, next);
    if (digit < 0) return -1;
    if (digit === 0 && to === at + 8) weight--;
    else to = putInt16(out, to, from > dot ? digit * (TENS[from + 4 - next] as number) : digit);
    from = next < dot ? next : Math.max(next, dot + 1);
    next = from < dot ? from + 4 : Math.min(from + 4, end);
  }
  while (to > at + 8 && out[to - 1] === 0 && out[to - 2] === 0) to -= 2;
  const isZero = to === at + 8;
  putInt16(out, at, (to - at - 8) / 2);
  putInt16(out, at + 2, isZero ? 0 : weight);
  putInt16(out, at + 4, negative && !isZero ? NUMERIC_NEGATIVE : 0);
  putInt16(out, at + 6, fraction);
  return to;
}

function writeBool(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  const letter = bytes[start];
  if (end - start !== 1 || (letter !== 0x74 && letter !== 0x66)) return -1;
  out[at] = letter === 0x74 ? 1 : 0;
  return at + 1;
}

const HEX = new Int8Array(256).fill(-1);
for (let digit = 0; digit < 16; digit++) {
  const text = digit.toString(16);
  HEX[text.charCodeAt(0)] = HEX[text.toUpperCase().charCodeAt(0)] = digit;
}

function writeUuid(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  if (end - start !== 36) return -1;
  let from = start;
  for (let to = at; to < at + 16; to++, from += 2) {
    if (to === at + 4 || to === at + 6 || to === at + 8 || to === at + 10) if (bytes[from++] !== MINUS) return -1;
    const high = HEX[bytes[from] as number] as number;
    const low = HEX[bytes[from + 1] as number] as number;
    if ((high | low) < 0) return -1;
    out[to] = (high << 4) | low;
  }
  return at + 16;
}

/** Days from 2000-01-01 to the `YYYY-MM-DD` at `start`; NaN: it is no such date. */
function daysAt(bytes: Buffer, start: number): number {
  const year = digits(bytes, start, start + 4);
  const month = digits(bytes, start + 5, start + 7);
  const day = digits(bytes, start + 8, start + 10);
  if (bytes[start + 4] !== MINUS || bytes[start + 7] !== MINUS || year < 1 || month < 1 || month > 12 || day < 1) return NaN;
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  if (day > (month === 2 && leap ? 29 : (MONTH_DAYS[month - 1] as number))) return NaN;
  // Years that begin in March, so that the leap day is their last.
  const y = month > 2 ? year : year - 1;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  return y * 365 + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + dayOfYear - DAYS_TO_2000;
}

const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const DAYS_TO_2000 = 730_425;

function writeDate(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  const days = end - start === 10 ? daysAt(bytes, start) : NaN;
  return Number.isNaN(days) ? -1 : putInt32(out, at, days);
}

/** `YYYY-MM-DD HH:MM:SS`, with 1 to 6 digits behind a point or none. */
function writeTimestamp(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  if (end - start < 19) return -1;
  const days = daysAt(bytes, start);
  const hour = digits(bytes, start + 11, start + 13);
  const minute = digits(bytes, start + 14, start + 16);
  const second = digits(bytes, start + 17, start + 19);
  if (bytes[start + 10] !== BLANK || bytes[start + 13] !== COLON || bytes[start + 16] !== COLON) return -1;
  if (Number.isNaN(days) || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return -1;
  let micros = 0;
  if (end - start > 19) {
    const places = end - start - 20;
    const part = digits(bytes, start + 20, end);
    if (bytes[start + 19] !== DOT || places > 6 || part < 0) return -1;
    micros = part * (TENS[6 - places] as number);
  }
  return putInt64(out, at, ((days * 24 + hour) * 60 + minute) * 60 + second, MILLION, micros);
}

function writeTimestamptz(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  const zone = end - 3;
  if (bytes[zone] !== PLUS || bytes[zone + 1] !== ZERO || bytes[zone + 2] !== ZERO) return -1;
  return writeTimestamp(bytes, start, zone, out, at);
}
