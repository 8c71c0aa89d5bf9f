/**
 * Reads tables at the server: their shapes from SHOW CREATE TABLE, through what DDL of the binlog goes through, too; from
 * `information_schema` what that does not tell, and the shapes once more: where the two differ, the table was changed in
 * between, or its definition is misunderstood here.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import { applyCreate } from '../ddl/apply-create.ts';
import type { SqlContext } from '../ddl/context.ts';
import { functionalParts, type ColumnShape, type TableShape } from '../ddl/shape.ts';
import { readStatement } from '../ddl/statement.ts';
import { serverErrorNumber } from '../errors.ts';
import { readBinlogEnd, type ServerIdentity } from '../identity.ts';
import { quoteTable } from '../quote.ts';
import type { ServerVersion } from '../server-version.ts';
import type { Session } from '../session.ts';
import { describeTables, listCascades, type Cascade, type DescribedTable } from './catalog-query.ts';
import type { TableReading, TableRef } from './table-reading.ts';

/** A place in the binlog of one server: of the one that the stream comes from. */
export interface ServerPlace {
  readonly file: string;
  readonly offset: number;
}

export interface TableReadings {
  /** Those that are there, and whose two descriptions agree. */
  readonly tables: readonly TableReading[];
  /** Those that are not there. */
  readonly missing: readonly TableRef[];
  /** Those that were changed while they were read, that cannot be read, or whose definition is not understood. */
  readonly unclear: readonly { readonly table: TableRef; readonly error: TidemarkError }[];
}

/** What was read of the server's catalog between two places of its binlog. */
export interface CatalogReading extends TableReadings {
  /** The binlog's end before the first table was read. */
  readonly from: ServerPlace;
  /** The binlog's end after the last one was read. */
  readonly until: ServerPlace;
  /** Foreign keys whose actions change rows of the tables without a trace in the binlog; empty where there are none such. */
  readonly cascades: readonly Cascade[];
}

/**
 * The tables, and where the binlog ended before and after. `logsCascades`: the server writes what foreign keys change into
 * its binlog.
 * @throws TidemarkError when the server cannot be asked
 */
export async function readCatalog(session: Session, identity: ServerIdentity, tables: readonly TableRef[], logsCascades: boolean): Promise<CatalogReading> {
  const from = await binlogEnd(session, identity);
  const readings = await readTables(session, tables);
  const cascades = logsCascades ? [] : await listCascades(session, [...new Set(tables.map(({ namespace }) => namespace))]);
  return { ...readings, cascades, from, until: await binlogEnd(session, identity) };
}

async function binlogEnd(session: Session, identity: ServerIdentity): Promise<ServerPlace> {
  const { file, offset } = (await readBinlogEnd(session, identity)).place;
  return { file, offset };
}

/** @throws TidemarkError when the server cannot be asked */
export async function readTables(session: Session, tables: readonly TableRef[]): Promise<TableReadings> {
  const shown = new Map<TableRef, TableShape>();
  const missing: TableRef[] = [];
  const unclear: { table: TableRef; error: TidemarkError }[] = [];
  // First the statements, which wait for DDL that is under way to be done with: what is read after that is not older.
  for (const table of tables) {
    const answer = await showCreate(session, table);
    if (answer === 'missing') missing.push(table);
    else if (answer instanceof TidemarkError) unclear.push({ table, error: answer });
    else shown.set(table, answer);
  }
  const described = new Map((await describeTables(session, [...shown.keys()])).map((table) => [tableName(table), table]));
  const found: TableReading[] = [];
  for (const [table, shape] of shown) {
    const other = described.get(tableName(table));
    if (other?.isTable === false) {
      missing.push(table);
      continue;
    }
    const difference = other === undefined ? 'it was dropped meanwhile' : differenceOf(shape, other);
    if (other === undefined || difference !== null) {
      unclear.push({ table, error: new TidemarkError('MYSQL_SHAPE', `the definition of ${tableName(table)} is not clear: ${difference}`, { where: { table: tableName(table) } }) });
      continue;
    }
    const { engine, rowFormat, isPartitioned, unreadable } = other;
    const whole = other.hidesInside && functionalParts(shape.keys) > 0 ? { ...shape, hiddenInside: true as const } : shape;
    found.push({ namespace: table.namespace, name: table.name, engine, rowFormat, isPartitioned, unreadable, shape: whole });
  }
  return { tables: found, missing, unclear };
}

