import type { Catalog } from '../../../../contracts/catalog.ts';
import { asTidemarkError, describeError, type TidemarkError } from '../../../../contracts/errors/error.ts';
import type { EventName } from '../../../../contracts/events.ts';
import { tableName } from '../../../../contracts/schema.ts';
import { RetryDelay } from './retry-delay.ts';
import { FirstRows } from './first-rows.ts';
import { candidates, unlogged, isAnyCandidate, reasonFor } from './schedule.ts';
import { DEFAULT_COPY_SETTINGS, type CopyProgress, type CopySession, type CopySettings } from './session.ts';
import { Slots } from './slots.ts';
import { newestOf, TableCopy, type CopyPlaces, type CopyReason } from './table-copy.ts';

interface Failure {
  readonly error: TidemarkError;
  readonly delay: RetryDelay;
  /** Monotonic milliseconds; not tried again before. */
  readonly until: number;
}

interface Todo {
  readonly tableId: number;
  /** Its name, for people. */
  readonly table: string;
  readonly reason: CopyReason;
  /** Of a table that had stopped: why. */
  readonly after: { readonly code: string; readonly why: string } | null;
}

/**
 * Copies the tables of one source: those that are new, those whose copy is under way, those that were stopped and want
 * one, and those asked for. Lives as long as the source's pipeline; `run` is called once for each stream. A table that
 * fails is tried again later, ever more seldom; the others go on.
 */
export class Copies {
  readonly #settings: CopySettings;
  readonly #requests = new Set<number>();
  readonly #failures = new Map<number, Failure>();
  readonly #running = new Map<number, TableCopy>();
  readonly #firstRows = new FirstRows();
  /** Tables to look at next, in order: found once for many copies, since there may be thousands. */
  #line: number[] = [];
  #ring: (() => void) | null = null;
  #refresh = false;

  constructor(settings: CopySettings = DEFAULT_COPY_SETTINGS) {
    this.#settings = settings;
  }

  /** Asks for a table to be copied again, now or as soon as its source streams. Forgets an earlier failure. */
  recopy(tableId: number): void {
    this.#requests.add(tableId);
    this.#failures.delete(tableId);
    // Before what was found when nobody had asked for it.
    this.#line.unshift(tableId);
    this.#ring?.();
  }

  /** Looks at the source's catalog again for tables that were added or are gone. */
  refresh(): void {
    this.#refresh = true;
    this.#ring?.();
  }

