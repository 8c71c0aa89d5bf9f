import { TidemarkError } from './errors/error.ts';

/** A logical message (`pg_logical_emit_message`): the payload of an `m` record is u16 prefix length, prefix, content. */
export interface LogicalMessage {
  readonly prefix: string;
  readonly content: Buffer;
}

export function encodeMessage(prefix: string, content: Uint8Array): Buffer {
  const name = Buffer.from(prefix, 'utf8');
  const head = Buffer.alloc(2);
  head.writeUInt16BE(name.length, 0);
  return Buffer.concat([head, name, content]);
}

/** @throws TidemarkError `RECORD_CORRUPT` */
export function decodeMessage(payload: Buffer): LogicalMessage {
  if (payload.length < 2 || payload.length < 2 + payload.readUInt16BE(0)) {
    throw new TidemarkError('RECORD_CORRUPT', 'a message record ends inside its prefix');
  }
  const end = 2 + payload.readUInt16BE(0);
  return { prefix: payload.toString('utf8', 2, end), content: payload.subarray(end) };
}
