/** Taking a snapshot to verify by, and finding out which transactions it shows. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import type { ChunkView } from '../copy/chunk-view.ts';
import { snapshotView } from '../copy/transaction.ts';
import { parseLsn, type Lsn } from '../position.ts';
import type { Session } from '../session.ts';

/** How often a standby is looked at, and how long in between, milliseconds. */
const STANDBY_TRIES = 100;
const STANDBY_WAIT_MS = 5;

export interface TakenSnapshot extends Pick<ChunkView, 'sees' | 'end'> {
  /** Every transaction is known to be seen or not. */
  readonly isExact: boolean;
}

/**
 * Begins a transaction, in which the snapshot then is.
 * @throws TidemarkError `POSTGRES_PROTOCOL`, `POSTGRES_UNREACHABLE`, `ABORTED`
 */
export async function takeSnapshot(session: Session, clock: Clock, signal: AbortSignal): Promise<TakenSnapshot> {
  if (session.inRecovery) return takeOnStandby(session, clock, signal);
  await session.query(BEGIN);
  return { ...(await snapshotView(session)), isExact: true };
}

const BEGIN = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY';

/**
 * A standby's snapshot does not say which transactions it shows, so that they must be told by LSN: all that was replayed
 * before it was taken, and nothing that came after. That is sure only where nothing more had been received by then: a
 * transaction becomes visible a moment before it counts as replayed. Such a moment is waited for, for a while.
 */
async function takeOnStandby(session: Session, clock: Clock, signal: AbortSignal): Promise<TakenSnapshot> {
  for (let tries = 1; ; tries++) {
    const upTo = await replayed(session);
    await session.query(BEGIN);
    const [row] = await session.query(
      `SELECT pg_current_snapshot()::text AS snapshot, pg_last_wal_receive_lsn()::text AS received,
              pg_last_wal_replay_lsn()::text AS replayed, pg_is_in_recovery()::text AS recovery`,
    );
    const { received, replayed: end, recovery } = row ?? {};
    if (recovery !== 'true' || typeof end !== 'string') throw new TidemarkError('POSTGRES_UNREACHABLE', 'the standby has become a primary');
    const isExact = typeof received === 'string' && parseLsn(received) === upTo;
    if (isExact || tries === STANDBY_TRIES) return { sees: { upTo }, end: isExact ? upTo : parseLsn(end), isExact };
    await session.query('ROLLBACK');
    await clock.sleep(STANDBY_WAIT_MS, signal);
  }
}

async function replayed(session: Session): Promise<Lsn> {
  const [row] = await session.query('SELECT pg_last_wal_replay_lsn()::text AS lsn');
  const lsn = row?.['lsn'];
  if (typeof lsn !== 'string') throw new TidemarkError('POSTGRES_PROTOCOL', 'a standby gave no replay position');
  return parseLsn(lsn);
}
