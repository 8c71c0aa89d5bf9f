/**
 * What a canonical value becomes in a Parquet file: a value of the type that says most about it, and exactly that value.
 * What does not fit (an infinite date, NaN in a decimal) is an error; types that have no exact counterpart are text.
 */
import type { SchemaElement } from 'hyparquet-writer';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { ColumnJson } from '../../api/moments/schemas.ts';

export type ParquetValue = string | number | bigint | boolean | Uint8Array;

export interface ParquetColumn {
  readonly element: SchemaElement;
  /** @throws TidemarkError `MOMENT_VALUE` */
  valueOf(text: string): ParquetValue;
}

type Physical = Omit<SchemaElement, 'name' | 'repetition_type'>;

interface Mapping {
  readonly physical: Physical;
  /** Null: the value does not fit. */
  readonly valueOf: (text: string) => ParquetValue | null;
}

const TEXT: Mapping = { physical: { type: 'BYTE_ARRAY', converted_type: 'UTF8' }, valueOf: (text) => text };
const INT32: Mapping = { physical: { type: 'INT32' }, valueOf: (text) => (/^-?\d+$/.test(text) ? Number(text) : null) };
const INTEGER = (text: string): bigint | null => (/^-?\d+$/.test(text) ? BigInt(text) : null);
/** Canonical text of a float is the shortest that reads back as the same value; NaN and infinities are values. */
const FLOAT = (text: string): number | null => (text !== '' && (text === 'NaN' || !Number.isNaN(Number(text))) ? Number(text) : null);

/** The column of a Parquet file for a column of a table; `asText`: its canonical text, whatever its type. */
export function parquetColumn({ name, logical, type }: ColumnJson, asText: boolean): ParquetColumn {
  const { physical, valueOf } = asText ? (logical.kind === 'bytes' ? BYTES : TEXT) : mappingOf(logical);
  return {
    element: { name, repetition_type: 'OPTIONAL', ...physical },
    valueOf(text) {
      const value = valueOf(text);
      if (value === null) throw new TidemarkError('MOMENT_VALUE', `a value of column ${name} (${type}) has no counterpart in Parquet`, { where: { column: name } });
      return value;
    },
  };
}

/** Bytes reach their column as bytes, and only broken ones as text. */
const BYTES: Mapping = { physical: { type: 'BYTE_ARRAY' }, valueOf: () => null };

function mappingOf(type: ColumnJson['logical']): Mapping {
  switch (type.kind) {
    case 'domain':
      return mappingOf(domainBase(type));
    case 'bool':
      return { physical: { type: 'BOOLEAN' }, valueOf: (text) => (text === 't' ? true : text === 'f' ? false : null) };
    case 'int16':
    case 'int32':
      return INT32;
    case 'int64':
      return { physical: { type: 'INT64' }, valueOf: INTEGER };
    case 'uint64':
      return { physical: { type: 'INT64', converted_type: 'UINT_64' }, valueOf: INTEGER };
    case 'float32':
      return { physical: { type: 'FLOAT' }, valueOf: FLOAT };
    case 'float64':
      return { physical: { type: 'DOUBLE' }, valueOf: FLOAT };
    case 'decimal':
      return decimalMapping(numberIn(type, 'precision'), numberIn(type, 'scale'));
    case 'bytes':
      return BYTES;
    case 'uuid':
      return { physical: { type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16, logical_type: { type: 'UUID' } }, valueOf: uuidBytes };
    case 'json':
      return { physical: { type: 'BYTE_ARRAY', logical_type: { type: 'JSON' } }, valueOf: (text) => Buffer.from(text, 'utf8') };
    case 'date':
      return { physical: { type: 'INT32', converted_type: 'DATE' }, valueOf: dateDays };
    case 'timestamp':
    case 'timestamptz': {
      const isAdjustedToUTC = type.kind === 'timestamptz';
      return { physical: { type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC, unit: 'MICROS' } }, valueOf: (text) => timestampMicros(text, isAdjustedToUTC) };
    }
    default:
      return TEXT;
  }
}

function domainBase(type: ColumnJson['logical']): ColumnJson['logical'] {
  const base: unknown = 'base' in type ? type.base : undefined;
  return typeof base === 'object' && base !== null && 'kind' in base && typeof base.kind === 'string' ? { ...base, kind: base.kind } : { kind: 'text' };
}

function numberIn(type: object, member: 'precision' | 'scale'): number | null {
  const value: unknown = member in type ? Reflect.get(type, member) : null;
  return typeof value === 'number' ? value : null;
}

/** Decimals without a declared precision, or with one that Parquet has not, stay text. */
function decimalMapping(precision: number | null, scale: number | null): Mapping {
  if (precision === null || scale === null || precision > 38 || scale < 0 || scale > precision) return TEXT;
  const decimal = { converted_type: 'DECIMAL', precision, scale } as const;
  const physical: Physical = precision <= 18 ? { type: 'INT64', ...decimal } : { type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16, ...decimal };
  return { physical, valueOf: (text) => unscaled(text, scale) };
}

function unscaled(text: string, scale: number): bigint | null {
  const parts = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (parts === null) return null;
  const [, sign, whole = '', fraction = ''] = parts;
  if (fraction.length > scale) return null;
  const digits = BigInt(`${whole}${fraction.padEnd(scale, '0')}`);
  return sign === '-' ? -digits : digits;
}

function uuidBytes(text: string): Uint8Array | null {
  const hex = text.replaceAll('-', '');
  return /^[0-9a-f]{32}$/i.test(hex) ? Buffer.from(hex, 'hex') : null;
}

const DATE = /^(\d{4,7})-(\d{2})-(\d{2})( BC)?$/;
const TIMESTAMP = /^(\d{4,7}-\d{2}-\d{2}) (\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?(\+00)?( BC)?$/;
const MICROS_PER_DAY = 86_400_000_000n;
const MAX_INT64 = (1n << 63n) - 1n;

/** Days since 1970 in the calendar that Postgres and Parquet count by, before 1582 too. */
function dateDays(text: string): number | null {
  const parts = DATE.exec(text);
  if (parts === null) return null;
  const [, year, month, day, era] = parts;
  return daysOf(era === undefined ? Number(year) : 1 - Number(year), Number(month), Number(day));
}

/** Years count from March, so that a leap day is the last of its year; 400 of them always have as many days. */
function daysOf(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

function timestampMicros(text: string, hasZone: boolean): bigint | null {
  const parts = TIMESTAMP.exec(text);
  if (parts === null) return null;
  const [, date, hour, minute, second, fraction = '', zone, era = ''] = parts;
  if ((zone !== undefined) !== hasZone) return null;
  const days = dateDays(`${date}${era}`);
  if (days === null) return null;
  const seconds = (Number(hour) * 60 + Number(minute)) * 60 + Number(second);
  const micros = BigInt(days) * MICROS_PER_DAY + BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
  return micros > MAX_INT64 || micros < -MAX_INT64 ? null : micros;
}
