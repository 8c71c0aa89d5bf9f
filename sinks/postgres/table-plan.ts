/** How the columns of a source table are written to the replica's table, and the statements for it. Pure. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { printedName } from '../relational/names.ts';
import type { ColumnForm, ValueForm } from './array-parameters.ts';
import { isBinaryType } from './binary-values.ts';
import { findingIndex, type ReplicaColumn, type ReplicaIndex, type ReplicaTable, upsertIndex } from './replica-table.ts';
import { ident, qualified, rowsOf } from './sql.ts';

export interface PlannedColumn {
  /** Index in the source's schema. */
  readonly source: number;
  readonly target: ReplicaColumn;
  readonly form: ValueForm;
}

/** `t` is the table, `source` the keys as rows `s`. */
export interface KeyMatch {
  readonly columns: readonly ReplicaColumn[];
  readonly source: string;
  readonly condition: string;
  readonly remove: string;
}

/** The statements of one table, made once for each shape. Arrays are parameters $1, $2, ... in column order. */
export interface TablePlan {
  readonly schema: TableSchema;
  readonly table: ReplicaTable;
  readonly columns: readonly PlannedColumn[];
  /** By index in the source's schema. */
  readonly forms: readonly ColumnForm[];
  readonly wanted: readonly boolean[];
  readonly keyForms: readonly ValueForm[];
  readonly keyed: boolean;
  /** Null: the replica has no index that serves an upsert, or a column that cannot be updated. */
  readonly upsert: string | null;
  readonly insert: string;
  readonly copy: string;
  /** The same COPY in the binary format; null: a column has no binary form that is sure. */
  readonly copyBinary: string | null;
  /** Finds rows by keys given as arrays; null for a keyless table. */
  readonly keys: KeyMatch | null;
  /** False: rows are found by reading the whole table. */
  readonly removeByIndex: boolean;
  /** Columns of the replica's own that a deleted and inserted row would lose. */
  readonly extraColumns: readonly ReplicaColumn[];
  /** For rows with a value that has no binary form: every value as text. Null: this is that plan. */
  readonly asText: TablePlan | null;
}

/** @throws TidemarkError `REPLICA_SHAPE` when the replica's table cannot hold the rows */
export function planTable(schema: TableSchema, table: ReplicaTable): TablePlan {
  return planForms(schema, table, planForms(schema, table, null));
}

/** @param asText the plan whose values all go as text; null: this is to be it */
function planForms(schema: TableSchema, table: ReplicaTable, asText: TablePlan | null): TablePlan {
  if (table.kind !== 'r' && table.kind !== 'p') {
    throw new TidemarkError('REPLICA_SHAPE', `${printedName(table.name)} is not a table`, { where: { table: tableName(schema) } });
  }
  const columns = plannedColumns(schema, table, asText !== null);
  const key = schema.key.map((index) => {
    const column = columns.find((planned) => planned.source === index);
    if (column === undefined) throw missing(schema, table, schema.columns[index]?.name ?? `#${index}`);
    return column;
  });
  const keyNames = key.map((column) => column.target.name);
  const forms = schema.columns.map((_, index) => columns.find((column) => column.source === index)?.form ?? 'skip');
  const keyed = schema.keyKind !== 'none';
  const finding = keyed ? findingIndex(table, keyNames) : null;
  const written = new Set(columns.map((column) => column.target.name));
  return {
    schema,
    table,
    columns,
    forms,
    wanted: forms.map((form) => form !== 'skip'),
    keyForms: key.map((column) => column.form),
    keyed,
    insert: insertSql(table, columns),
    copy: `COPY ${qualified(table.name)} (${names(columns)}) FROM STDIN`,
    copyBinary: columns.every(isCopiedBinary) ? `COPY ${qualified(table.name)} (${names(columns)}) FROM STDIN (FORMAT binary)` : null,
    upsert: keyed ? upsertSql(table, columns, keyNames) : null,
    keys: keyed ? keyMatch(table, key, finding) : null,
    removeByIndex: finding !== null,
    extraColumns: table.columns.filter((column) => !column.generated && !written.has(column.name)),
    asText,
  };
}

/** `unnest($1::text[])::type AS "name", ...` for each column: rows from array parameters. */
export function rowsFromArrays(columns: readonly PlannedColumn[], firstParameter = 1): string {
  return columns.map((column, index) => `${valuesFromArray(column, index + firstParameter)} AS ${ident(column.target.name)}`).join(', ');
}

function valuesFromArray({ target, form }: PlannedColumn, parameter: number): string {
  const element = elementType(form);
  const array = `pg_catalog.unnest($${parameter}::${element}[])`;
  return target.castType === element ? array : read(array, target.castType);
}

