/** The checkpoints of a sink and its shadow at a swap: locked, compared, set. */
import type pg from 'pg';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { Swap } from '../../../contracts/rebuild.ts';
import { isFresh, type StoredCheckpoint } from '../../relational/checkpoint.ts';
import { readCheckpoint } from '../checkpoint-table.ts';
import { sqlState } from '../errors.ts';
import { endOlderSessions } from '../opening.ts';
import type { Session } from '../session.ts';
import type { ShadowNames } from './shadow-names.ts';

const PATIENCE_MS = 5_000;
const LAST_PATIENCE_MS = 30_000;

export interface SwapCheckpoints {
  readonly live: StoredCheckpoint | null;
  readonly shadow: StoredCheckpoint | null;
}

export type Judgement =
  | { readonly kind: 'go' }
  /** The sink stands where the swap was to bring it, and there is no shadow: it was made before. */
  | { readonly kind: 'done' }
  | { readonly kind: 'moved'; readonly why: string };

/** @param swapped what is left of the shadow says that it was swapped in. Pure. */
export function judgeSwap(request: Swap, { live, shadow }: SwapCheckpoints, swapped: boolean): Judgement {
  if (shadow === null && (swapped || (request.whole && live !== null && isAt(live, request.to)))) return { kind: 'done' };
  if (shadow === null) return { kind: 'moved', why: 'there is no shadow' };
  if (!isAt(shadow, request.to)) return { kind: 'moved', why: `the shadow is at ${shadow.offset}, not at ${request.to.offset}` };
  if (request.from === null) {
    const isGone = live === null || live.logId !== request.to.logId || isFresh(live);
    return isGone && request.whole ? { kind: 'go' } : { kind: 'moved', why: `the sink is at ${live?.offset ?? 'no offset'}` };
  }
  if (live === null) return { kind: 'moved', why: 'the sink has no checkpoint any more' };
  return isAt(live, request.from) ? { kind: 'go' } : { kind: 'moved', why: `the sink is at ${live.offset}, not at ${request.from.offset}` };
}

function isAt(stored: StoredCheckpoint, { logId, epoch, offset }: Checkpoint): boolean {
  return stored.logId === logId && stored.epoch === epoch && stored.offset === offset;
}

export async function readCheckpoints(client: pg.ClientBase, names: ShadowNames, lock: boolean): Promise<SwapCheckpoints> {
  const live = await readCheckpoint(client, names.sink, lock);
  return { live, shadow: await readCheckpoint(client, names.checkpoint, lock) };
}

/**
 * Begins the transaction of the swap, in which both rows stay locked. Sessions that still apply to one of them, of a hub
 * that is gone or has been superseded, are ended.
 */
export async function beginSwap(session: Session, names: ShadowNames): Promise<SwapCheckpoints> {
  try {
    return await lockRows(session, names, PATIENCE_MS);
  } catch (error) {
    if (sqlState(error) !== '55P03') throw error;
  }
  await endOlderSessions(session, names.sink);
  await endOlderSessions(session, names.checkpoint);
  return lockRows(session, names, LAST_PATIENCE_MS);
}

async function lockRows(session: Session, names: ShadowNames, patienceMs: number): Promise<SwapCheckpoints> {
  const { client } = session;
  await client.query(`BEGIN; SET LOCAL lock_timeout = ${patienceMs}`);
  try {
    const rows = await readCheckpoints(client, names, true);
    await client.query('SET LOCAL lock_timeout = 0');
    return rows;
  } catch (error) {
    if (session.lost === null) await client.query('ROLLBACK');
    throw error;
  }
}

/** Makes the sink's checkpoint what the shadow's is (if it is the whole sink), under the next fence, and removes the shadow's. */
export async function setCheckpoint(client: pg.ClientBase, names: ShadowNames, owner: string, whole: boolean, { live, shadow }: SwapCheckpoints): Promise<void> {
  const fence = Math.max(live?.fence ?? 0, shadow?.fence ?? 0) + 1;
  const values = [names.sink, names.checkpoint, fence, owner];
  if (live === null) {
    await client.query('UPDATE tidemark.checkpoint SET sink = $1, fence = $3, owner = $4 WHERE sink = $2', values);
    return;
  }
  // The row stays the same one: who waits for it to take the sink over finds the new fence in it.
  const moved = `log_id = s.log_id, epoch = s.epoch, "offset" = s."offset", "position" = s."position", commit_time = s.commit_time,
                 load_cursor = s.load_cursor, applied_at = pg_catalog.clock_timestamp(),`;
  await client.query(
    `UPDATE tidemark.checkpoint AS l SET ${whole ? moved : ''} fence = $3, owner = $4 FROM tidemark.checkpoint AS s WHERE l.sink = $1 AND s.sink = $2`,
    values,
  );
  await client.query('DELETE FROM tidemark.checkpoint WHERE sink = $1', [names.checkpoint]);
}
