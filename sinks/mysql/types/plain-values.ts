/**
 * Numbers, dates and times: canonical text that the servers read as it stands, once it is sure that the column holds just
 * this value. They themselves round fractions of a second, take `infinity` for a zero date and cut what is behind it.
 */
import { nearestFloat32 } from '../../../contracts/types/float-text.ts';
import { type CellEncoder, copy } from './cell-writer.ts';

const ZERO = 0x30;
const NINE = 0x39;
const MINUS = 0x2d;
const DOT = 0x2e;
const PLUS = 0x2b;
const COLON = 0x3a;
const BLANK = 0x20;
const LETTER_E = 0x65;
const LETTER_T = 0x74;
const LETTER_F = 0x66;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

/** Digits in `bytes[start .. end]` from `start` on. */
function countDigits(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && isDigit(bytes[at])) at++;
  return at - start;
}

export const encodeInteger: CellEncoder = (_kind, bytes, start, end, out, at) => {
  const first = bytes[start] === MINUS ? start + 1 : start;
  return first < end && countDigits(bytes, first, end) === end - first ? copy(bytes, start, end, out, at) : -1;
};

/** @param precision digits in all @param scale of them behind the point; zeros beyond are no loss */
export function decimalEncoder(precision: number, scale: number): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    let first = bytes[start] === MINUS ? start + 1 : start;
    const whole = countDigits(bytes, first, end);
    const dot = first + whole;
    if (whole === 0 || (dot < end && (bytes[dot] !== DOT || countDigits(bytes, dot + 1, end) !== end - dot - 1))) return -1;
    while (first < dot && bytes[first] === ZERO) first++;
    let last = end;
    if (dot < end) while (last > dot + 1 && bytes[last - 1] === ZERO && last - dot - 1 > scale) last--;
    const fraction = dot < end ? last - dot - 1 : 0;
    if (dot - first > precision - scale || fraction > scale) return -1;
    return copy(bytes, start, fraction === 0 ? dot : last, out, at);
  };
}

/** The largest float: its shortest text is above it, and out of range to the servers. */
const LARGEST_FLOAT = Buffer.from('3.4028235e+38');
const LARGEST_FLOAT_EXACT = Buffer.from('3.4028234663852886e+38');

export const encodeFloat32: CellEncoder = (kind, bytes, start, end, out, at) => {
  const first = bytes[start] === MINUS ? start + 1 : start;
  if (end - first === LARGEST_FLOAT.length && LARGEST_FLOAT.every((byte, index) => bytes[first + index] === byte)) {
    return copy(LARGEST_FLOAT_EXACT, 0, LARGEST_FLOAT_EXACT.length, out, copy(bytes, start, first, out, at));
  }
  const to = encodeFloat64(kind, bytes, start, end, out, at);
  if (to - at < LEAST_AMBIGUOUS) return to;
  // The servers read it by way of a double, and would round it twice.
  const text = out.toString('latin1', at, to);
  const value = nearestFloat32(text);
  return value === Math.fround(Number(text)) ? to : at + out.write(String(value), at, 'latin1');
};

/** Fewer characters are never so near to the middle between two floats. */
const LEAST_AMBIGUOUS = 8;

/** The float's own value, of which its shortest text is another double. */
export const exactFloat32: CellEncoder = (kind, bytes, start, end, out, at) => {
  const to = encodeFloat64(kind, bytes, start, end, out, at);
  if (to < 0) return -1;
  const value = nearestFloat32(out.toString('latin1', at, to));
  return Number.isFinite(value) ? at + out.write(isNegativeZero(bytes, start, end) ? NEGATIVE_ZERO : String(value), at, 'latin1') : -1;
};

/** As a literal: `-0` alone is a whole number, which has no sign. */
export const exactFloat64: CellEncoder = (kind, bytes, start, end, out, at) =>
  isNegativeZero(bytes, start, end) ? at + out.write(NEGATIVE_ZERO, at, 'latin1') : encodeFloat64(kind, bytes, start, end, out, at);

const NEGATIVE_ZERO = '-0e0';

function isNegativeZero(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 2 && bytes[start] === MINUS && bytes[start + 1] === ZERO;
}

/** Finite ones. */
export const encodeFloat64: CellEncoder = (_kind, bytes, start, end, out, at) => {
  if (start === end) return -1;
  for (let from = start; from < end; from++) {
    const byte = bytes[from] as number;
    if (!isDigit(byte) && byte !== DOT && byte !== MINUS && byte !== PLUS && byte !== LETTER_E) return -1;
  }
  return copy(bytes, start, end, out, at);
};

