/**
 * Taking the sink over: one hub process applies at a time. The checkpoint's row fences its transactions. A change of shape
 * is none: while one is under way, from before its intent is written to after its statement, a lock of the server's is
 * held, by which an older hub's session is found and ended. So is one that keeps the checkpoint's row for too long.
 */
import { createHash } from 'node:crypto';
import type { LogId } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { serverErrorNumber } from '../../contracts/types/mysql-errors.ts';
import { decideOpening, openedCheckpoint } from '../relational/checkpoint.ts';
import { type OwnCheckpoint, ownTablesSql, readCheckpoint, writeOpened } from './checkpoint-table.ts';
import { sinkError } from './errors.ts';
import type { Session } from './session.ts';
import { quoteName, quoteText } from './sql.ts';

/** How long an older session may take to finish its batch before it is ended, and then to be gone. Seconds. */
const PATIENCE_S = 5;
const LAST_PATIENCE_S = 30;
/** Lock wait timeout: the row of the checkpoint is in a transaction of somebody else. */
const LOCK_WAIT = 1205;
const DEADLOCK = 1213;
const ATTEMPTS = 3;

export interface TakeOver {
  readonly sink: string;
  readonly ownDatabase: string;
  readonly logId: LogId;
  /** Random, of this process. */
  readonly owner: string;
  /** The fence of this process's last opening; 0: none. */
  readonly ownFence: number;
}

/**
 * Makes the sink's own tables where they are missing, ends a session that still applies for the same sink, and writes the
 * next fence. Answers the checkpoint as it now stands.
 * @throws TidemarkError `SINK_FOREIGN`, `SINK_FENCED`, `REPLICA_DENIED`, `REPLICA_BUSY`
 */
export async function takeOver(session: Session, request: TakeOver): Promise<OwnCheckpoint> {
  try {
    await createTables(session, request.ownDatabase);
    for (let attempt = 1; ; attempt++) {
      try {
        return await writeFence(session, request, attempt === 1 ? PATIENCE_S : LAST_PATIENCE_S);
      } catch (error) {
        const number = serverErrorNumber(error);
        if ((number !== LOCK_WAIT && number !== DEADLOCK) || attempt === ATTEMPTS) throw error;
        const stored = await readCheckpoint(session, request.ownDatabase, request.sink, false);
        if (stored !== null && number === LOCK_WAIT) for (const lock of [lockName(request.sink, stored.fence), ...loadLocks(request.sink, stored.fence)]) await endHolder(session, lock);
      }
    }
  } catch (error) {
    throw sinkError(error, { sink: request.sink });
  }
}

/** `CREATE … IF NOT EXISTS` asks for the right to create even where nothing is missing. */
async function createTables(session: Session, ownDatabase: string): Promise<void> {
  if (await hasOwnTables(session, ownDatabase)) return;
  const [database] = await session.rows(`SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ${quoteText(ownDatabase)}`);
  if (database === undefined) await session.run(`CREATE DATABASE IF NOT EXISTS ${quoteName(ownDatabase)}`);
  for (const sql of ownTablesSql(ownDatabase)) await session.run(sql);
}

export async function hasOwnTables(session: Session, ownDatabase: string): Promise<boolean> {
  const found = await session.rows(`SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${quoteText(ownDatabase)} AND TABLE_NAME IN ('checkpoint', 'mirrored_table')`);
  return found.length === 2;
}

async function writeFence(session: Session, request: TakeOver, patience: number): Promise<OwnCheckpoint> {
  const { sink, ownDatabase, logId, owner, ownFence } = request;
  const [before] = await session.rows('SELECT @@SESSION.innodb_lock_wait_timeout AS seconds');
  await session.run(`SET SESSION innodb_lock_wait_timeout = ${patience}; START TRANSACTION`);
  try {
    const stored = await readCheckpoint(session, ownDatabase, sink, true);
    const opening = decideOpening(stored, logId, owner, ownFence);
    if (opening.kind === 'foreign') throw foreign(request, stored?.logId ?? '');
    if (opening.kind === 'fenced') throw new TidemarkError('SINK_FENCED', `another hub has opened the sink (fence ${stored?.fence})`);
    // Under the lock of the row: nobody takes it over between.
    if (stored !== null) await endHolder(session, shapeLock(sink, stored.fence));
    const opened = openedCheckpoint(stored, logId, owner, ownFence);
    await writeOpened(session, ownDatabase, sink, opened);
    if (!(await holdLock(session, lockName(sink, opened.fence), PATIENCE_S))) throw new TidemarkError('REPLICA_BUSY', 'the lock that names the sink is held by somebody else');
    await session.run('COMMIT');
    return { ...opened, intent: stored?.intent ?? null };
  } catch (error) {
    if (session.lost === null) await session.run('ROLLBACK');
    throw error;
  } finally {
    if (session.lost === null) await session.run(`SET SESSION innodb_lock_wait_timeout = ${Number(before?.['seconds'] ?? 50)}`);
  }
}

/** The session that holds the lock, if one does, is ended. @throws TidemarkError `REPLICA_BUSY` when it does not end */
export async function endHolder(session: Session, name: string): Promise<void> {
  const [row] = await session.rows(`SELECT IS_USED_LOCK(${quoteText(name)}) AS id`);
  const id = Number(row?.['id'] ?? 0);
  if (id === 0 || id === session.id) return;
  try {
    await session.run(`KILL ${id}`);
  } catch (error) {
    // It may have ended by itself.
    if (serverErrorNumber(error) !== 1094) throw error;
  }
  if (!(await holdLock(session, name, LAST_PATIENCE_S))) {
    throw new TidemarkError('REPLICA_BUSY', `session ${id} of an older hub does not end`, { remedy: `It is tried again by itself. If it lasts, end it by hand: KILL ${id}` });
  }
  await session.rows(`SELECT RELEASE_LOCK(${quoteText(name)})`);
}

export async function holdLock(session: Session, name: string, seconds: number): Promise<boolean> {
  const [row] = await session.rows(`SELECT GET_LOCK(${quoteText(name)}, ${seconds}) AS held`);
  return row?.['held'] === '1';
}

/** Held while shapes are changed under this fence. */
export function shapeLock(sink: string, fence: number): string {
  return `${lockName(sink, fence)} shape`;
}

/** Sessions that load beside the one that applies. */
const LOADERS = 3;

/** Held by the sessions that load under this fence, each by one. */
export function loadLocks(sink: string, fence: number): string[] {
  return Array.from({ length: LOADERS }, (_, index) => `${lockName(sink, fence)} load ${index}`);
}

/** Held by the session that applies under this fence. At most 64 characters. */
function lockName(sink: string, fence: number): string {
  return `tidemark ${createHash('sha1').update(sink).digest('hex').slice(0, 24)} ${fence}`;
}

function foreign({ sink, ownDatabase, logId }: TakeOver, found: string): TidemarkError {
  return new TidemarkError('SINK_FOREIGN', `the checkpoint at the replica is of log ${found}, not of ${logId}`, {
    remedy:
      `Use another \`own_database\`, or let the replica be filled anew from this log: ` +
      `DELETE FROM ${quoteName(ownDatabase)}.checkpoint WHERE sink = ${quoteText(sink)}`,
  });
}
