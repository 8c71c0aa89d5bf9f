/** Each table of the shadow with the one that it is to take the place of, and what is between the two. */
import type pg from 'pg';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { decodeSchema, tableName, type TableSchema } from '../../../contracts/schema.ts';
import { type NameRules, printedName, targetName, type TargetName } from '../../relational/names.ts';
import { diffSchema, type ShapeChange } from '../../relational/schema-diff.ts';
import { readReplicaTables, type ReplicaTable } from '../replica-table.ts';
import { rowsOf } from '../sql.ts';
import { type ShadowNames, shadowTable } from './shadow-names.ts';

export interface TablePair {
  /** As of the swap. */
  readonly schema: TableSchema;
  /** The name that readers are to find it under. */
  readonly name: TargetName;
  /** Null before the shadow has it. */
  readonly shadow: ReplicaTable | null;
  /** Where it stands now, which may be under another name; null: there is none yet. */
  readonly live: ReplicaTable | null;
  /** The shape that the sink gave the live table; null: somebody else made it, and it is empty. */
  readonly mirrored: TableSchema | null;
  /** The sink that mirrors into the live table; null: none does. */
  readonly owner: string | null;
  /** The live table is an earlier shape of this very table: its columns are known by number. */
  readonly isSame: boolean;
}

export interface PairsRequest {
  readonly shadow: ShadowNames;
  readonly names: NameRules;
  readonly tables: readonly TableSchema[];
  /** The sink's own records are of this log; else ids of tables mean other tables there. */
  readonly sameLog: boolean;
}

interface Mirrored {
  readonly at: TargetName;
  readonly sink: string;
  readonly tableId: number;
  readonly shape: TableSchema | null;
}

/** Two catalog statements for each 200 tables. */
export async function readPairs(client: pg.ClientBase, request: PairsRequest): Promise<TablePair[]> {
  const { shadow, names, tables, sameLog } = request;
  const mirrored = await readMirrored(client, shadow.sink);
  const byName = new Map(mirrored.map((entry) => [printedName(entry.at), entry]));
  const byId = new Map(sameLog ? mirrored.filter((entry) => entry.sink === shadow.sink).map((entry) => [entry.tableId, entry]) : []);
  const ids = new Set(tables.map((schema) => schema.tableId));
  const places = tables.map((schema) => {
    const name = targetName(names, schema);
    const own = byId.get(schema.tableId);
    if (own !== undefined) return { name, at: own.at, entry: own };
    const other = byName.get(printedName(name));
    // Another table of the rebuild stands there still: it moves away.
    const moves = other !== undefined && other.sink === shadow.sink && sameLog && ids.has(other.tableId);
    return { name, at: moves ? null : name, entry: moves ? undefined : other };
  });
  const lives = await readReplicaTables(client, places.map(({ at, name }) => at ?? name));
  const shadows = await readReplicaTables(client, tables.map((schema) => shadowTable(shadow, schema.tableId)));
  return tables.map((schema, index): TablePair => {
    const { name, at, entry } = places[index] ?? { name: targetName(names, schema), at: null, entry: undefined };
    const live = at === null ? null : (lives[index] ?? null);
    const isSame = entry !== undefined && sameLog && entry.tableId === schema.tableId;
    return { schema, name, shadow: shadows[index] ?? null, live, mirrored: live === null ? null : (entry?.shape ?? null), owner: entry?.sink ?? null, isSame };
  });
}

/** @throws TidemarkError `REPLICA_TABLE_TAKEN`, `REPLICA_SHAPE` where what stands under a name is not the sink's to replace */
export async function refuseTaken(client: pg.ClientBase, pairs: readonly TablePair[]): Promise<void> {
  for (const pair of pairs) {
    if (pair.live === null) continue;
    if (pair.owner !== null && pair.mirrored === null) refuse(pair, 'REPLICA_TABLE_TAKEN', `is mirrored by the sink ${pair.owner}`);
    if (pair.live.kind !== 'r' && pair.live.kind !== 'p') refuse(pair, 'REPLICA_SHAPE', 'is not a table');
    if (pair.mirrored !== null) continue;
    const { rows } = await client.query(`SELECT FROM ${rowsOf(pair.live)} LIMIT 1`);
    if (rows.length > 0) refuse(pair, 'REPLICA_TABLE_TAKEN', 'has rows that this sink did not write');
  }
}

function refuse({ schema, name }: TablePair, code: 'REPLICA_TABLE_TAKEN' | 'REPLICA_SHAPE', what: string): never {
  throw new TidemarkError(code, `${printedName(name)} ${what}`, { where: { table: tableName(schema) } });
}

async function readMirrored(client: pg.ClientBase, sink: string): Promise<Mirrored[]> {
  const { rows } = await client.query<{ schema_name: string; table_name: string; sink: string; table_id: string; shape: string | null }>(
    'SELECT schema_name, table_name, sink, table_id::text, CASE WHEN sink = $1 THEN shape::text END AS shape FROM tidemark.mirrored_table',
    [sink],
  );
  return rows.map((row) => ({
    at: { schema: row.schema_name, name: row.table_name },
    sink: row.sink,
    tableId: Number(row.table_id),
    shape: row.shape === null ? null : decodeSchema(Buffer.from(row.shape, 'utf8')),
  }));
}

/** What is between the shape of the live table and that of the shadow. */
export type Reshaping =
  | { readonly kind: 'none' }
  /** Columns come, and nothing that stands there changes. */
  | { readonly kind: 'extend'; readonly changes: readonly ShapeChange[] }
  /** Columns go, or change their name or type, or the key does. */
  | { readonly kind: 'reshape'; readonly changes: readonly ShapeChange[] };

const HARD: ReadonlySet<ShapeChange['kind']> = new Set(['drop-key', 'add-key', 'drop-column', 'rename-column', 'retype']);

export function reshapingOf({ schema, live, mirrored, isSame }: Pick<TablePair, 'schema' | 'live' | 'mirrored' | 'isSame'>): Reshaping {
  if (live === null) return { kind: 'none' };
  const there = new Set(live.columns.map((column) => column.name));
  const diff = mirrored === null ? [] : diffSchema(mirrored, schema, isSame ? 'number' : 'name');
  if (diff.some((change) => HARD.has(change.kind))) return { kind: 'reshape', changes: diff };
  const missing = schema.columns.filter((column) => !there.has(column.name));
  // Not null is not asked for: proving it would keep readers waiting while the whole table is read.
  const changes: ShapeChange[] = missing.map((column) => ({ kind: 'add-column', column: { ...column, nullable: true } }));
  changes.push(...diff.filter((change) => change.kind === 'drop-not-null' || change.kind === 'default'));
  return changes.length === 0 ? { kind: 'none' } : { kind: 'extend', changes };
}

/** For people. */
export function printedChange(change: ShapeChange): string {
  switch (change.kind) {
    case 'drop-key':
    case 'add-key':
      return 'another key';
    case 'drop-column':
      return `no column ${change.name}`;
    case 'rename-column':
      return `column ${change.from} named ${change.to}`;
    case 'add-column':
      return `column ${change.column.name}`;
    case 'retype':
      return `column ${change.column.name} of ${change.column.nativeType}`;
    case 'drop-not-null':
    case 'set-not-null':
      return `null in column ${change.name}`;
    case 'default':
      return `default of column ${change.column.name}`;
  }
}
