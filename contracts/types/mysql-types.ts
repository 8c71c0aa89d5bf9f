/**
 * Column types of MySQL and MariaDB: what `information_schema.COLUMNS` writes, taken apart, and the logical type that it
 * is. docs/types-mysql.md is the table for people; a test holds it to this file.
 */
import type { LogicalType } from './logical-type.ts';

export const MYSQL_TYPE_NAMES = [
  'tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'year', 'decimal', 'float', 'double', 'bit', 'date', 'datetime', 'timestamp', 'time',
  'char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob',
  'enum', 'set', 'json', 'geometry', 'point', 'linestring', 'polygon', 'multipoint', 'multilinestring', 'multipolygon',
  'geometrycollection', 'vector', 'uuid', 'inet4', 'inet6',
] as const;

export type MysqlTypeName = (typeof MYSQL_TYPE_NAMES)[number];

/** A column's type without its charset's collation, default or comment. Immutable. */
export interface MysqlType {
  /** `other`: a type that is not known here. */
  readonly name: MysqlTypeName | 'other';
  /** As the server writes it, with charset and collation where it has them: DDL of the same server understands it. */
  readonly text: string;
  readonly unsigned: boolean;
  /** Digits of a decimal, float(M,D) or double(M,D), bits, characters, bytes or dimensions; null: none given. */
  readonly length: number | null;
  /** Digits behind the point, or of fractional seconds; null: none given. */
  readonly digits: number | null;
  /** Of an enum or a set, in the order of the definition. */
  readonly labels: readonly string[];
  /** `latin1`, `utf8mb4` ...; null: the type has no characters (`binary` is null, too). */
  readonly charset: string | null;
  readonly collation: string | null;
  /** MariaDB: the values of the column may be compressed. */
  readonly compressed: boolean;
  /** MariaDB: the temporal format of before version 10.1. */
  readonly oldTemporal: boolean;
  /** MariaDB: a longtext that a `json_valid` check makes json. */
  readonly isJson: boolean;
}

/** A row of `information_schema.COLUMNS`, as text. */
export interface MysqlColumnDefinition {
  readonly columnType: string;
  readonly charset: string | null;
  readonly collation: string | null;
  /** MariaDB: the column has a check `json_valid(column)`. Default false. */
  readonly isJson?: boolean;
}

const ALIASES: ReadonlyMap<string, MysqlTypeName> = new Map<string, MysqlTypeName>([
  ['geomcollection', 'geometrycollection'], ['integer', 'int'], ['bool', 'tinyint'], ['boolean', 'tinyint'], ['numeric', 'decimal'], ['dec', 'decimal'], ['fixed', 'decimal'],
  ['real', 'double'], ['int1', 'tinyint'], ['int2', 'smallint'], ['int3', 'mediumint'], ['int4', 'int'], ['int8', 'bigint'],
]);
const KNOWN: ReadonlyMap<string, MysqlTypeName> = new Map([...MYSQL_TYPE_NAMES.map((name) => [name, name] as const), ...ALIASES]);

/** Text in quotes, with a quote doubled and a backslash before what it escapes. */
const QUOTED = /'((?:[^'\\]|''|\\.)*)'/gs;
const ESCAPED: Readonly<Record<string, string>> = { '0': '\0', n: '\n', r: '\r', t: '\t', b: '\b', Z: '\x1a' };

