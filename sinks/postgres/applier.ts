import type { Clock } from '../../contracts/runtime.ts';
import { type ErrorWhere, TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { Applying, FoldedTable, SinkBatch, SinkStep } from '../../contracts/sink.ts';
import { explainRefusal, type StoredCheckpoint } from '../relational/checkpoint.ts';
import { printedName, targetName } from '../relational/names.ts';
import { CheckpointRefused, type Optimism, prepareRows, type PreparedRows, type RowsPlace, runRows } from './batch-transaction.ts';
import { type CheckpointMove, readCheckpoint } from './checkpoint-table.ts';
import { applySchemaStep, type DdlContext, keyLoadedTable, tightenTable } from './ddl.ts';
import { sinkError } from './errors.ts';
import { Flusher } from './flusher.ts';
import type { SynchronousCommit } from './options.ts';
import { readReplicaTables, type ReplicaTable } from './replica-table.ts';
import type { Session } from './session.ts';
import type { SinkTarget } from './sink-target.ts';
import { planTable, type TablePlan } from './table-plan.ts';
import type { Watchdog } from './watchdog.ts';

const MAX_PLANS = 1_000;

export interface ApplierParts {
  readonly target: SinkTarget;
  /** Applies. */
  readonly session: Session;
  /** Reads the catalog while the other one applies; adds enum labels; makes commits durable. */
  readonly side: Session;
  readonly synchronousCommit: SynchronousCommit;
  readonly clock: Clock;
  /** Owned by the applier from here on, as the sessions are. */
  readonly watchdog: Watchdog;
  readonly opened: StoredCheckpoint;
  readonly lockTimeoutMs: number;
  /** Foreign keys are enforced and triggers fire in the session: tables that have any are refused. */
  readonly enforced: boolean;
}

/** One batch in the line. */
interface Turn {
  readonly encoded: PromiseWithResolvers<void>;
  readonly ran: PromiseWithResolvers<void>;
  /** It is more than one step of rows: the next batch cannot be encoded before it has run. */
  readonly hasSteps: boolean;
}

/** The place of a batch in its transaction. */
interface Place {
  readonly move: CheckpointMove;
  /** The transaction begins with this batch. */
  readonly begins: boolean;
  readonly commits: boolean;
}

/**
 * Applies the batches of one opening, in order: while one is applied, the next is encoded. After the first failure
 * everything is refused; the sink is then opened anew.
 */
export class Applier implements AsyncDisposable {
  readonly #parts: ApplierParts;
  readonly #flusher: Flusher;
  readonly #plans = new Map<number, TablePlan>();
  readonly #optimism: Optimism = new Map();
  /** What the checkpoint is once every batch taken so far is applied. */
  #epoch: string;
  #offset: Offset;
  #last: Turn;
  #failure: TidemarkError | null = null;
  /** The batch taken last left its transaction open. */
  #open = false;
  /** Shapes were changed in that transaction: only its own session sees them. */
  #openReshaped = false;
  /** Parts of the open transaction, to be told when it is durable. */
  #waiting: PromiseWithResolvers<Offset>[] = [];

  constructor(parts: ApplierParts) {
    this.#parts = parts;
    this.#flusher = new Flusher(parts.side, parts.watchdog, parts.clock, parts.synchronousCommit);
    this.#epoch = parts.opened.epoch;
    this.#offset = parts.opened.offset;
    this.#last = { encoded: Promise.withResolvers(), ran: Promise.withResolvers(), hasSteps: false };
    this.#last.encoded.resolve();
    this.#last.ran.resolve();
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    const accepted = Promise.withResolvers<void>();
    const durable = Promise.withResolvers<Offset>();
    const turn: Turn = {
      encoded: Promise.withResolvers(),
      ran: Promise.withResolvers(),
      hasSteps: batch.steps.length > 1 || batch.steps.some((step) => step.kind !== 'rows'),
    };
    const before = this.#last;
    this.#last = turn;
    for (const { promise } of [turn.encoded, turn.ran, accepted, durable]) promise.catch(() => undefined);
    const giveUp = (): void => this.#giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    durable.promise.catch(() => undefined).finally(() => signal.removeEventListener('abort', giveUp));
    this.#take(batch, before, turn, accepted, durable, signal).catch(async (error: unknown) => {
      // A batch that cannot be encoded must not disturb the one before it, which may be in the midst of its transaction.
      await before.ran.promise.catch(() => undefined);
      const failure = await this.#fail(error);
      for (const part of [turn.encoded, turn.ran, accepted, durable, ...this.#waiting.splice(0)]) part.reject(failure);
    });
    return { accepted: accepted.promise, durable: durable.promise };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#failure ??= new TidemarkError('ABORTED', 'the sink was closed');
    this.#parts.watchdog[Symbol.dispose]();
    await Promise.all([this.#parts.session[Symbol.asyncDispose](), this.#parts.side[Symbol.asyncDispose]()]);
    for (const part of this.#waiting.splice(0)) part.reject(this.#failure);
  }

  /**
   * Nobody waits any longer. The connections are broken: a statement may stand behind a lock for as long as somebody
   * holds it, and a transaction whose last part does not come would never end.
   */
  #giveUp(): void {
    const why = new TidemarkError('ABORTED', 'asked to stop before the batch was durable');
    this.#failure ??= why;
    this.#parts.session.cut(why);
    this.#parts.side.cut(why);
    for (const part of this.#waiting.splice(0)) part.reject(this.#failure);
  }

  async #take(
    batch: SinkBatch,
    before: Turn,
    turn: Turn,
    accepted: PromiseWithResolvers<void>,
    durable: PromiseWithResolvers<Offset>,
    signal: AbortSignal,
  ): Promise<void> {
    await before.encoded.promise;
    if (before.hasSteps || this.#openReshaped) await before.ran.promise;
    this.#refuseAfterFailure(signal);
    const place = this.#placeOf(batch);
    const reader = this.#openReshaped ? this.#parts.session : this.#parts.side;
    this.#openReshaped = batch.endsOpen && (this.#openReshaped || turn.hasSteps);
    const rows = turn.hasSteps ? null : await this.#encode(batch, place, reader);
    turn.encoded.resolve();
    await before.ran.promise;
    this.#refuseAfterFailure(signal);
    accepted.resolve();
    this.#waiting.push(durable);
    const { session, watchdog } = this.#parts;
    // Steps are watched one by one: thousands of them take longer than the watchdog has patience for one answer.
    await (rows === null ? this.#runSteps(batch, place) : watchdog.during(session, () => this.#run(rows)));
    const committed = place.commits ? this.#waiting.splice(0) : [];
    turn.ran.resolve();
    if (committed.length === 0) return;
    try {
      await this.#flusher.flushed();
      for (const part of committed) part.resolve(batch.to);
    } catch (error) {
      // It is committed and may be seen; whether it outlasts a crash is not known, so nobody is told that it is durable.
      for (const part of committed) part.reject(sinkError(error, { sink: this.#parts.target.sink }));
      throw error;
    }
  }

  #refuseAfterFailure(signal: AbortSignal): void {
    if (this.#failure !== null) throw this.#failure;
    if (signal.aborted) throw new TidemarkError('ABORTED', 'asked to stop before the batch was applied');
  }

  #placeOf(batch: SinkBatch): Place {
    if (batch.after !== this.#offset) {
      throw new TidemarkError('SINK_CHECKPOINT_MOVED', `a batch begins after ${batch.after}, the sink is at ${this.#offset}`, {
        where: { sink: this.#parts.target.sink, offset: batch.after },
      });
    }
    const { opened } = this.#parts;
    const { sink } = this.#parts.target;
    const move: CheckpointMove = {
      sink, logId: opened.logId, fence: opened.fence, owner: opened.owner, fromEpoch: this.#epoch, from: this.#offset,
      epoch: batch.epoch, to: batch.to, position: batch.position, cursor: batch.cursor, commitTime: batch.commitTime,
    };
    const begins = !this.#open;
    this.#epoch = batch.epoch;
    this.#offset = batch.to;
    this.#open = batch.endsOpen;
    return { move, begins, commits: !batch.endsOpen };
  }

  /** A batch of rows alone becomes one pipeline. The batch before may still run. */
  async #encode(batch: SinkBatch, place: Place, reader: Session): Promise<PreparedRows> {
    const step = batch.steps[0];
    const tables = step?.kind === 'rows' ? step.tables : [];
    const plans = await this.#plansFor(tables, reader);
    const rowsPlace: RowsPlace = { begin: place.begins, move: place.move, commit: place.commits };
    return prepareRows(this.#parts.session, tables, plans, rowsPlace, this.#optimism);
  }

  async #run(rows: PreparedRows): Promise<void> {
    await runRows(this.#parts.session, rows, this.#optimism);
  }

  /** Steps of every kind, one after the other, in one transaction. */
  async #runSteps(batch: SinkBatch, place: Place): Promise<void> {
    const { session, side, watchdog, target } = this.#parts;
    for (const step of batch.steps) if (step.kind === 'schema') await target.types.prepare(side.client, step.after);
    await watchdog.during(session, () => this.#run(prepareRows(session, [], [], { begin: place.begins, move: place.move, commit: false }, this.#optimism)));
    const loadsOn = loadingOn(batch);
    let context: DdlContext | null = null;
    for (const step of batch.steps) {
      const before: DdlContext | null = context;
      context = await watchdog.during(session, () => this.#runStep(step, before, loadsOn));
    }
    if (place.commits) await watchdog.during(session, () => session.client.query('COMMIT'));
    else if (context !== null) await session.client.query('SET LOCAL lock_timeout = 0');
  }

  /**
   * One step. Answers the context of its statements as the next step may use it, as long as steps follow one another
   * that wait for locks for a bounded time only; null: rows, for which there is no bound.
   */
  async #runStep(step: SinkStep, before: DdlContext | null, loadsOn: ReadonlySet<number>): Promise<DdlContext | null> {
    const { session, target, lockTimeoutMs } = this.#parts;
    if (step.kind === 'rows') {
      if (before !== null) await session.client.query('SET LOCAL lock_timeout = 0');
      const plans = await this.#plansFor(step.tables, session);
      await this.#run(prepareRows(session, step.tables, plans, { begin: false, move: null, commit: false }, this.#optimism));
      return null;
    }
    // A table that is removed or stopped keeps its rows, and stays ours in case it comes back.
    if (step.kind === 'table-state' && step.state !== 'copied' && step.state !== 'loaded') return before;
    const context = before ?? { client: session.client, ...target, schemas: new Set<string>() };
    if (before === null) await session.client.query(`SET LOCAL lock_timeout = ${lockTimeoutMs}`);
    if (step.kind === 'schema') {
      await applySchemaStep(context, step.before, step.after, loadsOn.has(step.after.tableId) ? 'loaded' : 'at-once');
      this.#plans.delete(step.after.tableId);
    } else if (step.state === 'loaded') {
      if (await keyLoadedTable(context, step.table)) this.#plans.delete(step.table.tableId);
    } else if (await tightenTable(context, step.table, this.#planned(step.table)?.table ?? null)) {
      this.#plans.delete(step.table.tableId);
    }
    return context;
  }

  /** The plan of exactly this version, if it is known. */
  #planned(schema: TableSchema): TablePlan | null {
    const known = this.#plans.get(schema.tableId);
    return known?.schema.version === schema.version ? known : null;
  }

  async #plansFor(tables: readonly FoldedTable[], reader: Session): Promise<TablePlan[]> {
    const schemas = tables.map(({ schema }) => schema);
    const unknown = schemas.filter((schema) => this.#planned(schema) === null);
    for (const plan of await this.#readPlans(unknown, reader)) this.#plans.set(plan.schema.tableId, plan);
    const plans = schemas.flatMap((schema) => this.#planned(schema) ?? []);
    // The last to be used are the last to be forgotten.
    for (const plan of plans) {
      this.#plans.delete(plan.schema.tableId);
      this.#plans.set(plan.schema.tableId, plan);
    }
    for (const oldest of this.#plans.keys()) {
      if (this.#plans.size <= Math.max(MAX_PLANS, tables.length)) break;
      this.#plans.delete(oldest);
    }
    return plans;
  }

  async #readPlans(schemas: readonly TableSchema[], reader: Session): Promise<TablePlan[]> {
    const names = schemas.map((schema) => targetName(this.#parts.target.names, schema));
    const tables = await readReplicaTables(reader.client, names);
    return schemas.map((schema, index) => {
      const where = { table: tableName(schema) };
      const table = tables[index] ?? null;
      if (table === null) throw new TidemarkError('REPLICA_SHAPE', `${printedName(targetName(this.#parts.target.names, schema))} does not exist at the replica`, { where });
      if (this.#parts.enforced && table.held.length > 0) throw heldBack(table, where);
      return planTable(schema, table);
    });
  }

  /** Remembers the first failure and gives the transaction up; later ones are answered with the first. */
  async #fail(error: unknown): Promise<TidemarkError> {
    if (this.#failure !== null) return this.#failure;
    const { session, target: { sink } } = this.#parts;
    // Set at once, so that the batches behind do not begin; its reason is found out on the session meanwhile.
    this.#failure = sinkError(error instanceof CheckpointRefused ? new TidemarkError('SINK_FENCED', error.message) : error, { sink });
    try {
      if (session.lost === null) await session.client.query('ROLLBACK');
      this.#failure = await this.#explain(error);
    } catch (second) {
      this.#failure = sinkError(second, { sink });
    }
    return this.#failure;
  }

  async #explain(error: unknown): Promise<TidemarkError> {
    const { session, opened, target: { sink } } = this.#parts;
    if (session.lost !== null) return session.lost.at({ sink });
    if (!(error instanceof CheckpointRefused)) return sinkError(error, { sink });
    const stored = await readCheckpoint(session.client, sink, false);
    const why = explainRefusal(stored, opened);
    switch (why) {
      case 'fenced':
        return new TidemarkError('SINK_FENCED', `another hub has opened the sink (fence ${stored?.fence}, ours was ${opened.fence})`, { where: { sink } });
      case 'foreign':
        return new TidemarkError('SINK_FOREIGN', `the checkpoint is now of log ${stored?.logId}`, { where: { sink } });
      case 'moved':
        return new TidemarkError('SINK_CHECKPOINT_MOVED', `the checkpoint is at ${stored?.offset ?? 'no offset'}`, { where: { sink } });
    }
  }
}

/** Tables that begin in a batch of a load which does not bring all of their rows. */
function loadingOn({ cursor, steps }: SinkBatch): ReadonlySet<number> {
  const begun = cursor === null ? [] : steps.flatMap((step) => (step.kind === 'schema' ? [step.after.tableId] : []));
  const loaded = new Set(steps.flatMap((step) => (step.kind === 'table-state' && step.state === 'loaded' ? [step.table.tableId] : [])));
  return new Set(begun.filter((tableId) => !loaded.has(tableId)));
}

/** The session may not keep foreign keys and triggers from acting, and the table has some. */
function heldBack(table: ReplicaTable, where: ErrorWhere): TidemarkError {
  return new TidemarkError('REPLICA_DENIED', `${printedName(table.name)} has foreign keys or triggers (${table.held.join(', ')}) that would act while applying`, {
    where,
    remedy: 'Let the role of the sink set session_replication_role (`GRANT SET ON PARAMETER session_replication_role TO role`, PostgreSQL 15 and newer), or drop them at the replica.',
  });
}
