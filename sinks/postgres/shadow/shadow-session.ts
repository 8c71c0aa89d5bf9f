/** The session that a rebuild is prepared and swapped in by: it reads whole tables, and its statements may take hours. */
import type { SinkConfig } from '../../../contracts/config.ts';
import type { Clock, Runtime } from '../../../contracts/runtime.ts';
import { type QueryResultRow } from 'pg';
import type { Watchdog } from '../../relational/watchdog.ts';
import { Session, type SessionSettings } from '../session.ts';
import { holdTriggers, sinkSettings } from '../sink-session.ts';
import { watchBackends } from '../watchdog.ts';

/** Whole tables are read and joined, each once: unlike the sink's own statements, which find rows by keys. */
const PLANNER_SQL = ['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin'].map((name) => `SET ${name} = on`).join('; ');

/** Owned by who opened it; disposing ends it, whatever it is doing. */
export class ShadowSession implements AsyncDisposable {
  readonly session: Session;
  readonly clock: Clock;
  /** Foreign keys are enforced and triggers fire. */
  readonly enforced: boolean;
  readonly lockTimeoutMs: number;
  readonly #watchdog: Watchdog<Session>;

  private constructor(session: Session, clock: Clock, enforced: boolean, lockTimeoutMs: number, watchdog: Watchdog<Session>) {
    this.session = session;
    this.clock = clock;
    this.enforced = enforced;
    this.lockTimeoutMs = lockTimeoutMs;
    this.#watchdog = watchdog;
  }

  /** @throws TidemarkError what {@link Session.open} throws */
  static async open(config: SinkConfig, runtime: Runtime, signal: AbortSignal): Promise<ShadowSession> {
    const { session: settings, lockTimeoutMs } = await sinkSettings(config);
    const named = (suffix: string): SessionSettings => ({
      ...settings,
      applicationName: `${settings.applicationName} (${suffix})`,
      // A swap that was said to be done must not be taken back by a crash of the replica.
      synchronousCommit: settings.synchronousCommit === 'off' ? 'local' : settings.synchronousCommit,
    });
    await using stack = new AsyncDisposableStack();
    const session = stack.use(await Session.open(named('rebuild'), runtime, signal));
    const enforced = await session.within(signal, async () => {
      await session.client.query(`${PLANNER_SQL}; SET plan_cache_mode = auto`);
      return !(await holdTriggers(session));
    });
    const watchdog = watchBackends(runtime.clock, (limit) => Session.open(named('probe'), runtime, limit));
    stack.move();
    return new ShadowSession(session, runtime.clock, enforced, lockTimeoutMs, watchdog);
  }

  /** A statement that may take long: should the server go without a word meanwhile, it fails. Rows of text. */
  async run<R extends QueryResultRow = QueryResultRow>(sql: string): Promise<R[]> {
    const { rows } = await this.#watchdog.during(this.session, () => this.session.client.query<R>(sql));
    return rows;
  }

  /** The same; how many rows it has written. */
  async change(sql: string): Promise<number> {
    const { rowCount } = await this.#watchdog.during(this.session, () => this.session.client.query(sql));
    return rowCount ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watchdog[Symbol.dispose]();
    await this.session[Symbol.asyncDispose]();
  }
}
