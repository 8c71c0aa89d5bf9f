/** Tables as the catalog of the server describes them, and what the log says of them. */
import type { ColumnRules } from '../../../contracts/config.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type Column, type KeyKind, type TableSchema } from '../../../contracts/schema.ts';
import { logicalType, type NativeTypes } from './types.ts';

export interface SourceColumn {
  /** attnum */
  readonly number: number;
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
  /** As DDL writes it. */
  readonly nativeType: string;
  readonly notNull: boolean;
  readonly generated: 'no' | 'stored' | 'virtual';
  /** The expression of a generated column; null for others. */
  readonly expression: string | null;
  readonly identity: 'no' | 'always' | 'by-default';
  readonly hasDefault: boolean;
  /** Canonical text of a constant default; null: none, or not a constant. */
  readonly constantDefault: string | null;
  /** Rows older than the column have a value that the catalog keeps (attmissingval). */
  readonly hasMissing: boolean;
  readonly missing: string | null;
}

export interface SourceTable {
  readonly oid: number;
  readonly namespace: string;
  readonly name: string;
  readonly partitioned: boolean;
  /** Its rows are published as its root's. */
  readonly isPartition: boolean;
  /** default, nothing, full, index */
  readonly identity: 'd' | 'n' | 'f' | 'i';
  /** Columns that exist, generated ones included, by attnum. */
  readonly columns: readonly SourceColumn[];
  /** attnums of columns that were dropped. */
  readonly dropped: readonly number[];
  /** attnums in key order; empty: none, or one that is checked only at commit and so cannot identify rows in between. */
  readonly primaryKey: readonly number[];
  /** attnums of the replica identity index in its order; empty: none. */
  readonly identityIndex: readonly number[];
  /** The files behind the table and its leaf partitions: changes when rows are rewritten, truncated, attached. */
  readonly storage: string;
  /** Some of its storage can hold values out of line. */
  readonly toastable: boolean;
  /** How the publication has the table: changes whenever somebody changes that, also there and back; null: it has it not. */
  readonly published: string | null;
  /** All of the above in short, to be compared for equality. */
  readonly fingerprint: string;
}

/** What identifies the rows of a table in the stream; null: nothing does. */
export function identityOf(table: SourceTable): { readonly kind: KeyKind; readonly numbers: readonly number[] } | null {
  switch (table.identity) {
    case 'n':
      return null;
    case 'i':
      if (table.identityIndex.length === 0) return null;
      return { kind: sameNumbers(table.identityIndex, table.primaryKey) ? 'primary' : 'identity', numbers: table.identityIndex };
    case 'd':
      return table.primaryKey.length === 0 ? null : { kind: 'primary', numbers: table.primaryKey };
    case 'f':
      return table.primaryKey.length === 0 ? { kind: 'none', numbers: [] } : { kind: 'primary', numbers: table.primaryKey };
  }
}

/** @throws TidemarkError `POSTGRES_IDENTITY` with the statement that mends it */
export function requireIdentity(table: SourceTable): { readonly kind: KeyKind; readonly numbers: readonly number[] } {
  const identity = identityOf(table);
  if (identity !== null) return identity;
  throw new TidemarkError('POSTGRES_IDENTITY', `${tableName(table)} has no primary key and no usable replica identity`, {
    where: { table: tableName(table) },
    remedy: `Add a primary key, or run: ${fullIdentityStatement(table)}`,
  });
}

export function fullIdentityStatement(table: Pick<SourceTable, 'namespace' | 'name'>): string {
  return `ALTER TABLE ${quoted(table)} REPLICA IDENTITY FULL`;
}

/** What makes a schema of a table: shared by stream and copy, so that both have the same columns. */
export interface SchemaRules {
  readonly types: NativeTypes;
  readonly rules: ColumnRules | null;
  /** Which generated columns the publication sends. */
  readonly generated: 'none' | 'stored';
  /** Text to its hash, for the fill value of a hashed column. */
  readonly hash: ((value: string) => string) | null;
  /** Which key that is; null: there is none. */
  readonly hashKeyName: string | null;
}

