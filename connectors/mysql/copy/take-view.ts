/** Takes a snapshot in a session, and finds out which transactions it shows. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import { serverErrorNumber } from '../errors.ts';
import { GtidSet } from '../gtid-set.ts';
import { quoteTable } from '../quote.ts';
import type { RowSession } from './row-session.ts';
import type { Lease } from '../../relational/session-pool.ts';
import { executedAround, readCounters, readEnd, readPrepared } from './server-state.ts';
import { placeOf, type SourceView } from './source-view.ts';

/** How long a statement waits for somebody who changes a table's definition, in seconds. */
export const LOCK_WAIT_S = 2;
/** The least that servers take. Who writes to the table meanwhile waits behind us. */
const TABLE_LOCK_WAIT_S = 1;
const ATTEMPTS = 40;
const PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 10;
const LOCK_REFUSED = new Set([1044, 1142, 1227]);
const LOCK_WAIT_TIMEOUT = 1205;

const SNAPSHOT_PLACE = `SHOW SESSION STATUS LIKE 'binlog_snapshot_%'`;
const BEGIN = 'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY';

export interface UnlockedWish {
  /** The view must be exact, at least for the tables. */
  readonly exact: boolean;
  /** Run in the transaction before the end is read: what they have locked nobody changes after that end. */
  readonly touches: readonly string[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface ViewWish extends UnlockedWish {
  /** What is read in it. May be locked for a moment where nothing else tells where a snapshot stands. */
  readonly tables: readonly TableSchema[];
  /** A session besides, to hold that lock. */
  locker(): Promise<Lease<RowSession>>;
}

/**
 * Begins a transaction in which the snapshot then is. `exact` with MySQL: a moment is waited for at which nobody commits, for
 * some time; then the tables are locked.
 * @throws TidemarkError `MYSQL_COPY_PRIVILEGE` where only a lock could tell, and may not be taken; `MYSQL_COPY_LOCKED`
 */
export async function takeView(session: RowSession, wish: ViewWish): Promise<SourceView> {
  await session.query(`SET SESSION lock_wait_timeout = ${LOCK_WAIT_S}`);
  return (await takeUnlocked(session, wish)) ?? takeLocked(session, wish);
}

/** As {@link takeView}; null: only a lock could tell, and no transaction is open. The session says how long a lock is waited for. */
export async function takeUnlocked(session: RowSession, wish: UnlockedWish): Promise<SourceView | null> {
  if (session.session.version.flavor === 'mariadb') return takeMariadb(session, wish);
  const first = await takeMysql(session, wish);
  if (first === null) return takeNamed(session, wish);
  if (!wish.exact) return first;
  let view: SourceView | null = first;
  for (let attempt = 1; attempt < ATTEMPTS && view !== null; attempt++) {
    if (view.isExact) return view;
    await session.query('ROLLBACK');
    await pause(wish, attempt);
    view = await takeMysql(session, wish);
  }
  if (view === null || view.isExact) return view;
  await session.query('ROLLBACK');
  return null;
}

/** By GTIDs; null: the server has none, and no transaction is open. */
async function takeMysql(session: RowSession, wish: UnlockedWish): Promise<SourceView | null> {
  const { before, end: { isByGtid, ...end } } = await executedAround(session, [BEGIN, ...wish.touches]);
  if (!before.isByGtid || !isByGtid) {
    await session.query('ROLLBACK');
    return null;
  }
  const isExact = end.endGtids instanceof GtidSet && end.endGtids.isSubsetOf(before.executed);
  return { seen: { executed: before.executed }, ...end, isExact };
}

/** Percona Server without GTIDs tells as MariaDB does; null: the server does not, and no transaction is open. */
async function takeNamed(session: RowSession, wish: UnlockedWish): Promise<SourceView | null> {
  await session.query(BEGIN);
  const counters = await readCounters(session, SNAPSHOT_PLACE);
  const file = counters.get('binlog_snapshot_file');
  if (file === undefined || file === '') {
    await session.query('ROLLBACK');
    return null;
  }
  await touch(session, wish);
  const upTo = placeOf(file, counters.get('binlog_snapshot_position'));
  return { seen: { upTo }, ...(await readEnd(session)), isExact: true };
}

/**
 * XA COMMIT writes to the binlog and commits in the engine without the common lock, so that such a one must not be under
 * way: none was prepared before the snapshot, and none has begun until after it.
 */
async function takeMariadb(session: RowSession, wish: UnlockedWish): Promise<SourceView | null> {
  for (let attempt = 1; attempt < ATTEMPTS; attempt++) {
    const commits = await xaCommits(session);
    const prepared = await readPrepared(session);
    await session.query(BEGIN);
    const counters = await readCounters(session, SNAPSHOT_PLACE);
    const isQuiet = prepared?.size === 0 && (await xaCommits(session)) === commits;
    if (isQuiet) {
      await touch(session, wish);
      const upTo = placeOf(counters.get('binlog_snapshot_file'), counters.get('binlog_snapshot_position'));
      return { seen: { upTo }, ...(await readEnd(session)), isExact: true };
    }
    await session.query('ROLLBACK');
    await pause(wish, attempt);
  }
  return null;
}

async function xaCommits(session: RowSession): Promise<string> {
  return (await readCounters(session, `SHOW GLOBAL STATUS LIKE 'Com_xa_commit'`)).get('com_xa_commit') ?? '';
}

/**
 * While the tables are locked nobody has changed them without having committed, and nobody changes them: the end of the
 * binlog is where the snapshot stands, as far as these tables go.
 */
async function takeLocked(session: RowSession, wish: ViewWish): Promise<SourceView> {
  await using lease = await wish.locker();
  const locker = lease.session;
  await lockTables(locker, wish.tables);
  await session.query(BEGIN);
  await touch(session, wish);
  const end = await readEnd(session);
  await locker.query('UNLOCK TABLES');
  lease.keep();
  return { seen: { upTo: end.end }, ...end, isExact: true };
}

async function touch(session: RowSession, { touches }: UnlockedWish): Promise<void> {
  if (touches.length > 0) await session.batch(touches);
}

async function lockTables(locker: RowSession, tables: readonly TableSchema[]): Promise<void> {
  const [first] = tables;
  const where = first === undefined ? {} : { table: tableName(first) };
  await locker.query(`SET SESSION lock_wait_timeout = ${TABLE_LOCK_WAIT_S}`);
  try {
    await locker.query(`LOCK TABLES ${tables.map((table) => `${quoteTable(table)} READ`).join(', ')}`);
  } catch (error) {
    const number = serverErrorNumber(error);
    if (number === LOCK_WAIT_TIMEOUT) {
      throw new TidemarkError('MYSQL_COPY_LOCKED', `the table could not be locked for a moment within ${TABLE_LOCK_WAIT_S} s: a transaction that has changed it is open`, { where, cause: error });
    }
    if (number !== null && LOCK_REFUSED.has(number)) {
      throw new TidemarkError('MYSQL_COPY_PRIVILEGE', `without a lock of the table for a moment nothing tells where its copy stands: ${error instanceof Error ? error.message : ''}`, { where, cause: error });
    }
    throw error;
  }
}

async function pause({ clock, signal }: UnlockedWish, attempt: number): Promise<void> {
  await clock.sleep(Math.min(PAUSE_MS * attempt, LONGEST_PAUSE_MS), signal);
}