export const encodeBool: CellEncoder = (_kind, bytes, start, end, out, at) => {
  const letter = bytes[start];
  if (end - start !== 1 || (letter !== LETTER_T && letter !== LETTER_F)) return -1;
  out[at] = letter === LETTER_T ? ZERO + 1 : ZERO;
  return at + 1;
};

/** `0` alone would be read as 2000. */
export const encodeYear: CellEncoder = (kind, bytes, start, end, out, at) => {
  if (end - start !== 1 || bytes[start] !== ZERO) return end - start === 4 ? encodeInteger(kind, bytes, start, end, out, at) : -1;
  for (let digit = 0; digit < 4; digit++) out[at + digit] = ZERO;
  return at + 4;
};

/** `YYYY-MM-DD`, zeros among them or not. */
function isDate(bytes: Uint8Array, start: number): boolean {
  return (
    countDigits(bytes, start, start + 4) === 4 && bytes[start + 4] === MINUS && countDigits(bytes, start + 5, start + 7) === 2 &&
    bytes[start + 7] === MINUS && countDigits(bytes, start + 8, start + 10) === 2
  );
}

/** `:MM:SS`, and a fraction of so many digits at most. */
function isMinutes(bytes: Uint8Array, start: number, end: number, digits: number): boolean {
  if (bytes[start] !== COLON || countDigits(bytes, start + 1, start + 3) !== 2) return false;
  if (bytes[start + 3] !== COLON || countDigits(bytes, start + 4, Math.min(end, start + 6)) !== 2) return false;
  if (end === start + 6) return true;
  const places = end - start - 7;
  return bytes[start + 6] === DOT && places > 0 && places <= digits && countDigits(bytes, start + 7, end) === places;
}

/** Years 0 to 9999. */
export const encodeDate: CellEncoder = (_kind, bytes, start, end, out, at) => (end - start === 10 && isDate(bytes, start) ? copy(bytes, start, end, out, at) : -1);

const DATE_AND_HOUR = 13;

/** @param zoned the text ends with `+00`, which the column has not */
export function datetimeEncoder(digits: number, zoned: boolean): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    const last = zoned ? end - 3 : end;
    if (zoned && (bytes[last] !== PLUS || bytes[last + 1] !== ZERO || bytes[last + 2] !== ZERO)) return -1;
    if (last - start < 19 || !isDate(bytes, start) || bytes[start + 10] !== BLANK || countDigits(bytes, start + 11, start + DATE_AND_HOUR) !== 2) return -1;
    return isMinutes(bytes, start + DATE_AND_HOUR, last, digits) ? copy(bytes, start, last, out, at) : -1;
  };
}

const ZERO_TIMESTAMP = Buffer.from('0000-00-00 00:00:00');
const FIRST_TIMESTAMP = Buffer.from('1970-01-01 00:00:01');

/** A column of type timestamp. @param lastSecond `2038-01-19 03:14:07` */
export function timestampEncoder(digits: number, zoned: boolean, lastSecond: string): CellEncoder {
  const encode = datetimeEncoder(digits, zoned);
  const last = Buffer.from(lastSecond);
  return (kind, bytes, start, end, out, at) => {
    const to = encode(kind, bytes, start, end, out, at);
    if (to < 0) return -1;
    const second = out.subarray(at, at + 19);
    return (second.compare(FIRST_TIMESTAMP) >= 0 && second.compare(last) <= 0) || (second.equals(ZERO_TIMESTAMP) && to === at + 19) ? to : -1;
  };
}

const MOST_HOURS = 838;

/** @param wholeEnd the longest time has no fraction: MySQL; MariaDB's may have one */
export function timeEncoder(digits: number, wholeEnd: boolean): CellEncoder {
  return (_kind, bytes, start, end, out, at) => {
    const first = bytes[start] === MINUS ? start + 1 : start;
    const places = countDigits(bytes, first, end);
    if (places < 2 || places > 3 || !isMinutes(bytes, first + places, end, digits)) return -1;
    let hours = 0;
    for (let digit = first; digit < first + places; digit++) hours = hours * 10 + (bytes[digit] as number) - ZERO;
    if (hours > MOST_HOURS || (wholeEnd && isPastEnd(bytes, first, end, hours))) return -1;
    return copy(bytes, start, end, out, at);
  };
}

function isPastEnd(bytes: Uint8Array, first: number, end: number, hours: number): boolean {
  if (hours !== MOST_HOURS || end - first <= 9) return false;
  return Buffer.from(bytes.subarray(first, first + 9)).toString('latin1') === '838:59:59';
}
