import type { Clock } from '../runtime.ts';

/**
 * Answers `awaited`: `t` when somebody waits for an exclusive lock on one of the tables ($1: their OIDs as an array). Whoever
 * comes after such a one waits as well, so that a long reading would keep everybody from the table.
 */
export const LOCK_AWAITED_SQL = `SELECT left(EXISTS (
  SELECT FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation = ANY ($1::pg_catalog.oid[])
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))::text, 1) AS awaited`;

const ASK_EVERY_MS = 500;

/** For a long reading that gives way: asks now and then, not for each batch. */
export class LockWatch {
  readonly #clock: Clock;
  readonly #ask: () => Promise<boolean>;
  #asked: number;

  /** @param ask runs {@link LOCK_AWAITED_SQL} on another session than the one that reads */
  constructor(clock: Clock, ask: () => Promise<boolean>) {
    this.#clock = clock;
    this.#ask = ask;
    this.#asked = clock.monotonic();
  }

  /** True when somebody waits. To be called between two batches. */
  async isAwaited(): Promise<boolean> {
    if (this.#clock.monotonic() - this.#asked < ASK_EVERY_MS) return false;
    const awaited = await this.#ask();
    this.#asked = this.#clock.monotonic();
    return awaited;
  }
}
