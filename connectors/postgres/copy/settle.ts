import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import { Snapshot, widened } from './xid-snapshot.ts';
import type { Session } from '../session.ts';

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
    if (!session.inRecovery) {
      const [oldest] = (await runningHere(session)).filter(({ xid }) => xid < until).toSorted((a, b) => a.xid - b.xid);
      if (oldest === undefined) break;
      waiting(await blocker(session, oldest));
    } else waiting(`a transaction before ${until} to end`);
    await clock.sleep(wait, signal);
  }
  waiting('');
}

interface RunningTransaction {
  readonly xid: number;
  /** Of the backend; null: it is prepared. */
  readonly pid: string | null;
}

/**
 * The transactions that have begun to write, without those that are certainly of another database: they cannot have
 * written to this one's tables, and the stream has nothing of theirs. A backend stays in its database for life, so one
 * that is in another now, and was there before the locks were read, is the one that held the lock. What is not known to be
 * of another database counts.
 */
async function runningHere(session: Session): Promise<RunningTransaction[]> {
  const locks = await session.query(
    `SELECT transactionid::text AS xid, pid::text AS pid, statement_timestamp()::text AS at FROM pg_locks
      WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted`,
  );
  if (locks.length === 0) return [];
  const others = await session.query(
    `SELECT pid::text AS pid, NULL AS xid FROM pg_stat_activity
      WHERE datid <> (SELECT oid FROM pg_database WHERE datname = current_database()) AND backend_start < $1::timestamptz
     UNION ALL SELECT NULL, transaction::text FROM pg_prepared_xacts WHERE database <> current_database()`,
    [locks[0]?.['at']],
  );
  const pids = new Set(others.flatMap((row) => row['pid'] ?? []));
  const prepared = new Set(others.flatMap((row) => row['xid'] ?? []));
  const { xmax } = await currentSnapshot(session);
  return locks
    .map((row) => ({ xid: row['xid'] ?? '', pid: row['pid'] ?? null }))
    .filter(({ xid, pid }) => !(pid === null ? prepared.has(xid) : pids.has(pid)))
    .map(({ xid, pid }) => ({ xid: widened(Number(xid), xmax), pid }));
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

/** A transaction that is waited for, as people look for it. */
async function blocker(session: Session, { xid, pid }: RunningTransaction): Promise<string> {
  const [row] = pid === null
    ? await session.query(
      `SELECT 'prepared transaction ' || quote_literal(gid) AS who, floor(extract(epoch FROM clock_timestamp() - prepared))::text AS seconds
         FROM pg_prepared_xacts WHERE transaction::text = $1`,
      [String(xid % 2 ** 32)],
    )
    : await session.query(
      `SELECT 'pid ' || pid || coalesce(' (' || nullif(application_name, '') || ')', '') AS who,
              floor(extract(epoch FROM clock_timestamp() - xact_start))::text AS seconds FROM pg_stat_activity WHERE pid::text = $1`,
      [pid],
    );
  const who = row?.['who'];
  if (who === undefined || who === null) return `transaction ${xid} to end`;
  return `the transaction of ${who} to end, open for ${row?.['seconds'] ?? '?'} s`;
}
