import { SQL_MODE, notUnderstood } from './context.ts';
import type { Cursor } from './cursor.ts';
import { type Literal, expectString } from './literal.ts';

/** A column's type as a statement writes it, synonyms resolved; what its character set decides is left open. */
export interface DataType {
  /** The server's own word: `int`, `varchar`, `text`, `geomcollection`, … */
  readonly base: string;
  /** Display width, characters, bytes, digits, bits or dimensions: whatever the first number in parentheses says. */
  readonly length: number | null;
  readonly scale: number | null;
  readonly unsigned: boolean;
  readonly zerofill: boolean;
  /** Of an enum or set. */
  readonly members: readonly Literal[];
  /** Null: the table's. */
  readonly charset: string | null;
  readonly collation: string | null;
  /** The attribute BINARY: the character set's `_bin` collation. */
  readonly binaryCollation: boolean;
  /** MariaDB's COMPRESSED columns. */
  readonly compressed: boolean;
  /** Written JSON: on MariaDB a longtext whose check says so. */
  readonly json: boolean;
  /** SERIAL: NOT NULL, AUTO_INCREMENT and UNIQUE come with it. */
  readonly serial: boolean;
}

type Draft = { -readonly [K in keyof DataType]: DataType[K] };

const PLAIN: DataType = {
  base: '', length: null, scale: null, unsigned: false, zerofill: false, members: [], charset: null, collation: null,
  binaryCollation: false, compressed: false, json: false, serial: false,
};

/** Types of one word: what they are called by the server. */
const SYNONYMS: Readonly<Record<string, string>> = {
  TINYINT: 'tinyint', INT1: 'tinyint', SMALLINT: 'smallint', INT2: 'smallint', MEDIUMINT: 'mediumint', INT3: 'mediumint', MIDDLEINT: 'mediumint',
  INT: 'int', INTEGER: 'int', INT4: 'int', BIGINT: 'bigint', INT8: 'bigint',
  DECIMAL: 'decimal', DEC: 'decimal', NUMERIC: 'decimal', FIXED: 'decimal', FLOAT: 'float', FLOAT4: 'float', FLOAT8: 'double', DOUBLE: 'double',
  BIT: 'bit', YEAR: 'year', DATE: 'date', TIME: 'time', DATETIME: 'datetime', TIMESTAMP: 'timestamp',
  CHAR: 'char', CHARACTER: 'char', VARCHAR: 'varchar', VARCHARACTER: 'varchar', BINARY: 'binary', VARBINARY: 'varbinary',
  TINYTEXT: 'tinytext', TEXT: 'text', MEDIUMTEXT: 'mediumtext', LONGTEXT: 'longtext',
  TINYBLOB: 'tinyblob', BLOB: 'blob', MEDIUMBLOB: 'mediumblob', LONGBLOB: 'longblob',
  ENUM: 'enum', SET: 'set', VECTOR: 'vector',
  GEOMETRY: 'geometry', POINT: 'point', LINESTRING: 'linestring', POLYGON: 'polygon', MULTIPOINT: 'multipoint',
  MULTILINESTRING: 'multilinestring', MULTIPOLYGON: 'multipolygon',
};

/** MariaDB's own words. */
const MARIADB_SYNONYMS: Readonly<Record<string, string>> = {
  VARCHAR2: 'varchar', RAW: 'varbinary', CLOB: 'longtext', UUID: 'uuid', INET4: 'inet4', INET6: 'inet6', XMLTYPE: 'xmltype',
};

