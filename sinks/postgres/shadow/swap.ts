/**
 * The swap, in this order, so that a crash of either side at any point leaves the old or the new, and can be gone on from:
 *
 *     1  both checkpoints are where they should be; else it was made before, or somebody has come in between
 *     2  what can be prepared is; readers with snapshots older than the shadow's rows are waited for
 *     3  live tables that only grow get their columns, each in a transaction of its own
 *     4  one transaction: both checkpoints locked and compared; rows merged, which no reader waits for; then, for as
 *        short as can be, the locks on tables that are exchanged or renamed; these; names, records, checkpoint
 *     5  what is left of the shadow is removed
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Swap } from '../../../contracts/rebuild.ts';
import { encodeSchema, tableName, type TableSchema } from '../../../contracts/schema.ts';
import { type NameRules, printedName, sameName, targetName, type TargetName } from '../../relational/names.ts';
import { alterTable } from '../ddl.ts';
import { isViolation, sinkError, sqlState } from '../errors.ts';
import { markApplying } from '../opening.ts';
import { makeRoom } from '../rename.ts';
import type { ReplicaTable } from '../replica-table.ts';
import { createMissingTypes, createSchema } from '../replica-types.ts';
import { ident, qualified, rowsOf } from '../sql.ts';
import { alterSteps, identityConstraint } from '../table-sql.ts';
import { installStatements, TakenNames } from './exchange.ts';
import { mergeOf } from './merge-sql.ts';
import { addNote, readNotes } from './notes.ts';
import { readFingerprints } from './obstacles.ts';
import type { PlannedTable } from './plan.ts';
import { brokenRule, constraintOf, prepareSwap } from './prepare.ts';
import { lockTables, olderSnapshots } from './readers.ts';
import { discardShadow, hasCheckpoints } from './remove.ts';
import type { ShadowNames } from './shadow-names.ts';
import type { ShadowSession } from './shadow-session.ts';
import { enumStatements, hasUserTypes, retypeSql, textColumns } from './shadow-types.ts';
import { beginSwap, type Judgement, judgeSwap, readCheckpoints, setCheckpoint } from './swap-checkpoints.ts';
import { type PairsRequest, readPairs } from './table-pairs.ts';

const LAST_WAIT_MS = 200;

export interface SwapContext {
  readonly shadow: ShadowSession;
  readonly names: ShadowNames;
  /** Of the tables that readers use. */
  readonly rules: NameRules;
  /** Of this process: what it opens after the swap is its own. */
  readonly owner: string;
}

/** @throws TidemarkError `REBUILD_MOVED`, `REBUILD_IN_THE_WAY`, `REPLICA_BUSY`, `REPLICA_DENIED`, `SINK_UNREACHABLE` */
export async function swapShadow(context: SwapContext, request: Swap, signal: AbortSignal): Promise<void> {
  const { shadow, names } = context;
  const { client } = shadow.session;
  if (!(await hasCheckpoints(client))) throw new TidemarkError('REBUILD_MOVED', 'the replica has no checkpoints');
  await markApplying(shadow.session, names.sink);
  await markApplying(shadow.session, names.checkpoint);
  const before = await readCheckpoints(client, names, false);
  const swapped = (await readNotes(client, names)).some((note) => note.kind === 'swapped');
  if (passes(judgeSwap(request, before, swapped))) {
    const pairs: PairsRequest = { shadow: names, names: context.rules, tables: request.tables, sameLog: before.live?.logId === request.to.logId };
    const planned = await prepareSwap(shadow, pairs, { isFirst: false, onProgress: () => undefined });
    refuseTriggers(shadow, planned);
    const ways = await afterReaders(shadow, planned, signal);
    for (const table of request.tables) if (hasUserTypes(table)) for (const sql of (await enumStatements(client, table)).before) await client.query(sql);
    for (const table of ways) await extendLive(shadow, table, signal);
    await transact(context, request, ways, pairs, signal);
  }
  await discardShadow(shadow.session, names);
}

/** False: it is done. @throws TidemarkError `REBUILD_MOVED` */
function passes(judgement: Judgement): boolean {
  if (judgement.kind === 'moved') throw new TidemarkError('REBUILD_MOVED', judgement.why);
  return judgement.kind === 'go';
}

function refuseTriggers({ enforced }: ShadowSession, tables: readonly PlannedTable[]): void {
  for (const { live, way, schema } of enforced ? tables : []) {
    if (live === null || way !== 'merge' || live.held.length === 0) continue;
    throw new TidemarkError('REPLICA_DENIED', `${printedName(live.name)} has foreign keys or triggers (${live.held.join(', ')}) that would act in the swap`, {
      where: { table: tableName(schema) },
      remedy: 'Let the role of the sink set session_replication_role (`GRANT SET ON PARAMETER session_replication_role TO role`, PostgreSQL 15 and newer).',
    });
  }
}

