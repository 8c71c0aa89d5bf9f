/** A table as it is read: which columns, how each becomes a cell, and by which index its rows are put in order. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type Column, type TableSchema } from '../../../contracts/schema.ts';
import { mysqlLogicalType, mysqlType, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import { readEach, type CatalogReader } from '../catalog/catalog-query.ts';
import { quoteIdentifier } from '../quote.ts';
import type { TextRow } from '../session.ts';
import { CellSpans, CellWriter } from '../values/cell-writer.ts';
import { copyExpression, copyValueOf, type CopyValue } from '../values/copy-values.ts';
import type { CopierDeps } from './copier-deps.ts';
import { whyVoid, type CopyMode, type CopyState } from './copy-state.ts';
import { orderExpression } from './key-literals.ts';
import type { RowLayout } from './row-records.ts';
import type { RowSession } from './row-session.ts';

export interface KeyPart {
  readonly column: string;
  readonly type: MysqlType;
  readonly isDescending: boolean;
}

/** Immutable. */
export interface ReadTable {
  readonly schema: TableSchema;
  /** Of each column of the schema. */
  readonly types: readonly MysqlType[];
  /** The list of a SELECT. */
  readonly selection: string;
  readonly layout: RowLayout;
  /** In the key's order; empty: the table has no key. */
  readonly keyParts: readonly KeyPart[];
  /** By name; '': the table has no key. */
  readonly index: string;
  /** What the rows are in is versioned: a snapshot shows it. */
  readonly isVersioned: boolean;
  readonly estimatedRows: number;
  readonly estimatedBytes: number;
}

/** Engines whose rows a transaction sees as of its snapshot. */
const VERSIONED = new Set(['innodb', 'rocksdb', 'tokudb']);

/**
 * The table as the server has it now; null: it is not there.
 * @throws TidemarkError `MYSQL_COPY_CHANGING` where it has not the columns of the schema, `MYSQL_TYPE_UNKNOWN`
 */
export async function readTable(deps: CopierDeps, session: RowSession, schema: TableSchema): Promise<ReadTable | null> {
  const [table = null] = await readTables(deps, session, [schema]);
  if (table instanceof TidemarkError) throw table;
  return table;
}

const STATUS = (condition: string): string => `
  SELECT TABLE_SCHEMA AS namespace, TABLE_NAME AS table_name, ENGINE AS engine, TABLE_ROWS AS row_count, DATA_LENGTH AS bytes
    FROM information_schema.TABLES WHERE ${condition} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')`;

const COLUMNS = (condition: string): string => `
  SELECT TABLE_SCHEMA AS namespace, TABLE_NAME AS table_name, COLUMN_NAME AS name, COLUMN_TYPE AS type, CHARACTER_SET_NAME AS charset,
         COLLATION_NAME AS collation_name
    FROM information_schema.COLUMNS WHERE ${condition}`;

const UNIQUE_INDEXES = (condition: string): string => `
  SELECT TABLE_SCHEMA AS namespace, TABLE_NAME AS table_name, INDEX_NAME AS index_name, SEQ_IN_INDEX AS place, COLUMN_NAME AS name,
         COLLATION AS direction, SUB_PART AS prefix
    FROM information_schema.STATISTICS WHERE ${condition} AND NON_UNIQUE = 0`;

/**
 * Each table as the server has it now; null: it is not there, or the server spells its name in another way than the schema, of which
 * one that is asked for alone is free. An error is the answer for its table alone.
 * @throws TidemarkError when the server cannot be asked
 */
export async function readTables(deps: CopierDeps, session: RowSession, schemas: readonly TableSchema[]): Promise<(ReadTable | TidemarkError | null)[]> {
  const reader: CatalogReader = { version: session.session.version, query: (sql) => session.query(sql) };
  const rowsOf = async (statement: (condition: string) => string): Promise<(schema: TableSchema) => TextRow[]> => {
    const rows = await readEach(reader, schemas, statement);
    if (schemas.length === 1) return () => rows;
    const byName = Map.groupBy(rows, (row) => `${row['namespace'] ?? ''}\0${row['table_name'] ?? ''}`);
    return ({ namespace, name }) => byName.get(`${namespace}\0${name}`) ?? [];
  };
  const status = await rowsOf(STATUS);
  const columns = await rowsOf(COLUMNS);
  const indexes = schemas.some(({ keyKind }) => keyKind !== 'none') ? await rowsOf(UNIQUE_INDEXES) : () => [];
  return schemas.map((schema) => {
    const [row] = status(schema);
    if (row === undefined) return null;
    try {
      return tableOf(deps, schema, row, columns(schema), indexes(schema));
    } catch (error) {
      if (error instanceof TidemarkError) return error;
      throw error;
    }
  });
}

