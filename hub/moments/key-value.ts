/** What people write after `--key` and `--where`, and the key or the cells that it stands for. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { buildKey } from '../../contracts/key.ts';
import { tableName, type Column, type TableSchema } from '../../contracts/schema.ts';
import { baseType, type LogicalType } from '../../contracts/types/logical-type.ts';

/** A column and the canonical bytes that it is to have; null: SQL NULL. */
export interface Condition {
  /** Index into the schema's columns. */
  readonly column: number;
  readonly value: Buffer | null;
}

/**
 * The conditions of `COLUMN=VALUE` texts; of a table whose key is one column the value alone stands for that column. A
 * value is canonical text as `read` prints it; bytes are `\x` and hexadecimal digits.
 * @throws TidemarkError `MOMENT_KEY`
 */
export function parseConditions(texts: readonly string[], schema: TableSchema): Condition[] {
  const conditions = texts.map((text) => parseCondition(text, schema));
  const twice = conditions.find(({ column }, index) => conditions.findIndex((other) => other.column === column) !== index);
  if (twice !== undefined) throw wrong(schema, `column ${schema.columns[twice.column]?.name} is named twice`);
  return conditions;
}

function parseCondition(text: string, schema: TableSchema): Condition {
  const equals = text.indexOf('=');
  const column = equals < 0 ? -1 : schema.columns.findIndex(({ name }) => name === text.slice(0, equals));
  if (column >= 0) return { column, value: valueOf(text.slice(equals + 1), schema, column) };
  const [only] = schema.key;
  const isValue = only !== undefined && schema.key.length === 1;
  // What looks like COLUMN=VALUE and is no value of the key is meant to name a column.
  if (isValue && (equals < 0 || !isMalformed(text, schema.columns[only]))) return { column: only, value: valueOf(text, schema, only) };
  throw wrong(schema, equals < 0 ? `'${text}' names no column` : `it has no column ${text.slice(0, equals)}`);
}

/**
 * The key that the conditions name; null when they do not name each of its columns, or more.
 * @throws TidemarkError `MOMENT_KEY` for a key column that is null
 */
export function keyOf(conditions: readonly Condition[], schema: TableSchema): Buffer | null {
  if (schema.key.length === 0 || conditions.length !== schema.key.length) return null;
  const values: Buffer[] = [];
  for (const column of schema.key) {
    const condition = conditions.find((other) => other.column === column);
    if (condition === undefined) return null;
    if (condition.value === null) throw wrong(schema, `column ${schema.columns[column]?.name} of its key is never null`);
    values.push(condition.value);
  }
  return buildKey(values);
}

/** The key that the texts name. @throws TidemarkError `MOMENT_KEY` when they do not name it, and nothing else */
export function wholeKey(texts: readonly string[], schema: TableSchema): Buffer {
  if (schema.key.length === 0) throw wrong(schema, 'it has no key, by which one row could be told from another');
  const key = keyOf(parseConditions(texts, schema), schema);
  if (key === null) throw wrong(schema, 'each column of its key is to be named, and no other');
  return key;
}

function valueOf(text: string, schema: TableSchema, index: number): Buffer | null {
  const column = schema.columns[index];
  if (text === 'NULL' && !schema.key.includes(index)) return null;
  if (column !== undefined && isMalformed(text, column)) throw wrong(schema, `'${text}' is no ${column.nativeType}, as which column ${column.name} is declared`);
  if (column === undefined || baseType(column.type).kind !== 'bytes') return Buffer.from(canonical(text, column), 'utf8');
  return Buffer.from(text.slice(2), 'hex');
}

function isMalformed(text: string, column: Column | undefined): boolean {
  return column !== undefined && MALFORMED[baseType(column.type).kind]?.test(text) === true;
}

/** What no value of a type looks like. */
const MALFORMED: Readonly<Partial<Record<LogicalType['kind'], RegExp>>> = {
  int16: /^(?![+-]?\d{1,20}$)/,
  int32: /^(?![+-]?\d{1,20}$)/,
  int64: /^(?![+-]?\d{1,20}$)/,
  uint64: /^(?![+-]?\d{1,20}$)/,
  uuid: /^(?![0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$)/i,
  bool: /^(?!(t|f|true|false)$)/,
  bytes: /^(?!\\x([0-9a-f]{2})*$)/i,
};

/** Forms of a value that mean the same and are written in one way only. */
function canonical(text: string, column: Column | undefined): string {
  const kind: string = column === undefined ? '' : baseType(column.type).kind;
  if (/^u?int/.test(kind)) return BigInt(text.replace(/^\+/, '')).toString();
  if (kind === 'uuid') return text.toLowerCase();
  return kind === 'bool' ? text.slice(0, 1) : text;
}

function wrong(schema: TableSchema, why: string): TidemarkError {
  const table = tableName(schema);
  const key = schema.key.map((column) => schema.columns[column]?.name ?? '').join(', ');
  return new TidemarkError('MOMENT_KEY', `the row of ${table} cannot be told: ${why}${key === '' ? '' : ` (its key is ${key})`}`, { where: { table } });
}
