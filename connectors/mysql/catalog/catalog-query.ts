/** Reads tables from `information_schema`: few statements, whatever the number of tables. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { fullCharsetName } from '../ddl/data-type.ts';
import type { ColumnShape } from '../ddl/shape.ts';
import { quoteLiteral } from '../quote.ts';
import type { ServerVersion } from '../server-version.ts';
import type { Session, TextRow } from '../session.ts';
import type { TableRef } from './table-reading.ts';

/** Databases of the server itself. */
export const SYSTEM_DATABASES = ['mysql', 'information_schema', 'performance_schema', 'sys', 'ndbinfo', 'innodb_memcache'] as const;
/** Names in one statement. */
const NAMES_PER_QUERY = 250;
/**
 * MariaDB looks a table up only where a condition names it alone, and opens every table of a database otherwise. From so
 * many tables of one database on, opening all of them is the lesser work.
 */
const MARIADB_SINGLE = 50;

/** Every table that the user can see, without views, sequences and temporary tables. */
export async function listTables(session: Session): Promise<TableRef[]> {
  // Of these columns MariaDB has to open no table but for its definition.
  const rows = await session.query(
    `SELECT TABLE_SCHEMA AS namespace, TABLE_NAME AS name FROM information_schema.TABLES
      WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN (${SYSTEM_DATABASES.map(quoteLiteral).join(', ')})`,
  );
  return rows
    .map((row) => ({ namespace: text(row, 'namespace'), name: text(row, 'name') }))
    .toSorted((a, b) => order(a.namespace, b.namespace) || order(a.name, b.name));
}

/** Tables as `information_schema` has them. */
export interface DescribedTable extends TableRef {
  /** False: MariaDB's sequences look like tables, too. */
  readonly isTable: boolean;
  readonly engine: string;
  readonly rowFormat: string;
  readonly isPartitioned: boolean;
  readonly unreadable: readonly string[];
  readonly columns: readonly DescribedColumn[];
  /** True: the server counts columns before the last one that it does not show. */
  readonly hidesInside: boolean;
  /** PRIMARY and unique indexes. */
  readonly keys: readonly { readonly name: string; readonly parts: readonly { readonly column: string | null; readonly length: number | null }[] }[];
}

/** In the words of a shape. */
export type DescribedColumn = Pick<ColumnShape, 'name' | 'type' | 'collation' | 'nullable' | 'generated' | 'invisible' | 'autoIncrement' | 'json'>;

/** Those of the tables that are there, in the order asked for. */
export async function describeTables(session: Session, tables: readonly TableRef[]): Promise<DescribedTable[]> {
  const described = new Map<string, DescribedTable>();
  for (const some of parts(session, tables)) {
    const columns = await read(session, COLUMNS, some);
    const indexes = grouped(await read(session, UNIQUE_INDEXES, some));
    const checks = await jsonChecks(session, columns, some);
    const storage = new Map((await read(session, STORAGE, some)).map((row) => [nameOf(row), row]));
    const wanted = new Map(some.tables.map((table) => [keyText(table.namespace, table.name), table]));
    for (const [key, rows] of grouped(columns)) {
      const table = wanted.get(key);
      if (table === undefined) continue;
      const inOrder = rows.toSorted((a, b) => Number(a['place']) - Number(b['place']));
      const stored = storage.get(key);
      described.set(key, {
        namespace: table.namespace,
        name: table.name,
        isTable: stored?.['kind'] !== 'SEQUENCE',
        // Null: the table is damaged, or its engine is not there.
        engine: stored?.['engine'] ?? '',
        rowFormat: stored?.['row_format'] ?? '',
        isPartitioned: /\bpartitioned\b/i.test(stored?.['create_options'] ?? ''),
        unreadable: inOrder.filter((row) => !(row['granted'] ?? '').split(',').includes('select')).map((row) => text(row, 'column_name')),
        columns: inOrder.map((row) => describedColumn(row, checks)),
        hidesInside: Number(inOrder.at(-1)?.['place'] ?? 0) > inOrder.length,
        keys: uniqueKeys(indexes.get(key) ?? []),
      });
    }
  }
  return tables.flatMap(({ namespace, name }) => described.get(keyText(namespace, name)) ?? []);
}

