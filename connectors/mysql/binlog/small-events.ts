/** The events that are a few fields: rotation, commits, what a statement's replay needs, what servers tell replicas. */
import { EventFlag, type EventHeader } from './event-header.ts';
import { EventType } from './event-types.ts';
import { FieldReader, binlogError } from './field-reader.ts';

export interface Rotate {
  readonly file: string;
  /** Of the first event in it. */
  readonly position: number;
  /** Says where this connection reads; false: the end of a file as it was written. */
  readonly isArtificial: boolean;
}

export interface XaPrepare {
  /** `XA COMMIT … ONE PHASE`: committed by this event. */
  readonly onePhase: boolean;
  readonly xid: XaXid;
}

export interface XaXid {
  readonly format: number;
  readonly global: Buffer;
  readonly branch: Buffer;
}

export interface Heartbeat {
  readonly file: string;
  /** Behind the last event that was sent or passed over. */
  readonly position: number;
}

export interface Incident {
  readonly number: number;
  readonly message: string;
}

const reader = new FieldReader();
/** What a transaction's id has room for, in each of its two parts. */
const MAX_XID_PART = 64;
/** Fields of a heartbeat of the second kind. */
const HeartbeatField = { end: 0, file: 1, position: 2 } as const;

function body(header: EventHeader, bytes: Buffer, what: string): FieldReader {
  return reader.reset(bytes, header.bodyStart, header.bodyEnd, what);
}

/** @throws TidemarkError `MYSQL_BINLOG`, like all of these */
export function parseRotate(header: EventHeader, bytes: Buffer): Rotate {
  const fields = body(header, bytes, 'a rotation');
  const position = fields.u64();
  const file = fields.utf8(fields.left);
  if (file === '') throw binlogError('a rotation without a file name');
  return { file, position, isArtificial: (header.flags & EventFlag.artificial) !== 0 || header.timestamp === 0 };
}

/** The transaction's number within the server; not its GTID. */
export function parseXid(header: EventHeader, bytes: Buffer): bigint {
  const fields = body(header, bytes, 'a commit');
  const xid = fields.bits64();
  fields.finish();
  return xid;
}

export function parseXaPrepare(header: EventHeader, bytes: Buffer): XaPrepare {
  const fields = body(header, bytes, 'a prepared transaction');
  const onePhase = fields.u8() !== 0;
  const format = fields.u32();
  const global = fields.u32();
  const branch = fields.u32();
  if (global > MAX_XID_PART || branch > MAX_XID_PART) throw binlogError('the id of a prepared transaction is too long');
  const xid = { format, global: fields.copy(global), branch: fields.copy(branch) };
  fields.finish();
  return { onePhase, xid };
}

/** Of both kinds. */
export function parseHeartbeat(header: EventHeader, bytes: Buffer): Heartbeat {
  const fields = body(header, bytes, 'a heartbeat');
  if (header.type === EventType.heartbeat) return { file: fields.utf8(fields.left), position: header.endPosition };
  let file = '';
  let position = header.endPosition;
  while (fields.left > 0) {
    const field = fields.packed();
    if (field === HeartbeatField.end) break;
    const length = fields.packedLength();
    if (field === HeartbeatField.file) file = fields.utf8(length);
    else {
      const end = fields.at + length;
      if (field === HeartbeatField.position) position = fields.packed();
      if (fields.at > end) throw binlogError('a heartbeat has a position that is longer than its field');
      fields.at = end;
    }
  }
  return { file, position };
}

export function parseIncident(header: EventHeader, bytes: Buffer): Incident {
  const fields = body(header, bytes, 'an incident');
  const number = fields.u16();
  return { number, message: fields.left === 0 ? '' : fields.utf8(fields.u8()) };
}

/** The statement behind the rows that follow: rows query (MySQL) and annotate rows (MariaDB). A window, not a copy. */
export function parseRowsStatement(header: EventHeader, bytes: Buffer): Buffer {
  const fields = body(header, bytes, 'the statement of rows');
  // One byte of length that is cut at 255 and that nobody reads.
  if (header.type === EventType.rowsQuery) fields.u8();
  return fields.slice(fields.left);
}

/** A value that a statement which follows is replayed with: `LAST_INSERT_ID`, `INSERT_ID`, seeds of `RAND()`, `@name`. */
export interface StatementContext {
  readonly kind: 'lastInsertId' | 'insertId' | 'rand' | 'userVar';
  /** Of a user variable; else ''. */
  readonly name: string;
}

export function parseStatementContext(header: EventHeader, bytes: Buffer): StatementContext {
  const fields = body(header, bytes, 'a value for a statement');
  if (header.type === EventType.rand) {
    fields.skip(16);
    fields.finish();
    return { kind: 'rand', name: '' };
  }
  if (header.type === EventType.intvar) {
    const kind = fields.u8();
    fields.skip(8);
    fields.finish();
    if (kind !== 1 && kind !== 2) throw binlogError(`a value for a statement is of kind ${kind}`);
    return { kind: kind === 1 ? 'lastInsertId' : 'insertId', name: '' };
  }
  const name = fields.utf8(fields.u32());
  if (fields.u8() === 0) {
    // Type, charset, value; then a byte of flags, which old servers leave out.
    fields.skip(5);
    fields.skip(fields.u32());
  }
  return { kind: 'userVar', name };
}
