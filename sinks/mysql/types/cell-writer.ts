/** Cells of row images as fields of LOAD DATA and as literals of statements: bytes in, bytes out. Pure. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';

/**
 * Writes the cell `bytes[start .. end]` to `out` at `at`, where there is room for `ValueForm.room`. Answers where it ends;
 * -1: the column cannot hold the value.
 * @param kind `Cell.text` or `Cell.binary`; NULL and placeholders are the caller's
 */
export type CellWriter = (kind: number, bytes: Uint8Array, start: number, end: number, out: Buffer, at: number) => number;

/** Writes the same cell without escapes, in the bytes that the column takes; -1: it cannot hold the value. */
export type CellEncoder = CellWriter;

const TAB = 0x09;
const NEWLINE = 0x0a;
const QUOTE = 0x27;
const BACKSLASH = 0x5c;
const LETTER_N = 0x6e;
const LETTER_T = 0x74;

/** Copies bytes to a field of LOAD DATA. */
export function writeField(bytes: Uint8Array, start: number, end: number, out: Buffer, at: number): number {
  for (let from = start; from < end; from++) {
    const byte = bytes[from] as number;
    if (byte === BACKSLASH || byte === TAB || byte === NEWLINE) {
      out[at++] = BACKSLASH;
      out[at++] = byte === TAB ? LETTER_T : byte === NEWLINE ? LETTER_N : BACKSLASH;
    } else out[at++] = byte;
  }
  return at;
}

/** Copies bytes into quotes. The session must not have NO_BACKSLASH_ESCAPES. */
export function writeQuoted(bytes: Uint8Array, start: number, end: number, out: Buffer, at: number): number {
  out[at++] = QUOTE;
  for (let from = start; from < end; from++) {
    const byte = bytes[from] as number;
    if (byte === BACKSLASH || byte === QUOTE) out[at++] = BACKSLASH;
    out[at++] = byte;
  }
  out[at++] = QUOTE;
  return at;
}

/** Bytes that `writeField` and `writeQuoted` put a backslash before. */
export function countEscapes(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let from = start; from < end; from++) {
    const byte = bytes[from] as number;
    if (byte === BACKSLASH || byte === QUOTE || byte === TAB || byte === NEWLINE) count++;
  }
  return count;
}

/** Text as it stands. Bytes, which a column of text gets only where somebody made it so: `\x` and hexadecimal digits. */
export const encodeText: CellEncoder = (kind, bytes, start, end, out, at) => (kind === Cell.binary ? writeHex(bytes, start, end, out, at) : copy(bytes, start, end, out, at));

/** Bytes as they stand; of text (`\x…`, as in defaults and fill values) what it stands for. @throws TidemarkError `RECORD_CORRUPT` */
export const encodeBytes: CellEncoder = (kind, bytes, start, end, out, at) => {
  if (kind === Cell.binary) return copy(bytes, start, end, out, at);
  if (bytes[start] !== BACKSLASH || bytes[start + 1] !== 0x78 || (end - start) % 2 !== 0) throw notHex();
  for (let from = start + 2; from < end; from += 2) {
    const high = DIGIT[bytes[from] as number] as number;
    const low = DIGIT[bytes[from + 1] as number] as number;
    if ((high | low) < 0) throw notHex();
    out[at++] = (high << 4) | low;
  }
  return at;
};

export function copy(bytes: Uint8Array, start: number, end: number, out: Buffer, at: number): number {
  if (end - start > 40) {
    out.set(bytes.subarray(start, end), at);
    return at + end - start;
  }
  for (let from = start; from < end; from++) out[at++] = bytes[from] as number;
  return at;
}

const HEX = Buffer.from('0123456789abcdef', 'latin1');
const DIGIT = new Int8Array(256).fill(-1);
for (let digit = 0; digit < 16; digit++) {
  const letter = digit.toString(16);
  DIGIT[letter.charCodeAt(0)] = DIGIT[letter.toUpperCase().charCodeAt(0)] = digit;
}

/** The value of a hexadecimal digit; -1: it is none. */
export function hexDigit(byte: number): number {
  return DIGIT[byte] as number;
}

function writeHex(bytes: Uint8Array, start: number, end: number, out: Buffer, at: number): number {
  out[at++] = BACKSLASH;
  out[at++] = 0x78;
  for (let from = start; from < end; from++) {
    const byte = bytes[from] as number;
    out[at++] = HEX[byte >>> 4] as number;
    out[at++] = HEX[byte & 15] as number;
  }
  return at;
}

function notHex(): TidemarkError {
  return new TidemarkError('RECORD_CORRUPT', 'a value of type bytes is neither bytes nor their hexadecimal text');
}
