/** JSON for a column of type json: the server keeps numbers as 64 bits or as doubles, whatever their text says. */
import { jsonDouble } from '../../../contracts/types/mysql-json-number.ts';
import { type CellEncoder, encodeText } from './cell-writer.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const PLUS = 0x2b;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const LETTER_E = 0x65;
/** Whole numbers of fewer digits are 64 bits. */
const SAFE_DIGITS = 19;
const LEAST_WHOLE = -(2n ** 63n);
const MOST_WHOLE = 2n ** 64n - 1n;

/** Text of JSON with numbers that come back as they are written: a decimal such as `1.50` would be another. */
export const encodeJson: CellEncoder = (kind, bytes, start, end, out, at) => {
  for (let from = start; from < end; from++) {
    const byte = bytes[from] as number;
    if (byte === QUOTE) from = stringEnd(bytes, from + 1, end);
    else if (byte === MINUS || (byte >= ZERO && byte <= NINE)) {
      const to = numberEnd(bytes, from + 1, end);
      if (!isKept(bytes, from, to)) return -1;
      from = to - 1;
    }
  }
  return encodeText(kind, bytes, start, end, out, at);
};

/** Of the closing quote. */
function stringEnd(bytes: Uint8Array, from: number, end: number): number {
  while (from < end && bytes[from] !== QUOTE) from += bytes[from] === BACKSLASH ? 2 : 1;
  return from;
}

function numberEnd(bytes: Uint8Array, from: number, end: number): number {
  for (; from < end; from++) {
    const byte = bytes[from] as number;
    const isPart = (byte >= ZERO && byte <= NINE) || byte === DOT || byte === MINUS || byte === PLUS || (byte | 0x20) === LETTER_E;
    if (!isPart) return from;
  }
  return from;
}

function isKept(bytes: Uint8Array, start: number, end: number): boolean {
  let isWhole = true;
  for (let from = start + 1; from < end && isWhole; from++) isWhole = (bytes[from] as number) >= ZERO && (bytes[from] as number) <= NINE;
  if (isWhole && end - start < SAFE_DIGITS) return !(bytes[start] === MINUS && bytes[start + 1] === ZERO);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
  if (isWhole) {
    const value = BigInt(text);
    if (value >= LEAST_WHOLE && value <= MOST_WHOLE) return true;
  }
  const value = Number(text);
  return Number.isFinite(value) && jsonDouble(value) === text;
}
