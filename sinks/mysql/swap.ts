/**
 * The swap of a rebuilt replica. RENAME TABLE moves all tables at once, and commits by itself; the checkpoint is a row in a
 * table of several sinks. So the swap is written down in the sink's checkpoint first, with everything that is to follow, and
 * that row is taken over by it; then one statement moves the tables; then checkpoint and records of shapes follow in one
 * transaction. Whoever finds a swap written down finishes it, or strikes it off where the statement has not run.
 */
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Swap } from '../../contracts/rebuild.ts';
import { decodeSchema, encodeSchema, tableName, type TableSchema } from '../../contracts/schema.ts';
import { printedName, targetName, type TargetName } from '../relational/names.ts';
import { type ShadowNames, shadowTable } from '../relational/shadow-names.ts';
import { checkpointTable, mirroredTable, type OwnCheckpoint, readCheckpoint, writeOpened } from './checkpoint-table.ts';
import { createDatabase, parseIntents } from './ddl.ts';
import { endHolder, holdLock, shapeLock } from './opening.ts';
import { Registry } from './registry.ts';
import { readReplicaTable } from './replica-table.ts';
import type { Session } from './session.ts';
import type { SinkTarget } from './sink-target.ts';
import { hexLiteral, qualified, quoteText } from './sql.ts';

export interface SwapContext {
  readonly session: Session;
  readonly ownDatabase: string;
  readonly lockTimeoutMs: number;
  readonly names: ShadowNames;
  readonly target: SinkTarget;
  readonly owner: string;
}

/** A swap as it is written down. */
interface WrittenSwap {
  /** Each rebuilt table and its place. */
  readonly tables: readonly { readonly from: TargetName; readonly to: TargetName; readonly shape: string }[];
  /** What stands there, and where it goes. */
  readonly aside: readonly (readonly [from: TargetName, to: TargetName])[];
  /** Places of tables that are to be emptied. */
  readonly emptied: readonly TargetName[];
  /** What becomes of the sink's; null: it stays, since single tables are put in place where the sink stands. */
  readonly checkpoint: { readonly logId: string; readonly epoch: string; readonly offset: number; readonly position: string; readonly cursor: string | null } | null;
  /** Changes of shape that are under way: all that were written down before, and those of tables that stay. */
  readonly intents: { readonly before: string | null; readonly after: string | null };
}

/** @throws TidemarkError `REBUILD_MOVED`, `REBUILD_IN_THE_WAY`, `REPLICA_BUSY` */
export async function swapShadow(context: SwapContext, request: Swap): Promise<void> {
  const { session, ownDatabase, names: { sink } } = context;
  await finishSwap(session, ownDatabase, sink);
  const stored = await readCheckpoint(session, ownDatabase, sink, false);
  // The same request again, once it has been done. Of single tables the checkpoint does not tell.
  if (request.whole && stored !== null && isAt(stored, request.to) && (await readCheckpoint(session, ownDatabase, context.names.checkpoint, false)) === null) return;
  const written = await plannedSwap(context, request);
  for (const { from, to } of written.tables) await carryIndexes(session, from, to);
  await writeDown(context, request, written);
  await session.run(`SET SESSION lock_wait_timeout = ${Math.max(1, Math.round(context.lockTimeoutMs / 1000))}`);
  for (const database of new Set(written.tables.map(({ to }) => to.schema))) await createDatabase(session, database);
  try {
    const moves = [...written.aside, ...written.tables.map(({ from, to }) => [from, to] as const)];
    if (moves.length > 0) await session.run(`RENAME TABLE ${moves.map(([from, to]) => `${qualified(from)} TO ${qualified(to)}`).join(', ')}`);
  } catch (error) {
    if (session.lost === null) await finishSwap(session, ownDatabase, sink);
    throw error;
  }
  await finishSwap(session, ownDatabase, sink);
}

