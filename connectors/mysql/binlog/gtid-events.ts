/** Events that begin a transaction and name it, and those at the beginning of a file that name all before it. */
import { GtidSet } from '../gtid-set.ts';
import { type MariadbGtid, MariadbGtids } from '../mariadb-gtid.ts';
import type { EventHeader } from './event-header.ts';
import { EventType } from './event-types.ts';
import { binlogError, FieldReader } from './field-reader.ts';
import { parseTaggedGtid } from './tagged-gtid.ts';

/** A transaction of MySQL begins. */
export interface GtidEvent {
  /** 16 bytes, not to be changed; null: the server gives its transactions no GTIDs. */
  readonly uuid: Buffer | null;
  /** Of MySQL 8.3 and newer; '' for none. */
  readonly tag: string;
  /** Of the transaction among those of its UUID and tag; 0 where it has no GTID. */
  readonly number: number;
  /** Microseconds since 1970 of the commit at the server that is read, and at the one where it was made; 0: not said. */
  readonly commitTime: number;
  readonly originalCommitTime: number;
  /** Bytes of the transaction in the file, this event included; 0: not said. */
  readonly length: number;
  /** Of the server where the transaction was made: 90704 for 9.7.4; 0: not said. */
  readonly originalVersion: number;
}

const UUID_BYTES = 16;
const LOGICAL_CLOCK = 2;
/** Highest bit of 3 bytes, of 4 bytes: another field follows. */
const MORE_24 = 2 ** 23;
const MORE_32 = 2 ** 31;
const TWO_32 = 2 ** 32;
const reader = new FieldReader();

/** Nearly always the next event has the same. */
let lastUuid = Buffer.alloc(UUID_BYTES);

/** The UUID at `at` as bytes that nobody changes. */
function keptUuid(bytes: Buffer, at: number): Buffer {
  if (lastUuid.compare(bytes, at, at + UUID_BYTES) !== 0) lastUuid = Buffer.from(bytes.subarray(at, at + UUID_BYTES));
  return lastUuid;
}

/** Gtid, anonymous and tagged. @throws TidemarkError `MYSQL_BINLOG` */
export function parseGtid(header: EventHeader, bytes: Buffer): GtidEvent {
  const fields = reader.reset(bytes, header.bodyStart, header.bodyEnd, 'a GTID');
  if (header.type === EventType.taggedGtid) return parseTaggedGtid(fields);
  fields.u8();
  const uuid = fields.skip(UUID_BYTES);
  const number = fields.u64();
  const named = header.type === EventType.gtid;
  if (named && number === 0) throw binlogError('a GTID has the number 0');
  let commitTime = 0;
  let originalCommitTime = 0;
  let length = 0;
  let originalVersion = 0;
  if (fields.left > 0 && fields.u8() === LOGICAL_CLOCK) {
    fields.skip(16);
    if (fields.left >= 7) {
      const low = fields.u32();
      const high = fields.u24();
      commitTime = (high % MORE_24) * TWO_32 + low;
      originalCommitTime = high >= MORE_24 ? fields.u56() : commitTime;
      if (fields.left > 0) length = fields.packed();
      if (fields.left >= 4) {
        const version = fields.u32();
        originalVersion = version >= MORE_32 ? fields.u32() : version;
      }
    }
  }
  return { uuid: named ? keptUuid(bytes, uuid) : null, tag: '', number: named ? number : 0, commitTime, originalCommitTime, length, originalVersion };
}

/** All transactions in the files before this one. @throws TidemarkError `MYSQL_GTID` */
export function parsePreviousGtids(header: EventHeader, bytes: Buffer): GtidSet {
  return GtidSet.decode(bytes.subarray(header.bodyStart, header.bodyEnd));
}

/** A transaction of MariaDB begins. */
export interface MariadbGtidEvent {
  readonly gtid: MariadbGtid;
  /** One statement that commits by itself (DDL): no commit follows. */
  readonly standalone: boolean;
  readonly isDdl: boolean;
  /** It ends prepared (`prepared`), or finishes one that was (`completed`). */
  readonly xa: 'none' | 'prepared' | 'completed';
  /** An ALTER TABLE that is written when it begins and when it ends; only `commit` has changed the table. */
  readonly alter: 'none' | 'start' | 'commit' | 'rollback';
  /** Number of the transaction that began the ALTER; 0 where there is none. */
  readonly alterStart: number;
}

const Flag2 = { standalone: 1, groupCommit: 2, ddl: 32, preparedXa: 64, completedXa: 128 } as const;
const Extra = { multiEngine: 1, startAlter: 2, commitAlter: 4, rollbackAlter: 8 } as const;

/** @throws TidemarkError `MYSQL_BINLOG` */
export function parseMariadbGtid(header: EventHeader, bytes: Buffer): MariadbGtidEvent {
  const fields = reader.reset(bytes, header.bodyStart, header.bodyEnd, 'a GTID');
  const sequence = fields.u64();
  const domain = fields.u32();
  const flags = fields.u8();
  if ((flags & Flag2.groupCommit) !== 0) fields.skip(8);
  const xa = (flags & Flag2.preparedXa) !== 0 ? 'prepared' : (flags & Flag2.completedXa) !== 0 ? 'completed' : 'none';
  if (xa !== 'none') {
    fields.skip(4);
    const global = fields.u8();
    fields.skip(global + fields.u8());
  }
  let alter: MariadbGtidEvent['alter'] = 'none';
  let alterStart = 0;
  // Without more to say the event is filled up with zeros to a fixed length.
  const extra = fields.left > 0 ? fields.u8() : 0;
  if ((extra & Extra.multiEngine) !== 0) fields.u8();
  if ((extra & Extra.startAlter) !== 0) alter = 'start';
  else if ((extra & (Extra.commitAlter | Extra.rollbackAlter)) !== 0) {
    alter = (extra & Extra.commitAlter) !== 0 ? 'commit' : 'rollback';
    alterStart = fields.u64();
  }
  return {
    gtid: { domain, server: header.serverId, sequence },
    standalone: (flags & Flag2.standalone) !== 0,
    isDdl: (flags & Flag2.ddl) !== 0,
    xa,
    alter,
    alterStart,
  };
}

const LIST_COUNT = 0x0fff_ffff;
const LIST_ENTRY = 16;

/** The last transaction of each domain before this file. @throws TidemarkError `MYSQL_BINLOG`, `MYSQL_GTID` */
export function parseMariadbGtidList(header: EventHeader, bytes: Buffer): MariadbGtids {
  const fields = reader.reset(bytes, header.bodyStart, header.bodyEnd, 'a list of GTIDs');
  const count = fields.u32() & LIST_COUNT;
  // An empty list is filled up to a length that all events of GTIDs have.
  fields.skip(count * LIST_ENTRY);
  return MariadbGtids.decode(bytes.subarray(header.bodyStart, fields.at));
}
