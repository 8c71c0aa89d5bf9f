/**
 * The header of every event, little-endian:
 *
 *      0  u32  seconds since 1970 at the server
 *      4  u8   type
 *      5  u32  server id of the server that the event began at
 *      9  u32  length of the event, this header and a checksum included
 *     13  u32  position in the file after the event (its low 32 bits; 0 where the server does not say)
 *     17  u16  flags
 *     19  body, then 4 bytes of CRC-32 where the format description says so
 */
import { crc32 } from 'node:zlib';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { eventName, EventType } from './event-types.ts';
import { binlogError } from './field-reader.ts';

export const EVENT_HEADER = 19;
export const CHECKSUM_BYTES = 4;

export const EventFlag = {
  /** In a format description: the file is being written, or was not closed. */
  inUse: 0x1,
  /** Made by the server for this connection; not in the file. */
  artificial: 0x20,
  /** May be passed over by a reader that does not know its type. */
  ignorable: 0x80,
} as const;

/** One per reader, reset for every event. Spans are in the bytes that were given to `read`. */
export class EventHeader {
  timestamp = 0;
  type = 0;
  serverId = 0;
  /** All of it, as the header says. */
  length = 0;
  endPosition = 0;
  flags = 0;
  /** Where the event begins, and its body; `bodyEnd` is before the checksum. */
  start = 0;
  bodyStart = 0;
  bodyEnd = 0;

  /**
   * Reads the header of the event that is `bytes[start .. end)`; `checksum`: bytes of one at its end.
   * @throws TidemarkError `MYSQL_BINLOG` when its length is another
   */
  read(bytes: Buffer, start: number, end: number, checksum: number): this {
    const length = end - start;
    this.peek(bytes, start, end);
    if (this.length !== length) throw binlogError(`an event (${eventName(this.type)}) says ${this.length} bytes and has ${length}`);
    if (length < EVENT_HEADER + checksum) throw binlogError(`an event (${eventName(this.type)}) has no room for its checksum`);
    this.bodyEnd = end - checksum;
    return this;
  }

  /** Reads the header of an event of which `bytes[start .. end)` are the first bytes. @throws TidemarkError `MYSQL_BINLOG` */
  peek(bytes: Buffer, start: number, end: number): this {
    if (end - start < EVENT_HEADER) throw binlogError(`an event of ${end - start} bytes is shorter than its header`);
    this.timestamp = bytes.readUInt32LE(start);
    this.type = bytes[start + 4] as number;
    this.serverId = bytes.readUInt32LE(start + 5);
    this.length = bytes.readUInt32LE(start + 9);
    this.endPosition = bytes.readUInt32LE(start + 13);
    this.flags = bytes.readUInt16LE(start + 17);
    this.start = start;
    this.bodyStart = start + EVENT_HEADER;
    this.bodyEnd = end;
    return this;
  }

  get isArtificial(): boolean {
    return (this.flags & EventFlag.artificial) !== 0;
  }
}

/** True when the last 4 bytes of `bytes[start .. end)` are the CRC-32 of those before. */
export function checksumFits(bytes: Buffer, start: number, end: number): boolean {
  const at = end - CHECKSUM_BYTES;
  if (at < start + EVENT_HEADER) return false;
  const expected = bytes.readUInt32LE(at);
  if (bytes[start + 4] !== EventType.formatDescription || (bytes.readUInt16LE(start + 17) & EventFlag.inUse) === 0) {
    return crc32(bytes.subarray(start, at)) === expected;
  }
  // The flag is set in the file after the checksum was made, and taken away again when the file is closed.
  const without = Buffer.from(bytes.subarray(start, at));
  without.writeUInt16LE(without.readUInt16LE(17) & ~EventFlag.inUse, 17);
  return crc32(without) === expected;
}

/** @throws TidemarkError `MYSQL_CHECKSUM` */
export function verifyChecksum(bytes: Buffer, start: number, end: number): void {
  if (checksumFits(bytes, start, end)) return;
  throw new TidemarkError('MYSQL_CHECKSUM', `the checksum of an event (${eventName(bytes[start + 4] ?? 0)}, ${end - start} bytes) does not fit`);
}
