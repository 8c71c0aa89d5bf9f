/** How each table of the shadow is to be put in place. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import { printedName } from '../../relational/names.ts';
import type { ShapeChange } from '../../relational/schema-diff.ts';
import type { ReplicaTable } from '../replica-table.ts';
import { rowsOf } from '../sql.ts';
import { readIndexes, strandedIndexes, type TableIndex } from './indexes.ts';
import { sampleStatement } from './merge-sql.ts';
import { OTHER_ORDER, readFingerprints, readObstacles } from './obstacles.ts';
import { hasStandby } from './readers.ts';
import type { ShadowSession } from './shadow-session.ts';
import { textColumns } from './shadow-types.ts';
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
  /** Of the live table as it was when this was planned; '' where there is none. */
  readonly fingerprint: string;
  /** Columns that the live table gets before a merge. */
  readonly extend: readonly ShapeChange[];
}

/** Tables of fewer bytes are merged quickly, whatever differs. */
const SMALL_BYTES = 8 << 20;
/** With more rows than this share gone, changed or new it is quicker to exchange the table. */
const MANY = 0.05;
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
  const objects = [...(obstacles.get(live.oid) ?? []), ...stranded].filter((what) => what !== OTHER_ORDER);
  if (objects.length === 0) return null;
  const changes = reshaping.changes.map(printedChange).join(', ');
  return {
    pair,
    what: `${printedName(live.name)} gets another shape (${changes}), and this depends on the table: ${objects.join('; ')}`,
    remedy: 'Drop what is named before the rebuild, and create it again afterwards.',
  };
}

/** @throws TidemarkError `REBUILD_IN_THE_WAY` */
function refuseInTheWay(found: readonly InTheWay[]): void {
  const [first] = found;
  if (first === undefined) return;
  throw new TidemarkError('REBUILD_IN_THE_WAY', found.map((one) => one.what).join('. '), { where: { table: tableName(first.pair.schema) }, remedy: first.remedy });
}

/**
 * Live tables are exchanged all together, or merged all together: a reader whose snapshot is from before the swap, and who
 * comes to the tables after it, sees all of the new rows then, or all of the old. Only a table that gets another shape must
 * be exchanged whatever the others can. Reads some rows of large tables.
 * @throws TidemarkError `REBUILD_IN_THE_WAY`, `REBUILD_MOVED` when the shadow lacks a table
 */
export async function planTables(shadow: ShadowSession, pairs: readonly TablePair[]): Promise<PlannedTable[]> {
  const fingerprints = await readFingerprints(shadow.session.client, pairs);
  refuseInTheWay(await findInTheWay(shadow, pairs));
  const filled = pairs.map((pair): FilledPair => {
    if (pair.shadow === null) throw new TidemarkError('REBUILD_MOVED', 'the shadow does not have the table', { where: { table: tableName(pair.schema) } });
    return { ...pair, shadow: pair.shadow };
  });
  const exchanges = await areExchanged(shadow, filled);
  return filled.map((pair): PlannedTable => {
    if (pair.live === null) return { ...pair, way: 'create', mayMerge: false, fingerprint: '', extend: [] };
    const reshaping = reshapingOf(pair);
    const fingerprint = fingerprints.get(pair.live.oid) ?? '';
    if (reshaping.kind === 'reshape') return { ...pair, way: 'exchange', mayMerge: false, fingerprint, extend: [] };
    return { ...pair, way: exchanges ? 'exchange' : 'merge', mayMerge: true, fingerprint, extend: reshaping.kind === 'extend' ? reshaping.changes : [] };
  });
}

/** Every live table can be exchanged, and for one of them it is quicker, or must be. */
async function areExchanged(shadow: ShadowSession, pairs: readonly FilledPair[]): Promise<boolean> {
  const obstacles = await readObstacles(shadow.session.client, pairs);
  // Columns of text get their types in the transaction of the swap: for older snapshots their table would be empty.
  const kept = pairs.filter(({ live, schema, shadow: table }) => live !== null && ((obstacles.get(live.oid) ?? []).length > 0 || textColumns(schema.columns, table).length > 0));
  if (kept.some((pair) => reshapingOf(pair).kind !== 'reshape') || (await hasStandby(shadow.session))) return false;
  if (pairs.some((pair) => reshapingOf(pair).kind !== 'none')) return true;
  for (const pair of await largeTables(shadow, pairs)) if (await differsMuch(shadow, pair)) return true;
  return false;
}

interface LargeTable {
  readonly pair: FilledPair;
  readonly live: ReplicaTable;
  /** Pages of the shadow. */
  readonly pages: number;
  /** As the server estimates them; below 0: not known. */
  readonly liveRows: number;
  readonly shadowRows: number;
}

async function largeTables({ session }: ShadowSession, pairs: readonly FilledPair[]): Promise<LargeTable[]> {
  const both = pairs.flatMap((pair) => (pair.live === null ? [] : [{ pair, live: pair.live }]));
  const { rows } = await session.client.query<{ place: string; pages: string; liveRows: number; shadowRows: number }>(
    `SELECT w.place::text, greatest(1, pg_catalog.pg_relation_size(w.shadow) / pg_catalog.current_setting('block_size')::int)::text AS pages,
            l.reltuples AS "liveRows", s.reltuples AS "shadowRows"
       FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::oid[])) WITH ORDINALITY AS w (live, shadow, place)
       JOIN pg_catalog.pg_class l ON l.oid = w.live JOIN pg_catalog.pg_class s ON s.oid = w.shadow
      WHERE greatest(pg_catalog.pg_table_size(w.live), pg_catalog.pg_table_size(w.shadow)) >= $3`,
    [both.map(({ live }) => live.oid), both.map(({ pair }) => pair.shadow.oid), SMALL_BYTES],
  );
  return rows.flatMap(({ place, pages, liveRows, shadowRows }) => {
    const entry = both[Number(place) - 1];
    return entry === undefined ? [] : [{ ...entry, pages: Number(pages), liveRows, shadowRows }];
  });
}

/** True when merging would write much of the table. */
async function differsMuch({ session }: ShadowSession, { pair, live, pages, liveRows, shadowRows }: LargeTable): Promise<boolean> {
  const { client } = session;
  const some = await client.query(`SELECT FROM ${rowsOf(live)} LIMIT 1`);
  if (some.rows.length === 0 || pair.schema.keyKind === 'none') return true;
  if (shadowRows >= 0 && liveRows > shadowRows * (1 + MANY)) return true;
  const share = Math.min(100, (100 * SAMPLED_PAGES) / pages);
  const sample = await client.query<{ rows: number; other: number }>(sampleStatement(pair.schema, live, pair.shadow, share));
  const found = sample.rows[0];
  return found !== undefined && found.rows > 0 && found.other / found.rows > MANY;
}
