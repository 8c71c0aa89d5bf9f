/** Statements that read rows. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { readKey } from '../../../contracts/key.ts';
import { quoteIdentifier, quoteTable } from '../quote.ts';
import { copyExpression } from '../values/copy-values.ts';
import { keyLiteral, membersBehind, orderEqual, orderExpression, orderLiteral } from './key-literals.ts';
import type { Bound, KeyRange } from './key-ranges.ts';
import type { KeyPart, ReadTable } from './read-table.ts';

/** All rows, in no order. */
export function selectAll(table: ReadTable): string {
  return `SELECT ${table.selection} FROM ${quoteTable(table.schema)}`;
}

/** Takes the lock on the table's definition that any statement takes, and holds it until the transaction ends. */
export function touch({ schema }: Pick<ReadTable, 'schema'>): string {
  return `SELECT 1 FROM ${quoteTable(schema)} LIMIT 0`;
}

/** Rows of a range in the order of the index, at most `limit`. */
export function selectRange(table: ReadTable, range: KeyRange, limit: number): string {
  return `SELECT ${table.selection} FROM ${indexed(table)}${whereOf(table, range)} ORDER BY ${orderOf(table)} LIMIT ${limit}`;
}

/** The place of the first or the last row of a range, by which the server orders it: a value for each part of the key. */
export function selectPlace(table: ReadTable, range: KeyRange, which: 'first' | 'last'): string {
  const values = table.keyParts.map(({ column, type }) => orderExpression(type, quoteIdentifier(column)) ?? copyExpression(type, quoteIdentifier(column)));
  return `SELECT ${values.join(', ')} FROM ${indexed(table)}${whereOf(table, range)} ORDER BY ${orderOf(table, which === 'last')} LIMIT 1`;
}

/** How many rows of a range the server expects: MySQL looks into an index that it is free to use, not into one that it must. */
export function explainRange(table: ReadTable, range: KeyRange): string {
  const { schema, index } = table;
  return `EXPLAIN FORMAT = TRADITIONAL SELECT 1 FROM ${quoteTable(schema)} USE INDEX (${quoteIdentifier(index)})${whereOf(table, range)}`;
}

/** The rows that are there of given canonical keys. Written as equalities of the columns, which every server looks up by index. */
export function selectKeys(table: ReadTable, keys: readonly Uint8Array[]): string {
  return `SELECT ${table.selection} FROM ${indexed(table)} WHERE ${keys.map((key) => `(${equal(table, key)})`).join(' OR ')}`;
}

function equal({ keyParts, schema }: ReadTable, key: Uint8Array): string {
  const values = readKey(key);
  if (values.length !== keyParts.length) throw new TidemarkError('RECORD_CORRUPT', `a key has ${values.length} values and the table's key ${keyParts.length} columns`);
  // Canonical keys are in the schema's order of the key, which is that of the index.
  return schema.key.map((_, place) => {
    const { column, type } = keyParts[place] as KeyPart;
    return `${quoteIdentifier(column)} = ${keyLiteral(type, values[place] as Buffer)}`;
  }).join(' AND ');
}

function indexed({ schema, index }: ReadTable): string {
  return `${quoteTable(schema)} FORCE INDEX (${quoteIdentifier(index)})`;
}

function orderOf({ keyParts }: ReadTable, reversed = false): string {
  return keyParts.map(({ column, isDescending }) => `${quoteIdentifier(column)}${isDescending !== reversed ? ' DESC' : ''}`).join(', ');
}

function whereOf({ keyParts }: ReadTable, { after, to }: KeyRange): string {
  const conditions = [...(after === null ? [] : [behind(keyParts, after)]), ...(to === null ? [] : [upTo(keyParts, to)])];
  return conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
}

/**
 * Servers use an index for comparisons of columns, not for those of whole rows. The first comparison alone is what it is
 * searched by, whatever else there is.
 */
function behind(parts: readonly KeyPart[], bound: Bound): string {
  return walk(parts, bound, (part) => (part.isDescending ? '<' : '>'), false);
}

function upTo(parts: readonly KeyPart[], bound: Bound): string {
  return walk(parts, bound, (part) => (part.isDescending ? '>' : '<'), true);
}

function walk(parts: readonly KeyPart[], bound: Bound, strict: (part: KeyPart) => '<' | '>', includes: boolean): string {
  const compared = (place: number, equals: boolean): string => {
    const part = parts[place];
    const value = bound[place];
    if (part === undefined || value === undefined) throw new TidemarkError('RECORD_CORRUPT', 'a place in a table has more columns than its key');
    const side = strict(part);
    const members = side === '>' ? membersBehind(part.type, value, equals) : null;
    if (members !== null) return `${quoteIdentifier(part.column)} IN (${members})`;
    return `${quoteIdentifier(part.column)} ${side}${equals ? '=' : ''} ${orderLiteral(part.type, value)}`;
  };
  const same = (place: number): string => `${quoteIdentifier((parts[place] as KeyPart).column)} = ${orderEqual((parts[place] as KeyPart).type, bound[place] as Buffer)}`;
  const last = bound.length - 1;
  let condition = compared(last, includes);
  for (let place = last - 1; place >= 0; place--) condition = `(${compared(place, false)} OR (${same(place)} AND ${condition}))`;
  return last === 0 ? condition : `${compared(0, true)} AND ${condition}`;
}
