/**
 * Sessions that see one and the same moment. A snapshot cannot be handed from one session to another here; but whatever
 * changes rows of the sink changes its checkpoint's row with them, so that sessions which see the same row see the same; but
 * for tables under copy, which are not compared.
 */
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { isFresh } from '../relational/checkpoint.ts';
import { checkpointTable, type OwnCheckpoint, readCheckpoint } from './checkpoint-table.ts';
import type { Session } from './session.ts';
import { parseSwap } from './swap.ts';
import { quoteText } from './sql.ts';

/** Attempts without holding the applier back. */
const FREE_ATTEMPTS = 4;

export interface GroupRequest {
  readonly sink: string;
  readonly ownDatabase: string;
  readonly logId: string;
}

/** Begins a transaction in each session; answers the checkpoint that all of them see. @throws TidemarkError `SINK_FOREIGN` */
export async function beginTogether(sessions: readonly Session[], looker: Session, request: GroupRequest): Promise<Checkpoint | null> {
  const found = await looker.rows(`SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${quoteText(request.ownDatabase)} AND TABLE_NAME IN ('checkpoint', 'mirrored_table')`);
  for (const session of sessions) await session.run('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
  if (found.length < 2) return null;
  for (let attempt = 1; ; attempt++) {
    const holds = attempt > FREE_ATTEMPTS;
    if (holds) await looker.run(`START TRANSACTION; SELECT 1 FROM ${checkpointTable(request.ownDatabase)} WHERE sink = ${quoteText(request.sink)} FOR UPDATE`);
    const seen = await Promise.all(sessions.map((session) => begin(session, request)));
    if (holds) await looker.run('ROLLBACK');
    const [first] = seen;
    if (first === undefined || seen.some(({ mark }) => mark !== first.mark)) {
      for (const session of sessions) await session.run('ROLLBACK');
      if (holds) throw new TidemarkError('REPLICA_BUSY', 'sessions of the replica see different moments although nothing is applied', { where: { sink: request.sink } });
      continue;
    }
    return shown(first.checkpoint, request);
  }
}

async function begin(session: Session, { ownDatabase, sink }: GroupRequest): Promise<{ readonly mark: string; readonly checkpoint: OwnCheckpoint | null }> {
  await session.run('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
  const checkpoint = await readCheckpoint(session, ownDatabase, sink, false);
  const [row] = await session.rows(`SELECT CAST(applied_at AS CHAR) AS at FROM ${checkpointTable(ownDatabase)} WHERE sink = ${quoteText(sink)}`);
  const mark = checkpoint === null ? '' : JSON.stringify([{ ...checkpoint, position: Buffer.from(checkpoint.position).toString('hex'), cursor: Buffer.from(checkpoint.cursor ?? []).toString('hex') }, row?.['at'] ?? null]);
  return { mark, checkpoint };
}

function shown(stored: OwnCheckpoint | null, { logId }: GroupRequest): Checkpoint | null {
  // Its tables may be those of the one or of the other checkpoint.
  if (parseSwap(stored?.intent ?? null) !== null) throw new TidemarkError('REPLICA_BUSY', 'a rebuild is being put in place');
  if (stored !== null && stored.logId !== logId) {
    throw new TidemarkError('SINK_FOREIGN', `the checkpoint at the replica is of log ${stored.logId}, not of ${logId}`);
  }
  if (stored === null || isFresh(stored)) return null;
  const { epoch, offset, position, cursor, fence } = stored;
  return { logId, epoch, offset, position, cursor, fence };
}
