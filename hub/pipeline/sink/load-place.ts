import type { EpochId } from '../../../contracts/checkpoint.ts';
import { LOAD_CURSOR_HEADER, type LoadCursor } from '../../../contracts/load-cursor.ts';
import type { Offset } from '../../../contracts/offset.ts';

/** A place in the rows of a base: of its tables, in the order in which they are loaded. */
export interface BasePlace {
  /** The table's place in that order; as many as there are tables: at the end. */
  readonly table: number;
  /** The table has begun: its shape was handed over, and what stood at the sink before is gone. */
  readonly begun: boolean;
  /** Rows up to this `last` of the base are done; null: none is known to be. */
  readonly after: Uint8Array | null;
  /** So many rows behind `after` are done, too. */
  readonly beyond: number;
}

/** Before the first table. */
export const BASE_START: BasePlace = { table: 0, begun: false, after: null, beyond: 0 };

/** How far the load of a sink is. */
export interface LoadPlace {
  /** Names this load, 16 random bytes as hex: another one for each beginning. */
  readonly load: string;
  /** Batches handed over. */
  readonly batches: number;
  /** Rows handed over. */
  readonly rows: number;
  readonly horizon: Offset;
  /** Of the record at the horizon: a log that was restored can come to the same horizon with other rows. */
  readonly epoch: EpochId;
  /** A sum of the tables that are loaded, in their order. */
  readonly selection: number;
  /** It is of tables that join the others where the sink stands. */
  readonly joins: boolean;
  /** Of a join: the history has been given up to there; null: the base is still given. */
  readonly read: Offset | null;
  readonly place: BasePlace;
}

const VERSION = 1;
const BEGUN = 1;
const HAS_AFTER = 2;
const JOINS = 4;
const HAS_READ = 8;
const FIXED = 74;

/**
 * After the header of every cursor (the load; its batches, u64):
 *
 *     24 u8 version (1)    25 u8 flags: 1 begun, 2 has `after`, 4 joins, 8 reads    26 u32 selection    30 u64 horizon    38 16 epoch
 *     54 u32 table         58 u64 rows                             66 u64 beyond       74 `after`
 *
 * Where it reads the history, `beyond` is the offset up to which it has.
 */
export function encodeLoadPlace({ load, batches, rows, horizon, epoch, selection, joins, read, place }: LoadPlace): LoadCursor {
  const { table, begun, after, beyond } = place;
  const bytes = Buffer.alloc(FIXED + (after?.length ?? 0));
  bytes.write(load, 0, 'hex');
  bytes.writeBigUInt64BE(BigInt(batches), 16);
  bytes[LOAD_CURSOR_HEADER] = VERSION;
  bytes[25] = (begun ? BEGUN : 0) | (after === null ? 0 : HAS_AFTER) | (joins ? JOINS : 0) | (read === null ? 0 : HAS_READ);
  bytes.writeUInt32BE(selection, 26);
  bytes.writeBigUInt64BE(BigInt(horizon), 30);
  bytes.write(epoch, 38, 'hex');
  bytes.writeUInt32BE(table, 54);
  bytes.writeBigUInt64BE(BigInt(rows), 58);
  bytes.writeBigUInt64BE(BigInt(read ?? beyond), 66);
  if (after !== null) bytes.set(after, FIXED);
  return bytes;
}

/** Null: it is not one that this version writes. */
export function decodeLoadPlace(cursor: LoadCursor): LoadPlace | null {
  const bytes = Buffer.from(cursor.buffer, cursor.byteOffset, cursor.length);
  if (bytes.length < FIXED || bytes[LOAD_CURSOR_HEADER] !== VERSION) return null;
  const flags = bytes[25] ?? 0;
  return {
    load: bytes.toString('hex', 0, 16),
    batches: Number(bytes.readBigUInt64BE(16)),
    rows: Number(bytes.readBigUInt64BE(58)),
    horizon: Number(bytes.readBigUInt64BE(30)),
    epoch: bytes.toString('hex', 38, 54),
    selection: bytes.readUInt32BE(26),
    joins: (flags & JOINS) !== 0,
    read: (flags & HAS_READ) === 0 ? null : Number(bytes.readBigUInt64BE(66)),
    place: {
      table: bytes.readUInt32BE(54),
      begun: (flags & BEGUN) !== 0,
      after: (flags & HAS_AFTER) === 0 ? null : Buffer.from(bytes.subarray(FIXED)),
      beyond: (flags & HAS_READ) === 0 ? Number(bytes.readBigUInt64BE(66)) : 0,
    },
  };
}