/** Of what a crash has left in the checkpoint's row: finishes a swap whose tables were moved, strikes off one whose were not. */
export async function finishSwap(session: Session, ownDatabase: string, sink: string): Promise<void> {
  const found = await readCheckpoint(session, ownDatabase, sink, false);
  if (found === null || parseSwap(found.intent) === null) return;
  // Somebody who is still at it would go on with what is struck off here.
  await endHolder(session, shapeLock(sink, found.fence));
  const registry = new Registry(session, ownDatabase);
  await session.run('START TRANSACTION');
  try {
    const stored = await readCheckpoint(session, ownDatabase, sink, true);
    const swap = parseSwap(stored?.intent ?? null);
    if (swap === null) {
      // Another one has finished it meanwhile.
    } else if (await isMoved(session, swap)) {
      await session.run(`DELETE FROM ${mirroredTable(ownDatabase)} WHERE sink = ${quoteText(`${sink} (shadow)`)}`);
      for (const [from] of swap.aside) await session.run(`DELETE FROM ${mirroredTable(ownDatabase)} WHERE database_name = ${quoteText(from.schema)} AND table_name = ${quoteText(from.name)}`);
      for (const { to, shape } of swap.tables) await registry.put(to, sink, decodeSchema(Buffer.from(shape, 'utf8')));
      for (const name of swap.emptied) await session.run(`DELETE FROM ${qualified(name)}`);
      await session.run(
        `UPDATE ${checkpointTable(ownDatabase)} SET ${checkpointSql(swap.checkpoint)} applied_at = UTC_TIMESTAMP(6), intent = ${textOrNull(swap.intents.after)} WHERE sink = ${quoteText(sink)}`,
      );
      await session.run(`DELETE FROM ${checkpointTable(ownDatabase)} WHERE sink = ${quoteText(`${sink} (shadow)`)}`);
    } else {
      await session.run(`UPDATE ${checkpointTable(ownDatabase)} SET intent = ${textOrNull(swap.intents.before)} WHERE sink = ${quoteText(sink)}`);
    }
    await session.run('COMMIT');
  } catch (error) {
    if (session.lost === null) await session.run('ROLLBACK');
    throw error;
  }
}

function checkpointSql(checkpoint: WrittenSwap['checkpoint']): string {
  if (checkpoint === null) return '';
  const { logId, epoch, offset, position, cursor } = checkpoint;
  return `log_id = ${quoteText(logId)}, epoch = ${quoteText(epoch)}, \`offset\` = ${offset}, \`position\` = ${hexLiteral(Buffer.from(position, 'hex'))},
    load_cursor = ${cursor === null ? 'NULL' : hexLiteral(Buffer.from(cursor, 'hex'))},`;
}

function textOrNull(text: string | null): string {
  return text === null ? 'NULL' : quoteText(text);
}

/** The swap that is written down there; null: another change, or none. */
export function parseSwap(intent: string | null): WrittenSwap | null {
  if (intent === null) return null;
  const value: unknown = JSON.parse(intent);
  return typeof value === 'object' && value !== null && 'swap' in value ? (value.swap as WrittenSwap) : null;
}

async function plannedSwap({ session, ownDatabase, names, target }: SwapContext, request: Swap): Promise<WrittenSwap> {
  const registry = new Registry(session, ownDatabase);
  const aside = new Map<string, readonly [TargetName, TargetName]>();
  const tables: { from: TargetName; to: TargetName; shape: string }[] = [];
  for (const schema of request.tables) {
    const from = shadowTable(names, schema.tableId);
    const to = targetName(target.names, schema);
    const rebuilt = await registry.of(names.checkpoint, schema.tableId);
    if (rebuilt === null || rebuilt.shape.version !== schema.version) throw moved(`the rebuilt table of ${tableName(schema)} is not of the version that was asked for`);
    for (const place of await servedPlaces(session, registry, names.sink, schema, to, request)) {
      aside.set(printedName(place), [place, { schema: names.schema, name: `old_${aside.size}` }]);
    }
    tables.push({ from, to, shape: encodeSchema(rebuilt.shape).toString('utf8') });
  }
  const emptied: TargetName[] = [];
  for (const schema of request.notYet ?? []) {
    const known = await registry.of(names.sink, schema.tableId);
    if (known !== null && !aside.has(printedName(known.name)) && (await readReplicaTable(session, known.name)) !== null) emptied.push(known.name);
  }
  const { logId, epoch, offset, position, cursor } = request.to;
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  const checkpoint = { logId, epoch, offset, position: hex(position), cursor: cursor === null ? null : hex(cursor) };
  return { tables, aside: [...aside.values()], emptied, checkpoint: request.whole ? checkpoint : null, intents: { before: null, after: null } };
}

