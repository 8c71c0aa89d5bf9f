import type { Clock } from '../../contracts/runtime.ts';
import { type Found, Watchdog } from '../relational/watchdog.ts';
import type { Session } from './session.ts';

/** @param openProbe a fresh session, to ask after the others with */
export function watchBackends(clock: Clock, openProbe: (signal: AbortSignal) => Promise<Session>): Watchdog<Session> {
  return new Watchdog(clock, async (session: Session, signal): Promise<Found> => {
    await using probe = await openProbe(signal);
    const ask = () => probe.client.query<{ state: string | null }>('SELECT state FROM pg_catalog.pg_stat_activity WHERE pid = $1', [session.backend]);
    const { rows } = await probe.within(signal, ask);
    const state = rows[0]?.state;
    return state === undefined ? 'gone' : state === 'active' ? 'working' : 'waiting-for-us';
  });
}
