/** Taking a snapshot to verify by: exact where a moment is found at which nobody commits. Nothing is locked for it. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import type { RowSession } from '../copy/row-session.ts';
import { readEnd } from '../copy/server-state.ts';
import type { SourceView } from '../copy/source-view.ts';
import { takeView } from '../copy/take-view.ts';

/** Begins a transaction, in which the snapshot then is. @throws TidemarkError `MYSQL_UNREACHABLE`, `ABORTED` */
export async function takeVerifyView(session: RowSession, clock: Clock, signal: AbortSignal): Promise<SourceView> {
  const { isByGtid, ...before } = await readEnd(session);
  const unlocked = (): Promise<never> => Promise.reject(new TidemarkError('MYSQL_COPY_PRIVILEGE', 'nothing is locked to verify'));
  try {
    return await takeView(session, { exact: true, tables: [], touches: [], locker: unlocked, clock, signal });
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'MYSQL_COPY_PRIVILEGE') throw error;
  }
  if (isByGtid && session.session.version.flavor === 'mysql') return takeView(session, { exact: false, tables: [], touches: [], locker: unlocked, clock, signal });
  await session.query('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
  const { server, end, endGtids } = await readEnd(session);
  // What was at its end in the binlog was nearly always committed: who compares looks at what differs again.
  return { seen: { upTo: before.end }, server, end, endGtids, isExact: false };
}
