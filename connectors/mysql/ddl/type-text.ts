import { bytesOfCharacter } from './charsets.ts';
import type { SqlContext } from './context.ts';
import { type DataType, isIntegerBase } from './data-type.ts';
import type { Literal } from './literal.ts';

/** Digits that an integer is printed with where no width is named: signed, unsigned. */
const WIDTHS: Readonly<Record<string, readonly [number, number]>> = {
  tinyint: [4, 3], smallint: [6, 5], mediumint: [9, 8], int: [11, 10], bigint: [20, 20],
};

/** MySQL from here on prints integers and years without a width. */
const WITHOUT_WIDTHS = 80_019;
const MAX_VARCHAR_BYTES = 65_535;
const MAX_CHAR = 255;
/** Digits of a single-precision float. */
const FLOAT_DIGITS = 24;
const DEFAULT_DECIMAL = 10;
const DEFAULT_VECTOR = 2_048;

const BINARY_OF: Readonly<Record<string, string>> = {
  char: 'binary', varchar: 'varbinary', tinytext: 'tinyblob', text: 'blob', mediumtext: 'mediumblob', longtext: 'longblob',
};

/** Bytes that each of the types for long values holds. */
export const LONG_SIZES = [['tiny', 255], ['', 65_535], ['medium', 16_777_215], ['long', 4_294_967_295]] as const;

/**
 * The type as COLUMN_TYPE of information_schema prints it on the server that ran the statement (`int unsigned` or
 * `int(10) unsigned`, by its version). `charset`: what the column's characters are in.
 */
export function columnType(type: DataType, charset: string, context: SqlContext): string {
  const text = plainType(type, charset, context);
  return type.compressed ? `${text} /*M!100301 COMPRESSED*/` : text;
}

function plainType(type: DataType, charset: string, context: SqlContext): string {
  const { base, length, scale } = type;
  if (isIntegerBase(base)) return integerType(type, context) + signs(type);
  switch (base) {
    case 'decimal':
      return `decimal(${length === null || length === 0 ? DEFAULT_DECIMAL : length},${scale ?? 0})${signs(type)}`;
    case 'float':
    case 'double':
      return floatType(type) + signs(type);
    case 'bit':
      return `bit(${length ?? 1})`;
    case 'year':
      return printsWidths(context) ? 'year(4)' : 'year';
    case 'time':
    case 'datetime':
    case 'timestamp':
      return length === null || length === 0 ? base : `${base}(${length})`;
    case 'enum':
    case 'set':
      return `${base}(${type.members.map((member) => quoted(labelOf(member))).join(',')})`;
    case 'vector':
      return `vector(${length ?? DEFAULT_VECTOR})`;
    default:
      return stringType(type, charset);
  }
}

function printsWidths(context: SqlContext): boolean {
  return context.flavor === 'mariadb' || context.version < WITHOUT_WIDTHS;
}

function signs(type: DataType): string {
  return (type.unsigned ? ' unsigned' : '') + (type.zerofill ? ' zerofill' : '');
}

function integerType(type: DataType, context: SqlContext): string {
  const { base, unsigned, zerofill } = type;
  const [signed, plain] = WIDTHS[base] ?? [0, 0];
  const width = type.length === null || type.length === 0 ? (unsigned ? plain : signed) : type.length;
  const shown = printsWidths(context) || zerofill || (base === 'tinyint' && width === 1 && !unsigned);
  return shown ? `${base}(${width})` : base;
}

function floatType({ base, length, scale }: DataType): string {
  if (length !== null && scale !== null) return `${base}(${length},${scale})`;
  return base === 'float' && length !== null && length > FLOAT_DIGITS ? 'double' : base;
}

function stringType(type: DataType, charset: string): string {
  const { base, length } = type;
  const bytes = bytesOfCharacter(charset);
  const of = charset === 'binary' ? (BINARY_OF[base] ?? base) : base;
  switch (base) {
    case 'char':
    case 'binary':
      return (length ?? 1) > MAX_CHAR ? longType(of, (length ?? 1) * bytes) : `${of}(${length ?? 1})`;
    case 'varchar':
      return varcharType(of, length ?? 1, bytes);
    case 'varbinary':
      return varcharType(of, length ?? 1, 1);
    case 'text':
      return length === null || length === 0 ? of : longType(of, length * bytes);
    case 'blob':
      return length === null || length === 0 ? of : longType(of, length);
    default:
      return of;
  }
}

function varcharType(base: string, length: number, bytes: number): string {
  return length * bytes > MAX_VARCHAR_BYTES ? longType(base, length * bytes) : `${base}(${length})`;
}

/** The smallest of the types for long values that holds as many bytes: what a server makes of a VARCHAR too long, not strict. */
function longType(base: string, bytes: number): string {
  const kind = base.includes('bin') || base.includes('blob') ? 'blob' : 'text';
  const [prefix] = LONG_SIZES.find(([, size]) => bytes <= size) ?? ['long'];
  return prefix + kind;
}

/**
 * What CONVERT TO CHARACTER SET makes of a type, so that it holds as many characters as before: `text` in latin1 becomes
 * `mediumtext` in utf8mb4.
 */
export function convertedType(type: string, from: string, to: string): string {
  const long = /^(tiny|medium|long|)text/.exec(type);
  const varchar = /^(var)?char\((\d+)\)/.exec(type);
  const binary = to === 'binary';
  if (long !== null) {
    const size = LONG_SIZES.find(([prefix]) => prefix === long[1])?.[1] ?? 0;
    const characters = Math.floor(size / bytesOfCharacter(from));
    const kind = long[1] === 'long' ? 'longtext' : longType('text', characters * bytesOfCharacter(to));
    return binary ? kind.replace('text', 'blob') : kind + type.slice(long[0].length);
  }
  if (varchar === null) return type;
  const length = Number(varchar[2]);
  if (binary) return `${varchar[1] ?? ''}binary(${length})`;
  return varchar[1] === undefined ? type : varcharType('varchar', length, bytesOfCharacter(to)) + type.slice(varchar[0].length);
}

/** A member of an enum or set. Blanks at its end do not count. */
export function labelOf(member: Literal): string {
  switch (member.kind) {
    case 'text':
      return member.text.replace(/ +$/, '');
    case 'hex':
      return Buffer.from(member.hex, 'hex').toString('utf8');
    case 'bits':
      return Buffer.from(BigInt(`0b0${member.bits}`).toString(16).padStart(Math.ceil(member.bits.length / 8) * 2, '0'), 'hex').toString('utf8');
    case 'number':
      return member.text;
    case 'null':
      return '';
  }
}

const ESCAPED: Readonly<Record<string, string>> = { '\0': '\\0', '\n': '\\n', '\r': '\\r', '\\': '\\\\', "'": "''" };

function quoted(label: string): string {
  return `'${label.replace(/[\0\n\r\\']/g, (character) => ESCAPED[character] ?? character)}'`;
}
