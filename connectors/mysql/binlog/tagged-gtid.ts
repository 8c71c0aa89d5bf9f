/**
 * The GTID event of MySQL 8.3 and newer, for transactions with a tag, is written by the server's general serialization:
 * integers of 1 to 9 bytes, whose first byte has as many 1 bits at its low end as bytes follow; then version, size of the
 * message, the last field that must be understood, and per field its number and value.
 */
import { binlogError, type FieldReader } from './field-reader.ts';
import type { GtidEvent } from './gtid-events.ts';

const VERSION = 1;
const UUID_BYTES = 16;
const MAX_TAG = 32;
const Field = {
  flags: 0,
  uuid: 1,
  number: 2,
  tag: 3,
  lastCommitted: 4,
  sequence: 5,
  commitTime: 6,
  originalCommitTime: 7,
  length: 8,
  version: 9,
  originalVersion: 10,
  ticket: 11,
} as const;
const LAST_KNOWN = Field.ticket;
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** An unsigned integer of variable length. @throws TidemarkError `MYSQL_BINLOG` */
function unsigned(fields: FieldReader): bigint {
  const first = fields.u8();
  let more = 0;
  while (more < 8 && ((first >> more) & 1) === 1) more++;
  const at = fields.skip(more);
  let value = 0n;
  for (let index = more - 1; index >= 0; index--) value = (value << 8n) | BigInt(fields.bytes[at + index] as number);
  // The first byte keeps what is left of its bits beside the count.
  return more >= 7 ? value : (value << BigInt(7 - more)) | BigInt(first >> (more + 1));
}

function signed(fields: FieldReader): bigint {
  const value = unsigned(fields);
  return (value & 1n) === 1n ? -(value >> 1n) - 1n : value >> 1n;
}

function safe(value: bigint, what: string): number {
  if (value < 0n || value > MAX_SAFE) throw binlogError(`a tagged GTID has a ${what} of ${value}`);
  return Number(value);
}

/** @throws TidemarkError `MYSQL_BINLOG` */
export function parseTaggedGtid(fields: FieldReader): GtidEvent {
  const begin = fields.at;
  const version = safe(unsigned(fields), 'version');
  if (version !== VERSION) throw binlogError(`a tagged GTID of version ${version}`);
  const size = safe(unsigned(fields), 'size');
  if (size > fields.end - begin) throw binlogError('a tagged GTID is longer than its event');
  const end = begin + size;
  const mustKnow = safe(unsigned(fields), 'last field');
  if (mustKnow > LAST_KNOWN + 1) throw binlogError(`a tagged GTID has fields up to ${mustKnow} that must be understood`);
  const uuid = Buffer.alloc(UUID_BYTES);
  const seen = new Map<number, number>();
  let tag = '';
  let next: number = Field.flags;
  while (fields.at < end) {
    const field = safe(unsigned(fields), 'field');
    if (field < next) throw binlogError('a tagged GTID has its fields out of order');
    next = field + 1;
    // Newer servers add fields behind these; their form is not known.
    if (field > LAST_KNOWN) break;
    if (field === Field.uuid) for (let index = 0; index < UUID_BYTES; index++) uuid[index] = Number(unsigned(fields) & 0xffn);
    else if (field === Field.tag) tag = tagOf(fields);
    else if (field === Field.number || field === Field.lastCommitted || field === Field.sequence) seen.set(field, safe(signed(fields), 'number'));
    else if (field === Field.ticket) unsigned(fields);
    else seen.set(field, safe(unsigned(fields), 'value'));
  }
  const number = seen.get(Field.number) ?? 0;
  if (number === 0) throw binlogError('a tagged GTID without a number');
  const commitTime = seen.get(Field.commitTime) ?? 0;
  return {
    uuid,
    tag,
    number,
    commitTime,
    originalCommitTime: seen.get(Field.originalCommitTime) ?? commitTime,
    length: seen.get(Field.length) ?? 0,
    originalVersion: seen.get(Field.originalVersion) ?? seen.get(Field.version) ?? 0,
  };
}

function tagOf(fields: FieldReader): string {
  const length = safe(unsigned(fields), 'length of a tag');
  if (length > MAX_TAG) throw binlogError(`a GTID's tag has ${length} characters`);
  return fields.utf8(length);
}
