import type { Clock } from '../../contracts/runtime.ts';
import type { MysqlHost } from '../../contracts/types/mysql-address.ts';
import { type Found, Watchdog } from '../relational/watchdog.ts';
import type { Session } from './session.ts';

/** @param openProbe a fresh session at that host, to ask after the others with */
export function watchThreads(clock: Clock, openProbe: (host: MysqlHost, signal: AbortSignal) => Promise<Session>): Watchdog<Session> {
  return new Watchdog(clock, async (session: Session, signal): Promise<Found> => {
    await using probe = await openProbe(session.host, signal);
    // Of its own user, everybody sees the threads.
    const [row] = await probe.within(signal, () => probe.rows(`SELECT COMMAND AS command FROM information_schema.PROCESSLIST WHERE ID = ${session.id}`));
    if (row === undefined) return 'gone';
    return row['command'] === 'Sleep' ? 'waiting-for-us' : 'working';
  });
}
