import pg from 'pg';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { readKey } from '../../../contracts/key.ts';
import type { Column, TableSchema } from '../../../contracts/schema.ts';
import { baseType } from '../../../contracts/types/logical-type.ts';
import type { Comparison, KeyOperators } from './operators.ts';
import { sqlTid, type KeyRange, type TidRange } from './ranges.ts';

export const quoted = pg.escapeIdentifier;

/** The columns of a schema as a list for SELECT, in its order. */
function columnList(schema: TableSchema, alias = ''): string {
  return schema.columns.map((column) => alias + quoted(column.name)).join(', ');
}

/** @param leaf the leaf's qualified name */
export function copyTids(schema: TableSchema, leaf: string, { from, to }: TidRange): string {
  const end = to === null ? '' : ` AND ctid < '${sqlTid(to)}'::tid`;
  return copyTo(`SELECT ${columnList(schema)} FROM ONLY ${leaf} WHERE ctid >= '${sqlTid(from)}'::tid${end}`);
}

/** All rows of a leaf. @param where a condition; '' for none */
export function copyLeaf(schema: TableSchema, leaf: string, where = ''): string {
  return copyTo(`SELECT ${columnList(schema)} FROM ONLY ${leaf}${where === '' ? '' : ` WHERE ${where}`}`);
}

/** A place in the order of keys. @param from the table's name, with ONLY where it is not partitioned */
export interface KeyedSource {
  readonly schema: TableSchema;
  readonly from: string;
  readonly operators: KeyOperators;
}

/** Rows in key order, at most `limit`. */
export function copyKeys({ schema, from, operators }: KeyedSource, { after, to }: KeyRange, limit: number): string {
  const key = keyColumns(schema);
  const names = key.map((column) => quoted(column.name)).join(', ');
  const conditions = [
    ...(after === null ? [] : [beyond(key, after, '>', operators)]),
    ...(to === null ? [] : [beyond(key, to, '<=', operators)]),
  ];
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  return copyTo(`SELECT ${columnList(schema)} FROM ${from}${where} ORDER BY ${names} LIMIT ${limit}`);
}

/** Keys on one side of `than`. Written out where a comparison of rows would not find the operators. */
function beyond(key: readonly Column[], than: Uint8Array, side: '>' | '<=', operators: KeyOperators): string {
  const values = literals(key, than);
  if (operators.arePlain) return `(${key.map((column) => quoted(column.name)).join(', ')}) ${side} (${values.join(', ')})`;
  const strict = side === '>' ? '>' : '<';
  const compared = (at: number, comparison: Comparison): string => {
    const { name, number } = key[at] as Column;
    return `${quoted(name)} ${operators.of(number, comparison)} ${values[at] ?? ''}`;
  };
  let condition = compared(key.length - 1, side);
  for (let at = key.length - 2; at >= 0; at--) condition = `(${compared(at, strict)} OR (${compared(at, '=')} AND ${condition}))`;
  // What the first column alone says is what an index is searched by.
  return key.length === 1 ? condition : `${compared(0, side === '>' ? '>=' : '<=')} AND ${condition}`;
}

/** The rows of given keys. */
export function copyRows({ schema, from, operators }: KeyedSource, keys: readonly Uint8Array[]): string {
  const key = keyColumns(schema);
  const places = key.map((_, index) => `k${index}`);
  const equal = key.map((column, index) => `t.${quoted(column.name)} ${operators.of(column.number, '=')} v.k${index}`).join(' AND ');
  const values = keys.map((one) => `(${literals(key, one).join(', ')})`).join(', ');
  return copyTo(`SELECT ${columnList(schema, 't.')} FROM ${from} AS t, (VALUES ${values}) AS v(${places.join(', ')}) WHERE ${equal}`);
}

function copyTo(select: string): string {
  return `COPY (${select}) TO STDOUT`;
}

function keyColumns(schema: TableSchema): Column[] {
  return schema.key.map((index) => schema.columns[index] as Column);
}

/** The values of a key as literals of the columns' types. @throws TidemarkError `RECORD_CORRUPT` */
function literals(columns: readonly Column[], key: Uint8Array): string[] {
  const values = readKey(key);
  if (values.length !== columns.length) {
    throw new TidemarkError('RECORD_CORRUPT', `a key has ${values.length} values and the table's key ${columns.length} columns`);
  }
  return columns.map((column, index) => {
    const value = values[index] as Buffer;
    const text = baseType(column.type).kind === 'bytes' ? `\\x${value.toString('hex')}` : value.toString('utf8');
    return `${pg.escapeLiteral(text)}::${column.nativeType}`;
  });
}
