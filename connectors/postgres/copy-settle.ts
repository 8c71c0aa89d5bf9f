import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import { Snapshot, widened } from './copy-snapshot.ts';
import type { Session } from './session.ts';

const FIRST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 500;

/**
 * Waits until every transaction that runs now has ended and is visible. Such a one may have changed a table before the
 * publication named it, or may have written its commit record before the slot's start: the stream does not have it, and
 * no snapshot sees it yet.
 *
 * `pg_current_snapshot()` alone does not tell which run: its xmax is one above the newest transaction that has *ended*,
 * and a younger one that hangs between its commit record and its visibility (waiting for a synchronous standby) is
 * above it. Each holds a lock on its own id until it is visible, so that pg_locks names it. On a standby it does not;
 * there the stream has nothing that has not been replayed, and what is replayed is visible.
 */
export async function settle(session: Session, clock: Clock, waiting: (what: string) => void, signal: AbortSignal): Promise<void> {
  const until = await firstUnstarted(session);
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    const { xmin } = await currentSnapshot(session);
    if (xmin >= until) break;
    waiting(await blocker(session, until));
    await clock.sleep(wait, signal);
  }
  waiting('');
}

/** Above every transaction that has begun to write. */
async function firstUnstarted(session: Session): Promise<number> {
  const { xmax } = await currentSnapshot(session);
  const rows = await session.query(
    `SELECT transactionid::text AS xid FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted`,
  );
  return rows.reduce((most, row) => Math.max(most, widened(Number(row['xid']), xmax) + 1), xmax);
}

async function currentSnapshot(session: Session): Promise<Snapshot> {
  const [row] = await session.query('SELECT pg_current_snapshot()::text AS snapshot');
  const text = row?.['snapshot'];
  if (typeof text !== 'string') throw new TidemarkError('POSTGRES_PROTOCOL', 'the server gave no snapshot');
  return new Snapshot(text);
}

/** The oldest transaction that is waited for, as people look for it. */
async function blocker(session: Session, until: number): Promise<string> {
  const [row] = await session.query(
    `SELECT who, seconds FROM (
       SELECT 'pid ' || pid || coalesce(' (' || nullif(application_name, '') || ')', '') AS who,
              floor(extract(epoch FROM clock_timestamp() - xact_start))::text AS seconds, age(backend_xid) AS age
         FROM pg_stat_activity WHERE backend_xid IS NOT NULL
       UNION ALL
       SELECT 'prepared transaction ' || quote_literal(gid), floor(extract(epoch FROM clock_timestamp() - prepared))::text, age(transaction)
         FROM pg_prepared_xacts
     ) AS running ORDER BY age DESC LIMIT 1`,
  );
  const who = row?.['who'];
  if (who === undefined || who === null) return `a transaction before ${until} to end`;
  return `the transaction of ${who} to end, open for ${row?.['seconds'] ?? '?'} s`;
}
