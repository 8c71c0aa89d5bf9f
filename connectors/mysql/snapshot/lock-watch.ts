/**
 * Looks, about once a second, whether somebody waits for the definition of a table that a snapshot keeps locked: behind a
 * waiting ALTER TABLE everybody waits who uses the table. Sessions of other users are seen with the privilege PROCESS only.
 */
import type { Clock } from '../../../contracts/runtime.ts';
import type { RowSession } from '../copy/row-session.ts';

const LOOK_MS = 1_000;
const WAITING = 'waiting for table metadata lock';

export class LockWatch implements AsyncDisposable {
  readonly #session: RowSession;
  readonly #timer: Disposable;
  readonly #onAwaited: () => void;
  /** Names of the tables that are kept locked, in lower case, and by how many readings. */
  readonly #kept = new Map<string, number>();
  #isLooking = false;

  /** The session is the watch's own from here on; it looks at tables without touching them. */
  constructor(session: RowSession, clock: Clock, onAwaited: () => void) {
    this.#session = session;
    this.#onAwaited = onAwaited;
    this.#timer = clock.every(LOOK_MS, () => this.#look());
  }

  keep(table: string): void {
    const name = table.toLowerCase();
    this.#kept.set(name, (this.#kept.get(name) ?? 0) + 1);
  }

  release(table: string): void {
    const name = table.toLowerCase();
    const left = (this.#kept.get(name) ?? 0) - 1;
    if (left > 0) this.#kept.set(name, left);
    else this.#kept.delete(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer[Symbol.dispose]();
    await this.#session[Symbol.asyncDispose]();
  }

  #look(): void {
    if (this.#kept.size === 0 || this.#isLooking) return;
    this.#isLooking = true;
    this.#session.query('SHOW FULL PROCESSLIST').then(
      (rows) => {
        this.#isLooking = false;
        const isAwaited = rows.some((row) => (row['State'] ?? '').toLowerCase().startsWith(WAITING) && this.#isNamed((row['Info'] ?? '').toLowerCase()));
        if (isAwaited) this.#onAwaited();
      },
      // The session is lost, and the snapshot's with it, which says so.
      () => undefined,
    );
  }

  #isNamed(statement: string): boolean {
    return [...this.#kept.keys()].some((name) => statement.includes(name));
  }
}
