/** Compressed columns of MariaDB. */
import { inflateRawSync, inflateSync } from 'node:zlib';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { MAX_RECORD_BYTES } from '../../../contracts/record.ts';
import type { Transcoder } from '../charset/transcoder.ts';
import { readBig } from './digits.ts';
import { readLength } from './bytes.ts';
import type { ColumnDecoder } from './column-decoder.ts';
import { textCell } from './text.ts';

const ZLIB = 8;
const PLAIN = 0;
const RAW = 8;
const LENGTH_BITS = 7;

/**
 * Behind the length: nothing for an empty value; else a byte (4 bits of method, 1: without zlib's header, 3: bytes of the
 * length), the length of the value, big-endian, and its bytes.
 * @param transcoder null: bytes
 */
export function compressedDecoder(prefix: number, transcoder: Transcoder | null): ColumnDecoder {
  return {
    decode(bytes, at, out) {
      const start = at + prefix;
      const end = start + readLength(bytes, at, prefix);
      const isPlain = start === end || bytes[start] === PLAIN;
      const value = isPlain ? bytes : inflated(bytes, start, end);
      const from = isPlain ? Math.min(start + 1, end) : 0;
      const to = isPlain ? end : value.length;
      if (transcoder === null) out.binary(value, from, to);
      else textCell(transcoder, false, value, from, to, out);
      return end;
    },
  };
}

function inflated(bytes: Buffer, start: number, end: number): Buffer {
  const header = bytes[start] as number;
  const lengthBytes = header & LENGTH_BITS;
  const from = start + 1 + lengthBytes;
  if (header >> 4 !== ZLIB || lengthBytes === 0 || lengthBytes > 4 || from > end) throw new TidemarkError('MYSQL_VALUE', `a compressed value begins with the byte ${header}`);
  const length = readBig(bytes, start + 1, lengthBytes);
  if (length > MAX_RECORD_BYTES) throw new TidemarkError('MYSQL_ROW_TOO_LARGE', `a compressed value has ${length} bytes`);
  const value = inflate(bytes.subarray(from, end), (header & RAW) !== 0, length);
  if (value.length !== length) throw new TidemarkError('MYSQL_VALUE', `a compressed value has ${value.length} bytes, not ${length}`);
  return value;
}

function inflate(packed: Buffer, raw: boolean, length: number): Buffer {
  const options = { maxOutputLength: Math.max(length, 1) };
  try {
    return raw ? inflateRawSync(packed, options) : inflateSync(packed, options);
  } catch (cause) {
    throw new TidemarkError('MYSQL_VALUE', 'a compressed value cannot be unpacked', { cause });
  }
}