  /** The copies under way. */
  progress(): CopyProgress[] {
    return [...this.#running.values()].map((copy) => copy.progress());
  }

  /** Why a table's last copy failed; null when it did not. It is tried again by itself. */
  failure(tableId: number): TidemarkError | null {
    return this.#failures.get(tableId)?.error ?? null;
  }

  /**
   * Copies what there is to copy until the signal, which is to abort when the stream ends. Resolves then.
   * @throws TidemarkError what reading the source's catalog or taking a turn throws; copies under way have ended by then
   */
  async run(session: CopySession, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const { parallel, tables } = this.#settings;
    const places: CopyPlaces = { chunks: new Slots(parallel), tables: new Slots(parallel), parallel, firstRows: this.#firstRows };
    const tasks = new Map<number, Promise<void>>();
    this.#refresh = true;
    try {
      while (!signal.aborted) {
        if (this.#refresh) await this.#look(session, either);
        const free = tables - tasks.size;
        for (const todo of free > 0 ? await this.#todo(session, free) : []) {
          const task = this.#copy(session, todo, places, either).finally(() => tasks.delete(todo.tableId));
          tasks.set(todo.tableId, task);
        }
        await this.#wait(session, [...tasks.values()], either);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      stop.abort();
      await Promise.allSettled(tasks.values());
    }
  }

  /**
   * Announces the tables that the source has and the log has not, or not so. Those that it has not any more leave the log by
   * the stream alone, which may have rows of them still to come.
   */
  async #look(session: CopySession, signal: AbortSignal): Promise<void> {
    this.#refresh = false;
    const present = await session.tables(signal);
    // What the stream finds by itself when it begins is in the log by then.
    await session.turns.waitPassed(() => true, signal);
    session.announce(await session.turns.turn(({ catalog }) => Promise.resolve(unlogged(catalog, present))));
  }

  async #todo(session: CopySession, free: number): Promise<Todo[]> {
    return session.turns.turn(({ catalog }) => {
      const notNow = this.#notNow(session);
      const todo = this.#fromLine(catalog, free, notNow);
      if (todo.length === free) return Promise.resolve(todo);
      const taken = new Set(todo.map(({ tableId }) => tableId));
      this.#line = candidates(catalog, this.#requests, (tableId) => taken.has(tableId) || notNow(tableId)).map(({ tableId }) => tableId);
      return Promise.resolve([...todo, ...this.#fromLine(catalog, free - todo.length, notNow)]);
    });
  }

  /** The next ones in line that are still to be copied. */
  #fromLine(catalog: Catalog, most: number, notNow: (tableId: number) => boolean): Todo[] {
    const todo: Todo[] = [];
    while (todo.length < most) {
      const tableId = this.#line.shift();
      if (tableId === undefined) break;
      const table = catalog.table(tableId);
      const reason = table === undefined || notNow(tableId) ? null : reasonFor(table, this.#requests);
      if (table === undefined || reason === null) continue;
      const { state } = table;
      const after = state.state === 'stopped' ? { code: state.code, why: state.why } : null;
      todo.push({ tableId, table: tableName(newestOf(table)), reason, after });
    }
    return todo;
  }

  #notNow(session: CopySession): (tableId: number) => boolean {
    const now = session.runtime.clock.monotonic();
    return (tableId) => this.#running.has(tableId) || (this.#failures.get(tableId)?.until ?? 0) > now;
  }

  async #copy(session: CopySession, { tableId, table, reason, after }: Todo, places: CopyPlaces, signal: AbortSignal): Promise<void> {
    const copy = new TableCopy(session, tableId, reason, places);
    this.#running.set(tableId, copy);
    const log = (event: EventName, fields: object): void => session.runtime.logger.log('info', event, { table, tableId, ...fields });
    try {
      log('copy.started', { reason, ...after });
      await copy.run(signal);
      this.#requests.delete(tableId);
      this.#failures.delete(tableId);
      log('copy.finished', { rows: copy.progress().rows });
    } catch (failure) {
      if (signal.aborted) return;
      this.#failed(session, tableId, table, asTidemarkError(failure, 'INTERNAL'));
    } finally {
      this.#running.delete(tableId);
    }
  }

  #failed(session: CopySession, tableId: number, table: string, error: TidemarkError): void {
    const delay = this.#failures.get(tableId)?.delay ?? new RetryDelay(session.runtime);
    const until = session.runtime.clock.monotonic() + delay.next();
    this.#failures.set(tableId, { error, delay, until });
    session.runtime.logger.log('warn', 'copy.failed', { table, tableId, what: describeError(error) });
  }

  /** Until there may be something to do: a copy ended, a table wants one, somebody asks, a failure is old enough. */
  async #wait(session: CopySession, tasks: readonly Promise<void>[], signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    if (either.aborted) return;
    const rung = new Promise<void>((resolve) => {
      this.#ring = resolve;
      either.addEventListener('abort', () => resolve(), { once: true });
    });
    const waits: Promise<unknown>[] = [rung];
    if (tasks.length < this.#settings.tables) {
      const notNow = this.#notNow(session);
      waits.push(session.turns.waitCatalog((catalog) => isAnyCandidate(catalog, this.#requests, notNow), either));
      const soonest = Math.min(...[...this.#failures.values()].map(({ until }) => until));
      if (Number.isFinite(soonest)) {
        waits.push(session.runtime.clock.sleep(Math.max(1, soonest - session.runtime.clock.monotonic()), either));
      }
    }
    try {
      if (!this.#refresh) await Promise.race([...waits, ...tasks]);
    } finally {
      this.#ring = null;
      stop.abort();
      await Promise.allSettled(waits);
    }
  }
}
