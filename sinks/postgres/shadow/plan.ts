/** How each table of the shadow is to be put in place. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import { printedName } from '../../relational/names.ts';
import type { ShapeChange } from '../../relational/schema-diff.ts';
import type { ReplicaTable } from '../replica-table.ts';
import { rowsOf } from '../sql.ts';
import { readIndexes, strandedIndexes, type TableIndex } from './indexes.ts';
import { sampleStatement } from './merge-sql.ts';
import { readObstacles } from './obstacles.ts';
import { hasStandby } from './readers.ts';
import type { ShadowSession } from './shadow-session.ts';
import { printedChange, type Reshaping, reshapingOf, type TablePair } from './table-pairs.ts';

/**
 * `create`: there is no live table. `exchange`: the shadow's table takes its place. `merge`: the rows that differ go and
 * come in the live table.
 */
export type Way = 'create' | 'exchange' | 'merge';

/** A pair of which the shadow has its table. */
type FilledPair = TablePair & { readonly shadow: ReplicaTable };

export interface PlannedTable extends FilledPair {
  readonly way: Way;
  /** An exchange that readers do not make room for may be a merge. */
  readonly mayMerge: boolean;
  /** Columns that the live table gets before a merge. */
  readonly extend: readonly ShapeChange[];
}

/** Below this many bytes of the live table a merge is quick, whatever differs. */
const SMALL_BYTES = 8 << 20;
/** With more rows than this share gone, changed or new it is quicker to exchange the table. */
const MANY = 0.2;
const SAMPLED_PAGES = 60;

/** What stands in the way of one table. */
export interface InTheWay {
  readonly pair: TablePair;
  readonly what: string;
  readonly remedy: string;
}

/** Tables whose shape changes in a way that the live ones cannot follow, and why. Changes nothing. */
export async function findInTheWay({ session }: ShadowSession, pairs: readonly TablePair[]): Promise<InTheWay[]> {
  const reshaped = pairs.filter((pair) => reshapingOf(pair).kind === 'reshape');
  if (reshaped.length === 0) return [];
  const obstacles = await readObstacles(session.client, reshaped);
  const indexes = await readIndexes(session.client, reshaped.flatMap((pair) => pair.live ?? []));
  return reshaped.flatMap((pair) => inTheWay(pair, reshapingOf(pair), obstacles, indexes) ?? []);
}

function inTheWay(pair: TablePair, reshaping: Reshaping, obstacles: ReadonlyMap<number, readonly string[]>, indexes: ReadonlyMap<number, readonly TableIndex[]>): InTheWay | null {
  const { live } = pair;
  if (live === null || reshaping.kind !== 'reshape') return null;
  const stranded = strandedIndexes(pair, indexes.get(live.oid) ?? []).map((index) => `index ${index.name}`);
  const objects = [...(obstacles.get(live.oid) ?? []), ...stranded].filter((what) => what !== ORDER);
  if (objects.length === 0) return null;
  const changes = reshaping.changes.map(printedChange).join(', ');
  return {
    pair,
    what: `${printedName(live.name)} gets another shape (${changes}), and this depends on the table: ${objects.join('; ')}`,
    remedy: 'Drop what is named before the rebuild, and create it again afterwards.',
  };
}

/** The order of columns does not outlast a change of them. */
const ORDER = 'another order of the columns';

/** @throws TidemarkError `REBUILD_IN_THE_WAY` */
export function refuseInTheWay(found: readonly InTheWay[]): void {
  const [first] = found;
  if (first === undefined) return;
  throw new TidemarkError('REBUILD_IN_THE_WAY', found.map((one) => one.what).join('. '), { where: { table: tableName(first.pair.schema) }, remedy: first.remedy });
}

/** Reads some rows of large tables. @throws TidemarkError `REBUILD_IN_THE_WAY`, `REBUILD_MOVED` when the shadow lacks a table */
export async function planTables(shadow: ShadowSession, pairs: readonly TablePair[]): Promise<PlannedTable[]> {
  refuseInTheWay(await findInTheWay(shadow, pairs));
  const obstacles = await readObstacles(shadow.session.client, pairs);
  const standby = await hasStandby(shadow.session);
  const planned: PlannedTable[] = [];
  for (const pair of pairs) {
    if (pair.shadow === null) throw new TidemarkError('REBUILD_MOVED', 'the shadow does not have the table', { where: { table: tableName(pair.schema) } });
    const full = { ...pair, shadow: pair.shadow };
    const mustStay = pair.live !== null && ((obstacles.get(pair.live.oid) ?? []).length > 0 || standby);
    planned.push(await planOne(shadow, full, mustStay));
  }
  return planned;
}

async function planOne(shadow: ShadowSession, pair: FilledPair, mustStay: boolean): Promise<PlannedTable> {
  if (pair.live === null) return { ...pair, way: 'create', mayMerge: false, extend: [] };
  const reshaping = reshapingOf(pair);
  if (reshaping.kind === 'reshape') return { ...pair, way: 'exchange', mayMerge: false, extend: [] };
  const extend = reshaping.kind === 'extend' ? reshaping.changes : [];
  const exchanges = !mustStay && (extend.length > 0 || (await isWorthIt(shadow, pair.live, pair)));
  return { ...pair, way: exchanges ? 'exchange' : 'merge', mayMerge: true, extend };
}

/** True when merging would write much of a large table. */
async function isWorthIt({ session }: ShadowSession, live: ReplicaTable, { schema, shadow }: FilledPair): Promise<boolean> {
  const { client } = session;
  const { rows } = await client.query<{ bytes: string; pages: string; live: number; shadow: number }>(
    `SELECT pg_catalog.pg_table_size($1::oid)::text AS bytes, greatest(1, pg_catalog.pg_relation_size($2::oid) / 8192)::text AS pages, l.reltuples AS live, s.reltuples AS shadow
       FROM pg_catalog.pg_class l, pg_catalog.pg_class s WHERE l.oid = $1 AND s.oid = $2`,
    [live.oid, shadow.oid],
  );
  const sizes = rows[0];
  if (sizes === undefined) return false;
  const isEmpty = (await client.query(`SELECT FROM ${rowsOf(live)} LIMIT 1`)).rows.length === 0;
  if (isEmpty) return true;
  if (Number(sizes.bytes) < SMALL_BYTES) return false;
  if (schema.keyKind === 'none') return true;
  if (sizes.live > sizes.shadow * (1 + MANY) && sizes.shadow >= 0) return true;
  const share = Math.min(100, (100 * SAMPLED_PAGES) / Number(sizes.pages));
  const sample = await client.query<{ rows: number; other: number }>(sampleStatement(schema, live, shadow, share));
  const found = sample.rows[0];
  return found !== undefined && found.rows > 0 && found.other / found.rows > MANY;
}