/** Tables are exchanged only when no snapshot is left in which the shadow's would be empty. */
async function afterReaders(shadow: ShadowSession, tables: readonly PlannedTable[], signal: AbortSignal): Promise<PlannedTable[]> {
  if (tables.every((table) => table.way !== 'exchange')) return [...tables];
  const older = await olderSnapshots(shadow.session, shadow.clock, shadow.lockTimeoutMs, signal);
  if (older.length === 0) return [...tables];
  return tables.map((table) => {
    if (table.way !== 'exchange') return table;
    if (table.mayMerge) return { ...table, way: 'merge' };
    throw inTheWayOfReaders(table, `sessions that began to read before the rebuild (process ${older.join(', ')}) would find it empty`);
  });
}

function inTheWayOfReaders(table: Pick<PlannedTable, 'name' | 'schema'>, what: string): TidemarkError {
  return new TidemarkError('REPLICA_BUSY', `${printedName(table.name)} gets another shape, and ${what}`, { where: { table: tableName(table.schema) } });
}

/** Columns that come. Seen a little before their values are, and left out by an attempt that finds them there. */
async function extendLive(shadow: ShadowSession, { way, live, extend, name, schema }: PlannedTable, signal: AbortSignal): Promise<void> {
  if (way !== 'merge' || live === null || extend.length === 0) return;
  const { client } = shadow.session;
  await client.query('BEGIN');
  try {
    if (!(await lockTables(shadow.session, shadow.clock, [live.name], shadow.lockTimeoutMs, signal))) {
      throw new TidemarkError('REPLICA_BUSY', `readers of ${printedName(name)} leave no room to add its columns`);
    }
    await createMissingTypes(client, schema);
    for (const step of alterSteps(live.name, extend, live)) await within(schema, () => alterTable(client, step));
    await client.query('COMMIT');
  } catch (error) {
    if (shadow.session.lost === null) await client.query('ROLLBACK');
    throw sinkError(error, { table: tableName(schema) });
  }
}

async function transact(context: SwapContext, request: Swap, tables: readonly PlannedTable[], pairs: PairsRequest, signal: AbortSignal): Promise<void> {
  const { shadow, names } = context;
  const { client } = shadow.session;
  const checkpoints = await beginSwap(shadow.session, names);
  try {
    if (!passes(judgeSwap(request, checkpoints, false))) throw new TidemarkError('REBUILD_MOVED', 'somebody else has swapped the shadow in');
    await provideTypes(shadow, tables);
    const grown = await regrown(shadow, tables, pairs);
    for (const table of grown) if (table.way === 'merge') await mergeTable(shadow, table);
    const later = await laterTables(context, request, pairs, grown);
    for (const { live } of later) await shadow.run(`DELETE FROM ${rowsOf(live)}`);
    const installs = await installsOf(shadow, grown);
    const final = await lockAll(shadow, grown, later, signal);
    await putInPlace(shadow, names.sink, final, later, installs);
    await record(context, request, pairs.sameLog, later);
    await setCheckpoint(client, names, context.owner, request.whole, checkpoints).catch((error: unknown) => {
      throw isViolation(error) ? new TidemarkError('REBUILD_MOVED', 'another hub has opened the sink meanwhile', { cause: error }) : error;
    });
    await addNote(client, names, { kind: 'swapped', name: String(request.to.offset) });
    await shadow.run('COMMIT');
  } catch (error) {
    if (shadow.session.lost === null) await client.query('ROLLBACK');
    throw error;
  }
}

/** In the transaction: types of users as the log has them, and the shadow's columns that waited for them. */
async function provideTypes(shadow: ShadowSession, tables: readonly PlannedTable[]): Promise<void> {
  for (const { schema, shadow: table, way } of tables) {
    if (!hasUserTypes(schema)) continue;
    const { client } = shadow.session;
    await createMissingTypes(client, schema);
    for (const change of (await enumStatements(client, schema)).within) await client.query(change);
    const sql = way === 'merge' ? null : retypeSql(table, textColumns(schema.columns, table));
    if (sql !== null) await shadow.run(sql);
  }
}

/** The tables as they are read again, where columns were added. */
async function regrown(shadow: ShadowSession, tables: readonly PlannedTable[], pairs: PairsRequest): Promise<PlannedTable[]> {
  const grown = tables.filter((table) => table.way === 'merge' && table.extend.length > 0);
  if (grown.length === 0) return [...tables];
  const again = await readPairs(shadow.session.client, { ...pairs, tables: grown.map((table) => table.schema) });
  const lives = new Map(again.map((pair) => [pair.schema.tableId, pair.live]));
  return tables.map((table) => ({ ...table, live: lives.get(table.schema.tableId) ?? table.live }));
}

