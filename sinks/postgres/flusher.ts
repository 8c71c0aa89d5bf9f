import type { Clock } from '../../contracts/runtime.ts';
import type { Watchdog } from '../relational/watchdog.ts';
import type { SynchronousCommit } from './options.ts';
import { Pipeline } from './pipeline.ts';
import type { Session } from './session.ts';

/** A transaction whose only effect is that its commit waits until the WAL before it is where `synchronous_commit` says. */
const FLUSH_SQL = "SELECT pg_catalog.pg_logical_emit_message(true, 'tidemark', '')";

/** Between the beginnings of two flushes, milliseconds: what is committed meanwhile goes with the second. */
const INTERVAL_MS = 5;

/**
 * Makes commits durable on a session of its own: the applying session commits without waiting for the disk and goes on
 * with the next batch, while one flush here covers every batch committed before it began. The first commit after a pause is
 * flushed at once.
 */
export class Flusher {
  readonly #session: Session;
  readonly #watchdog: Watchdog<Session>;
  readonly #clock: Clock;
  readonly #waits: boolean;
  #waiting: PromiseWithResolvers<void>[] = [];
  #running = false;

  /** @param commit `off`: nothing is waited for */
  constructor(session: Session, watchdog: Watchdog<Session>, clock: Clock, commit: SynchronousCommit) {
    this.#session = session;
    this.#watchdog = watchdog;
    this.#clock = clock;
    this.#waits = commit !== 'off';
  }

  /** Resolves when everything committed before the call is durable. @throws PipelineFailure */
  flushed(): Promise<void> {
    if (!this.#waits) return Promise.resolve();
    const wait = Promise.withResolvers<void>();
    this.#waiting.push(wait);
    if (!this.#running) void this.#run();
    return wait.promise;
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const begun = this.#clock.monotonic();
      const covered = this.#waiting;
      this.#waiting = [];
      try {
        const pipeline = new Pipeline(this.#session.statements);
        pipeline.prepared(FLUSH_SQL);
        await this.#watchdog.during(this.#session, () => pipeline.run(this.#session.client));
        for (const wait of covered) wait.resolve();
      } catch (error) {
        for (const wait of covered) wait.reject(error);
      }
      const early = INTERVAL_MS - (this.#clock.monotonic() - begun);
      if (early > 0) await this.#clock.sleep(early);
    }
    this.#running = false;
  }
}