function tableOf(deps: CopierDeps, schema: TableSchema, status: TextRow, columns: readonly TextRow[], indexes: readonly TextRow[]): ReadTable {
  const types = typesOf(schema, columns);
  const order = schema.keyKind === 'none' ? null : orderOf(schema, indexes);
  const keyParts = schema.key.map((at, place) => ({
    column: (schema.columns[at] as Column).name,
    type: types[at] as MysqlType,
    isDescending: order?.descending[place] === true,
  }));
  return {
    schema,
    types,
    ...selectionOf(deps, schema, types, keyParts),
    keyParts,
    index: order?.index ?? '',
    isVersioned: VERSIONED.has((status['engine'] ?? '').toLowerCase()),
    estimatedRows: Number(status['row_count'] ?? 0),
    estimatedBytes: Number(status['bytes'] ?? 0),
  };
}

/** What a copy of the table relies on. */
export function reliesOn({ schema, types }: ReadTable): Pick<CopyState, 'mode' | 'key' | 'hashed'> {
  const mode: CopyMode = schema.keyKind === 'none' ? 'whole' : 'key';
  return {
    mode,
    key: schema.key.map((at) => `${(schema.columns[at] as Column).number} ${(types[at] as MysqlType).text}`),
    hashed: schema.columns.flatMap((column) => (column.hashed === undefined ? [] : [`${column.name} ${column.hashed}`])),
  };
}

/** @throws TidemarkError `COPY_VOID` */
export function requireValid(asked: TableSchema, state: CopyState, table: ReadTable): void {
  const why = whyVoid(state, reliesOn(table));
  if (why !== null) throw new TidemarkError('COPY_VOID', why, { where: { table: tableName(asked) } });
}

export function changing(schema: TableSchema, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('MYSQL_COPY_CHANGING', what, { where: { table: tableName(schema) }, ...(cause === undefined ? {} : { cause }) });
}

function typesOf(schema: TableSchema, rows: readonly TextRow[]): MysqlType[] {
  const known = new Map(rows.map((row) => [row['name'] ?? '', row]));
  return schema.columns.map((column) => {
    const row = known.get(column.name);
    if (row === undefined) throw changing(schema, `the server does not show the column ${column.name}`);
    const type = mysqlType({ columnType: row['type'] ?? '', charset: row['charset'] ?? null, collation: row['collation_name'] ?? null, isJson: column.type.kind === 'json' });
    if (column.hashed === undefined && !isSameType(column, type)) throw changing(schema, `the column ${column.name} is ${type.text} at the server and ${column.nativeType} in the log`);
    return type;
  });
}

/** Apart from the name of an enum, which is that of its table. */
function isSameType(column: Column, type: MysqlType): boolean {
  const unnamed = (one: object): string => JSON.stringify({ ...one, name: '' });
  return unnamed(mysqlLogicalType(type, '')) === unnamed(column.type);
}

/** The index that has exactly the columns of the key, the primary key first, and which of them descend. */
function orderOf(schema: TableSchema, rows: readonly TextRow[]): { index: string; descending: boolean[] } {
  const key = schema.key.map((at) => (schema.columns[at] as Column).name);
  const byName = Map.groupBy(rows, (row) => row['index_name'] ?? '');
  for (const index of [...byName.keys()].toSorted((a, b) => Number(b === 'PRIMARY') - Number(a === 'PRIMARY') || (a < b ? -1 : 1))) {
    const parts = (byName.get(index) ?? []).toSorted((a, b) => Number(a['place']) - Number(b['place']));
    const isKey = parts.length === key.length && parts.every((part, place) => part['name'] === key[place] && part['prefix'] === null);
    if (isKey) return { index, descending: parts.map((part) => part['direction'] === 'D') };
  }
  throw changing(schema, `the server shows no unique index over ${key.join(', ')}`);
}

function selectionOf(deps: CopierDeps, schema: TableSchema, types: readonly MysqlType[], keyParts: readonly KeyPart[]): Pick<ReadTable, 'selection' | 'layout'> {
  const list = schema.columns.map((column, at) => copyExpression(types[at] as MysqlType, quoteIdentifier(column.name)));
  const order = keyParts.map(({ column, type }, place) => {
    const expression = orderExpression(type, quoteIdentifier(column));
    return expression === null ? (schema.key[place] as number) : list.push(expression) - 1;
  });
  const layout: RowLayout = {
    values: schema.columns.map((column, at) => valueOf(deps, column, types[at] as MysqlType)),
    key: schema.key,
    order,
    selected: list.length,
    isWide: deps.isWide(schema),
    maxRowBytes: deps.maxRowBytes,
  };
  // A table may have no column that the log has.
  return { selection: list.join(', '), layout };
}

function valueOf(deps: CopierDeps, column: Column, type: MysqlType): CopyValue {
  const value = copyValueOf(type, deps.values);
  if (column.hashed === undefined) return value;
  const scratch = new CellWriter();
  const spans = new CellSpans();
  return (bytes, start, end, out) => {
    scratch.reset();
    scratch.beginImage(spans, 1);
    value(bytes, start, end, scratch);
    const hashed = deps.hash(scratch.bytes.subarray(spans.starts[0], spans.ends[0]));
    out.text(hashed, 0, hashed.length);
  };
}
