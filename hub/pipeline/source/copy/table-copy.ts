/** The copy of one table, from its `copying` record to `copied` (docs/protocol-copy.md). */
import type { CatalogTable } from '../../../../contracts/catalog.ts';
import { SMALL_TABLE_BYTES, type CopiedChunk, type CopyPlan } from '../../../../contracts/connector.ts';
import type { Control } from '../../../../contracts/control.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../../../contracts/schema.ts';
import type { WriterTurn } from '../writer-turn.ts';
import { joinChunk, type CopyOf, type Seen } from './chunk-join.ts';
import type { FirstRows } from './first-rows.ts';
import { HubTransaction } from './hub-transaction.ts';
import { repairRows } from './repair.ts';
import { RetryDelay } from './retry-delay.ts';
import { stillCopying, throwIfAborted, type CopyProgress, type CopySession } from './session.ts';
import type { Slots } from './slots.ts';
import { deleteStale } from './stale-deletes.ts';
import { copyWhole } from './whole-copy.ts';

/** Why a copy that is not under way yet begins. */
export type CopyReason = Extract<Control, { type: 'copying' }>['reason'];

/** A plan, and since when the copy that it belongs to is under way. */
interface Begun {
  readonly plan: CopyPlan;
  readonly since: Offset;
  /** Up to here every snapshot of the plan's chunks sees everything. */
  readonly seen: Seen;
}

/** What the copies of one session share. */
export interface CopyPlaces {
  /** For chunks of tables that are not small. */
  readonly chunks: Slots;
  /** For tables that are not small. */
  readonly tables: Slots;
  readonly parallel: number;
  readonly firstRows: FirstRows;
}

export class TableCopy {
  readonly tableId: number;
  readonly #session: CopySession;
  readonly #reason: CopyReason;
  readonly #places: CopyPlaces;
  /** The place among the tables that are not small, once it was needed. */
  #place: Disposable | null = null;
  #name = '';
  #plan: CopyPlan | null = null;
  #rows = 0;
  #rowsAtStart = 0;
  #startedAt: number;
  #phase = 'planning';
  /** Why chunks are tried again; '' while they are not. */
  #retrying = '';

  /**
   * @param reason for the `copying` record; a copy that is under way in the log is resumed instead
   */
  constructor(session: CopySession, tableId: number, reason: CopyReason, places: CopyPlaces) {
    this.#session = session;
    this.tableId = tableId;
    this.#reason = reason;
    this.#places = places;
    this.#startedAt = session.runtime.clock.monotonic();
  }

