/** What is done before a swap, while the sink is served and may be applied to: nothing of it is seen by its readers. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { SwapProgress } from '../../../contracts/rebuild.ts';
import { type Column, tableName } from '../../../contracts/schema.ts';
import { isViolation, sinkError } from '../errors.ts';
import { readReplicaTable } from '../replica-table.ts';
import { qualified } from '../sql.ts';
import { createIndexSql, keptIndexes, matchIndexes, readIndexes } from './indexes.ts';
import { type PlannedTable, planTables } from './plan.ts';
import type { ShadowSession } from './shadow-session.ts';
import { hasUserTypes, retypeSql, textColumns, typesFit } from './shadow-types.ts';
import { type PairsRequest, readPairs, refuseTaken, type TablePair } from './table-pairs.ts';

export interface Preparation {
  /** Statistics are gathered although there are some. */
  readonly isFirst: boolean;
  readonly onProgress: (progress: SwapProgress) => void;
}

/**
 * Gives the shadow's tables their types, statistics, and the indexes of the tables whose place they take. What is done
 * already is left.
 * @throws TidemarkError `REBUILD_IN_THE_WAY`, `REBUILD_MOVED`
 */
export async function prepareSwap(shadow: ShadowSession, request: PairsRequest, { isFirst, onProgress }: Preparation): Promise<PlannedTable[]> {
  const found = await readPairs(shadow.session.client, request);
  await refuseTaken(shadow.session.client, found);
  const pairs: TablePair[] = [];
  for (const pair of found) pairs.push(await withTypes(shadow, pair));
  const analyzed = isFirst ? new Set<string>() : await analyzedTables(shadow, request);
  let done = 0;
  onProgress({ step: 'statistics', done, of: pairs.length });
  for (const { shadow: table } of pairs) {
    if (table !== null && !analyzed.has(table.name.name)) await shadow.run(`ANALYZE ${qualified(table.name)}`);
    onProgress({ step: 'statistics', done: ++done, of: pairs.length });
  }
  const planned = await planTables(shadow, pairs);
  const exchanged = planned.filter((table) => table.way === 'exchange');
  onProgress({ step: 'indexes', done: 0, of: exchanged.length });
  for (const [index, table] of exchanged.entries()) {
    await buildIndexes(shadow, table);
    onProgress({ step: 'indexes', done: index + 1, of: exchanged.length });
  }
  return planned;
}

async function analyzedTables({ session }: ShadowSession, request: PairsRequest): Promise<Set<string>> {
  const { rows } = await session.client.query<{ name: string }>('SELECT DISTINCT tablename AS name FROM pg_catalog.pg_stats WHERE schemaname = $1', [request.shadow.schema]);
  return new Set(rows.map((row) => row.name));
}

/** Columns that were of text while their types were others get these where they are as the schema has them now. */
async function withTypes(shadow: ShadowSession, pair: TablePair): Promise<TablePair> {
  if (pair.shadow === null || !hasUserTypes(pair.schema)) return pair;
  const fitting: Column[] = [];
  for (const column of textColumns(pair.schema.columns, pair.shadow)) if (await typesFit(shadow.session.client, column)) fitting.push(column);
  const sql = retypeSql(pair.shadow, fitting);
  if (sql === null) return pair;
  await shadow.run(sql);
  return { ...pair, shadow: await readReplicaTable(shadow.session.client, pair.shadow.name) };
}

/** @throws TidemarkError `REBUILD_IN_THE_WAY` when the rows break a rule of the replica's own */
async function buildIndexes(shadow: ShadowSession, pair: PlannedTable): Promise<void> {
  if (pair.live === null) return;
  const indexes = await readIndexes(shadow.session.client, [pair.live, pair.shadow]);
  const { missing } = matchIndexes(keptIndexes(pair, indexes.get(pair.live.oid) ?? []), indexes.get(pair.shadow.oid) ?? []);
  for (const index of missing) {
    try {
      await shadow.run(createIndexSql(pair.shadow, index));
    } catch (error) {
      throw isViolation(error) ? brokenRule(error, pair, index.name) : sinkError(error, { table: tableName(pair.schema) });
    }
  }
}

/** The rows, as the source has them, break a constraint that somebody added at the replica. */
export function brokenRule(error: unknown, { schema }: TablePair, constraint: string): TidemarkError {
  return new TidemarkError('REBUILD_IN_THE_WAY', `the rebuilt rows break ${constraint}, which the source does not have`, {
    where: { table: tableName(schema) },
    remedy: `Drop ${constraint} at the replica, or have the source keep to it.`,
    cause: error,
  });
}

/** The constraint that the server names. */
export function constraintOf(error: unknown): string {
  const named = error instanceof Error && 'constraint' in error && typeof error.constraint === 'string' ? error.constraint : '';
  return named === '' ? 'a constraint' : named;
}
