/**
 * The format description event stands at the beginning of every file, and at the beginning of every dump: u16 version of
 * the format, 50 bytes version of the server, u32 time, u8 length of event headers, the length of each type's first part,
 * then u8 kind of checksum and 4 bytes that are always there (its checksum, whatever the kind).
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { CHECKSUM_BYTES, EVENT_HEADER, checksumFits } from './event-header.ts';
import { eventName } from './event-types.ts';
import { binlogError, FieldReader } from './field-reader.ts';

const VERSION = 4;
const SERVER_VERSION_BYTES = 50;
const FIXED = 2 + SERVER_VERSION_BYTES + 4 + 1;
/** Kind of checksum, and the checksum. */
const TAIL = 1 + CHECKSUM_BYTES;
const Checksum = { off: 0, crc32: 1 } as const;

export interface FormatDescription {
  readonly flavor: 'mysql' | 'mariadb';
  /** As the server prints it: `9.7.4`, `11.8.6-MariaDB-log`. */
  readonly serverVersion: string;
  /** Bytes of checksum at the end of each event: 4 or 0. */
  readonly checksumBytes: number;
  /** Length of the first part of the body of events, by type - 1. */
  readonly postHeaderLengths: Uint8Array;
}

/**
 * Of the whole event `bytes[start .. end)`.
 * @throws TidemarkError `MYSQL_BINLOG` when its bytes are none, `MYSQL_CHECKSUM` when they are damaged
 */
export function parseFormatDescription(bytes: Buffer, start: number, end: number): FormatDescription {
  if (end - start < EVENT_HEADER + FIXED + TAIL) throw binlogError('a format description is too short');
  const kind = bytes[end - TAIL] as number;
  if (kind !== Checksum.off && kind !== Checksum.crc32) throw binlogError(`a format description has checksums of kind ${kind}`);
  if (kind === Checksum.crc32 && !checksumFits(bytes, start, end)) {
    throw new TidemarkError('MYSQL_CHECKSUM', 'the checksum of a format description does not fit');
  }
  const reader = new FieldReader().reset(bytes, start + EVENT_HEADER, end - TAIL, 'a format description');
  const version = reader.u16();
  if (version !== VERSION) throw binlogError(`binary logs of format ${version} cannot be read, only of format ${VERSION}`);
  const text = reader.slice(SERVER_VERSION_BYTES);
  const zero = text.indexOf(0);
  const serverVersion = text.toString('latin1', 0, zero < 0 ? text.length : zero);
  reader.skip(4);
  const headerLength = reader.u8();
  if (headerLength !== EVENT_HEADER) throw binlogError(`a format description has headers of ${headerLength} bytes`);
  return {
    flavor: /mariadb/i.test(serverVersion) ? 'mariadb' : 'mysql',
    serverVersion,
    checksumBytes: kind === Checksum.crc32 ? CHECKSUM_BYTES : 0,
    postHeaderLengths: Uint8Array.from(reader.slice(reader.left)),
  };
}

/** Before the first description of a connection: nothing is known, and only artificial events come. */
export const NO_FORMAT: FormatDescription = {
  flavor: 'mysql',
  serverVersion: '',
  checksumBytes: 0,
  postHeaderLengths: new Uint8Array(0),
};

/** Bytes of the first part of an event's body. @throws TidemarkError `MYSQL_BINLOG` when the description has none for it */
export function postHeaderLength(format: FormatDescription, type: number): number {
  const length = format.postHeaderLengths[type - 1];
  if (length === undefined) throw binlogError(`the format description does not know events of ${eventName(type)}`);
  return length;
}
