/** The transaction of one chunk: locks first, then the snapshot, then everything that is read under it. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { CopierDeps, DescribedTable } from './copier-deps.ts';
import type { ChunkView } from './chunk-view.ts';
import { Snapshot, streamEnd } from './xid-snapshot.ts';
import { copyStateOf, whyVoid, type CopyState } from './state.ts';
import { sqlState } from '../errors.ts';
import { parseLsn } from '../position.ts';
import type { Session, TextRow } from '../session.ts';

/** How long a chunk waits for a lock before it tries again later; whoever waits behind us for the same table waits, too. */
export const LOCK_TIMEOUT_MS = 2_000;

const LOCK_NOT_AVAILABLE = '55P03';
const DEADLOCK = '40P01';
const NO_SUCH_TABLE = '42P01';

/** Where a chunk stands: the server's snapshot, and the table as that snapshot shows it. */
export interface ChunkTransaction {
  readonly table: DescribedTable;
  readonly state: CopyState;
  /** Qualified names of the relations that were locked, by OID. */
  readonly names: ReadonlyMap<string, string>;
  /** Where the snapshot stands; on a standby its end is only known when the rows have been read. */
  readonly view: ChunkView;
}

/**
 * Begins a chunk's transaction. The lock comes before the snapshot: a rewrite or a TRUNCATE in between would give a
 * snapshot under which the table is empty. It is an ACCESS SHARE lock, as any SELECT takes it.
 * @param relations OIDs of what is read: the leaf, or the table itself
 * @throws TidemarkError `POSTGRES_COPY_LOCKED`, `COPY_VOID` when a relation is gone or what was copied before is void
 */
export async function beginChunk(
  deps: CopierDeps,
  session: Session,
  table: TableSchema,
  relations: readonly string[],
  before: CopyState,
): Promise<ChunkTransaction> {
  const oids = [...new Set([table.sourceTableId, ...relations])];
  const replayed = session.inRecovery ? await replayLsn(session) : null;
  const names = await namesOf(session, oids, table);
  await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await lock(session, [...names.values()], table);
  const row = await takeSnapshot(session);
  await checkNames(session, names, table);
  const { described, state } = await describe(deps, session, table, before.mode);
  const why = whyVoid(before, state);
  if (why !== null) throw gone(table, why);
  return { table: described, state, names, view: { ...viewOf(row, replayed), systemId: state.systemId } };
}

/** The end of a chunk's rows on a standby: what is replayed when they have been read. */
export async function endOfChunk(session: Session, view: ChunkView): Promise<ChunkView> {
  return session.inRecovery ? { ...view, end: await replayLsn(session) } : view;
}

export async function describe(
  deps: CopierDeps,
  session: Session,
  table: TableSchema,
  mode: CopyState['mode'],
): Promise<{ described: DescribedTable; state: CopyState }> {
  const [described] = await deps.describe(session, [table.sourceTableId]);
  if (described === undefined) throw gone(table, 'the table is not there any more');
  return { described, state: copyStateOf(described, await deps.identity(session), mode) };
}

/** What the log has of the table can be deleted only by whoever knows that it is gone: the stream. */
export function gone(table: TableSchema, why: string): TidemarkError {
  return new TidemarkError('COPY_VOID', why, { where: { table: tableName(table) } });
}

/** Qualified and quoted names, by OID. @throws TidemarkError `COPY_VOID` */
export async function namesOf(session: Session, oids: readonly string[], table: TableSchema): Promise<Map<string, string>> {
  const names = await presentNames(session, oids);
  if (names.size !== oids.length) throw gone(table, 'the table or one of its partitions is not there any more');
  return names;
}

/** The same for those that are there. */
export async function presentNames(session: Session, oids: readonly string[]): Promise<Map<string, string>> {
  const rows = await session.prepared(
    `SELECT c.oid::text AS oid, format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[])`,
    [`{${oids.join(',')}}`],
  );
  return new Map(rows.map((row) => [row['oid'] ?? '', row['name'] ?? '']));
}

/** What kept a LOCK from being given; null: the error is another one. */
export function lockRefusal(error: unknown): 'gone' | 'held' | null {
  const state = error instanceof TidemarkError ? sqlState(error.cause) : null;
  if (state === NO_SUCH_TABLE) return 'gone';
  return state === LOCK_NOT_AVAILABLE || state === DEADLOCK ? 'held' : null;
}

