import { TidemarkError } from '../../../contracts/errors/error.ts';

const HEX = 16;
export const QUESTION_MARK = 0x3f;

/** `?` for bytes that mean nothing, or the error. Answers where the `?` ends. */
export function unmappedBytes(
  charset: string,
  unmapped: 'refuse' | 'replace',
  bytes: Uint8Array,
  at: number,
  length: number,
  into: Uint8Array,
  to: number,
): number {
  if (unmapped === 'refuse') throw unmappedError(charset, bytes, at, length);
  into[to] = QUESTION_MARK;
  return to + 1;
}

export function unmappedError(charset: string, bytes: Uint8Array, at: number, length: number): TidemarkError {
  const code = Array.from(bytes.subarray(at, at + length), (byte) => byte.toString(HEX).padStart(2, '0')).join('');
  return new TidemarkError('MYSQL_TEXT', `the bytes 0x${code} mean no character in the charset ${charset}`);
}

/** One code point, no surrogate, as UTF-8. Answers where it ends. */
export function writePoint(point: number, into: Uint8Array, to: number): number {
  if (point < 0x80) {
    into[to] = point;
    return to + 1;
  }
  if (point < 0x800) {
    into[to] = 0xc0 | (point >> 6);
    into[to + 1] = 0x80 | (point & 0x3f);
    return to + 2;
  }
  if (point < 0x10000) {
    into[to] = 0xe0 | (point >> 12);
    into[to + 1] = 0x80 | ((point >> 6) & 0x3f);
    into[to + 2] = 0x80 | (point & 0x3f);
    return to + 3;
  }
  into[to] = 0xf0 | (point >> 18);
  into[to + 1] = 0x80 | ((point >> 12) & 0x3f);
  into[to + 2] = 0x80 | ((point >> 6) & 0x3f);
  into[to + 3] = 0x80 | (point & 0x3f);
  return to + 4;
}