const INTEGERS: ReadonlySet<string> = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint']);
const TEXTS: ReadonlySet<string> = new Set(['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'enum', 'set']);

export function isIntegerBase(base: string): boolean {
  return INTEGERS.has(base);
}

/** The type has a character set. */
export function isTextBase(base: string): boolean {
  return TEXTS.has(base);
}

/** The type that stands next, with its attributes (UNSIGNED, CHARACTER SET, …). @throws TidemarkError `MYSQL_STATEMENT` */
export function dataType(cursor: Cursor): DataType {
  if (cursor.peek().kind !== 'word') throw cursor.unexpected();
  const word = cursor.take().upper;
  const type: Draft = { ...PLAIN };
  named(cursor, word, type);
  typeArguments(cursor, type);
  if (word === 'NUMBER' && type.length === null && (cursor.context.sqlMode & SQL_MODE.ORACLE) !== 0n) type.base = 'double';
  while (typeAttribute(cursor, type)) continue;
  if (type.zerofill) type.unsigned = true;
  checkSizes(type);
  return type;
}

const MAX_BITS = 64;
const MAX_SCALE = 255;

/** Sizes that a text is padded to are those that a server allows. */
function checkSizes(type: DataType): void {
  const bits = type.base === 'bit' && type.length !== null && type.length > MAX_BITS;
  if (bits || (type.scale ?? 0) > MAX_SCALE) throw notUnderstood('a type has a size that no server allows');
}

function named(cursor: Cursor, word: string, type: Draft): void {
  const mariadb = cursor.context.flavor === 'mariadb';
  const base = SYNONYMS[word] ?? (mariadb ? MARIADB_SYNONYMS[word] : undefined);
  if (base !== undefined) {
    type.base = base;
    if (word === 'DOUBLE') cursor.word('PRECISION');
    else if (base === 'char' && cursor.anyWord('VARYING', 'VARCHARACTER') !== '') type.base = 'varchar';
    else modeDependent(cursor, word, type);
    return;
  }
  switch (word) {
    case 'BOOL':
    case 'BOOLEAN':
      type.base = 'tinyint';
      type.length = 1;
      return;
    case 'REAL':
      type.base = (cursor.context.sqlMode & SQL_MODE.REAL_AS_FLOAT) === 0n ? 'double' : 'float';
      return;
    case 'SERIAL':
      type.base = 'bigint';
      type.unsigned = true;
      type.serial = true;
      return;
    case 'NCHAR':
    case 'NVARCHAR':
    case 'NATIONAL':
      nationalType(cursor, word, type);
      return;
    case 'LONG':
      longType(cursor, type);
      return;
    case 'JSON':
      jsonType(mariadb, type);
      return;
    case 'GEOMETRYCOLLECTION':
    case 'GEOMCOLLECTION':
      type.base = mariadb ? 'geometrycollection' : 'geomcollection';
      return;
    case 'NUMBER':
      if (mariadb) {
        type.base = 'decimal';
        return;
      }
  }
  throw notUnderstood('a column has a type that is not known');
}

function modeDependent(cursor: Cursor, word: string, type: Draft): void {
  const { context } = cursor;
  if (context.flavor !== 'mariadb') return;
  const oracle = (context.sqlMode & SQL_MODE.ORACLE) !== 0n;
  if (oracle && word === 'DATE') type.base = 'datetime';
  else if (oracle && word === 'BLOB') type.base = 'longblob';
  else if (word === 'TIMESTAMP' && (context.sqlMode & SQL_MODE.MAXDB) !== 0n) type.base = 'datetime';
}

/** `NATIONAL CHAR [VARYING]`, `NATIONAL VARCHAR`, `NCHAR [VARYING | VARCHAR]`, `NVARCHAR`: in utf8mb3. */
function nationalType(cursor: Cursor, word: string, type: Draft): void {
  type.charset = 'utf8mb3';
  const kind = word === 'NATIONAL' ? cursor.expectWord('CHAR', 'CHARACTER', 'VARCHAR', 'VARCHARACTER') : word;
  const varying = cursor.anyWord('VARYING', 'VARCHAR', 'VARCHARACTER') !== '';
  type.base = varying || kind.includes('VAR') ? 'varchar' : 'char';
}

function longType(cursor: Cursor, type: Draft): void {
  if (cursor.word('VARBINARY')) {
    type.base = 'mediumblob';
    return;
  }
  type.base = 'mediumtext';
  if (cursor.anyWord('CHAR', 'CHARACTER') !== '') cursor.expectWord('VARYING');
  else cursor.anyWord('VARCHAR', 'VARCHARACTER');
}

function jsonType(mariadb: boolean, type: Draft): void {
  type.base = mariadb ? 'longtext' : 'json';
  type.json = true;
  if (!mariadb) return;
  type.charset = 'utf8mb4';
  type.collation = 'utf8mb4_bin';
}

function typeArguments(cursor: Cursor, type: Draft): void {
  if (!cursor.symbol('(')) return;
  if (type.base === 'enum' || type.base === 'set') {
    const members: Literal[] = [];
    do members.push(expectString(cursor));
    while (cursor.symbol(','));
    type.members = members;
  } else {
    type.length = size(cursor);
    if (cursor.symbol(',')) type.scale = size(cursor);
    cursor.anyWord('CHAR', 'BYTE');
  }
  cursor.expectSymbol(')');
}

function size(cursor: Cursor): number {
  const token = cursor.take();
  const value = Number(token.text);
  if (token.kind !== 'number' || !Number.isSafeInteger(value)) throw notUnderstood('the size of a type is not a number');
  return value;
}

/** Those that stand behind the type; a COLLATE may also come later, among the attributes of the column. */
function typeAttribute(cursor: Cursor, type: Draft): boolean {
  if (cursor.word('UNSIGNED')) type.unsigned = true;
  else if (cursor.word('ZEROFILL')) type.zerofill = true;
  else if (cursor.word('SIGNED')) type.unsigned = false;
  else if (cursor.word('ASCII')) type.charset = 'latin1';
  else if (cursor.word('UNICODE')) type.charset = 'ucs2';
  else if (cursor.word('BYTE')) type.charset = 'binary';
  else if (isTextBase(type.base) && cursor.word('BINARY')) type.binaryCollation = true;
  else if (cursor.word('COMPRESSED')) compressed(cursor, type);
  else return charsetAttribute(cursor, type);
  return true;
}

function compressed(cursor: Cursor, type: Draft): void {
  type.compressed = true;
  if (cursor.symbol('=')) cursor.skipValue();
}

function charsetAttribute(cursor: Cursor, type: Draft): boolean {
  if (cursor.phrase('CHARACTER', 'SET') || cursor.phrase('CHAR', 'SET') || cursor.word('CHARSET')) type.charset = charsetName(cursor);
  else if (cursor.word('COLLATE')) type.collation = charsetName(cursor);
  else return false;
  return true;
}

/** The name of a character set or collation, `utf8` under its full name, in lower case. */
export function charsetName(cursor: Cursor): string {
  const token = cursor.take();
  if (token.kind !== 'word' && token.kind !== 'name' && token.kind !== 'string') throw cursor.unexpected();
  return fullCharsetName(token.text);
}

/** `utf8` and `utf8_…` are written utf8mb3 by the servers of today. */
export function fullCharsetName(name: string): string {
  return name.toLowerCase().replace(/^utf8(?=_|$)/, 'utf8mb3');
}
