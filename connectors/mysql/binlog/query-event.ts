/**
 * The query event: u32 thread, u32 seconds it ran, u8 length of the database's name, u16 error, u16 length of the status
 * variables; the status variables; the database and a zero; the statement. Of MariaDB's compressed kind the statement is
 * compressed.
 */
import { inflateSized } from './mariadb-compression.ts';
import type { EventHeader } from './event-header.ts';
import { EventType } from './event-types.ts';
import { FieldReader } from './field-reader.ts';

/** The session that a statement ran in, as far as it changes what the statement means. */
export interface StatementSession {
  /** Bits; null: not said. */
  readonly sqlMode: bigint | null;
  /** Collation ids of character_set_client, collation_connection, collation_server; null: not said. */
  readonly charset: { readonly client: number; readonly connection: number; readonly server: number } | null;
  /** '' : not said. */
  readonly timeZone: string;
  /** What `utf8mb4` without a collation means; 0: not said. */
  readonly utf8mb4Collation: number;
  /** MariaDB: what a charset without a collation means, by collation id of the charset's own default. */
  readonly charsetCollations: ReadonlyMap<number, number>;
  readonly foreignKeyChecks: boolean;
  /** MySQL only, where it matters; null: not said. */
  readonly explicitDefaultsForTimestamp: boolean | null;
  /** MariaDB says it in every statement; of MySQL it says nothing. */
  readonly hasExplicitTimestampsBit: boolean;
  /** MySQL: of the transaction that a DDL statement is; 0: it is none. */
  readonly ddlXid: bigint;
  /** MariaDB: what a two-phase ALTER does here. */
  readonly gtidFlags: number;
}

export interface QueryEvent {
  readonly thread: number;
  /** The session's default database; '' for none. */
  readonly database: string;
  /** The client got this error; what the statement had done until then stays done. 0: none. */
  readonly error: number;
  /** The statement in the charset of its client: a window, not a copy. */
  readonly statement: Buffer;
  readonly session: StatementSession;
}

const Status = {
  flags: 0, sqlMode: 1, catalogOld: 2, autoIncrement: 3, charset: 4, timeZone: 5, catalog: 6, lcTimeNames: 7, charsetDatabase: 8,
  tableMapForUpdate: 9, masterDataWritten: 10, invoker: 11, databases: 12, microseconds: 13, commitTime: 14, commitTime2: 15,
  explicitDefaults: 16, ddlXid: 17, utf8mb4Collation: 18, requirePrimaryKey: 19, tableEncryption: 20,
  mariadbMicroseconds: 128, mariadbXid: 129, mariadbGtidFlags: 130, mariadbCollations: 131,
} as const;

/** Fixed lengths of those that are passed over. */
const LENGTHS: ReadonlyMap<number, number> = new Map([
  [Status.autoIncrement, 4],
  [Status.lcTimeNames, 2],
  [Status.charsetDatabase, 2],
  [Status.tableMapForUpdate, 8],
  [Status.masterDataWritten, 4],
  [Status.microseconds, 3],
  [Status.commitTime, 8],
  [Status.commitTime2, 8],
  [Status.requirePrimaryKey, 1],
  [Status.tableEncryption, 1],
  [Status.mariadbMicroseconds, 3],
  [Status.mariadbXid, 8],
]);

const NO_FOREIGN_KEY_CHECKS = 1 << 26;
const EXPLICIT_TIMESTAMPS = 1 << 24;
/** As many databases that their names are left out. */
const TOO_MANY_DATABASES = 254;
/** MariaDB: an ALTER that is committed or rolled back names the one that began it. */
const GTID_FLAGS_WITH_START = 4 | 8;
/** Of a LOAD DATA: file, places in the statement, what is done with duplicates. */
const LOAD_BYTES = 13;
const reader = new FieldReader();

