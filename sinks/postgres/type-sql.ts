/** Types that a table needs at the replica: which of them can be made from what the log says, and how. Pure. */
import type { LogicalType, SimpleKind } from '../../contracts/types/logical-type.ts';
import { ident, literal } from './sql.ts';

export interface CompositeField {
  readonly name: string;
  readonly sql: string;
}

/** A type made by users at the source that can be created from the log. */
export interface CreatableType {
  /** As the log names it: `shop.mood`. */
  readonly name: string;
  readonly create: string;
  /** Of an enum, in their order; null for other types. */
  readonly labels: readonly string[] | null;
  /** Of a composite type, in their order; null for other types. */
  readonly fields: readonly CompositeField[] | null;
}

/**
 * The creatable types of a column's type, innermost first. A multirange comes into being with its range, which the log
 * does not name: the replica must have it.
 */
export function creatableTypes(type: LogicalType): CreatableType[] {
  if (type.kind === 'array') return creatableTypes(type.element);
  if (type.kind === 'enum') {
    const create = `CREATE TYPE ${quotedTypeName(type.name)} AS ENUM (${type.labels.map(literal).join(', ')})`;
    return [{ name: type.name, create, labels: type.labels, fields: null }];
  }
  if (type.kind === 'domain') {
    const create = `CREATE DOMAIN ${quotedTypeName(type.name)} AS ${typeSql(type.base)}`;
    return [...creatableTypes(type.base), { name: type.name, create, labels: null, fields: null }];
  }
  if (type.kind === 'composite') {
    const fields = type.fields.map((field) => ({ name: field.name, sql: typeSql(field.type) }));
    const create = `CREATE TYPE ${quotedTypeName(type.name)} AS (${fields.map((field) => `${ident(field.name)} ${field.sql}`).join(', ')})`;
    return [...type.fields.flatMap((field) => creatableTypes(field.type)), { name: type.name, create, labels: null, fields }];
  }
  // Built-in ranges have no schema in their name.
  if (type.kind === 'range' && type.name.includes('.')) {
    const create = `CREATE TYPE ${quotedTypeName(type.name)} AS RANGE (SUBTYPE = ${typeSql(type.element)})`;
    return [...creatableTypes(type.element), { name: type.name, create, labels: null, fields: null }];
  }
  return [];
}

/**
 * Statements that bring the labels of an enum from `have` to hold all of `want`, in the order of `want`. A label is
 * renamed where as many stand there as are wanted and only the name differs.
 */
export function enumChanges(quoted: string, have: readonly string[], want: readonly string[]): string[] {
  const labels = [...have];
  const statements: string[] = [];
  for (const [index, label] of have.length === want.length ? want.entries() : []) {
    const old = have[index];
    if (old === undefined || labels.includes(label) || want.includes(old)) continue;
    statements.push(`ALTER TYPE ${quoted} RENAME VALUE ${literal(old)} TO ${literal(label)}`);
    labels[index] = label;
  }
  for (const [index, label] of want.entries()) {
    if (labels.includes(label)) continue;
    const before = want.slice(0, index).findLast((other) => labels.includes(other));
    const first = labels[0];
    const place = before !== undefined ? ` AFTER ${literal(before)}` : first !== undefined ? ` BEFORE ${literal(first)}` : '';
    statements.push(`ALTER TYPE ${quoted} ADD VALUE IF NOT EXISTS ${literal(label)}${place}`);
    labels.splice(before === undefined ? 0 : labels.indexOf(before) + 1, 0, label);
  }
  return statements;
}

/**
 * Statements that bring the fields of a composite type from `have` to `want`; null when they cannot be brought into that
 * order. Fields come at the end; one that differs in name alone is renamed.
 */
export function compositeChanges(quoted: string, have: readonly string[], want: readonly CompositeField[]): string[] | null {
  const names = want.map((field) => field.name);
  if (have.length === want.length) {
    const renamed = have.filter((old, index) => old !== names[index]);
    if (renamed.some((old) => names.includes(old))) return null;
    return renamed.map((old) => `ALTER TYPE ${quoted} RENAME ATTRIBUTE ${ident(old)} TO ${ident(names[have.indexOf(old)] ?? old)} CASCADE`);
  }
  const kept = have.filter((old) => names.includes(old));
  if (kept.some((old, index) => old !== names[index])) return null;
  return [
    ...have.filter((old) => !names.includes(old)).map((old) => `ALTER TYPE ${quoted} DROP ATTRIBUTE ${ident(old)} CASCADE`),
    ...want.slice(kept.length).map((field) => `ALTER TYPE ${quoted} ADD ATTRIBUTE ${ident(field.name)} ${field.sql} CASCADE`),
  ];
}

/** Schema and name of a type as the log names it. */
export function splitTypeName(name: string): { schema: string; name: string } {
  const dot = name.indexOf('.');
  return dot < 0 ? { schema: 'pg_catalog', name } : { schema: name.slice(0, dot), name: name.slice(dot + 1) };
}

export function quotedTypeName(name: string): string {
  const parts = splitTypeName(name);
  return `${ident(parts.schema)}.${ident(parts.name)}`;
}

/** A logical type as Postgres writes it: for parts of types, where the log has no native text. */
function typeSql(type: LogicalType): string {
  if (isSimple(type)) return SIMPLE[type.kind];
  switch (type.kind) {
    case 'decimal':
      return type.precision === null ? 'numeric' : `numeric(${type.precision}, ${type.scale ?? 0})`;
    case 'text':
      return textSql(type);
    case 'bit':
      return `${type.varying ? 'bit varying' : 'bit'}${type.length === null ? '' : `(${type.length})`}`;
    case 'time':
      return `time(${type.digits})`;
    case 'timetz':
      return `time(${type.digits}) with time zone`;
    case 'timestamp':
      return `timestamp(${type.digits})`;
    case 'timestamptz':
      return `timestamp(${type.digits}) with time zone`;
    case 'interval':
      return `interval(${type.digits})`;
    case 'enum':
    case 'set':
    case 'composite':
    case 'domain':
    case 'range':
    case 'multirange':
      return quotedTypeName(type.name);
    case 'array':
      return `${typeSql(type.element)}[]`;
    case 'vector':
      return type.dimensions === null ? 'vector' : `vector(${type.dimensions})`;
    case 'unknown':
      return type.nativeType;
  }
}

function textSql(type: Extract<LogicalType, { kind: 'text' }>): string {
  if (type.length === null) return 'text';
  return `${type.fixed ? 'character' : 'character varying'}(${type.length})`;
}

const SIMPLE: Readonly<Record<SimpleKind, string>> = {
  bool: 'boolean',
  int16: 'smallint',
  int32: 'integer',
  int64: 'bigint',
  uint64: 'numeric(20)',
  float32: 'real',
  float64: 'double precision',
  bytes: 'bytea',
  uuid: 'uuid',
  date: 'date',
  json: 'json',
  inet: 'inet',
  cidr: 'cidr',
  macaddr: 'macaddr',
  money: 'money',
  hstore: 'hstore',
  ltree: 'ltree',
  tsvector: 'tsvector',
  xml: 'xml',
  geometry: 'geometry',
};

function isSimple(type: LogicalType): type is { readonly kind: SimpleKind } {
  return type.kind in SIMPLE;
}
