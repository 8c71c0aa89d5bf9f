import type { ModelCell, ModelColumn, ModelRow } from './sink-model.ts';

/** The columns of the kit's tables: what sinks most often get wrong is text, bytes and null. */
export const KIT_COLUMNS: readonly ModelColumn[] = [
  { name: 'id', type: { kind: 'int64' }, nativeType: 'bigint', nullable: false },
  { name: 'name', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text' },
  { name: 'amount', type: { kind: 'decimal', precision: null, scale: null }, nativeType: 'numeric' },
  { name: 'data', type: { kind: 'bytes' }, nativeType: 'bytea' },
  { name: 'flag', type: { kind: 'bool' }, nativeType: 'boolean' },
];

const TEXTS: readonly string[] = [
  '', ' ', '\\', '\\N', '\\.', '\\x00', '\t', '\n', '\r\n', 'null', 'NULL', "it's", '"quoted"', '{a,b}', '(1,2)', '$1',
  'grüße', '日本語', '🙂', '\u0001', 'a\u0300', '%s', '{id}', ' leading and trailing ',
];

const AMOUNTS: readonly string[] = ['0', '-1', '0.10', '99999999999999999999.000000001', 'NaN', '1', '-0.5'];

/** A row of {@link KIT_COLUMNS} with edge values. @param next numbers from 0 to 1 */
export function randomRow(id: number, next: () => number): ModelRow {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)] as T;
  const maybe = (value: ModelCell): ModelCell => (next() < 0.2 ? null : value);
  const text = next() < 0.05 ? 'wide '.repeat(2_000) : `${pick(TEXTS)}${next() < 0.5 ? pick(TEXTS) : ''}`;
  const bytes = Buffer.from(Array.from({ length: Math.floor(next() * 12) }, () => Math.floor(next() * 256)));
  return [String(id), maybe(text), maybe(pick(AMOUNTS)), maybe(bytes), maybe(next() < 0.5 ? 't' : 'f')];
}
