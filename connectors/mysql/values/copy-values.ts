/**
 * The other way in, for copies: values as a SELECT in the text protocol gives them, to the same cells that the binary log
 * gives. The session must have `character_set_results = NULL` (bytes come in the charset of the column), `time_zone = '+00:00'`
 * and no `PAD_CHAR_TO_FULL_LENGTH`, and select each column by its `copyExpression`.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';
import { isGeometry, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import { requireTranscoder } from '../charset/transcoder.ts';
import { bitsCell, geometryCell } from './bytes.ts';
import { checkDate } from './calendar.ts';
import type { CellWriter } from './cell-writer.ts';
import { float32Cell, float64Cell } from './floats.ts';
import { textCell } from './text.ts';
import type { ValueOptions } from './value-options.ts';
import { vectorCell } from './vector.ts';

/** Writes `bytes[start .. end)`, a value that is not NULL, as one cell. @throws TidemarkError `MYSQL_VALUE`, `MYSQL_TEXT`, `MYSQL_ZERO_DATE` */
export type CopyValue = (bytes: Buffer, start: number, end: number, out: CellWriter) => void;

/**
 * What to select. Servers print a float with six digits only, and a double with as many decimals as its definition names;
 * times 1e0 it becomes a double of all its digits, and a negative zero stays one.
 * @param column as SQL writes it, quoted
 */
export function copyExpression({ name }: MysqlType, column: string): string {
  return name === 'float' || name === 'double' ? `${column} * 1e0` : column;
}

const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NUMBER = /^-?\d+(?:\.\d+)?(?:e-?\d+)?$/;

/** @throws TidemarkError `MYSQL_TYPE_UNKNOWN`, `MYSQL_TEXT` for a charset that is not known */
export function copyValueOf(type: MysqlType, { zeroDates, invalidText }: ValueOptions): CopyValue {
  const refuse = zeroDates === 'refuse';
  const bits = type.length ?? 1;
  const name: string = type.name;
  switch (name) {
    case 'tinyint':
    case 'smallint':
    case 'mediumint':
    case 'int':
    case 'bigint':
    case 'year':
    case 'decimal':
      return numberText;
    case 'float':
      return (bytes, start, end, out) => float32Cell(out, numberOf(bytes, start, end));
    case 'double':
      return (bytes, start, end, out) => float64Cell(out, numberOf(bytes, start, end));
    case 'bit':
      return (bytes, start, end, out) => bitsCell(bytes, start, end, bits, out);
    case 'time':
      return (bytes, start, end, out) => out.text(bytes, start, withoutZeros(bytes, start, end));
    case 'date':
    case 'datetime':
      return (bytes, start, end, out) => {
        if (refuse) checkDateText(bytes, start);
        out.text(bytes, start, withoutZeros(bytes, start, end));
      };
    case 'timestamp':
      return (bytes, start, end, out) => {
        if (refuse) checkDateText(bytes, start);
        timestampText(bytes, start, withoutZeros(bytes, start, end), out);
      };
    case 'vector':
      return vectorCell;
    case 'json':
    case 'uuid':
    case 'inet4':
    case 'inet6':
      return (bytes, start, end, out) => out.text(bytes, start, end);
    case 'other':
      throw new TidemarkError('MYSQL_TYPE_UNKNOWN', `the type ${type.text} is not known`);
    default:
      return contentOf(type, invalidText);
  }
}

function contentOf({ name, charset }: MysqlType, invalidText: ValueOptions['invalidText']): CopyValue {
  if (isGeometry(name)) return geometryCell;
  if (charset === null) return (bytes, start, end, out) => out.binary(bytes, start, end);
  const transcoder = requireTranscoder(charset, invalidText);
  const trim = name === 'char';
  return (bytes, start, end, out) => textCell(transcoder, trim, bytes, start, end, out);
}

/** Without the zeros that `zerofill` (and a year of zero) have in front. */
function numberText(bytes: Buffer, start: number, end: number, out: CellWriter): void {
  const first = bytes[start] === MINUS ? start + 1 : start;
  let digit = first;
  while (digit + 1 < end && bytes[digit] === ZERO && bytes[digit + 1] !== POINT) digit++;
  // Numbers below zero are never filled.
  out.text(bytes, digit === first ? start : digit, end);
}

function numberOf(bytes: Buffer, start: number, end: number): number {
  const text = bytes.toString('latin1', start, end);
  if (!NUMBER.test(text)) throw new TidemarkError('MYSQL_VALUE', `a number of ${end - start} characters cannot be read`);
  return Number(text);
}

/** Where the text ends without the zeros at the end of a fraction. */
function withoutZeros(bytes: Buffer, start: number, end: number): number {
  let last = end;
  while (last > start && bytes[last - 1] === ZERO) last--;
  if (bytes[last - 1] === POINT) return last - 1;
  for (let at = last - 1; at >= start; at--) if (bytes[at] === POINT) return last;
  return end;
}

function timestampText(bytes: Buffer, start: number, end: number, out: CellWriter): void {
  const to = out.open(end - start + 3);
  const into = out.bytes;
  bytes.copy(into, to, start, end);
  const zone = to + end - start;
  into[zone] = 0x2b;
  into[zone + 1] = ZERO;
  into[zone + 2] = ZERO;
  out.close(Cell.text, zone + 3);
}

function checkDateText(bytes: Buffer, start: number): void {
  const digits = (from: number, to: number): number => Number(bytes.toString('latin1', start + from, start + to));
  checkDate(digits(0, 4), digits(5, 7), digits(8, 10));
}