/** Where tables stand that the rebuilt one takes the place of: its own of before, and what has its name. */
async function servedPlaces(session: Session, registry: Registry, sink: string, schema: TableSchema, to: TargetName, request: Swap): Promise<TargetName[]> {
  const own = await registry.of(sink, schema.tableId);
  const places = [to, ...(own !== null && printedName(own.name) !== printedName(to) ? [own.name] : [])];
  const found: TargetName[] = [];
  for (const place of places) {
    if ((await readReplicaTable(session, place)) === null) continue;
    const holder = await registry.at(place);
    const isKept = !request.whole && !request.tables.some(({ tableId }) => tableId === holder?.tableId);
    if (holder?.sink === sink && isKept) throw new TidemarkError('REBUILD_IN_THE_WAY', `${printedName(place)} is another table of the sink, which stays`, { where: { table: tableName(schema) } });
    if (holder?.sink !== sink) throw new TidemarkError('REBUILD_IN_THE_WAY', `${printedName(place)} is there, and is none of the sink's`, { where: { table: tableName(schema) } });
    found.push(place);
  }
  return found;
}

/** Indexes that were added at the replica come to the rebuilt table, as the server writes them. */
async function carryIndexes(session: Session, from: TargetName, to: TargetName): Promise<void> {
  const [served, rebuilt] = [await readReplicaTable(session, to), await readReplicaTable(session, from)];
  if (served === null || rebuilt === null) return;
  const there = new Set(rebuilt.indexes.map(({ name }) => name));
  const [shown] = await session.rows(`SHOW CREATE TABLE ${qualified(to)}`);
  const lines = (shown?.['Create Table'] ?? '').split('\n').map((line) => line.trim().replace(/,$/, ''));
  const added = lines.filter((line) => {
    const [, name] = /^(?:UNIQUE |FULLTEXT |SPATIAL )?KEY `((?:[^`]|``)+)`/.exec(line) ?? [];
    return name !== undefined && !there.has(name.replaceAll('``', '`'));
  });
  if (added.length > 0) await session.run(`ALTER TABLE ${qualified(from)} ${added.map((line) => `ADD ${line}`).join(', ')}`);
}

/** Both checkpoints are where the request says; the sink's is taken over, so that nobody else applies. */
async function writeDown(context: SwapContext, request: Swap, swap: WrittenSwap): Promise<void> {
  const { session, ownDatabase, names: { sink, checkpoint }, owner } = context;
  await session.run('START TRANSACTION');
  try {
    const stored = await readCheckpoint(session, ownDatabase, sink, true);
    const shadow = await readCheckpoint(session, ownDatabase, checkpoint, true);
    if (request.from === null ? stored !== null && stored.logId === request.to.logId && stored.epoch !== '' : stored === null || !isAt(stored, request.from)) throw moved('the checkpoint of the sink has moved');
    if (shadow === null || !isAt(shadow, request.to)) throw moved('the checkpoint of the rebuild has moved');
    if (!request.whole && (request.from?.logId !== shadow.logId || request.from.offset !== shadow.offset)) throw moved('single tables were not rebuilt to where the sink stands');
    const before = stored?.intent ?? null;
    const left = request.whole ? [] : parseIntents(before).filter(({ tableId }) => !request.tables.some((table) => table.tableId === tableId));
    const written: WrittenSwap = { ...swap, intents: { before, after: left.length === 0 ? null : JSON.stringify(left) } };
    const fence = (stored?.fence ?? 0) + 1;
    if (stored === null) await writeOpened(session, ownDatabase, sink, { ...shadow, epoch: '', offset: 0, fence, owner });
    else await endHolder(session, shapeLock(sink, stored.fence));
    await session.run(`UPDATE ${checkpointTable(ownDatabase)} SET fence = ${fence}, owner = ${quoteText(owner)}, intent = ${quoteText(JSON.stringify({ swap: written }))} WHERE sink = ${quoteText(sink)}`);
    // Until the session ends: who comes next ends it before looking at what it has done.
    if (!(await holdLock(session, shapeLock(sink, fence), 0))) throw new TidemarkError('REPLICA_BUSY', 'another hub is changing the tables of the sink');
    await session.run('COMMIT');
  } catch (error) {
    if (session.lost === null) await session.run('ROLLBACK');
    throw error;
  }
}

/** The statement moves all or none. A swap of no table at all has nothing to wait for. */
async function isMoved(session: Session, { tables }: WrittenSwap): Promise<boolean> {
  for (const { from } of tables) if ((await readReplicaTable(session, from)) !== null) return false;
  return true;
}

function isAt(stored: OwnCheckpoint, { logId, epoch, offset }: Checkpoint): boolean {
  return stored.logId === logId && stored.epoch === epoch && stored.offset === offset;
}

function moved(why: string): TidemarkError {
  return new TidemarkError('REBUILD_MOVED', why);
}