  progress(): CopyProgress {
    const estimatedRows = Math.max(this.#plan?.estimatedRows ?? 0, this.#rows);
    const copied = this.#rows - this.#rowsAtStart;
    const seconds = (this.#session.runtime.clock.monotonic() - this.#startedAt) / 1000;
    const etaSeconds = copied > 0 && seconds > 0 ? Math.round(((estimatedRows - this.#rows) * seconds) / copied) : null;
    const waitingFor = this.#phase === 'planning' ? (this.#session.copier.waitingFor ?? '') : this.#retrying;
    return { tableId: this.tableId, table: this.#name, rows: this.#rows, estimatedRows, etaSeconds, waitingFor };
  }

  /**
   * Copies the table until its `copied` record stands in the log.
   * @throws TidemarkError `COPY_SUPERSEDED` when the table's state changed under it, `ABORTED`, what the copier throws
   */
  async run(signal: AbortSignal): Promise<void> {
    try {
      let begun = await this.#begin(signal);
      for (;;) {
        try {
          await this.#copy(begun, signal);
          return;
        } catch (error) {
          if (!(error instanceof TidemarkError) || error.code !== 'COPY_VOID') throw error;
          begun = await this.#beginAnew(begun.since, error.message, signal);
        }
      }
    } finally {
      this.#place?.[Symbol.dispose]();
    }
  }

  async #begin(signal: AbortSignal): Promise<Begun> {
    const { table, seen } = await this.#session.turns.turn((turn) => Promise.resolve(this.#look(turn)));
    const { state } = table;
    const schema = newestOf(table);
    this.#name = tableName(schema);
    if (state.state !== 'copying') {
      const plan = await this.#planned(schema, null, signal);
      if (await this.#hadToWait(plan, signal)) return this.#begin(signal);
      const since = await this.#control(null, { type: 'copying', reason: this.#reason, copyState: plan.copyState });
      return { plan, since, seen };
    }
    this.#rows = this.#rowsAtStart = state.rows;
    try {
      const plan = await this.#planned(schema, { copyState: state.copyState, done: state.ranges }, signal);
      if (await this.#hadToWait(plan, signal)) return await this.#begin(signal);
      if (!plan.whole) return { plan, since: state.since, seen };
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'COPY_VOID') throw error;
    }
    return this.#beginAnew(state.since, 'the copy cannot be resumed', signal);
  }

  async #beginAnew(since: Offset, why: string, signal: AbortSignal): Promise<Begun> {
    throwIfAborted(signal);
    this.#phase = 'planning';
    const { table, seen } = await this.#session.turns.turn((turn) => Promise.resolve(this.#look(turn)));
    const plan = await this.#planned(newestOf(table), null, signal);
    if (await this.#hadToWait(plan, signal)) return this.#beginAnew(since, why, signal);
    await this.#control(since, { type: 'chunks-void', why, copyState: plan.copyState });
    this.#rows = this.#rowsAtStart = 0;
    this.#startedAt = this.#session.runtime.clock.monotonic();
    return { plan, since, seen };
  }

  /**
   * Takes a place if the table turns out not to be small. True: it had to wait for one, so that the plan is old: all that
   * the stream has brought since would have to be looked through for every chunk.
   */
  async #hadToWait(plan: CopyPlan, signal: AbortSignal): Promise<boolean> {
    if (this.#place !== null || isSmall(plan)) return false;
    this.#place = this.#places.tables.tryTake();
    if (this.#place !== null) return false;
    this.#phase = 'waiting';
    this.#place = await this.#places.tables.take(signal);
    this.#phase = 'planning';
    return true;
  }

  #look(turn: WriterTurn): { table: CatalogTable; seen: Seen } {
    const table = turn.catalog.table(this.tableId);
    if (table === undefined) throw new TidemarkError('COPY_SUPERSEDED', `the log has no table id ${this.tableId}`);
    return { table, seen: { offset: turn.lastOffset } };
  }

  async #planned(schema: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan> {
    const plan = await this.#session.copier.plan(schema, resume, signal);
    this.#plan = plan;
    this.#phase = 'copying';
    return plan;
  }

  /** Writes a control record if the copy that began at `since` (null: none yet) is still the one under way. */
  #control(since: Offset | null, control: Control): Promise<Offset> {
    return this.#session.turns.turn(async (turn) => {
      if (since !== null) stillCopying(turn, this.tableId, since);
      else if (turn.catalog.table(this.tableId)?.state.state === 'removed') {
        throw new TidemarkError('COPY_SUPERSEDED', 'the table was removed before its copy began', { where: { table: this.#name } });
      }
      const transaction = new HubTransaction(turn);
      transaction.control(this.tableId, control);
      return transaction.commit();
    });
  }

  async #copy(begun: Begun, signal: AbortSignal): Promise<void> {
    const { plan, since, seen } = begun;
    const copy: CopyOf = { session: this.#session, tableId: this.tableId, since, seen };
    const counted = (rows: number) => {
      this.#rows += rows;
    };
    if (plan.whole) {
      using _place = await this.#places.chunks.take(signal);
      await copyWhole(copy, plan, counted, signal);
      return;
    }
    await this.#copyRanges(copy, plan, counted, signal);
    await repairRows(copy, signal);
    await deleteStale(copy, this.#places.firstRows, signal);
    // The first row of all that comes without columns may have come since: its image is not in the index.
    while (!(await this.#finished(since))) await repairRows(copy, signal);
  }

  /** Writes `copied`, unless a row is still to be repaired. */
  #finished(since: Offset): Promise<boolean> {
    const { turns, repair } = this.#session;
    return turns.turn(async (turn) => {
      stillCopying(turn, this.tableId, since);
      await turn.flush();
      if ((await repair.repairKeys(this.tableId, 1)).length > 0) return false;
      const transaction = new HubTransaction(turn);
      transaction.control(this.tableId, { type: 'copied', rows: this.#rows });
      await transaction.commit();
      return true;
    });
  }

  /** All ranges, several side by side. The first failure stops the others, and is thrown once they have ended. */
  async #copyRanges(copy: CopyOf, plan: CopyPlan, counted: (rows: number) => void, signal: AbortSignal): Promise<void> {
    const left = [...plan.ranges];
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const worker = async () => {
      for (;;) {
        using _place = isSmall(plan) ? null : await this.#places.chunks.take(either);
        const range = left.shift();
        if (range === undefined) return;
        const from = copy.seen.offset;
        await using chunk = await this.#chunk(plan, range, either);
        if (chunk.rest !== undefined && chunk.rest !== null) left.unshift(chunk.rest);
        counted((await joinChunk(copy, chunk, from, (rows) => ({ type: 'chunk', range: chunk.range, rows }), either)).rows);
      }
    };
    const failures: unknown[] = [];
    const workers = Array.from({ length: isSmall(plan) ? 1 : Math.max(1, Math.min(this.#places.parallel, left.length)) }, async () => {
      try {
        await worker();
      } catch (error) {
        failures.push(error);
        stop.abort();
      }
    });
    await Promise.all(workers);
    if (failures.length > 0) throw failures[0];
  }

  /** One chunk, tried again while what fails may pass by itself. */
  async #chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const delay = new RetryDelay(this.#session.runtime);
    for (;;) {
      try {
        const chunk = await this.#session.copier.chunk(plan, range, signal);
        this.#retrying = '';
        return chunk;
      } catch (error) {
        throwIfAborted(signal);
        if (!(error instanceof TidemarkError) || error.retry !== 'auto' || error.code === 'COPY_VOID' || error.code === 'ABORTED') throw error;
        this.#retrying = error.message;
        this.#session.runtime.logger.log('warn', 'copy.chunk-retried', { table: this.#name, code: error.code, what: error.message });
        await delay.wait(signal);
      }
    }
  }
}

/** So small that its spool counts for nothing. */
function isSmall(plan: CopyPlan): boolean {
  return !plan.whole && plan.estimatedBytes <= SMALL_TABLE_BYTES;
}

/** The shape that the table has at the end of the log. */
export function newestOf(table: CatalogTable): TableSchema {
  const newest = table.versions.at(-1);
  if (newest === undefined) throw new TidemarkError('INTERNAL', `table id ${table.tableId} has no schema`);
  return newest.schema;
}
