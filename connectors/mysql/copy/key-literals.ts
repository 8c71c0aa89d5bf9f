/**
 * Values of key columns as literals that the server compares with the column as it compares the column's own values: in the
 * column's charset and collation, by an index of it.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { MysqlType } from '../../../contracts/types/mysql-types.ts';

const INTEGER = /^-?[0-9]+$/;
const DECIMAL = /^-?[0-9]+(\.[0-9]+)?$/;
const FLOAT = /^-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$/i;
/** Dates, times, UUIDs and addresses. */
const PLAIN = /^[-0-9a-fA-F:. ]*$/;

/**
 * What is selected, besides the column, to know where a row stands in the server's order; null: the column itself tells. An
 * enum is ordered by the number of its member and a set by its bits, not by their labels.
 */
export function orderExpression({ name }: MysqlType, column: string): string | null {
  return name === 'enum' || name === 'set' ? `${column} + 0` : null;
}

/**
 * A literal of the value by which the server orders, as a SELECT gave it (the column by its `copyExpression`, or the
 * `orderExpression`). @throws TidemarkError `RECORD_CORRUPT`
 */
export function orderLiteral(type: MysqlType, value: Buffer): string {
  const name: string = type.name;
  switch (name) {
    case 'enum':
    case 'set':
      return checked(value.toString('latin1'), INTEGER);
    case 'bit':
      return String(value.length === 0 ? 0n : BigInt(`0x${value.toString('hex')}`));
    default:
      return type.charset === null ? simple(type, value) : `_${type.charset} X'${value.toString('hex')}'`;
  }
}

/**
 * The members of an enum behind the one of that number, as a list for IN; null: they cannot be listed, or the type is none. No
 * server uses an index to compare an enum with a number.
 */
export function membersBehind(type: MysqlType, value: Buffer, includes: boolean): string | null {
  const number = memberNumber(type, value);
  // A member '' could not be told from the value that is none.
  if (number === null || type.labels.includes('') || (includes && number === 0)) return null;
  const behind = type.labels.slice(includes ? number - 1 : number);
  return behind.length === 0 ? 'NULL' : behind.map((label) => memberLiteral(type, label)).join(', ');
}

/** A literal for = of the value by which the server orders. @throws TidemarkError `RECORD_CORRUPT` */
export function orderEqual(type: MysqlType, value: Buffer): string {
  const label = type.labels[(memberNumber(type, value) ?? 0) - 1];
  return label === undefined || label === '' ? orderLiteral(type, value) : memberLiteral(type, label);
}

function memberNumber({ name }: MysqlType, value: Buffer): number | null {
  return name === 'enum' ? Number(checked(value.toString('latin1'), INTEGER)) : null;
}

function memberLiteral(type: MysqlType, label: string): string {
  return keyLiteral(type, Buffer.from(label, 'utf8'));
}

/** A literal that equals the column where it has that canonical value. @throws TidemarkError `RECORD_CORRUPT` */
export function keyLiteral(type: MysqlType, value: Buffer): string {
  const name: string = type.name;
  switch (name) {
    case 'float':
      // The server compares as a double, which the float is the nearest of its kind to.
      return `${Math.fround(Number(checked(value.toString('latin1'), FLOAT)))}e0`.replace(/e([-+]?[0-9]+)e0$/, 'e$1');
    case 'bit':
      return String(BigInt(`0b${checked(value.toString('latin1'), INTEGER)}`));
    case 'timestamp':
      return simple(type, value.subarray(0, value.length - '+00'.length));
    case 'year':
      return simple(type, Buffer.from(value.toString('latin1').padStart(4, '0'), 'latin1'));
    default:
      return type.charset === null ? simple(type, value) : `CONVERT(_utf8mb4 X'${value.toString('hex')}' USING ${type.charset})${type.collation === null ? '' : ` COLLATE ${type.collation}`}`;
  }
}

/** What has no charset, and the same text in both ways. */
function simple({ name: known, text }: MysqlType, value: Buffer): string {
  const name: string = known;
  switch (name) {
    case 'tinyint': case 'smallint': case 'mediumint': case 'int': case 'bigint':
      return checked(value.toString('latin1'), INTEGER);
    case 'decimal':
      return checked(value.toString('latin1'), DECIMAL);
    case 'float': case 'double':
      return `${checked(value.toString('latin1'), FLOAT)}${/e/i.test(value.toString('latin1')) ? '' : 'e0'}`;
    case 'year': case 'date': case 'datetime': case 'timestamp': case 'time': case 'uuid': case 'inet4': case 'inet6':
      return `'${checked(value.toString('latin1'), PLAIN)}'`;
    case 'binary': case 'varbinary': case 'tinyblob': case 'blob': case 'mediumblob': case 'longblob':
      return `X'${value.toString('hex')}'`;
    default:
      throw new TidemarkError('RECORD_CORRUPT', `a key column of the type ${text} cannot be compared`);
  }
}

function checked(text: string, form: RegExp): string {
  if (form.test(text)) return text;
  throw new TidemarkError('RECORD_CORRUPT', `a value of a key (${text.length} characters) is none of its column`);
}