/**
 * The table's shape in the log, without table id and version (0): the columns that the stream has, left-out ones
 * removed, hashed ones as text.
 * @throws TidemarkError `POSTGRES_IDENTITY`, `POSTGRES_COLUMN_RULE`
 */
export function tableSchema(table: SourceTable, by: SchemaRules): TableSchema {
  const identity = requireIdentity(table);
  checkRules(table, by.rules, identity.numbers);
  const columns = table.columns.filter((column) => isStreamed(column, by)).map((column) => schemaColumn(column, by));
  return {
    tableId: 0,
    version: 0,
    sourceTableId: String(table.oid),
    namespace: table.namespace,
    name: table.name,
    columns,
    keyKind: identity.kind,
    key: identity.numbers.map((number) => columns.findIndex((column) => column.number === number)),
    ...(table.partitioned ? { storage: table.storage } : {}),
    ...(table.published === null ? {} : { published: table.published }),
    ...unseenColumns(table.columns.filter((column) => !isStreamed(column, by))),
  };
}

/** As a schema has them. */
export function unseenColumns(columns: readonly Pick<SourceColumn, 'number'>[]): Pick<TableSchema, 'unseen'> {
  return columns.length === 0 ? {} : { unseen: columns.map(({ number }) => number) };
}

/** True for a column of the table that has a place in the log. */
export function isStreamed(column: SourceColumn, by: Pick<SchemaRules, 'rules' | 'generated'>): boolean {
  return isPublished(column, by.generated) && by.rules?.exclude.includes(column.name) !== true;
}

/** True for a column that the server sends. */
export function isPublished(column: Pick<SourceColumn, 'generated'>, generated: 'none' | 'stored'): boolean {
  return column.generated === 'no' || (column.generated === 'stored' && generated === 'stored');
}

export function schemaColumn(column: SourceColumn, by: SchemaRules, hashed = by.rules?.hash.includes(column.name) === true): Column {
  const { number, name, nativeType, generated, identity } = column;
  const common = { number, name, nullable: !column.notNull, generated, identity };
  if (hashed) {
    const fill = column.missing === null || by.hash === null ? null : by.hash(column.missing);
    return {
      ...common, type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', constantDefault: null, fill,
      generated: 'no', identity: 'no', ...hashedBy(by),
    };
  }
  return {
    ...common,
    type: logicalType(by.types, column.typeOid, column.typmod, nativeType),
    nativeType,
    constantDefault: column.constantDefault,
    fill: column.missing,
  };
}

/** As a hashed column of a schema has it. */
export function hashedBy({ hashKeyName }: SchemaRules): Pick<Column, 'hashed'> {
  return hashKeyName === null ? {} : { hashed: hashKeyName };
}

/** The key column that a rule names; null: none does. A rule for a column that does not exist is no error here: it may have been dropped since. */
export function ruledKeyColumn(table: SourceTable, rules: ColumnRules | null, key: readonly number[]): string | null {
  if (rules === null) return null;
  const ruled = table.columns.find(({ name, number }) => key.includes(number) && (rules.exclude.includes(name) || rules.hash.includes(name)));
  return ruled?.name ?? null;
}

function checkRules(table: SourceTable, rules: ColumnRules | null, key: readonly number[]): void {
  const name = ruledKeyColumn(table, rules, key);
  if (name === null) return;
  throw new TidemarkError('POSTGRES_COLUMN_RULE', `${name} is a key column of ${tableName(table)}`, { where: { table: tableName(table) } });
}

/** `"public"."orders"` */
export function quoted(table: Pick<SourceTable, 'namespace' | 'name'>): string {
  return `${quoteIdentifier(table.namespace)}.${quoteIdentifier(table.name)}`;
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteLiteral(text: string): string {
  const doubled = text.replaceAll("'", "''");
  return text.includes('\\') ? ` E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}

export function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((number, index) => number === b[index]);
}