async function mergeTable(shadow: ShadowSession, table: PlannedTable): Promise<void> {
  const { live, schema } = table;
  if (live === null) return;
  try {
    const { before, remove, sameCount, insert, after } = mergeOf(schema, live, table.shadow);
    for (const sql of before) await shadow.run(sql);
    const removed = await shadow.change(remove);
    const [counts] = removed > 0 ? [] : await shadow.run<{ same: boolean }>(sameCount);
    if (counts?.same !== true) await shadow.run(insert);
    for (const sql of after) await shadow.run(sql);
  } catch (error) {
    throw isViolation(error) ? brokenRule(error, table, constraintOf(error)) : sinkError(error, { table: tableName(schema) });
  }
}

/** A table that stays the one that it is, in an order of names that may be another. */
interface Standing {
  readonly schema: TableSchema;
  readonly live: ReplicaTable;
  readonly name: TargetName;
  /** The shape that the sink gave it. */
  readonly mirrored: TableSchema;
}

/**
 * Live tables that the source had not made yet. They stand empty, under the names that they are to begin with again. Not
 * those that have taken the rows of an earlier table of their name.
 */
async function laterTables({ shadow, rules, names }: SwapContext, { notYet = [] }: Swap, { sameLog }: PairsRequest, placed: readonly PlannedTable[]): Promise<Standing[]> {
  const filled = new Set(placed.map((table) => table.live?.oid));
  const pairs = notYet.length === 0 ? [] : await readPairs(shadow.session.client, { shadow: names, names: rules, tables: notYet, sameLog });
  return pairs.flatMap(({ schema, live, name, mirrored }) => (live === null || mirrored === null || filled.has(live.oid) ? [] : [{ schema, live, name, mirrored }]));
}

/**
 * The locks that keep readers waiting, for all tables at once. Tables whose readers leave no room are merged after all.
 * @throws TidemarkError `REPLICA_BUSY`
 */
async function lockAll(shadow: ShadowSession, tables: readonly PlannedTable[], later: readonly Standing[], signal: AbortSignal): Promise<PlannedTable[]> {
  const moved = [...tables.filter((table) => table.way === 'merge'), ...later].filter(isMoved);
  const exchanged = tables.filter((table) => table.way === 'exchange');
  const names = [...exchanged, ...moved].flatMap(({ live }) => live?.name ?? []);
  if (await lockTables(shadow.session, shadow.clock, names, shadow.lockTimeoutMs, signal)) {
    await requireUnchanged(shadow, exchanged);
    return [...tables];
  }
  const stuck = [...moved, ...exchanged.filter((table) => !table.mayMerge || table.extend.length > 0 || isMoved(table))][0];
  if (stuck !== undefined) throw inTheWayOfReaders(stuck, 'its readers leave no room for that');
  for (const table of exchanged) await mergeTable(shadow, table);
  return tables.map((table) => (table.way === 'exchange' ? { ...table, way: 'merge' } : table));
}

/** @throws TidemarkError `REPLICA_BUSY` when a table was given something since it was looked at, which would be lost with it */
async function requireUnchanged({ session }: ShadowSession, tables: readonly PlannedTable[]): Promise<void> {
  const now = await readFingerprints(session.client, tables);
  const changed = tables.find(({ live, fingerprint }) => live !== null && now.get(live.oid) !== fingerprint);
  if (changed === undefined) return;
  throw new TidemarkError('REPLICA_BUSY', `${printedName(changed.name)} was changed meanwhile`, { where: { table: tableName(changed.schema) } });
}

interface Install {
  readonly table: PlannedTable;
  readonly statements: readonly string[];
}

/** How the shadow's tables come to their places: found out while readers need not wait for it yet. */
async function installsOf({ session: { client } }: ShadowSession, tables: readonly PlannedTable[]): Promise<Install[]> {
  const taken = new TakenNames(client);
  const installs: Install[] = [];
  for (const table of tables) if (table.way !== 'merge') installs.push({ table, statements: await installStatements(client, table, taken) });
  return installs;
}

function isMoved({ live, name }: Pick<PlannedTable, 'live' | 'name'>): boolean {
  return live !== null && !sameName(live.name, name);
}

