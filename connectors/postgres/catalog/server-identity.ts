/** Which server it is, and whether the log's position is a place in its WAL. */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Position } from '../../../contracts/position.ts';
import { integer, text } from './catalog-query.ts';
import { formatLsn, identityOfPosition, lsnOfPosition, parseLsn, type Lsn, type WalIdentity } from '../position.ts';
import type { Session, TextRow } from '../session.ts';

export interface ServerIdentity extends WalIdentity {
  /** The end of its WAL: written on a primary, replayed on a standby. */
  readonly end: Lsn;
}

/** What a server says in a replication session (IDENTIFY_SYSTEM). */
export function identified(row: TextRow): ServerIdentity {
  return { systemId: text(row, 'systemid'), timeline: integer(row, 'timeline'), end: parseLsn(text(row, 'xlogpos')) };
}

/** The same from an ordinary session. The control file's timeline is behind after a promotion, until a checkpoint. */
export async function readIdentity(session: Session): Promise<ServerIdentity> {
  const [row] = await session.query(`
    SELECT s.system_identifier AS systemid,
           CASE WHEN pg_is_in_recovery() THEN c.timeline_id
             ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END AS timeline,
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS xlogpos
      FROM pg_control_system() s, pg_control_checkpoint() c`);
  if (row === undefined) throw new TidemarkError('POSTGRES_QUERY', 'the server does not say which it is');
  return identified(row);
}

/** Where timelines branched: `parent timeline, LSN, reason` a line (TIMELINE_HISTORY). */
export function branchingPoint(history: string, timeline: number): Lsn | null {
  for (const line of history.split('\n')) {
    const match = /^\s*(\d+)\s+([0-9A-F]+\/[0-9A-F]+)/i.exec(line);
    if (match !== null && Number(match[1]) === timeline) return parseLsn(match[2] ?? '');
  }
  return null;
}

/**
 * Whether the stream may go on at `position` on that server. `history`: the server's timeline history, asked for only
 * where the timelines differ.
 * @throws TidemarkError `POSTGRES_SYSTEM_CHANGED`, `POSTGRES_TIMELINE_FORKED`, `POSTGRES_REGRESSED`
 */
export async function checkPosition(server: ServerIdentity, position: Position, history: () => Promise<string>): Promise<void> {
  const known = identityOfPosition(position);
  const lsn = lsnOfPosition(position);
  const where = { position: formatLsn(lsn) };
  if (known.systemId !== server.systemId) {
    throw new TidemarkError('POSTGRES_SYSTEM_CHANGED', `the log was read from system ${known.systemId}, the server is ${server.systemId}`, { where });
  }
  if (known.timeline !== server.timeline) {
    const branched = known.timeline < server.timeline ? branchingPoint(await history(), known.timeline) : null;
    if (branched === null || lsn > branched) {
      const at = branched === null ? 'is not an ancestor of it' : `was left at ${formatLsn(branched)}`;
      throw new TidemarkError('POSTGRES_TIMELINE_FORKED', `the log is on timeline ${known.timeline}, which ${at}; the server is on ${server.timeline}`, { where });
    }
  }
  if (server.end < lsn) {
    throw new TidemarkError('POSTGRES_REGRESSED', `the server's WAL ends at ${formatLsn(server.end)}, the log is at ${formatLsn(lsn)}`, { where });
  }
}
