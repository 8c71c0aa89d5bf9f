/** The indexes of a live table, and those of the shadow that is to stand in its place. */
import type pg from 'pg';
import { keyNames } from '../../relational/schema-diff.ts';
import type { ReplicaTable } from '../replica-table.ts';
import { ident, qualified } from '../sql.ts';
import { identityConstraint } from '../table-sql.ts';
import { reshapingOf, type TablePair } from './table-pairs.ts';

export interface TableIndex {
  readonly oid: number;
  readonly name: string;
  readonly isUnique: boolean;
  /** Of the table, in the index or its predicate. */
  readonly columns: readonly string[];
  /** What the definition says behind the table's name: method, columns, parameters, predicate. */
  readonly tail: string;
  /** The primary key or unique constraint that it serves. */
  readonly constraint: { readonly kind: 'p' | 'u'; readonly deferral: string; readonly comment: string | null } | null;
  readonly comment: string | null;
}

export interface IndexMatch {
  readonly matched: readonly { readonly live: TableIndex; readonly shadow: TableIndex }[];
  /** Of the live table, and not of the shadow. */
  readonly missing: readonly TableIndex[];
  /** Of the shadow alone. */
  readonly extra: readonly TableIndex[];
}

/** Indexes by the oid of their table. Those of the kinds that obstacles are made of are among them. */
export async function readIndexes(client: pg.ClientBase, tables: readonly ReplicaTable[]): Promise<Map<number, TableIndex[]>> {
  const found = new Map<number, TableIndex[]>(tables.map((table) => [table.oid, []]));
  const { rows } = await client.query<Omit<TableIndex, 'constraint' | 'oid'> & { table: string; index: string; kind: 'p' | 'u' | null; deferral: string; constraintComment: string | null }>({
    name: 'tidemark_indexes', text: INDEXES_SQL, values: [tables.map((table) => table.oid)],
  });
  for (const { table, index, name, isUnique, columns, tail, kind, deferral, comment, constraintComment } of rows) {
    const constraint = kind === null ? null : { kind, deferral, comment: constraintComment };
    found.get(Number(table))?.push({ oid: Number(index), name, isUnique, columns, tail, constraint, comment });
  }
  return found;
}

const INDEXES_SQL = `
SELECT c.oid::int8::text AS table, ic.oid::int8::text AS index, ic.relname AS name, i.indisunique AS "isUnique", x.contype AS kind,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                AND (a.attnum = ANY (i.indkey::int2[]) OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = ic.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
                    AND d.refobjid = c.oid AND d.refobjsubid = a.attnum))) AS columns,
       CASE WHEN x.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' WHEN x.condeferrable THEN ' DEFERRABLE' ELSE '' END AS deferral,
       pg_catalog.obj_description(ic.oid, 'pg_class') AS comment, pg_catalog.obj_description(x.oid, 'pg_constraint') AS "constraintComment",
       pg_catalog.substr(pg_catalog.pg_get_indexdef(ic.oid), 1 + pg_catalog.length(pg_catalog.format('CREATE %sINDEX %I ON %I.%I USING ',
         CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, ic.relname, n.nspname, c.relname))) AS tail
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_constraint x ON x.conindid = ic.oid AND x.conrelid = c.oid AND x.contype IN ('p', 'u')
 WHERE i.indrelid = ANY ($1::oid[]) AND i.indisvalid ORDER BY ic.oid`;

/**
 * The indexes of a live table that the one in its place must have: not the key's that the sink made, where that is of
 * other columns then. Pure.
 */
export function keptIndexes(pair: TablePair, indexes: readonly TableIndex[]): TableIndex[] {
  const gone = goneColumns(pair);
  const { live, mirrored } = pair;
  if (live === null || mirrored === null || gone === null) return [...indexes];
  const isOwn = (index: TableIndex): boolean => (index.constraint?.kind === 'p' || index.name === identityConstraint(live.name)) && sameNames(index.columns, keyNames(mirrored));
  return indexes.filter((index) => !isOwn(index) || !(gone.key || index.columns.some((column) => gone.columns.has(column))));
}

/** Those of them that are of columns that go, or get another name. Pure. */
export function strandedIndexes(pair: TablePair, indexes: readonly TableIndex[]): TableIndex[] {
  const gone = goneColumns(pair);
  return gone === null ? [] : keptIndexes(pair, indexes).filter((index) => index.columns.some((column) => gone.columns.has(column)));
}

/** Null: the shape stays, or only grows. */
function goneColumns(pair: TablePair): { readonly key: boolean; readonly columns: ReadonlySet<string> } | null {
  const reshaping = reshapingOf(pair);
  if (reshaping.kind !== 'reshape') return null;
  const columns = new Set<string>();
  for (const change of reshaping.changes) {
    if (change.kind === 'drop-column') columns.add(change.name);
    else if (change.kind === 'rename-column') columns.add(change.from);
  }
  return { key: reshaping.changes.some((change) => change.kind === 'drop-key'), columns };
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}

/** Which index of the shadow stands for which of the live table. Pure. */
export function matchIndexes(live: readonly TableIndex[], shadow: readonly TableIndex[]): IndexMatch {
  const free = new Set(shadow);
  const matched: { live: TableIndex; shadow: TableIndex }[] = [];
  const missing: TableIndex[] = [];
  for (const index of live) {
    const fitting = [...free].filter((other) => other.tail === index.tail && other.isUnique === index.isUnique && sameDeferral(index, other));
    const found = fitting.find((other) => other.constraint?.kind === index.constraint?.kind) ?? fitting[0];
    if (found === undefined) missing.push(index);
    else {
      free.delete(found);
      matched.push({ live: index, shadow: found });
    }
  }
  return { matched, missing, extra: [...free] };
}

/** An index that serves a constraint already cannot be made to serve another. */
function sameDeferral(live: TableIndex, shadow: TableIndex): boolean {
  if (shadow.constraint === null) return true;
  if (live.constraint === null) return shadow.constraint.deferral === '';
  return live.constraint.kind === shadow.constraint.kind && live.constraint.deferral === shadow.constraint.deferral;
}

/** Makes on the shadow what is missing there. */
export function createIndexSql(shadow: ReplicaTable, index: TableIndex): string {
  return `CREATE ${index.isUnique ? 'UNIQUE ' : ''}INDEX ${ident(`${shadow.name.name}_${index.oid}`)} ON ${qualified(shadow.name)} USING ${index.tail}`;
}
