/**
 * Waits until no snapshot that is taken from now on can lack what the stream has delivered, or will never deliver.
 *
 * - What the stream has delivered is in the binlog, but may not be committed by its engine yet (it waits for a replica, say).
 * - Rows of an XA transaction that was prepared before the stream's start are in no stream, and no snapshot shows them
 *   before its COMMIT.
 */
import type { BinlogPlace } from '../position.ts';
import type { CopierDeps } from './copier-deps.ts';
import { readBinlogGtids, readCounters, readExecuted, readPrepared } from './server-state.ts';
import type { RowSession } from './row-session.ts';
import { comparePlaces, placeOf } from './source-view.ts';

const FIRST_WAIT_MS = 5;
const LONGEST_WAIT_MS = 500;

export async function settle(deps: CopierDeps, session: RowSession, waiting: (what: string) => void, signal: AbortSignal): Promise<void> {
  const delivered = await streamPlace(deps, waiting, signal);
  const prepared = await readPrepared(session);
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    const what = (await leftOf(session, prepared)) ?? (await hiddenOf(session, delivered));
    if (what === null) break;
    waiting(what);
    await deps.clock.sleep(wait, signal);
  }
  waiting('');
}

async function streamPlace({ stream }: CopierDeps, waiting: (what: string) => void, signal: AbortSignal): Promise<BinlogPlace> {
  for (;;) {
    const { place } = stream;
    if (place !== null) return place;
    waiting('the stream to begin');
    await stream.moved(signal);
  }
}

async function leftOf(session: RowSession, prepared: ReadonlySet<string> | null): Promise<string | null> {
  if (prepared === null || prepared.size === 0) return null;
  const now = await readPrepared(session);
  const left = [...prepared].filter((name) => now?.has(name) === true);
  if (left.length === 0) return null;
  const [, , hex = ''] = (left[0] ?? '').split(':');
  return `the prepared XA transaction '${Buffer.from(hex, 'hex').toString('utf8')}'${left.length > 1 ? ` and ${left.length - 1} more` : ''} to be committed or rolled back`;
}

/** What of `delivered` a snapshot may not show yet; null: nothing, or a lock of the table will tell. */
async function hiddenOf(session: RowSession, delivered: BinlogPlace): Promise<string | null> {
  if (delivered.flavor === 'mysql') {
    const { isByGtid, executed } = await readExecuted(session);
    if (!isByGtid || delivered.executed.isSubsetOf(executed)) return null;
    return `${delivered.executed.subtract(executed).toString()} to be committed`;
  }
  const { server } = await readBinlogGtids(session);
  // Of a server that this one's binlog goes on from: it has been checked that all of it is there.
  if (delivered.server !== server || delivered.file === '') return null;
  await session.query('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
  const counters = await readCounters(session, `SHOW SESSION STATUS LIKE 'binlog_snapshot_%'`);
  await session.query('ROLLBACK');
  const shown = placeOf(counters.get('binlog_snapshot_file'), counters.get('binlog_snapshot_position'));
  return comparePlaces(shown, delivered) >= 0 ? null : `what is in ${delivered.file} up to ${delivered.offset} to be committed`;
}
