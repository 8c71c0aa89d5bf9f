/**
 * Statements that give a live table the rows of its shadow and leave it otherwise as it is. What is gone or differs is
 * deleted first, then what is missing comes: on the way no unique or exclusion constraint can be violated that holds of
 * the rows in the end. Two rows are the same when the canonical text of every mirrored column is. Pure.
 */
import type { TableSchema } from '../../../contracts/schema.ts';
import { keyNames } from '../../relational/schema-diff.ts';
import { findingIndex, type ReplicaColumn, type ReplicaTable } from '../replica-table.ts';
import { ident, qualified, rowsOf } from '../sql.ts';

interface MergedColumn {
  readonly live: ReplicaColumn;
  readonly shadow: ReplicaColumn;
}

/** Types in which values that are equal have the same canonical text. */
const EXACT: ReadonlySet<string> = new Set(
  ['int2', 'int4', 'int8', 'bool', 'oid', 'uuid', 'date', 'timestamp', 'timestamptz', 'time', 'bytea'].map((name) => `pg_catalog.${name}`),
);
/** Types of text, which a collation may hold for equal though the bytes differ. */
const TEXTS: ReadonlySet<string> = new Set(['pg_catalog.text', 'pg_catalog.varchar']);

/** To be run in this order. */
export interface Merge {
  readonly before: readonly string[];
  readonly remove: string;
  /** Nothing is missing when nothing was removed and {@link sameCount} says so. */
  readonly insert: string;
  readonly sameCount: string;
  readonly after: readonly string[];
}

export function mergeOf(schema: TableSchema, live: ReplicaTable, shadow: ReplicaTable): Merge {
  const count = (table: string): string => `(SELECT pg_catalog.count(*) FROM ${table})`;
  const sameCount = `SELECT ${count(rowsOf(live))} = ${count(qualified(shadow.name))} AS same`;
  return { before: [], after: [], sameCount, ...mergeStatements(schema, live, shadow) };
}

type MergeStatements = Pick<Merge, 'remove' | 'insert'> & Partial<Merge>;

function mergeStatements(schema: TableSchema, live: ReplicaTable, shadow: ReplicaTable): MergeStatements {
  const columns = mergedColumns(schema, live, shadow);
  if (columns.length === 0) return countedRows(live, shadow);
  if (schema.keyKind === 'none') return bagStatements(columns, live, shadow);
  const key = keyCondition(schema, live, columns);
  const rows = `${rowsOf(live)} AS l`;
  const shadows = `${qualified(shadow.name)} AS s`;
  const remove = `DELETE FROM ${rows} WHERE NOT EXISTS (SELECT FROM ${shadows} WHERE ${key} AND NOT (${differs(columns)}))`;
  const insert = `${insertInto(live, columns)} SELECT ${values(columns)} FROM ${shadows} WHERE NOT EXISTS (SELECT FROM ${rows} WHERE ${key})`;
  const extras = extraColumns(columns, live);
  if (extras.length === 0) return { remove, insert };
  // What the replica's own columns hold of rows that are deleted and come again.
  const kept = `CREATE TEMPORARY TABLE tidemark_kept ON COMMIT DROP AS SELECT ${values(columns, schema)}, ${extras.map((column) => `l.${ident(column.name)}`).join(', ')}
    FROM ${rows} JOIN ${shadows} ON ${key} WHERE ${differs(columns)}`;
  const same = keyColumns(schema, columns).map(({ live: column }) => `l.${ident(column.name)} OPERATOR(${column.equality ?? 'pg_catalog.='}) k.${ident(column.name)}`);
  const sets = extras.map((column) => `${ident(column.name)} = k.${ident(column.name)}`);
  const restore = `UPDATE ${rows} SET ${sets.join(', ')} FROM pg_temp.tidemark_kept AS k WHERE ${same.join(' AND ')}`;
  return { before: [kept], remove, insert, after: [restore, 'DROP TABLE pg_temp.tidemark_kept'] };
}

/** @param share of the shadow's pages that are read, percent */
export function sampleStatement(schema: TableSchema, live: ReplicaTable, shadow: ReplicaTable, share: number): string {
  const columns = mergedColumns(schema, live, shadow);
  return `SELECT pg_catalog.count(*)::int AS rows, (pg_catalog.count(*) FILTER (WHERE NOT EXISTS (
      SELECT FROM ${rowsOf(live)} AS l WHERE ${keyCondition(schema, live, columns)} AND NOT (${differs(columns)}))))::int AS other
    FROM (SELECT * FROM ${qualified(shadow.name)} TABLESAMPLE SYSTEM (${share}) LIMIT 1000) AS s`;
}

/** Columns that the sink writes; what the replica generates by itself is its own. */
function mergedColumns(schema: TableSchema, live: ReplicaTable, shadow: ReplicaTable): MergedColumn[] {
  const lives = new Map(live.columns.map((column) => [column.name, column]));
  const shadows = new Map(shadow.columns.map((column) => [column.name, column]));
  return schema.columns.flatMap(({ name }) => {
    const [to, from] = [lives.get(name), shadows.get(name)];
    return to === undefined || from === undefined || to.generated ? [] : [{ live: to, shadow: from }];
  });
}

