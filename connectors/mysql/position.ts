/**
 * A MySQL or MariaDB position: the end of a transaction in a server's binlog, and all that had been executed there.
 * Little-endian:
 *
 *      0  u8   layout: 1
 *      1  u8   flavor: 0 MySQL, 1 MariaDB
 *      2  u8   bits: 1 the GTIDs are the coordinate, else file and offset are; 2 XA transactions are prepared
 *      3  u8   n, length of the file's base name; 0: the file is not known
 *      4  u32  number of the file: 12 of `binlog.000012`
 *      8  u64  offset in the file
 *     16  16 bytes  the server: of MySQL its UUID, of MariaDB twelve zeros and its server id
 *     32  n bytes   base name of the file, UTF-8: `binlog`
 *          u32 m, m bytes: prepared XA transactions (prepared-xa.ts); only where bit 2 says so
 *          the rest: the GTIDs. MySQL: the set, as gtid-set.ts encodes it. MariaDB: the last of each domain, as
 *          mariadb-gtid.ts encodes them
 *
 * Within one log positions form a chain. Where the GTIDs are the coordinate, a position comes before another when its
 * transactions are part of the other's, whichever servers the two are of: so a failover goes on by set. Elsewhere file
 * and offset of the same server decide, and another server's position is foreign. A prepared XA transaction counts as
 * executed: its rows come with its XA COMMIT.
 */
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Position, PositionCodec } from '../../contracts/position.ts';
import { GtidSet, formatUuid, uuidOf } from './gtid-set.ts';
import { MariadbGtids } from './mariadb-gtid.ts';
import { decodePrepared, encodePrepared, type PreparedXa } from './prepared-xa.ts';

const HEAD_BYTES = 32;
const LAYOUT = 1;
export const OFFSET_AT = 8;
const MAX_BASE = 255;
/** Of a file's number, which the server ends at. */
const MAX_FILE = 0x7fff_ffff;
const EMPTY = Buffer.alloc(0);
const BY_GTID = 1;
const HAS_PREPARED = 2;

interface Place {
  /** MySQL: the server's UUID. MariaDB: its server id, in decimal. */
  readonly server: string;
  /** `binlog.000012`; '': not known. */
  readonly file: string;
  readonly offset: number;
  /** True where the GTIDs are the coordinate. */
  readonly isByGtid: boolean;
  /** XA transactions that are neither committed nor rolled back, in the order in which they were prepared. Absent: none. */
  readonly prepared?: readonly PreparedXa[];
}

export interface MysqlPlace extends Place {
  readonly flavor: 'mysql';
  readonly executed: GtidSet;
}

export interface MariadbPlace extends Place {
  readonly flavor: 'mariadb';
  readonly executed: MariadbGtids;
}

/** What a position says. The set in it is the holder's own: nobody else changes it. */
export type BinlogPlace = MysqlPlace | MariadbPlace;

export interface BinlogFile {
  readonly base: string;
  readonly number: number;
}

/** @throws TidemarkError `POSITION_SYNTAX` when the name is no binlog file's */
export function parseBinlogFile(name: string): BinlogFile {
  const match = /^(.+)\.([0-9]{1,10})$/s.exec(name);
  const number = Number(match?.[2]);
  if (match?.[1] === undefined || number > MAX_FILE || Buffer.byteLength(match[1]) > MAX_BASE) throw syntax(`'${name.slice(0, 300)}' is no binlog file`);
  return { base: match[1], number };
}

/** `binlog.000012` */
export function formatBinlogFile({ base, number }: BinlogFile): string {
  return `${base}.${String(number).padStart(6, '0')}`;
}

/** @throws TidemarkError `POSITION_SYNTAX`, `MYSQL_GTID` for a server or file that is none */
export function encodePlace(place: BinlogPlace): Position {
  return layOut(place, new Map(), new Map()).bytes;
}