/** Old tables go, merged ones get the names that they have as of the swap, those of the shadow come. */
async function putInPlace({ session: { client } }: ShadowSession, sink: string, tables: readonly PlannedTable[], later: readonly Standing[], installs: readonly Install[]): Promise<void> {
  // Readers wait from here on: nothing may wait for them.
  await client.query(`SET LOCAL lock_timeout = ${LAST_WAIT_MS}`);
  const exchanged = tables.filter((table) => table.way !== 'merge');
  const moved = [...tables.filter((table) => table.way === 'merge'), ...later].filter(isMoved);
  const coming = [...moved, ...exchanged.filter((table) => table.way === 'create' || isMoved(table))];
  for (const schema of new Set(coming.map((table) => table.name.schema))) await createSchema(client, schema);
  const [first] = exchanged.filter((table) => table.live !== null);
  const dropped = exchanged.flatMap(({ live }) => (live === null ? [] : [qualified(live.name)]));
  if (first !== undefined) await within(first.schema, () => client.query(`DROP TABLE ${dropped.join(', ')}`));
  const parked = ({ live, name, schema }: Moving): TargetName => ({ schema: live?.name.schema ?? name.schema, name: `moving_${schema.tableId}` });
  for (const table of moved) if (table.live !== null) await client.query(`ALTER TABLE ${qualified(table.live.name)} RENAME TO ${ident(parked(table).name)}`);
  for (const { name, schema } of coming) await within(schema, () => makeRoom(client, sink, name));
  for (const table of moved) await within(table.schema, () => client.query(moveStatements(table, parked(table)).join('; ')));
  const placed = new Set(exchanged.map((table) => table.schema.tableId));
  for (const { table, statements } of installs) if (placed.has(table.schema.tableId)) await within(table.schema, () => client.query(statements.join('; ')));
}

type Moving = Pick<PlannedTable, 'live' | 'name' | 'schema'>;

function moveStatements({ live, name }: Moving, from: TargetName): string[] {
  const there: TargetName = { schema: name.schema, name: from.name };
  const was = live === null ? null : identityConstraint(live.name);
  const isOwn = live !== null && live.indexes.some((index) => index.name === was);
  return [
    ...(from.schema === name.schema ? [] : [`ALTER TABLE ${qualified(from)} SET SCHEMA ${ident(name.schema)}`]),
    `ALTER TABLE ${qualified(there)} RENAME TO ${ident(name.name)}`,
    ...(isOwn && was !== null && was !== identityConstraint(name) ? [`ALTER TABLE ${qualified(name)} RENAME CONSTRAINT ${ident(was)} TO ${ident(identityConstraint(name))}`] : []),
  ];
}

/** @throws TidemarkError `REBUILD_IN_THE_WAY` for what has come to depend on a table meanwhile */
async function within(schema: TableSchema, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const failure = sinkError(error, { table: tableName(schema) });
    if (sqlState(error) !== '2BP01' && sqlState(error) !== '0A000') throw failure;
    throw new TidemarkError('REBUILD_IN_THE_WAY', failure.message, { where: failure.where, cause: error });
  }
}

/** The sink's record of its tables: where each stands, and in which shape. */
async function record({ shadow, names, rules }: SwapContext, request: Swap, sameLog: boolean, later: readonly Standing[]): Promise<void> {
  const { client } = shadow.session;
  const placed = [
    ...request.tables.map((schema) => ({ id: schema.tableId, shape: schema, name: targetName(rules, schema) })),
    ...later.map(({ schema, mirrored, name }) => ({ id: schema.tableId, shape: mirrored, name })),
  ];
  const gone = [...request.tables, ...(request.notYet ?? [])].map((schema) => schema.tableId);
  await client.query('DELETE FROM tidemark.mirrored_table WHERE sink = $1', [names.checkpoint]);
  // Ids of another log mean other tables: its records would be taken for those of this one's.
  await client.query('DELETE FROM tidemark.mirrored_table WHERE sink = $1 AND ($2 OR table_id = ANY ($3::bigint[]))', [names.sink, request.whole && !sameLog, gone]);
  await client.query(
    `INSERT INTO tidemark.mirrored_table (schema_name, table_name, sink, table_id, shape)
     SELECT n.schema_name, n.table_name, $1, n.table_id, n.shape::jsonb
       FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::bigint[]), pg_catalog.unnest($5::text[]))
         AS n (schema_name, table_name, table_id, shape)
     ON CONFLICT (schema_name, table_name) DO UPDATE SET sink = excluded.sink, table_id = excluded.table_id, shape = excluded.shape`,
    [names.sink, placed.map(({ name }) => name.schema), placed.map(({ name }) => name.name), placed.map(({ id }) => id), placed.map(({ shape }) => encodeSchema(shape).toString('utf8'))],
  );
}
