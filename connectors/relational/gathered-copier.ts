import type { CopiedChunk, CopyPlan, TableCopier } from '../../contracts/connector.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { Gather } from './gather.ts';
import { type PooledSession, SessionPool } from './session-pool.ts';
import type { SpooledChunk } from './spooled-chunk.ts';

/** Tables of one transaction, and plans of one reading of the catalog, at most. */
export const GROUP_TABLES = 64;

/** The answer for a table that is to be copied in a transaction of its own. */
export const ALONE = { alone: true } as const;

/** What became of a table that was asked for with others; an error is its own. */
export type GroupAnswer = SpooledChunk | typeof ALONE | TidemarkError;

export interface PlanRequest {
  readonly table: TableSchema;
  readonly resume: { readonly copyState: string; readonly done: readonly string[] } | null;
}

type Copying = (signal: AbortSignal) => Promise<CopiedChunk>;

/**
 * A copier of a server with thousands of small tables: plans are made many at a time, small tables are copied many at a
 * time, and of what does not go together one is under way at once. Its sessions serve one use after the other.
 *
 * `P` is a plan as it was made, `T` a small table that may go together with others.
 */
export abstract class GatheredCopier<S extends PooledSession, P extends CopyPlan, T> implements TableCopier, AsyncDisposable {
  protected readonly sessions: SessionPool<S>;
  readonly #plans: Gather<PlanRequest, P>;
  readonly #together: Gather<T, CopiedChunk | typeof ALONE>;
  readonly #alone: Gather<Copying, CopiedChunk>;
  #waitingFor = '';

  /** @param open the session ends when the signal that it is given aborts, then and later */
  constructor(open: (signal: AbortSignal) => Promise<S>, clock: Clock) {
    this.sessions = new SessionPool(open, clock);
    this.#plans = new Gather<PlanRequest, P>(GROUP_TABLES, (asked, signal) => this.#planAll(asked, signal));
    this.#together = new Gather<T, CopiedChunk | typeof ALONE>(GROUP_TABLES, (asked, signal) => this.copyAll(asked, signal));
    this.#alone = new Gather<Copying, CopiedChunk>(1, (asked, signal) => Promise.all(asked.map((copy) => copy(signal))));
  }

  get waitingFor(): string {
    return this.#waitingFor;
  }

  /** The stream has ended: the next one may come from another server, and what is copied then must be read there. */
  async streamEnded(): Promise<void> {
    await this.sessions.renew();
  }

  /** Ends the sessions that are kept for later copies. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.sessions[Symbol.asyncDispose]();
  }

  plan(table: TableSchema, resume: PlanRequest['resume'], signal: AbortSignal): Promise<CopyPlan> {
    return unlessAborted(signal, async () => this.planned(await this.#plans.ask({ table, resume }, signal)));
  }

  chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    return unlessAborted(signal, () => this.copyRange(plan, range, signal));
  }

  rows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal, exact = false): Promise<CopiedChunk> {
    return unlessAborted(signal, () => this.alone((stop) => this.copyRows(table, keys, stop, exact), signal));
  }

  /** Until a snapshot that is taken from then on lacks nothing of what the stream has delivered, or will never deliver. */
  protected abstract settle(session: S, waiting: (what: string) => void, signal: AbortSignal): Promise<void>;
  /** A plan for each, or why there is none; the session is between two statements afterwards. @throws TidemarkError where it is lost */
  protected abstract planAll(session: S, asked: readonly PlanRequest[]): Promise<readonly (P | TidemarkError)[]>;
  /** Keeps what is to be known of a plan later; answers what the hub gets of it. */
  protected abstract planned(plan: P): CopyPlan;
  /** One chunk for each, from one transaction. @throws TidemarkError where the session is lost; `ABORTED` */
  protected abstract copyAll(asked: readonly T[], signal: AbortSignal): Promise<readonly GroupAnswer[]>;
  protected abstract copyRange(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk>;
  protected abstract copyRows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal, exact: boolean): Promise<CopiedChunk>;

  /** With others where that is possible, else as `copy` does it. */
  protected async together(small: T, copy: Copying, signal: AbortSignal): Promise<CopiedChunk> {
    const chunk = await this.#together.ask(small, signal);
    return 'alone' in chunk ? this.alone(copy, signal) : chunk;
  }

  /** One of these is under way at once: of small tables there may be very many. */
  protected alone(copy: Copying, signal: AbortSignal): Promise<CopiedChunk> {
    return this.#alone.ask(copy, signal);
  }

  async #planAll(asked: readonly PlanRequest[], signal: AbortSignal): Promise<readonly (P | TidemarkError)[]> {
    await using lease = await this.sessions.lease(signal);
    try {
      await this.settle(lease.session, (what) => (this.#waitingFor = what), signal);
    } finally {
      this.#waitingFor = '';
    }
    const plans = await this.planAll(lease.session, asked);
    lease.keep();
    return plans;
  }
}

/** What fails because it was asked to stop says so, whatever the cut session says. */
async function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (signal.aborted) throw new TidemarkError('ABORTED', 'the copy was asked to stop', { cause });
    throw cause;
  }
}