/** @throws TidemarkError `POSITION_SYNTAX` when the bytes are no position of this connector */
export function decodePlace(position: Position): BinlogPlace {
  const bytes = Buffer.from(position.buffer, position.byteOffset, position.byteLength);
  if (bytes.length < HEAD_BYTES || bytes[0] !== LAYOUT || (bytes[1] as number) > 1 || (bytes[2] as number) > (BY_GTID | HAS_PREPARED)) throw syntax(`${bytes.length} bytes are no position of MySQL`);
  const baseEnd = HEAD_BYTES + (bytes[3] as number);
  const high = bytes.readUInt32LE(OFFSET_AT + 4);
  if (baseEnd > bytes.length || high > 0x1f_ffff) throw syntax(`${bytes.length} bytes are no position of MySQL`);
  const number = bytes.readUInt32LE(4);
  const common = {
    file: baseEnd === HEAD_BYTES ? '' : formatBinlogFile({ base: bytes.toString('utf8', HEAD_BYTES, baseEnd), number }),
    offset: high * 0x1_0000_0000 + bytes.readUInt32LE(OFFSET_AT),
    isByGtid: ((bytes[2] as number) & BY_GTID) !== 0,
  };
  const hasPrepared = ((bytes[2] as number) & HAS_PREPARED) !== 0;
  const preparedEnd = hasPrepared && baseEnd + 4 <= bytes.length ? baseEnd + 4 + bytes.readUInt32LE(baseEnd) : baseEnd;
  if (preparedEnd > bytes.length || (hasPrepared && preparedEnd === baseEnd)) throw syntax(`${bytes.length} bytes are no position of MySQL`);
  const prepared = hasPrepared ? { prepared: decodePrepared(bytes.subarray(baseEnd + 4, preparedEnd)) } : {};
  const gtids = bytes.subarray(preparedEnd);
  try {
    return bytes[1] === 0
      ? { flavor: 'mysql', server: formatUuid(bytes, 16), ...common, ...prepared, executed: GtidSet.decode(gtids) }
      : { flavor: 'mariadb', server: String(bytes.readUInt32LE(28)), ...common, ...prepared, executed: MariadbGtids.decode(gtids) };
  } catch (cause) {
    throw new TidemarkError('POSITION_SYNTAX', 'the GTIDs of a position cannot be read', { cause });
  }
}

/** Bytes of a position, and in them where the parts stand that move on with each transaction. */
export interface LaidOut {
  readonly bytes: Buffer;
  /** Per source of MySQL: the end of its last interval. */
  readonly lastEnds: Map<string, number>;
  /** Per domain of MariaDB: its entry. */
  readonly entries: Map<number, number>;
}

export function layOut(place: BinlogPlace, lastEnds: Map<string, number>, entries: Map<number, number>): LaidOut {
  const file = place.file === '' ? { base: '', number: 0 } : parseBinlogFile(place.file);
  const base = Buffer.from(file.base);
  const hasPrepared = place.prepared !== undefined && place.prepared.length > 0;
  const prepared = hasPrepared ? encodePrepared(place.prepared) : EMPTY;
  const start = HEAD_BYTES + base.length + (hasPrepared ? 4 + prepared.length : 0);
  const bytes = Buffer.alloc(start + place.executed.encodedLength());
  bytes.set([LAYOUT, place.flavor === 'mysql' ? 0 : 1, (place.isByGtid ? BY_GTID : 0) | (hasPrepared ? HAS_PREPARED : 0), base.length]);
  bytes.writeUInt32LE(file.number, 4);
  bytes.writeBigUInt64LE(BigInt(place.offset), OFFSET_AT);
  base.copy(bytes, HEAD_BYTES);
  if (hasPrepared) {
    bytes.writeUInt32LE(prepared.length, HEAD_BYTES + base.length);
    prepared.copy(bytes, start - prepared.length);
  }
  if (place.flavor === 'mysql') {
    const uuid = uuidOf(place.server);
    if (uuid === null) throw syntax(`'${place.server}' is no server UUID`);
    bytes.write(uuid.replaceAll('-', ''), 16, 'hex');
    place.executed.encodeInto(bytes, start, lastEnds);
  } else {
    const server = Number(place.server);
    if (!Number.isInteger(server) || server < 0 || server > 0xffff_ffff) throw syntax(`'${place.server}' is no server id`);
    bytes.writeUInt32LE(server, 28);
    place.executed.encodeInto(bytes, start, entries);
  }
  return { bytes, lastEnds, entries };
}

/**
 * How positions of MySQL and MariaDB compare and print. There is no distance: the bytes of a binlog between two places
 * are known to the server only.
 */
export const mysqlPositions: PositionCodec = {
  compare(a, b) {
    if (Buffer.compare(a, b) === 0) {
      decodePlace(a);
      return 0;
    }
    return comparePlaces(decodePlace(a), decodePlace(b));
  },
  format: (position) => formatPlace(decodePlace(position)),
  parse: (text, like) => encodePlace(parsePlace(text.trim(), decodePlace(like))),
};

/** @throws TidemarkError `POSITION_FOREIGN` */
export function comparePlaces(a: BinlogPlace, b: BinlogPlace): number {
  if (a.flavor !== b.flavor) throw foreign(a, b, 'one is of MySQL, the other of MariaDB');
  if (a.isByGtid && b.isByGtid) {
    if (a.flavor === 'mysql' && b.flavor === 'mysql') return compareSets(a, b);
    if (a.flavor === 'mariadb' && b.flavor === 'mariadb') return compareDomains(a, b);
  }
  if (a.server !== b.server) throw foreign(a, b, 'they are of two servers, without GTIDs that both know');
  return compareFiles(a, b);
}