/** @throws TidemarkError `POSTGRES_COPY_LOCKED` */
export async function lock(session: Session, names: readonly string[], table: TableSchema): Promise<void> {
  try {
    await session.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await session.query(`LOCK TABLE ${names.map((name) => `ONLY ${name}`).join(', ')} IN ACCESS SHARE MODE`);
  } catch (error) {
    const refusal = lockRefusal(error);
    if (refusal === 'gone') throw gone(table, 'the table or one of its partitions is not there any more');
    if (refusal === null) throw error;
    throw await lockedError(session, names, table, error);
  }
}

/** That a lock was not given, and who holds it. Ends the transaction, which has failed. */
export async function lockedError(session: Session, names: readonly string[], table: TableSchema, cause: unknown): Promise<TidemarkError> {
  const holder = await lockHolder(session, names);
  return new TidemarkError('POSTGRES_COPY_LOCKED', `the table could not be locked within ${LOCK_TIMEOUT_MS} ms${holder === null ? '' : `: ${holder}`}`, {
    where: { table: tableName(table) },
    cause,
  });
}

/** Who holds the lock that was not given, or waits for it in front; null: nobody any more. */
async function lockHolder(session: Session, names: readonly string[]): Promise<string | null> {
  await session.query('ROLLBACK');
  const [row] = await session.query(
    `SELECT CASE WHEN l.granted THEN 'held' ELSE 'awaited' END || ' by ' ||
            coalesce('pid ' || l.pid || coalesce(' (' || nullif(a.application_name, '') || ')', ''), 'a prepared transaction') ||
            coalesce(', open for ' || floor(extract(epoch FROM clock_timestamp() - a.xact_start)) || ' s', '') AS holder
       FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
      WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation IN (SELECT to_regclass(n) FROM unnest($1::text[]) AS n)
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      ORDER BY l.granted DESC, a.xact_start LIMIT 1`,
    [names],
  );
  return row?.['holder'] ?? null;
}

/** The names that were locked may have been given to other tables just before. */
export async function checkNames(session: Session, names: ReadonlyMap<string, string>, table: TableSchema): Promise<void> {
  const rows = await session.prepared(
    `SELECT count(*) AS renamed FROM unnest($1::oid[], $2::text[]) AS n(oid, name) WHERE to_regclass(n.name)::oid IS DISTINCT FROM n.oid`,
    [`{${[...names.keys()].join(',')}}`, [...names.values()]],
  );
  if (rows[0]?.['renamed'] === '0') return;
  throw new TidemarkError('POSTGRES_COPY_LOCKED', 'the table was renamed while it was being locked', {
    where: { table: tableName(table) },
  });
}

function snapshotQuery(inRecovery: boolean): string {
  // The snapshot is taken before the query runs, so that the end of WAL is read after it.
  const end = inRecovery ? 'pg_last_wal_replay_lsn()' : 'pg_current_wal_insert_lsn()';
  return `SELECT pg_current_snapshot()::text AS snapshot, ${end}::text AS lsn,
    current_setting('wal_block_size') AS page, pg_size_bytes(current_setting('wal_segment_size'))::text AS segment`;
}

async function takeSnapshot(session: Session): Promise<TextRow> {
  const [row] = await session.query(snapshotQuery(session.inRecovery));
  if (row === undefined) throw new TidemarkError('POSTGRES_PROTOCOL', 'the server gave no snapshot');
  return row;
}

/** Takes the snapshot of the open transaction, on a primary, and tells how it stands to the stream. */
export async function snapshotView(session: Session): Promise<Pick<ChunkView, 'sees' | 'end'>> {
  return viewOf(await takeSnapshot(session), null);
}

function viewOf(row: TextRow, replayed: number | null): Pick<ChunkView, 'sees' | 'end'> {
  const { snapshot, lsn, page, segment } = row;
  if (typeof snapshot !== 'string' || typeof lsn !== 'string') throw new TidemarkError('POSTGRES_PROTOCOL', 'the server gave no snapshot');
  const end = streamEnd(parseLsn(lsn), Number(page), Number(segment));
  return { end, sees: replayed === null ? { snapshot: new Snapshot(snapshot) } : { upTo: replayed } };
}

async function replayLsn(session: Session): Promise<number> {
  const [row] = await session.query('SELECT pg_last_wal_replay_lsn()::text AS lsn');
  const lsn = row?.['lsn'];
  if (typeof lsn !== 'string') throw new TidemarkError('POSTGRES_PROTOCOL', 'a standby gave no replay position');
  return parseLsn(lsn);
}
