/** Taking the sink over: one hub process applies at a time, fenced by the checkpoint's row. */
import { crc32 } from 'node:zlib';
import type { LogId } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { decideOpening, openedCheckpoint, type StoredCheckpoint } from '../relational/checkpoint.ts';
import { CHECKPOINT_TABLES_SQL, readCheckpoint, writeOpened } from './checkpoint-table.ts';
import { sinkError, sqlState } from './errors.ts';
import type { Session } from './session.ts';

/** `tidm` as a number: the first key of the advisory lock that marks sessions which apply. */
const LOCK_CLASS = 0x7469646d;
/** How long an older session may take to finish its batch before it is ended. */
const PATIENCE_MS = 5_000;
const LAST_PATIENCE_MS = 30_000;

export interface TakeOver {
  readonly sink: string;
  readonly logId: LogId;
  /** Random, of this process. */
  readonly owner: string;
  /** The fence of this process's last opening; 0: none. */
  readonly ownFence: number;
}

/**
 * Makes the tables of checkpoints where they are missing, ends a session that still applies for the same sink, and
 * writes the next fence. Answers the checkpoint as it now stands.
 * @throws TidemarkError `SINK_FOREIGN`, `SINK_FENCED`, `REPLICA_DENIED`, `REPLICA_BUSY`
 */
export async function takeOver(session: Session, request: TakeOver): Promise<StoredCheckpoint> {
  try {
    await createTables(session);
    await markApplying(session, request.sink);
    try {
      return await writeFence(session, request, PATIENCE_MS);
    } catch (error) {
      if (sqlState(error) !== '55P03') throw error;
    }
    await endOlderSessions(session, request.sink);
    return await writeFence(session, request, LAST_PATIENCE_MS);
  } catch (error) {
    throw sinkError(error, { sink: request.sink });
  }
}

async function createTables(session: Session): Promise<void> {
  const { rows } = await session.client.query(
    `SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'tidemark' AND (c.relname = 'mirrored_table' OR c.relname = 'checkpoint' AND EXISTS (
        SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'load_cursor' AND NOT a.attisdropped))`,
  );
  if (rows.length === 2) return;
  // Two sinks that are opened side by side: `IF NOT EXISTS` alone does not keep them from colliding.
  await session.client.query('BEGIN');
  try {
    await session.client.query('SELECT pg_catalog.pg_advisory_xact_lock($1, 0)', [LOCK_CLASS]);
    for (const sql of CHECKPOINT_TABLES_SQL) await session.client.query(sql);
    await session.client.query('COMMIT');
  } catch (error) {
    await session.client.query('ROLLBACK');
    throw error;
  }
}

async function writeFence(session: Session, request: TakeOver, patienceMs: number): Promise<StoredCheckpoint> {
  const { client } = session;
  // The fence is on the replica's disk before anything is applied under it, whatever the batches' commits wait for.
  await client.query(`BEGIN; SET LOCAL lock_timeout = ${patienceMs}; SET LOCAL synchronous_commit = local`);
  try {
    const stored = await readCheckpoint(client, request.sink, true);
    const opening = decideOpening(stored, request.logId, request.owner, request.ownFence);
    if (opening.kind === 'foreign') throw foreign(request, stored);
    if (opening.kind === 'fenced') throw new TidemarkError('SINK_FENCED', `another hub has opened the sink (fence ${stored?.fence})`);
    const opened = openedCheckpoint(stored, request.logId, request.owner, request.ownFence);
    await writeOpened(client, request.sink, opened);
    await client.query('COMMIT');
    return opened;
  } catch (error) {
    if (session.lost === null) await client.query('ROLLBACK');
    throw error;
  }
}

function foreign(request: TakeOver, stored: StoredCheckpoint | null): TidemarkError {
  return new TidemarkError('SINK_FOREIGN', `the checkpoint at the replica is of log ${stored?.logId}, not of ${request.logId}`, {
    remedy:
      `Use another database, or let the replica be filled anew from this log: ` +
      `DELETE FROM tidemark.checkpoint WHERE sink = '${request.sink.replaceAll("'", "''")}'`,
  });
}

/** Until the session ends: who takes the sink over may end it. */
export async function markApplying(session: Session, sink: string): Promise<void> {
  await session.client.query('SELECT pg_catalog.pg_advisory_lock_shared($1, $2)', [LOCK_CLASS, lockKey(sink)]);
}

/** Ends sessions of the same role that apply for the sink, of a hub that is gone or has been superseded. */
export async function endOlderSessions(session: Session, sink: string): Promise<void> {
  await session.client.query(
    `SELECT pg_catalog.pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks l
      WHERE l.locktype = 'advisory' AND l.classid::bigint = $1 AND l.objid::bigint = $2 AND l.objsubid = 2 AND l.pid <> pg_catalog.pg_backend_pid()
        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`,
    [LOCK_CLASS, lockKey(sink) >>> 0],
  );
}

/** The second key of the lock: a signed number of 32 bits. 0 is for making the tables. */
function lockKey(sink: string): number {
  const key = crc32(Buffer.from(sink, 'utf8')) | 0;
  return key === 0 ? 1 : key;
}
