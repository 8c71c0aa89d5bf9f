/** What `information_schema` says of a column's default, as canonical text. */
import type { MysqlType } from '../../../contracts/types/mysql-types.ts';
import type { Flavor } from '../server-version.ts';
import { FLOAT_TEXT, writeFloat32, writeFloat64 } from '../../../contracts/types/float-text.ts';
import type { ColumnDefault } from './table-shape.ts';

const NONE: ColumnDefault = { kind: 'none' };
const OTHER: ColumnDefault = { kind: 'other' };

/**
 * `text`: COLUMN_DEFAULT. MySQL writes a constant bare and marks an expression in EXTRA; MariaDB writes SQL: texts in
 * quotes, and NULL where there is no default.
 */
export function columnDefault(flavor: Flavor, text: string | null, extra: string, type: MysqlType): ColumnDefault {
  if (text === null || /\bGENERATED ALWAYS\b|\b(STORED|VIRTUAL|PERSISTENT) GENERATED\b/i.test(extra)) return NONE;
  const bare = flavor === 'mysql' ? (/\bDEFAULT_GENERATED\b/i.test(extra) ? null : text) : literalOf(text);
  if (flavor === 'mariadb' && text === 'NULL') return NONE;
  const canonical = bare === null ? null : canonicalDefault(type, bare);
  return canonical === null ? OTHER : { kind: 'constant', text: canonical };
}

/** The text of an SQL literal, bits and bytes as `b'101'` and `0x6162`; null: it is an expression. */
function literalOf(sql: string): string | null {
  if (/^-?[0-9.]+(e[-+]?[0-9]+)?$/i.test(sql) || /^b'[01]*'$/i.test(sql)) return sql;
  const hex = /^x'([0-9a-f]*)'$/i.exec(sql);
  if (hex !== null) return `0x${hex[1] ?? ''}`;
  const quoted = /^'((?:[^'\\]|''|\\.)*)'$/s.exec(sql);
  return quoted === null ? null : (quoted[1] ?? '').replaceAll(/''|\\(.)/gs, (_pair, letter: string | undefined) => (letter === undefined ? "'" : (ESCAPED[letter] ?? letter)));
}

const ESCAPED: Readonly<Record<string, string>> = { '0': '\0', n: '\n', r: '\r', t: '\t', b: '\b', Z: '\x1a' };

/**
 * A constant of a column as the rows have it; null: it cannot be told. The server's own text is taken to be rounded and
 * cut to the column already.
 */
export function canonicalDefault(type: MysqlType, text: string): string | null {
  switch (type.name) {
    case 'tinyint': case 'smallint': case 'mediumint': case 'int': case 'bigint': case 'year':
      return /^-?[0-9]{1,20}$/.test(text) ? BigInt(text).toString() : null;
    case 'decimal':
      return decimalText(text, type.digits ?? 0);
    case 'float':
      return floatText(text, (value, into) => writeFloat32(into, 0, Math.fround(value)));
    case 'double':
      return floatText(text, (value, into) => writeFloat64(into, 0, value));
    case 'bit':
      return bitText(text, type.length ?? 1);
    case 'date':
      return /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text) ? text : null;
    case 'datetime':
      return /^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$/.test(text) ? withoutZeros(text) : null;
    case 'timestamp':
      // Another one is written in the time zone of whoever made the column.
      return /^0000-00-00 00:00:00(\.0+)?$/.test(text) ? '0000-00-00 00:00:00+00' : null;
    case 'time':
      return /^-?[0-9]{2,3}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$/.test(text) ? withoutZeros(text) : null;
    case 'char':
      return text.replace(/ +$/, '');
    case 'varchar': case 'tinytext': case 'text': case 'mediumtext': case 'longtext': case 'enum': case 'set':
      return text;
    case 'uuid':
      return text.toLowerCase();
    // Of MySQL the catalog ends bytes at the first zero, of MariaDB it reads them as text.
    case 'binary': case 'varbinary': case 'tinyblob': case 'blob': case 'mediumblob': case 'longblob':
    case 'json': case 'inet4': case 'inet6': case 'vector': case 'geometry': case 'point': case 'linestring': case 'polygon': case 'multipoint':
    case 'multilinestring': case 'multipolygon': case 'geometrycollection': case 'other':
      return null;
  }
}

function decimalText(text: string, scale: number): string | null {
  const match = /^(-?)0*([0-9]+)(?:\.([0-9]*))?$/.exec(text);
  const fraction = (match?.[3] ?? '').padEnd(scale, '0');
  if (match === null || fraction.length > scale) return null;
  const digits = scale === 0 ? (match[2] ?? '') : `${match[2] ?? ''}.${fraction}`;
  return match[1] === '-' && /[1-9]/.test(digits) ? `-${digits}` : digits;
}

function floatText(text: string, write: (value: number, into: Uint8Array) => number): string | null {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) return null;
  const into = Buffer.alloc(FLOAT_TEXT);
  return into.toString('latin1', 0, write(value, into));
}

function bitText(text: string, length: number): string | null {
  const bits = /^b'([01]*)'$/i.exec(text)?.[1];
  return bits === undefined || bits.length > length ? null : bits.padStart(length, '0');
}

/** `12:30:00.500` is `12:30:00.5`, `12:30:00.000` is `12:30:00`. */
function withoutZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}