/** A child table whose rows change with its parent's, and by what. */
export interface Cascade extends TableRef {
  readonly constraint: string;
  readonly parent: string;
  /** `ON DELETE CASCADE` */
  readonly actions: readonly string[];
}

/** Foreign keys of those databases whose actions change rows of the child table. */
export async function listCascades(session: Session, namespaces: readonly string[]): Promise<Cascade[]> {
  if (namespaces.length === 0) return [];
  const rows = await session.query(
    `SELECT CONSTRAINT_SCHEMA AS namespace, TABLE_NAME AS name, CONSTRAINT_NAME AS constraint_name, UNIQUE_CONSTRAINT_SCHEMA AS parent_namespace,
            REFERENCED_TABLE_NAME AS parent, DELETE_RULE AS on_delete, UPDATE_RULE AS on_update
       FROM information_schema.REFERENTIAL_CONSTRAINTS
      WHERE CONSTRAINT_SCHEMA IN (${namespaces.map(quoteLiteral).join(', ')})`,
  );
  return rows.flatMap((row) => {
    const actions = [['ON DELETE', row['on_delete']], ['ON UPDATE', row['on_update']]]
      .filter(([, rule]) => rule === 'CASCADE' || rule === 'SET NULL' || rule === 'SET DEFAULT')
      .map(([when, rule]) => `${when} ${rule}`);
    if (actions.length === 0) return [];
    const parent = `${row['parent_namespace'] ?? text(row, 'namespace')}.${text(row, 'parent')}`;
    return [{ namespace: text(row, 'namespace'), name: text(row, 'name'), constraint: text(row, 'constraint_name'), parent, actions }];
  });
}

/** What the catalog is read by. */
export interface CatalogReader {
  readonly version: ServerVersion;
  query(sql: string): Promise<TextRow[]>;
}

/** All rows of a statement whose condition names the tables; perhaps those of other tables, too. */
export async function readEach(reader: CatalogReader, tables: readonly TableRef[], statement: (condition: string) => string): Promise<TextRow[]> {
  const rows: TextRow[][] = [];
  for (const some of parts(reader, tables)) rows.push(await read(reader, statement, some));
  return rows.flat();
}

/** Tables that one statement reads. */
interface Part {
  readonly namespace: string;
  readonly tables: readonly TableRef[];
  /** The condition reads the whole database. */
  readonly isWhole: boolean;
}

function parts(session: CatalogReader, tables: readonly TableRef[]): Part[] {
  const all: Part[] = [];
  for (const [namespace, some] of Map.groupBy(tables, (table) => table.namespace)) {
    const isWhole = session.version.flavor === 'mariadb' && some.length > MARIADB_SINGLE;
    const most = isWhole ? some.length : NAMES_PER_QUERY;
    for (let at = 0; at < some.length; at += most) all.push({ namespace, tables: some.slice(at, at + most), isWhole });
  }
  return all;
}

const COLUMNS = (condition: string): string => `
  SELECT TABLE_SCHEMA AS namespace, TABLE_NAME AS name, ORDINAL_POSITION AS place, COLUMN_NAME AS column_name, COLUMN_TYPE AS type,
         COLLATION_NAME AS collation_name, IS_NULLABLE AS nullable, EXTRA AS extra, PRIVILEGES AS granted
    FROM information_schema.COLUMNS WHERE ${condition}`;

const UNIQUE_INDEXES = (condition: string): string => `
  SELECT TABLE_SCHEMA AS namespace, TABLE_NAME AS name, INDEX_NAME AS index_name, SEQ_IN_INDEX AS place, COLUMN_NAME AS column_name, SUB_PART AS prefix
    FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND ${condition}`;

const STORAGE = (condition: string): string => `
  SELECT TABLE_SCHEMA AS namespace, TABLE_NAME AS name, TABLE_TYPE AS kind, ENGINE AS engine, ROW_FORMAT AS row_format, CREATE_OPTIONS AS create_options
    FROM information_schema.TABLES WHERE ${condition}`;

