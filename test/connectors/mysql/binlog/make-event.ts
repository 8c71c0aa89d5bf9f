import { crc32 } from 'node:zlib';

/** An event made by hand. `checksum`: with a CRC-32 at its end. */
export function makeEvent(type: number, body: Buffer, options: { flags?: number; endPosition?: number; timestamp?: number; checksum?: boolean } = {}): Buffer {
  const checksum = options.checksum === true ? 4 : 0;
  const event = Buffer.alloc(19 + body.length + checksum);
  event.writeUInt32LE(options.timestamp ?? 1_700_000_000, 0);
  event[4] = type;
  event.writeUInt32LE(1, 5);
  event.writeUInt32LE(event.length, 9);
  event.writeUInt32LE(options.endPosition ?? 0, 13);
  event.writeUInt16LE(options.flags ?? 0, 17);
  body.copy(event, 19);
  if (checksum > 0) event.writeUInt32LE(crc32(event.subarray(0, event.length - 4)), event.length - 4);
  return event;
}

/** The same event with other bytes and a checksum that fits them. */
export function withChecksum(event: Buffer): Buffer {
  const copy = Buffer.from(event);
  copy.writeUInt32LE(crc32(copy.subarray(0, copy.length - 4)), copy.length - 4);
  return copy;
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}