const NO_TABLE = 1146;
const NO_DATABASE = 1049;

async function showCreate(session: Session, table: TableRef): Promise<TableShape | 'missing' | TidemarkError> {
  let sql: string | null;
  try {
    const [row] = await session.query(`SHOW CREATE TABLE ${quoteTable(table)}`);
    sql = row?.['Create Table'] ?? null;
  } catch (error) {
    const number = serverErrorNumber(error);
    if (number === NO_TABLE || number === NO_DATABASE) return 'missing';
    if (error instanceof TidemarkError && number !== null && error.retry !== 'auto') return error.at({ table: tableName(table) });
    throw error;
  }
  // A view has taken the name.
  return sql === null ? 'missing' : shapeOfStatement(sql, table, session.version);
}

/** From what SHOW CREATE TABLE prints under the settings of a session. */
export function shapeOfStatement(sql: string, table: TableRef, version: ServerVersion): TableShape | TidemarkError {
  const context: SqlContext = {
    flavor: version.flavor,
    version: versionNumber(version),
    database: table.namespace,
    sqlMode: 0n,
    lowerCaseNames: false,
    explicitTimestamps: true,
  };
  const effect = readStatement(sql, context);
  const where = { where: { table: tableName(table) } };
  if (effect.kind !== 'create-table' || effect.source.kind !== 'columns') {
    const why = effect.kind === 'unknown' ? effect.reason : 'it is no table with columns';
    return new TidemarkError('MYSQL_SHAPE', `the definition of ${tableName(table)} is not understood: ${why}`, where);
  }
  try {
    // The statement names the table's own character set: the database's counts for nothing.
    return applyCreate(effect.source.definition, { databaseCollation: 'utf8mb4_bin' });
  } catch (error) {
    if (error instanceof TidemarkError) return error.at(where.where);
    throw error;
  }
}

/** `80042`, `110806` */
function versionNumber({ major, minor, patch }: ServerVersion): number {
  return major * 10_000 + minor * 100 + patch;
}

type Compared = Pick<ColumnShape, 'name' | 'type' | 'collation' | 'nullable' | 'generated' | 'invisible' | 'autoIncrement' | 'json'>;

const COMPARED = ['name', 'type', 'collation', 'nullable', 'generated', 'invisible', 'autoIncrement', 'json'] as const satisfies readonly (keyof Compared)[];

/** What the two say differently of columns and unique keys, for people; null: nothing. */
function differenceOf(shape: TableShape, described: Pick<DescribedTable, 'columns' | 'keys'>): string | null {
  if (shape.columns.length !== described.columns.length) return `it has ${shape.columns.length} columns, or ${described.columns.length}`;
  for (const [place, column] of shape.columns.entries()) {
    const other = described.columns[place];
    const field = COMPARED.find((name) => column[name] !== other?.[name]);
    if (field !== undefined) return `${field} of column ${column.name} is ${String(column[field])}, or ${String(other?.[field])}`;
  }
  const ours = uniqueKeys(shape).map(({ name, parts }) => keyText(name, parts));
  const theirs = described.keys.map(({ name, parts }) => keyText(name, parts));
  const odd = [...ours.filter((key) => !theirs.includes(key)), ...theirs.filter((key) => !ours.includes(key))];
  return odd.length === 0 ? null : `its keys are not clear: ${odd.join('; ')}`;
}

/** Whether two shapes have the same columns and unique keys, whatever the columns' numbers. */
export function isSameDefinition(a: TableShape, b: TableShape): boolean {
  return differenceOf(a, { columns: b.columns, keys: uniqueKeys(b) }) === null;
}

function uniqueKeys({ columns, keys }: TableShape): DescribedTable['keys'] {
  const names = new Map(columns.map(({ number, name }) => [number, name]));
  return keys.filter(({ kind }) => kind !== 'index').map(({ name, parts }) => ({
    name, parts: parts.map(({ column, length }) => ({ column: column === null ? null : (names.get(column) ?? ''), length })),
  }));
}

function keyText(name: string, parts: readonly { readonly column: string | null; readonly length: number | null }[]): string {
  return `${name} (${parts.map(({ column, length }) => `${column ?? 'expression'}${length === null ? '' : `(${length})`}`).join(', ')})`;
}