/**
 * To these types a cast of text is a function of its own, which does not know all that the type prints (`-`, numbers,
 * escapes). From another type of text the cast is what COPY does: the type's input.
 */
const READ_THROUGH: ReadonlyMap<string, string> = new Map([
  ['pg_catalog.regclass', 'pg_catalog.bpchar'],
  ['pg_catalog."char"', 'pg_catalog.name'],
]);

function read(array: string, castType: string): string {
  const through = READ_THROUGH.get(castType);
  return through === undefined ? `${array}::${castType}` : `${array}::${through}::${castType}`;
}

function elementType(form: ValueForm): string {
  return `pg_catalog.${form === 'bytes' ? 'bytea' : form}`;
}

/** Types whose binary form is the bytes of their text. */
const TEXT_TYPES: ReadonlySet<string> = new Set(['pg_catalog.text', 'pg_catalog.varchar', 'pg_catalog.bpchar', 'pg_catalog.json']);

function isCopiedBinary({ target, form }: PlannedColumn): boolean {
  return form === 'text' ? TEXT_TYPES.has(target.castType) : target.castType === elementType(form);
}

function plannedColumns(schema: TableSchema, table: ReplicaTable, isBinary: boolean): PlannedColumn[] {
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  const planned: PlannedColumn[] = [];
  for (const [source, column] of schema.columns.entries()) {
    const target = byName.get(column.name);
    if (target === undefined) throw missing(schema, table, column.name);
    if (target.generated) continue;
    const type = target.castType.slice('pg_catalog.'.length);
    const isBytes = column.type.kind === 'bytes' && target.castType === 'pg_catalog.bytea';
    const form = isBytes ? 'bytes' : isBinary && isBinaryType(type) && elementType(type) === target.castType ? type : 'text';
    planned.push({ source, target, form });
  }
  return planned;
}

function missing(schema: TableSchema, table: ReplicaTable, column: string): TidemarkError {
  return new TidemarkError('REPLICA_SHAPE', `${printedName(table.name)} has no column ${column}`, { where: { table: tableName(schema) } });
}

function names(columns: readonly PlannedColumn[]): string {
  return columns.map((column) => ident(column.target.name)).join(', ');
}

function insertSql(table: ReplicaTable, columns: readonly PlannedColumn[]): string {
  return `INSERT INTO ${qualified(table.name)} (${names(columns)}) OVERRIDING SYSTEM VALUE SELECT ${rowsFromArrays(columns)}`;
}

function upsertSql(table: ReplicaTable, columns: readonly PlannedColumn[], keyNames: readonly string[]): string | null {
  if (upsertIndex(table, keyNames) === null) return null;
  const others = columns.filter((column) => !keyNames.includes(column.target.name) || !equalMeansSame(column.target));
  // An always-identity column takes no other value in an UPDATE.
  if (others.some((column) => column.target.identity === 'always')) return null;
  const action =
    others.length === 0
      ? 'DO NOTHING'
      : `DO UPDATE SET ${others.map(({ target }) => `${ident(target.name)} = excluded.${ident(target.name)}`).join(', ')}`;
  return `${insertSql(table, columns)} ON CONFLICT (${keyNames.map(ident).join(', ')}) ${action}`;
}

/** Types in which two values that are equal have the same bytes, so that a key that matches need not be written. */
const EXACT_TYPES: ReadonlySet<string> = new Set(
  ['int2', 'int4', 'int8', 'uuid', 'date', 'timestamp', 'timestamptz', 'bool', 'oid', 'bytea', 'text', 'varchar', 'time'].map((name) => `pg_catalog.${name}`),
);

function equalMeansSame(column: ReplicaColumn): boolean {
  return EXACT_TYPES.has(column.castType);
}

function keyMatch(table: ReplicaTable, key: readonly PlannedColumn[], index: ReplicaIndex | null): KeyMatch {
  const values = key
    .map((column, at) => `${valuesFromArray(column, at + 1)} AS k${at + 1}`)
    .join(', ');
  const conditions = key.map(({ target }, at) => {
    const operator = index?.keys.find((part) => part.column === target.name)?.operator ?? target.equality;
    const column = `t.${ident(target.name)}`;
    return operator === null
      ? `${column}::pg_catalog.text OPERATOR(pg_catalog.=) s.k${at + 1}::pg_catalog.text`
      : `${column} OPERATOR(${operator}) s.k${at + 1}`;
  });
  const source = `(SELECT ${values}) AS s`;
  const condition = conditions.join(' AND ');
  return {
    columns: key.map((column) => column.target),
    source,
    condition,
    remove: `DELETE FROM ${rowsOf(table)} AS t USING ${source} WHERE ${condition}`,
  };
}