/** @throws TidemarkError `MYSQL_BINLOG`; `limit`: the most bytes that a compressed statement may have */
export function parseQuery(header: EventHeader, bytes: Buffer, limit: number): QueryEvent {
  const fields = reader.reset(bytes, header.bodyStart, header.bodyEnd, 'a statement');
  const thread = fields.u32();
  fields.skip(4);
  const databaseLength = fields.u8();
  const error = fields.u16();
  const statusLength = fields.u16();
  if (header.type === EventType.executeLoadQuery) fields.skip(LOAD_BYTES);
  const statusAt = fields.skip(statusLength);
  const database = fields.utf8(databaseLength);
  fields.skip(1);
  const packed = fields.slice(fields.left);
  const statement = header.type === EventType.queryCompressed ? inflateSized(packed, limit) : packed;
  const session = parseStatus(fields.reset(bytes, statusAt, statusAt + statusLength, 'the status of a statement'));
  return { thread, database, error, statement, session };
}

/** True for `BEGIN`, by which a transaction of rows is begun; the one statement on the hot path. */
export function isBegin(statement: Buffer): boolean {
  return (
    statement.length === 5 &&
    statement[0] === 0x42 && statement[1] === 0x45 && statement[2] === 0x47 && statement[3] === 0x49 && statement[4] === 0x4e
  );
}

type Session = { -readonly [Name in keyof StatementSession]: StatementSession[Name] };

const NO_COLLATIONS: ReadonlyMap<number, number> = new Map();

function parseStatus(fields: FieldReader): StatementSession {
  const session: Session = {
    sqlMode: null,
    charset: null,
    timeZone: '',
    utf8mb4Collation: 0,
    charsetCollations: NO_COLLATIONS,
    foreignKeyChecks: true,
    explicitDefaultsForTimestamp: null,
    hasExplicitTimestampsBit: false,
    ddlXid: 0n,
    gtidFlags: 0,
  };
  while (fields.left > 0) {
    const key = fields.u8();
    const length = LENGTHS.get(key);
    if (length !== undefined) fields.skip(length);
    // What is not known has no length: like the server's own reader, this one goes no further.
    else if (!readStatus(key, fields, session)) break;
  }
  return session;
}

function readStatus(key: number, fields: FieldReader, session: Session): boolean {
  switch (key) {
    case Status.flags: {
      const flags = fields.u32();
      session.foreignKeyChecks = (flags & NO_FOREIGN_KEY_CHECKS) === 0;
      session.hasExplicitTimestampsBit = (flags & EXPLICIT_TIMESTAMPS) !== 0;
      return true;
    }
    case Status.sqlMode:
      session.sqlMode = fields.bits64();
      return true;
    case Status.charset:
      session.charset = { client: fields.u16(), connection: fields.u16(), server: fields.u16() };
      return true;
    case Status.timeZone:
      session.timeZone = fields.utf8(fields.u8());
      return true;
    case Status.catalog:
      fields.skip(fields.u8());
      return true;
    case Status.catalogOld:
      fields.skip(fields.u8());
      fields.skip(1);
      return true;
    case Status.invoker:
      fields.skip(fields.u8());
      fields.skip(fields.u8());
      return true;
    case Status.databases: {
      const count = fields.u8();
      if (count < TOO_MANY_DATABASES) for (let index = 0; index < count; index++) fields.terminated();
      return true;
    }
    case Status.explicitDefaults:
      session.explicitDefaultsForTimestamp = fields.u8() !== 0;
      return true;
    case Status.ddlXid:
      session.ddlXid = fields.bits64();
      return true;
    case Status.utf8mb4Collation:
      session.utf8mb4Collation = fields.u16();
      return true;
    case Status.mariadbGtidFlags:
      session.gtidFlags = fields.u8();
      if ((session.gtidFlags & GTID_FLAGS_WITH_START) !== 0) fields.skip(8);
      return true;
    case Status.mariadbCollations:
      session.charsetCollations = new Map(Array.from({ length: fields.u8() }, () => [fields.u16(), fields.u16()]));
      return true;
    default:
      return false;
  }
}