/** The type of a column of `information_schema`. A type that is not known has the name `other`. */
export function mysqlType({ columnType, charset, collation, isJson = false }: MysqlColumnDefinition): MysqlType {
  const [, word = '', arguments_ = '', rest = ''] = /^\s*([a-z0-9_]+)\s*(?:\(((?:[^')]|'(?:[^'\\]|''|\\.)*')*)\))?(.*)$/is.exec(columnType) ?? [];
  const name = KNOWN.get(word.toLowerCase()) ?? 'other';
  const isListed = name === 'enum' || name === 'set';
  const [first, second] = isListed ? [] : arguments_.split(',').map((text) => (/^\s*\d+\s*$/.test(text) ? Number(text) : null));
  const hasSeconds = name === 'time' || name === 'datetime' || name === 'timestamp';
  const characters = charset === null || charset === '' || charset === 'binary' ? null : charset === 'utf8' ? 'utf8mb3' : charset;
  return {
    name,
    text: characters === null ? columnType : `${columnType} character set ${characters}${collation === null ? '' : ` collate ${collation}`}`,
    unsigned: /\b(unsigned|zerofill)\b/i.test(rest),
    length: hasSeconds ? null : (first ?? impliedLength(name)),
    digits: hasSeconds ? (first ?? 0) : (second ?? (name === 'decimal' ? 0 : null)),
    labels: isListed ? [...arguments_.matchAll(QUOTED)].map(([, label = '']) => unescaped(label)) : [],
    charset: characters,
    collation: characters === null ? null : collation,
    compressed: /\bcompressed\b/i.test(rest),
    oldTemporal: /\bmariadb-5\.3\b/.test(rest),
    isJson,
  };
}

/** What the servers leave out, because it is the default. */
function impliedLength(name: string): number | null {
  return name === 'decimal' ? 10 : name === 'bit' || name === 'char' || name === 'binary' ? 1 : null;
}

function unescaped(label: string): string {
  return label.replaceAll(/''|\\(.)/gs, (_pair, letter: string | undefined) => (letter === undefined ? "'" : (ESCAPED[letter] ?? letter)));
}

const INTEGERS: ReadonlyMap<string, readonly [signed: 'int16' | 'int32' | 'int64', unsigned: 'int16' | 'int32' | 'int64' | 'uint64']> = new Map([
  ['tinyint', ['int16', 'int16']], ['smallint', ['int16', 'int32']], ['mediumint', ['int32', 'int32']], ['int', ['int32', 'int64']], ['bigint', ['int64', 'uint64']],
]);

/** @param place `database.table.column`, the name of an enum or set */
export function mysqlLogicalType(type: MysqlType, place: string): LogicalType {
  const { length } = type;
  const name: string = type.name;
  const integer = INTEGERS.get(name);
  if (integer !== undefined) return { kind: integer[type.unsigned ? 1 : 0] };
  switch (name) {
    case 'year':
      return { kind: 'int16' };
    case 'decimal':
      return { kind: 'decimal', precision: length, scale: type.digits };
    case 'float':
      return { kind: 'float32' };
    case 'double':
      return { kind: 'float64' };
    case 'bit':
      return { kind: 'bit', length, varying: false };
    case 'date':
    case 'json':
    case 'uuid':
      return { kind: name };
    case 'datetime':
      return { kind: 'timestamp', digits: type.digits ?? 0 };
    case 'timestamp':
      return { kind: 'timestamptz', digits: type.digits ?? 0 };
    case 'time':
      return { kind: 'time', digits: type.digits ?? 0 };
    case 'char':
    case 'varchar':
      return { kind: 'text', length, fixed: false };
    case 'tinytext':
    case 'text':
    case 'mediumtext':
      return { kind: 'text', length: null, fixed: false };
    case 'longtext':
      return type.isJson ? { kind: 'json' } : { kind: 'text', length: null, fixed: false };
    case 'enum':
    case 'set':
      return { kind: name, name: place, labels: type.labels };
    case 'vector':
      return { kind: 'vector', dimensions: length };
    case 'inet4':
    case 'inet6':
      return { kind: 'inet' };
    case 'other':
      return { kind: 'unknown', nativeType: type.text };
    default:
      return { kind: isBinary(type.name) ? 'bytes' : 'geometry' };
  }
}

/** Types of bytes. */
export function isBinary(name: MysqlType['name']): boolean {
  return name === 'binary' || name === 'varbinary' || name.endsWith('blob');
}

/** Whole numbers; not `year`. */
export function isInteger(name: MysqlType['name']): boolean {
  return INTEGERS.has(name);
}

export function isTemporal(name: MysqlType['name']): boolean {
  return name === 'date' || name === 'datetime' || name === 'timestamp' || name === 'time';
}

/** Kinds of geometry, by their number in the OpenGIS standard (0 is `geometry`). */
export const GEOMETRY_NAMES = [
  'geometry', 'point', 'linestring', 'polygon', 'multipoint', 'multilinestring', 'multipolygon', 'geometrycollection',
] as const satisfies readonly MysqlTypeName[];

export function isGeometry(name: MysqlType['name']): boolean {
  return GEOMETRY_NAMES.some((geometry) => geometry === name);
}
