/**
 * Notices a replica that has gone without a word: a statement that is never answered would otherwise hold the sink for
 * as long as the operating system goes on hoping. A statement may rightly take hours; so what is asked is not how long it
 * takes, but whether the server, by another connection, still knows of it.
 */
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';

const TICK_MS = 10_000;
/** A statement is looked after once it has gone unanswered for so long. */
const PATIENCE_MS = 20_000;
const PROBE_LIMIT_MS = 15_000;

/** What the server says of a session, by another connection. */
export type Found = 'gone' | 'working' | 'waiting-for-us';
export type Probe = Found | 'unreachable';

export interface WatchedSession {
  /** Bytes that wait to be sent. */
  readonly unsent: number;
  /** Breaks the connection at once: what is under way fails with `reason`. */
  cut(reason: TidemarkError): void;
}

/**
 * True when the connection is to be given up.
 * @param sending bytes were taken from us since the last look: a slow network, not a dead one
 */
export function isDead(probe: Probe, sending: boolean): boolean {
  if (probe === 'working') return false;
  return probe === 'waiting-for-us' ? !sending : true;
}

interface Watched {
  readonly since: number;
  unsent: number;
}

/** Watches the statements under way on the sessions of one opening. */
export class Watchdog<Session extends WatchedSession> implements Disposable {
  readonly #clock: Clock;
  readonly #ask: (session: Session, signal: AbortSignal) => Promise<Found>;
  readonly #timer: Disposable;
  readonly #watched = new Map<Session, Watched>();
  readonly #life = new AbortController();
  #looking = false;

  /** @param ask connects anew, asks after a session, and ends the connection; given up when its signal aborts */
  constructor(clock: Clock, ask: (session: Session, signal: AbortSignal) => Promise<Found>) {
    this.#clock = clock;
    this.#ask = ask;
    this.#timer = clock.every(TICK_MS, () => void this.#look());
  }

  /** `work` is under way on the session; while it is, the session is looked after. */
  async during<T>(session: Session, work: () => Promise<T>): Promise<T> {
    this.#watched.set(session, { since: this.#clock.monotonic(), unsent: session.unsent });
    try {
      return await work();
    } finally {
      this.#watched.delete(session);
    }
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    this.#life.abort();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    for (const [session, watched] of this.#watched) {
      if (this.#clock.monotonic() - watched.since < PATIENCE_MS) continue;
      const sending = session.unsent !== watched.unsent;
      watched.unsent = session.unsent;
      const probe = sending ? 'working' : await this.#probe(session);
      if (this.#watched.get(session) === watched && isDead(probe, sending)) {
        session.cut(new TidemarkError('SINK_UNREACHABLE', `the replica does not answer, and a second connection finds it ${probe}`));
      }
    }
    this.#looking = false;
  }

  async #probe(session: Session): Promise<Probe> {
    const limit = new AbortController();
    const stop = (): void => limit.abort();
    this.#life.signal.addEventListener('abort', stop, { once: true });
    this.#clock.sleep(PROBE_LIMIT_MS, limit.signal).then(stop, () => undefined);
    try {
      return await this.#ask(session, limit.signal);
    } catch {
      // Whatever it was, the server could not be asked.
      return 'unreachable';
    } finally {
      this.#life.signal.removeEventListener('abort', stop);
      limit.abort();
    }
  }
}
