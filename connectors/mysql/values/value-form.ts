/**
 * Forms of values in rows events that a writer of rows turns into canonical bytes itself: of most columns, and without a call
 * through a decoder, a cell noted down and another copy for each.
 */
export const Form = {
  int8: 1, uint8: 2, int16: 3, uint16: 4, int24: 5, uint24: 6, int32: 7, uint32: 8, int64: 9, uint64: 10, double: 11,
  /** By `write` of the decoder. */
  decimal: 12,
  date: 13,
  /** `size`: bytes of the fraction. */
  datetime: 14,
  /** UTF-8; `size`: bytes of the length before it. */
  text: 15,
  /** As `text`, without blanks at its end. */
  trimmed: 16,
  /** Raw bytes; `size`: bytes of the length before them. */
  binary: 17,
} as const;

export interface ValueForm {
  readonly code: number;
  readonly size: number;
  /** Bytes of the value; -1: it says itself. */
  readonly width: number;
  /** The most bytes that it becomes; 0: as many as it has behind its length. */
  readonly most: number;
}

const PAIRS = Uint16Array.from({ length: 100 }, (_, value) => (0x30 + Math.floor(value / 10)) | ((0x30 + (value % 10)) << 8));
const ZERO = 0x30;
const MINUS = 0x2d;
const DASH = 0x2d;
const COLON = 0x3a;
const POINT = 0x2e;
const BLANK = 0x20;
const NOT_ASCII = 0x8080_8080;
const MICROS_OF_UNIT = [1, 10_000, 100, 1] as const;
/** The most bytes of a form's text. */
export const INTEGER_TEXT = 20;
export const DATETIME_TEXT = 26;

/** An integer from 0 to 2^32 - 1 in decimal. Answers where it ends. */
export function putUnsigned(into: DataView, at: number, value: number): number {
  const end = at + digitsOf(value);
  let to = end;
  let rest = value;
  while (rest >= 100) {
    const hundreds = (rest / 100) >>> 0;
    to -= 2;
    into.setUint16(to, PAIRS[rest - hundreds * 100] as number, true);
    rest = hundreds;
  }
  if (rest >= 10) into.setUint16(to - 2, PAIRS[rest] as number, true);
  else into.setUint8(to - 1, ZERO + rest);
  return end;
}

/** An integer from -2^31 to 2^31 - 1. */
export function putSigned(into: DataView, at: number, value: number): number {
  if (value >= 0) return putUnsigned(into, at, value);
  into.setUint8(at, MINUS);
  return putUnsigned(into, at + 1, -value);
}

function digitsOf(value: number): number {
  if (value < 100_000) return value < 100 ? (value < 10 ? 1 : 2) : value < 1_000 ? 3 : value < 10_000 ? 4 : 5;
  if (value < 10_000_000) return value < 1_000_000 ? 6 : 7;
  return value < 100_000_000 ? 8 : value < 1_000_000_000 ? 9 : 10;
}

/** `2026-11-21`; false, with nothing of use written, where there is no such date. */
export function putDate(into: DataView, at: number, year: number, month: number, day: number): boolean {
  if (year > 9999 || month > 12 || day > 31) return false;
  const century = (year / 100) | 0;
  into.setUint16(at, PAIRS[century] as number, true);
  into.setUint16(at + 2, PAIRS[year - century * 100] as number, true);
  into.setUint8(at + 4, DASH);
  into.setUint16(at + 5, PAIRS[month] as number, true);
  into.setUint8(at + 7, DASH);
  into.setUint16(at + 8, PAIRS[day] as number, true);
  return true;
}

/** The datetime with a fraction of so many bytes that stands at `from`; -1 where it is none. */
export function putDatetime(bytes: DataView, from: number, fraction: number, into: DataView, at: number): number {
  const sign = bytes.getUint8(from);
  const low = bytes.getUint32(from + 1);
  const days = ((sign & 0x7f) << 15) | (low >>> 17);
  const months = days >>> 5;
  const year = (months / 13) | 0;
  const hour = (low >>> 12) & 31;
  const minute = (low >>> 6) & 63;
  const second = low & 63;
  const micros = fraction === 0 ? 0 : fractionAt(bytes, from + 5, fraction) * (MICROS_OF_UNIT[fraction] as number);
  if (sign < 0x80 || hour > 23 || minute > 59 || second > 59 || micros > 999_999 || !putDate(into, at, year, months - year * 13, days & 31)) return -1;
  into.setUint8(at + 10, BLANK);
  into.setUint16(at + 11, PAIRS[hour] as number, true);
  into.setUint8(at + 13, COLON);
  into.setUint16(at + 14, PAIRS[minute] as number, true);
  into.setUint8(at + 16, COLON);
  into.setUint16(at + 17, PAIRS[second] as number, true);
  return micros === 0 ? at + 19 : putFraction(into, at + 19, micros);
}

function fractionAt(bytes: DataView, at: number, length: number): number {
  if (length === 3) return (bytes.getUint8(at) << 16) | bytes.getUint16(at + 1);
  return length === 2 ? bytes.getUint16(at) : bytes.getUint8(at);
}

/** `.5`: without zeros at the end. */
function putFraction(into: DataView, at: number, micros: number): number {
  const high = (micros / 10_000) | 0;
  const rest = micros - high * 10_000;
  const middle = (rest / 100) | 0;
  into.setUint8(at, POINT);
  into.setUint16(at + 1, PAIRS[high] as number, true);
  into.setUint16(at + 3, PAIRS[middle] as number, true);
  into.setUint16(at + 5, PAIRS[rest - middle * 100] as number, true);
  let end = at + 7;
  while (into.getUint8(end - 1) === ZERO) end--;
  return end;
}

/** Copies `bytes[from .. end)`; true when all of it is ASCII. */
export function putText(bytes: DataView, from: number, end: number, into: DataView, at: number): boolean {
  let seen = 0;
  let to = at;
  let next = from;
  for (; next + 4 <= end; next += 4, to += 4) {
    const four = bytes.getInt32(next, true);
    seen |= four;
    into.setInt32(to, four, true);
  }
  for (; next < end; next++, to++) {
    const one = bytes.getUint8(next);
    seen |= one;
    into.setUint8(to, one);
  }
  return (seen & NOT_ASCII) === 0;
}
