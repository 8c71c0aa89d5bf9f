/**
 * What MariaDB compresses within an event: a byte with the kind (0: zlib) and how many bytes of length follow, the length
 * of the content (big-endian), then the compressed bytes.
 */
import { inflateSync } from 'node:zlib';
import { binlogError } from './field-reader.ts';

const IS_COMPRESSED = 0x80;
const KIND = 0x70;
const LENGTH_BYTES = 0x07;

/** @throws TidemarkError `MYSQL_BINLOG` when the bytes are no such content, or its length is above `limit` */
export function inflateSized(bytes: Buffer, limit: number): Buffer {
  const head = bytes[0];
  if (head === undefined || (head & IS_COMPRESSED) === 0 || (head & KIND) !== 0) throw binlogError(`compressed content begins with ${head ?? 'nothing'}`);
  const lengthBytes = head & LENGTH_BYTES;
  if (lengthBytes < 1 || lengthBytes > 4 || bytes.length < 1 + lengthBytes) throw binlogError('compressed content has no length');
  const length = bytes.readUIntBE(1, lengthBytes);
  if (length > limit) throw binlogError(`compressed content of ${length} bytes is above the limit of ${limit}`);
  let content: Buffer;
  try {
    content = inflateSync(bytes.subarray(1 + lengthBytes), { maxOutputLength: Math.max(1, length) });
  } catch (error) {
    throw binlogError('compressed content cannot be read', error);
  }
  if (content.length !== length) throw binlogError(`compressed content of ${length} bytes has ${content.length}`);
  return content;
}