function keyColumns(schema: TableSchema, columns: readonly MergedColumn[]): MergedColumn[] {
  return keyNames(schema).flatMap((name) => columns.find((column) => column.live.name === name) ?? []);
}

function keyCondition(schema: TableSchema, live: ReplicaTable, columns: readonly MergedColumn[]): string {
  const index = findingIndex(live, keyNames(schema));
  return keyColumns(schema, columns).map((column) => {
    const operator = index?.keys.find((part) => part.column === column.live.name)?.operator ?? column.live.equality;
    const mine = `l.${ident(column.live.name)}`;
    return operator === null ? `${asText(mine, column.live)} = ${asText(value(column), column.live)}` : `${mine} OPERATOR(${operator}) ${value(column)}`;
  }).join(' AND ');
}

function differs(columns: readonly MergedColumn[]): string {
  return columns.map((column) => `${comparable(`l.${ident(column.live.name)}`, column.live)} IS DISTINCT FROM ${comparable(value(column), column.live)}`).join(' OR ');
}

function comparable(expression: string, { castType }: ReplicaColumn): string {
  if (EXACT.has(castType)) return expression;
  return TEXTS.has(castType) ? `${expression} COLLATE pg_catalog."C"` : asText(expression, { castType });
}

/** The text of any value; a cast would take the blanks of a `character` for nothing. */
function asText(expression: string, { castType }: Pick<ReplicaColumn, 'castType'>): string {
  const text = castType === 'pg_catalog.bpchar' ? `pg_catalog.textin(pg_catalog.bpcharout(${expression}))` : `(${expression})::pg_catalog.text`;
  return `${text} COLLATE pg_catalog."C"`;
}

/** The shadow's value as the live column takes it: through its text where the types differ, as the sink would write it. */
function value({ live, shadow }: MergedColumn): string {
  const column = `s.${ident(shadow.name)}`;
  return live.castType === shadow.castType ? column : `${column}::pg_catalog.text::${live.castType}`;
}

/** @param schema only its key */
function values(columns: readonly MergedColumn[], schema?: TableSchema): string {
  if (schema === undefined) return columns.map(value).join(', ');
  return keyColumns(schema, columns).map((column) => `l.${ident(column.live.name)}`).join(', ');
}

function insertInto(live: ReplicaTable, columns: readonly MergedColumn[]): string {
  return `INSERT INTO ${qualified(live.name)} (${columns.map((column) => ident(column.live.name)).join(', ')}) OVERRIDING SYSTEM VALUE`;
}

function extraColumns(columns: readonly MergedColumn[], live: ReplicaTable): ReplicaColumn[] {
  const written = new Set(columns.map((column) => column.live.name));
  return live.columns.filter((column) => !column.generated && column.identity !== 'always' && !written.has(column.name));
}

/** A table without a key: of each row as many as the shadow has. */
function bagStatements(columns: readonly MergedColumn[], live: ReplicaTable, shadow: ReplicaTable): MergeStatements {
  const image = (of: (column: MergedColumn) => string): string =>
    `ROW(${columns.map((column) => asText(of(column), column.live)).join(', ')})::pg_catalog.text COLLATE pg_catalog."C"`;
  const mine = image((column) => `l.${ident(column.live.name)}`);
  const theirs = image(value);
  const rows = rowsOf(live);
  const remove = `
    WITH wanted AS MATERIALIZED (SELECT ${theirs} AS image, pg_catalog.count(*) AS times FROM ${qualified(shadow.name)} AS s GROUP BY 1),
    numbered AS (SELECT l.tableoid AS part, l.ctid AS place, ${mine} AS image, pg_catalog.row_number() OVER (PARTITION BY ${mine}) AS nth FROM ${rows} AS l),
    gone AS (SELECT n.part, n.place FROM numbered AS n LEFT JOIN wanted AS w USING (image) WHERE n.nth > coalesce(w.times, 0))
    DELETE FROM ${rows} AS l USING gone AS g WHERE l.tableoid = g.part AND l.ctid = g.place`;
  const insert = `
    WITH there AS MATERIALIZED (SELECT ${mine} AS image, pg_catalog.count(*) AS times FROM ${rows} AS l GROUP BY 1),
    numbered AS (SELECT s.*, ${theirs} AS "~image", pg_catalog.row_number() OVER (PARTITION BY ${theirs}) AS "~nth" FROM ${qualified(shadow.name)} AS s)
    ${insertInto(live, columns)} SELECT ${values(columns)} FROM numbered AS s LEFT JOIN there AS t ON t.image = s."~image" WHERE s."~nth" > coalesce(t.times, 0)`;
  return { remove, insert };
}

/** A table without columns: rows are only counted. */
function countedRows(live: ReplicaTable, shadow: ReplicaTable): MergeStatements {
  const rows = rowsOf(live);
  const count = (table: string): string => `(SELECT pg_catalog.count(*) FROM ${table})`;
  return {
    remove: `DELETE FROM ${rows} WHERE ctid IN (SELECT ctid FROM ${rows} LIMIT greatest(0, ${count(rows)} - ${count(qualified(shadow.name))}))`,
    insert: `INSERT INTO ${qualified(live.name)} SELECT FROM pg_catalog.generate_series(1, ${count(qualified(shadow.name))} - ${count(rows)})`,
  };
}