const JSON_CHECKS = (condition: string): string => `
  SELECT CONSTRAINT_SCHEMA AS namespace, TABLE_NAME AS name, CHECK_CLAUSE AS clause
    FROM information_schema.CHECK_CONSTRAINTS WHERE ${condition.replaceAll('TABLE_SCHEMA', 'CONSTRAINT_SCHEMA')} AND CHECK_CLAUSE LIKE '%json_valid%'`;

async function read(session: CatalogReader, statement: (condition: string) => string, part: Part): Promise<TextRow[]> {
  const within = `TABLE_SCHEMA = ${quoteLiteral(part.namespace)}`;
  if (part.isWhole) return session.query(statement(within));
  if (session.version.flavor === 'mysql') return session.query(statement(`${within} AND TABLE_NAME IN (${part.tables.map(({ name }) => quoteLiteral(name)).join(', ')})`));
  return session.query(part.tables.map(({ name }) => statement(`${within} AND TABLE_NAME = ${quoteLiteral(name)}`)).join(' UNION ALL '));
}

/** MariaDB's JSON is a longtext with a check. `database.table.column` of each; nothing is asked where no column can be one. */
async function jsonChecks(session: Session, columns: readonly TextRow[], part: Part): Promise<ReadonlySet<string>> {
  if (session.version.flavor === 'mysql') return new Set();
  const names = new Set(columns.filter((row) => row['type'] === 'longtext').map((row) => text(row, 'name')));
  if (names.size === 0) return new Set();
  const tables = part.tables.filter(({ name }) => names.has(name));
  const rows = await read(session, JSON_CHECKS, { ...part, tables, isWhole: part.isWhole && tables.length > MARIADB_SINGLE });
  return new Set(rows.flatMap((row) => {
    const match = /^json_valid\(`((?:[^`]|``)+)`\)$/i.exec(text(row, 'clause'));
    return match?.[1] === undefined ? [] : [`${nameOf(row)}\0${match[1].replaceAll('``', '`')}`];
  }));
}

function describedColumn(row: TextRow, jsonColumns: ReadonlySet<string>): DescribedColumn {
  const extra = row['extra'] ?? '';
  const name = text(row, 'column_name');
  const collation = row['collation_name'] ?? null;
  return {
    name,
    // MariaDB says here which columns have the temporal format of before version 10.1, which table maps say too.
    type: text(row, 'type').replace(' /* mariadb-5.3 */', ''),
    collation: collation === null ? null : fullCharsetName(collation),
    nullable: row['nullable'] === 'YES',
    generated: /\b(STORED|PERSISTENT) GENERATED\b/i.test(extra) ? 'stored' : /\bVIRTUAL GENERATED\b/i.test(extra) ? 'virtual' : 'no',
    invisible: /\bINVISIBLE\b/i.test(extra),
    autoIncrement: /\bauto_increment\b/i.test(extra),
    json: jsonColumns.has(`${nameOf(row)}\0${name}`),
  };
}

function uniqueKeys(rows: readonly TextRow[]): DescribedTable['keys'] {
  return [...Map.groupBy(rows, (row) => text(row, 'index_name'))].map(([name, entries]) => ({
    name,
    parts: entries.toSorted((a, b) => Number(a['place']) - Number(b['place'])).map((entry) => ({
      column: entry['column_name'] ?? null,
      length: entry['prefix'] === null || entry['prefix'] === undefined ? null : Number(entry['prefix']),
    })),
  }));
}

function grouped(rows: readonly TextRow[]): Map<string, TextRow[]> {
  return Map.groupBy(rows, nameOf);
}

function nameOf(row: TextRow): string {
  return keyText(text(row, 'namespace'), text(row, 'name'));
}

function keyText(namespace: string, name: string): string {
  return `${namespace}\0${name}`;
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function text(row: TextRow, name: string): string {
  const value = row[name];
  if (value === null || value === undefined) throw new TidemarkError('MYSQL_QUERY', `the catalog of the server is not as expected: ${name}`);
  return value;
}
