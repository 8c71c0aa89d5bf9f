/**
 * The swap of two sets. Its transaction is sent on one connection:
 *
 *     SELECT live, WATCH checkpoint, HGETALL checkpoint    SELECT shadow, WATCH checkpoint, HGETALL checkpoint
 *     MULTI   SELECT live     HSET checkpoint role old, owner, fence
 *             SELECT shadow   HSET checkpoint owner, fence, swapped;  HDEL checkpoint role
 *             SWAPDB live shadow
 *     EXEC
 *
 * A watch is of a key in one database, so both checkpoints are watched: EXEC does nothing unless both are as they were
 * read. Each is also written before the databases change places: that ends the transactions of whoever watches one of
 * them, in Redis before 6.2 too, where SWAPDB itself does not. So whoever applies to either set is fenced by the same step.
 */
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Swap } from '../../../contracts/rebuild.ts';
import { parseCheckpoint, type StoredCheckpoint } from '../checkpoint.ts';
import { CommandBuffer } from '../resp/command-buffer.ts';
import { accepted, serverError } from '../server-error.ts';
import type { TwoDatabases } from './two-databases.ts';

export type Judgement =
  | { readonly kind: 'go'; readonly fence: number }
  /** It was made before: what it replaced may still be there. */
  | { readonly kind: 'done' }
  | { readonly kind: 'moved'; readonly why: string };

export interface SwapSides {
  readonly live: StoredCheckpoint | null;
  readonly shadow: StoredCheckpoint | null;
}

/** How often a swap is tried while somebody touches the checkpoints. */
const TRIES = 10;

/** @param ownerOfNothing the taking over that found a checkpoint in `live` and could not go on from it. Pure. */
export function judgeSwap(request: Swap, { live, shadow }: SwapSides, ownerOfNothing: string | null): Judgement {
  if (live !== null && live.role !== null) return { kind: 'moved', why: 'what is served is marked as a set of a rebuild' };
  if (shadow?.role !== 'shadow') {
    const made = live !== null && live.logId === request.to.logId && live.swapped === swapName(request.to);
    return made ? { kind: 'done' } : { kind: 'moved', why: 'there is no shadow' };
  }
  if (!isAt(shadow, request.to) || shadow.applied?.cursor !== null) return { kind: 'moved', why: `the shadow is at ${shadow.applied?.offset ?? 'nothing'}, not at ${request.to.offset}` };
  const fence = Math.max(live?.fence ?? 0, shadow.fence) + 1;
  if (request.from !== null) {
    if (live !== null && isAt(live, request.from)) return { kind: 'go', fence };
    return { kind: 'moved', why: `the sink is at ${live?.applied?.offset ?? 'nothing'}, not at ${request.from.offset}` };
  }
  const isGone = live === null || live.logId !== request.to.logId || (live.applied?.offset ?? 0) === 0 || live.rebuild === 'marking';
  if (isGone || live.owner === ownerOfNothing) return { kind: 'go', fence };
  return { kind: 'moved', why: `the sink is at ${live.applied?.offset ?? 'nothing'}` };
}

function isAt({ logId, applied }: StoredCheckpoint, at: Checkpoint): boolean {
  return applied !== null && logId === at.logId && applied.epoch === at.epoch && applied.offset === at.offset;
}

/** Names the shadow that was put in place, in the checkpoint that was its. */
function swapName({ epoch, offset, fence }: Checkpoint): string {
  return `${epoch} ${offset} ${fence}`;
}

/**
 * Swaps the databases, or finds that it was done before.
 * @throws TidemarkError `REBUILD_MOVED`; `SINK_UNREACHABLE` when it may have been done
 */
export async function swapDatabases(databases: TwoDatabases, request: Swap, owner: string, ownerOfNothing: string | null): Promise<void> {
  const { connection } = databases;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const live = await watched(databases, databases.live);
    const judgement = judgeSwap(request, { live, shadow: await watched(databases, databases.shadow) }, ownerOfNothing);
    if (judgement.kind !== 'go') accepted(await connection.call('UNWATCH'), connection.address);
    if (judgement.kind === 'moved') throw new TidemarkError('REBUILD_MOVED', judgement.why);
    if (judgement.kind === 'done' || (await exchange(databases, request, live !== null, owner, judgement.fence))) return;
  }
  throw new TidemarkError('REBUILD_MOVED', `a checkpoint at ${connection.address} keeps changing`);
}

async function watched(databases: TwoDatabases, database: number): Promise<StoredCheckpoint | null> {
  const { connection, key } = databases;
  await databases.select(database);
  accepted(await connection.call('WATCH', key), connection.address);
  return parseCheckpoint(await connection.call('HGETALL', key), connection.address);
}

/** False: a checkpoint has changed meanwhile, and nothing was done. */
async function exchange(databases: TwoDatabases, { from, to }: Swap, isLive: boolean, owner: string, fence: number): Promise<boolean> {
  const { connection, live, shadow, key } = databases;
  const claim = ['owner', owner, 'fence', String(fence)];
  const out = new CommandBuffer(connection.pool);
  out.command('MULTI');
  out.command('SELECT', String(live));
  // What has no checkpoint gets one: it tells what the set is, and that it may be removed.
  const missing = isLive ? [] : ['log', from?.logId ?? to.logId, 'reach', '0'];
  out.command('HSET', key, ...claim, ...missing, 'role', 'old');
  out.command('SELECT', String(shadow));
  out.command('HSET', key, ...claim, 'swapped', swapName(to));
  out.command('HDEL', key, 'role');
  out.command('SWAPDB', String(live), String(shadow));
  const queued = out.commands;
  out.command('EXEC');
  connection.send(out.take());
  const [refusals, result] = await Promise.all([connection.run(queued), connection.exec()]);
  const [failure] = [...refusals, ...(result.kind === 'done' ? result.failures : [])];
  if (failure !== undefined) throw serverError(failure.text, connection.address);
  if (result.kind === 'refused') throw serverError(result.text, connection.address);
  return result.kind === 'done';
}
