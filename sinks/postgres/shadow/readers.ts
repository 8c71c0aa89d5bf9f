/**
 * Those who read the tables meanwhile. Another table may take the name of one only when every snapshot sees all of the
 * other's rows: in one that is older than those rows it would be empty. And nobody may be kept waiting, or become the
 * victim of a deadlock, by a lock that we wait for.
 */
import type { Clock } from '../../../contracts/runtime.ts';
import type { TargetName } from '../../relational/names.ts';
import { sqlState } from '../errors.ts';
import type { Session } from '../session.ts';
import { qualified } from '../sql.ts';

const POLL_MS = 50;
/** Readers queue behind us for so long at most each time that we ask for the locks. */
const LOCK_WAITS_MS = [10, 50, 100, 200];
/** For those who have queued to go on before we ask again. */
const PAUSE_MS = 150;

interface Reader {
  readonly transaction: string;
  /** The oldest transaction that its snapshots may not see, in the order of transactions; null: it has none. */
  readonly xmin: string | null;
}

/**
 * Waits until no session of the database has a snapshot any more that was taken before the call.
 * @returns process ids of those that still have when `limitMs` are over
 */
export async function olderSnapshots(session: Session, clock: Clock, limitMs: number, signal: AbortSignal): Promise<number[]> {
  const begun = clock.monotonic();
  const older = await readers(session);
  for (const [pid, { xmin }] of older) if (xmin === null) older.delete(pid);
  while (older.size > 0 && clock.monotonic() - begun < limitMs) {
    await clock.sleep(POLL_MS, signal);
    const now = await readers(session);
    for (const [pid, reader] of older) if (isDone(reader, now.get(pid))) older.delete(pid);
  }
  return [...older.keys()];
}

/** The oldest snapshot of a transaction only ever gets younger. */
function isDone(before: Reader, now: Reader | undefined): boolean {
  return now === undefined || now.transaction !== before.transaction || now.xmin === null || now.xmin !== before.xmin;
}

/**
 * Transactions that are open. Who may not see the snapshots of others takes every one of them for a reader. A backend
 * that serves no client (vacuum) reads nothing for anybody.
 */
async function readers({ client }: Session): Promise<Map<number, Reader>> {
  const { rows } = await client.query<{ pid: number; transaction: string; xmin: string | null }>(
    `SELECT a.pid, l.virtualtransaction AS transaction, CASE WHEN r.may THEN a.backend_xmin::text ELSE 'unknown' END AS xmin
       FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid,
            (SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS may) AS r
      WHERE l.locktype = 'virtualxid' AND l.granted AND l.mode = 'ExclusiveLock' AND a.datname = pg_catalog.current_database()
        AND a.pid <> pg_catalog.pg_backend_pid() AND a.usesysid IS NOT NULL`,
  );
  return new Map(rows.map(({ pid, transaction, xmin }) => [pid, { transaction, xmin }]));
}

/** True when somebody streams this server's WAL to a standby, whose readers are not seen here. */
export async function hasStandby({ client }: Session): Promise<boolean> {
  const { rows } = await client.query(
    `SELECT FROM pg_catalog.pg_stat_replication r
       LEFT JOIN pg_catalog.pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_type IS DISTINCT FROM 'logical' LIMIT 1`,
  );
  return rows.length > 0;
}

/**
 * Takes the tables from their readers, in the transaction that is open: all of them, or none. A vacuum by the server itself
 * gives way only to who waits for longer than that: it is waited for first, by a lock that readers go on beside. Each attempt is shorter
 * than what a server takes to look for a deadlock, so that no reader is ever made its victim.
 * @returns false when somebody was in the way for all of `limitMs`
 */
export async function lockTables(session: Session, clock: Clock, tables: readonly TargetName[], limitMs: number, signal: AbortSignal): Promise<boolean> {
  if (tables.length === 0) return true;
  const list = tables.map(qualified).toSorted().join(', ');
  const half = await halfOfDeadlockTimeout(session);
  const begun = clock.monotonic();
  if (!(await attemptLock(session, `LOCK TABLE ${list} IN SHARE UPDATE EXCLUSIVE MODE`, limitMs))) return false;
  for (let attempt = 0; ; attempt++) {
    const wait = Math.min(LOCK_WAITS_MS[attempt] ?? LOCK_WAITS_MS.at(-1) ?? 0, half);
    if (await attemptLock(session, `LOCK TABLE ${list} IN ACCESS EXCLUSIVE MODE`, wait)) return true;
    if (clock.monotonic() - begun >= limitMs) return false;
    await clock.sleep(PAUSE_MS, signal);
  }
}

/** @param waitMs for all of the statement */
async function attemptLock({ client }: Session, sql: string, waitMs: number): Promise<boolean> {
  await client.query(`SAVEPOINT tidemark_lock; SET LOCAL lock_timeout = ${waitMs}; SET LOCAL statement_timeout = ${waitMs}`);
  try {
    await client.query(sql);
    await client.query('RELEASE SAVEPOINT tidemark_lock; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0');
    return true;
  } catch (error) {
    const state = sqlState(error);
    if (state !== '55P03' && state !== '57014' && state !== '40P01') throw error;
    await client.query('ROLLBACK TO SAVEPOINT tidemark_lock; RELEASE SAVEPOINT tidemark_lock');
    return false;
  }
}

async function halfOfDeadlockTimeout({ client }: Session): Promise<number> {
  const { rows } = await client.query<{ ms: number }>("SELECT greatest(1, setting::int / 2) AS ms FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'");
  return rows[0]?.ms ?? LOCK_WAITS_MS[0] ?? 1;
}
