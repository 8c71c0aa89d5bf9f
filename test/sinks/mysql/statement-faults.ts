import { vi } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Session } from '../../../sinks/mysql/session.ts';

/** What happens at one of the statements: the connection is gone before the server has it, or before we have its answer. */
export type Fault = 'lost before' | 'lost after';

type Statement = (this: Session, ...args: unknown[]) => Promise<unknown>;

/** Counts the statements of sessions, and lets the fault happen at one of them. In force until `vi.restoreAllMocks`. */
export class StatementFaults {
  readonly #at: number | ((sql: string) => boolean);
  readonly #fault: Fault;
  count = 0;
  happened = false;

  /** @param at the n-th (0: never), or the first for which it is true */
  constructor(at: number | ((sql: string) => boolean), fault: Fault) {
    this.#at = at;
    this.#fault = fault;
    const strike = (session: Session, sql: unknown, run: () => Promise<unknown>): Promise<unknown> => this.#statement(session, sql, run);
    for (const method of ['runAll', 'load', 'rows', 'buffers'] as const) {
      const original = Reflect.get(Session.prototype, method) as Statement;
      vi.spyOn(Session.prototype, method).mockImplementation(function (this: Session, ...args: unknown[]) {
        return strike(this, args[0], () => Reflect.apply(original, this, args)) as never;
      });
    }
  }

  async #statement(session: Session, sql: unknown, run: () => Promise<unknown>): Promise<unknown> {
    this.count++;
    const isIt = typeof this.#at === 'number' ? this.count === this.#at : this.#at(sql instanceof Uint8Array ? Buffer.from(sql).toString('latin1') : String(sql));
    if (this.happened || !isIt) return run();
    this.happened = true;
    const lost = new TidemarkError('SINK_UNREACHABLE', 'the connection was cut by the test');
    if (this.#fault === 'lost before') session.cut(lost);
    const answer = await run();
    session.cut(lost);
    return answer;
  }
}
