/**
 * A key is the canonical values of the key columns in key order, each as u32 length (big-endian) and bytes; compared
 * as bytes. A key column is never null. A keyless table has the empty key: its rows are a bag.
 */
import { TidemarkError } from './errors/error.ts';

/** Builds a key from values; for tests, tools and cold paths. */
export function buildKey(values: readonly (string | Uint8Array)[]): Buffer {
  const parts: Buffer[] = [];
  for (const value of values) {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value);
    const head = Buffer.alloc(4);
    head.writeUInt32BE(bytes.length, 0);
    parts.push(head, bytes);
  }
  return Buffer.concat(parts);
}

/** The values of a key. @throws TidemarkError `RECORD_CORRUPT` */
export function readKey(key: Uint8Array): Buffer[] {
  const buffer = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  const values: Buffer[] = [];
  for (let at = 0; at < buffer.length; ) {
    if (at + 4 > buffer.length) throw new TidemarkError('RECORD_CORRUPT', 'a key ends inside a length');
    const length = buffer.readUInt32BE(at);
    if (at + 4 + length > buffer.length) throw new TidemarkError('RECORD_CORRUPT', 'a key value is longer than its key');
    values.push(buffer.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return values;
}

/** Order of two keys: bytewise, the shorter first. */
export function compareKeys(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}