/** Two sets of a chain differ in number when they differ at all. */
function compareSets(a: MysqlPlace, b: MysqlPlace): number {
  if (a.executed.isSubsetOf(b.executed)) return b.executed.isSubsetOf(a.executed) ? 0 : -1;
  if (b.executed.isSubsetOf(a.executed)) return 1;
  const [mine, theirs] = [a.executed.subtract(b.executed), b.executed.subtract(a.executed)];
  throw foreign(a, b, `${shortened(mine.toString())} is only in one, ${shortened(theirs.toString())} only in the other`);
}

function compareDomains(a: MariadbPlace, b: MariadbPlace): number {
  const order = a.executed.orderTo(b.executed);
  if (order === 'equal') return 0;
  if (order !== 'diverged') return order === 'before' ? -1 : 1;
  // Without gtid_strict_mode numbers may go back; the files of one server have an order all the same.
  if (a.server !== b.server || a.file === '' || b.file === '') throw foreign(a, b, 'neither is ahead of the other in every domain');
  return compareFiles(a, b);
}

function compareFiles(a: BinlogPlace, b: BinlogPlace): number {
  if (a.file === '' || b.file === '') throw foreign(a, b, 'one of them names no file');
  const [one, two] = [parseBinlogFile(a.file), parseBinlogFile(b.file)];
  if (one.base !== two.base) throw foreign(a, b, 'the files of the binlog have got another name in between');
  return one.number - two.number || a.offset - b.offset;
}

/** `uuid:1-77`, `0-1-77`, or `binlog.000003:4711` where GTIDs are not the coordinate or there are none yet. */
export function formatPlace(place: BinlogPlace): string {
  if (place.isByGtid && !place.executed.isEmpty) return place.executed.toString();
  return place.file === '' ? 'nothing' : `${place.file}:${place.offset}`;
}

/**
 * `gtid:SET`, `binlog:FILE:OFFSET`, or either without its prefix. A single GTID of MySQL (`uuid:77`) means the first
 * place from `like` on that has it: all of that source up to it.
 */
function parsePlace(text: string, like: BinlogPlace): BinlogPlace {
  const file = /^(?:binlog:)?([^:]+\.[0-9]+):([0-9]{1,16})$/.exec(text);
  if (file !== null) {
    const [name, offset] = [file[1] ?? '', Number(file[2])];
    if (!Number.isSafeInteger(offset)) throw syntax(`'${text}' has an offset that is out of range`);
    const place = { server: like.server, file: formatBinlogFile(parseBinlogFile(name)), offset, isByGtid: false };
    return like.flavor === 'mysql' ? { ...place, flavor: 'mysql', executed: new GtidSet() } : { ...place, flavor: 'mariadb', executed: new MariadbGtids() };
  }
  if (!like.isByGtid) throw syntax(`'${text.slice(0, 200)}' is no place in the binlog: it is written binlog.000003:4711`);
  const set = text.startsWith('gtid:') ? text.slice('gtid:'.length) : text;
  const place = { server: like.server, file: '', offset: 0, isByGtid: true };
  try {
    if (like.flavor === 'mysql') return { ...place, flavor: 'mysql', executed: named(GtidSet.parse(set), like.executed) };
    return { ...place, flavor: 'mariadb', executed: MariadbGtids.parse(set) };
  } catch (cause) {
    throw new TidemarkError('POSITION_SYNTAX', `'${text.slice(0, 200)}' is no position of ${like.flavor === 'mysql' ? 'MySQL' : 'MariaDB'}`, { cause });
  }
}

function named(set: GtidSet, known: GtidSet): GtidSet {
  if (set.isEmpty) throw new TidemarkError('MYSQL_GTID', 'a position names a transaction at least');
  const [source = ''] = set.sources;
  if (set.count() !== 1) return set;
  const completed = known.clone();
  completed.addRange(source, 1, set.next(source));
  return completed;
}

function foreign(a: BinlogPlace, b: BinlogPlace, why: string): TidemarkError {
  return new TidemarkError('POSITION_FOREIGN', `${shortened(formatPlace(a))} of ${a.server} and ${shortened(formatPlace(b))} of ${b.server} cannot be compared: ${why}`);
}

function shortened(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}

function syntax(what: string): TidemarkError {
  return new TidemarkError('POSITION_SYNTAX', what);
}
