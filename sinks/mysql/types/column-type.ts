/** The type that a column of the log gets at a MySQL or MariaDB replica. docs/types-across.md is the table for people. Pure. */
import type { Column, Dialect } from '../../../contracts/schema.ts';
import { baseType, type LogicalType } from '../../../contracts/types/logical-type.ts';
import { isGeometry, mysqlType, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import type { Unfit } from '../../relational/unfit.ts';
import { ASCII_TEXT, exactText, sameText } from './collations.ts';
import { hasAddresses, hasLongTimestamps, hasUuids, hasVectors, type ReplicaServer } from './replica-server.ts';
import { quoteText } from './sql.ts';

export interface ColumnType {
  /** As DDL writes it, without NULL and default. */
  readonly sql: string;
  /** Values of the source's type that the column does not hold, for people; null: there are none. */
  readonly beyond: string | null;
  /** It is text because the replica has no type of this kind. */
  readonly isStandIn: boolean;
}

const FITS = { beyond: null, isStandIn: false } as const;
/** The most characters of utf8mb4 that a column may declare. */
const MOST_CHARACTERS = 16_383;
const MOST_DIGITS = 65;
const MOST_SCALE = 30;
const MOST_DIMENSIONS = 16_383;
const MOST_LABELS = 65_535;
const MOST_LABEL_CHARACTERS = 255;

/** Without regard to keys: `replicaShape` knows of those. */
export function columnType(column: Pick<Column, 'type' | 'nativeType'>, dialect: Dialect, unfit: Unfit, server: ReplicaServer): ColumnType {
  const found = dialect === 'mysql' ? fromMysql(column, server) : fromPostgres(column, server);
  return found.beyond !== null && unfit === 'text' && !found.isStandIn ? { ...FITS, sql: longText(server) } : found;
}

/** Text of any length. */
export function longText(server: ReplicaServer): string {
  return `longtext${exactText(server)}`;
}

function standIn(server: ReplicaServer): ColumnType {
  return { sql: longText(server), beyond: null, isStandIn: true };
}

function plainText(server: ReplicaServer): ColumnType {
  return { ...FITS, sql: longText(server) };
}

const NO_NUMBER = 'NaN, Infinity';
const NO_DATE = 'infinity, dates before year 1 and after 9999';

function fromPostgres({ type, nativeType }: Pick<Column, 'type' | 'nativeType'>, server: ReplicaServer): ColumnType {
  const base = baseType(type);
  const fits = (sql: string): ColumnType => ({ ...FITS, sql });
  switch (base.kind) {
    case 'bool':
      return fits('tinyint(1)');
    case 'int16':
      return fits('smallint');
    case 'int32':
      return fits('int');
    case 'int64':
      return fits('bigint');
    case 'uint64':
      return fits('bigint unsigned');
    case 'decimal':
      return decimalType(base, server);
    case 'float32':
      return { sql: 'float', beyond: NO_NUMBER, isStandIn: false };
    case 'float64':
      return { sql: 'double', beyond: NO_NUMBER, isStandIn: false };
    case 'text':
      // The "char" of one byte has values such as `\377`.
      return nativeType === '"char"' || base.length === null || base.length > MOST_CHARACTERS ? plainText(server) : fits(`varchar(${base.length})${exactText(server)}`);
    case 'bytes':
      return fits('longblob');
    case 'bit':
      return !base.varying && base.length !== null && base.length <= 64 ? fits(`bit(${base.length})`) : plainText(server);
    case 'uuid':
      return fits(uuidType(server));
    case 'date':
      return { sql: 'date', beyond: NO_DATE, isStandIn: false };
    case 'time':
      return fits(`time(${base.digits})`);
    case 'timestamp':
    case 'timestamptz':
      return { sql: `datetime(${base.digits})`, beyond: NO_DATE, isStandIn: false };
    case 'enum':
      return isEnum(base.labels) ? fits(`enum(${base.labels.map(quoteText).join(',')})${exactText(server)}`) : plainText(server);
    case 'geometry':
      return { sql: 'geometry', beyond: `shapes with z or m, curves${server.version.flavor === 'mysql' ? ', empty shapes other than collections' : ''}`, isStandIn: false };
    case 'vector':
      return base.dimensions !== null && base.dimensions <= MOST_DIMENSIONS ? vectorType(base.dimensions, server) : plainText(server);
    case 'inet':
    case 'cidr':
      return fits(`varchar(43)${ASCII_TEXT}`);
    case 'macaddr':
      return fits(`varchar(23)${ASCII_TEXT}`);
    case 'json':
    case 'xml':
    case 'ltree':
    case 'tsvector':
    case 'set':
      return plainText(server);
    case 'timetz':
    case 'interval':
    case 'money':
    case 'hstore':
    case 'array':
    case 'range':
    case 'multirange':
    case 'composite':
    case 'unknown':
    case 'domain':
      return standIn(server);
  }
}

/** A `numeric` of any precision is text: a decimal column has one scale for all its values, and 65 digits. */
function decimalType({ precision, scale }: Extract<LogicalType, { kind: 'decimal' }>, server: ReplicaServer): ColumnType {
  if (precision === null) return standIn(server);
  const places = scale ?? 0;
  const [digits, behind] = places < 0 ? [precision - places, 0] : [Math.max(precision, places), places];
  return digits > MOST_DIGITS || behind > MOST_SCALE ? standIn(server) : { sql: `decimal(${digits},${behind})`, beyond: 'NaN', isStandIn: false };
}

function isEnum(labels: readonly string[]): boolean {
  return labels.length > 0 && labels.length <= MOST_LABELS && labels.every((label) => label.length <= MOST_LABEL_CHARACTERS && !label.endsWith(' '));
}

function vectorType(dimensions: number, server: ReplicaServer): ColumnType {
  if (!hasVectors(server)) return plainText(server);
  const beyond = server.version.flavor === 'mariadb' ? 'vectors of fewer dimensions, or longer than the root of the largest float' : null;
  return { sql: `vector(${dimensions})`, beyond, isStandIn: false };
}

function uuidType(server: ReplicaServer): string {
  return hasUuids(server) ? 'uuid' : `char(36)${ASCII_TEXT}`;
}

/** The type as the source's DDL writes it, with what its charset and collation are called at the replica. */
function fromMysql({ nativeType }: Pick<Column, 'nativeType'>, server: ReplicaServer): ColumnType {
  const native = parseNative(nativeType);
  const { length, digits } = native;
  const name: string = native.name;
  const fits = (sql: string): ColumnType => ({ ...FITS, sql });
  switch (name) {
    case 'other':
      return standIn(server);
    case 'year':
    case 'date':
    case 'tinyblob':
    case 'blob':
    case 'mediumblob':
    case 'longblob':
      return fits(name);
    case 'datetime':
      return fits(`${name}(${digits ?? 0})`);
    case 'time':
      return { sql: `time(${digits ?? 0})`, beyond: server.version.flavor === 'mysql' && (digits ?? 0) > 0 ? 'a fraction behind 838:59:59' : null, isStandIn: false };
    case 'timestamp':
      return { sql: `timestamp(${digits ?? 0})`, beyond: hasLongTimestamps(server) ? null : 'times after 2038-01-19', isStandIn: false };
    case 'char':
    case 'varchar':
      return fits(`${name}(${length ?? 1})${sameText(native, server)}`);
    case 'tinytext':
    case 'text':
    case 'mediumtext':
    case 'longtext':
      return fits(`${name}${sameText(native, server)}`);
    case 'binary':
    case 'varbinary':
      return fits(`${name}(${length ?? 1})`);
    case 'enum':
    case 'set':
      return fits(`${name}(${native.labels.map(quoteText).join(',')})${sameText(native, server)}`);
    case 'json':
      // MariaDB's own json is a check of no more than 32 levels.
      if (server.version.flavor === 'mariadb') return fits(`longtext${sameText({ charset: 'utf8mb4', collation: 'utf8mb4_bin' }, server)}`);
      return { sql: 'json', beyond: 'numbers in json that are decimals (`1.50`)', isStandIn: false };
    case 'vector':
      return vectorType(length ?? 1, server);
    case 'uuid':
      return fits(uuidType(server));
    case 'inet4':
    case 'inet6':
      return fits(hasAddresses(server) ? name : `varchar(${name === 'inet4' ? 15 : 45})${ASCII_TEXT}`);
    case 'float':
    case 'double':
      // Digits in the definition are for printing, and refuse what the type's rounding has let in.
      return fits(`${name}${native.unsigned ? ' unsigned' : ''}`);
    default:
      return fits(isGeometry(native.name) ? name : (/^\w+(\([\d,]+\))?( unsigned)?( zerofill)?/i.exec(native.text)?.[0] ?? name));
  }
}

/** A type as `MysqlType.text` writes it. */
export function parseNative(nativeType: string): MysqlType {
  const [, columnType = nativeType, charset = null, collation = null] = /^(.*) character set (\w+)(?: collate (\w+))?$/s.exec(nativeType) ?? [];
  return mysqlType({ columnType, charset, collation });
}
