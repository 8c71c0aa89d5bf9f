import type { Clock } from '../../contracts/runtime.ts';
import { type ErrorWhere, TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { FoldedTable, SinkBatch, SinkStep } from '../../contracts/sink.ts';
import { type BatchPlace, CheckpointRefused, type LineWorker } from '../relational/apply-line.ts';
import { refusalError, type StoredCheckpoint } from '../relational/checkpoint.ts';
import { printedName, targetName } from '../relational/names.ts';
import type { Watchdog } from '../relational/watchdog.ts';
import { type Optimism, prepareRows, type PreparedRows, type RowsPlace, runRows } from './batch-transaction.ts';
import { readCheckpoint } from './checkpoint-table.ts';
import { applySchemaStep, type DdlContext, keyLoadedTable, tightenTable } from './ddl.ts';
import { sinkError } from './errors.ts';
import { Flusher } from './flusher.ts';
import type { SynchronousCommit } from './options.ts';
import { readReplicaTables, type ReplicaTable } from './replica-table.ts';
import type { Session } from './session.ts';
import type { SinkTarget } from './sink-target.ts';
import { planTable, type TablePlan } from './table-plan.ts';

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
  readonly watchdog: Watchdog<Session>;
  readonly opened: StoredCheckpoint;
  readonly lockTimeoutMs: number;
  /** Foreign keys are enforced and triggers fire in the session: tables that have any are refused. */
  readonly enforced: boolean;
}

/** Applies the batches of one opening, by the pipelines of one session. */
export class Applier implements LineWorker<PreparedRows> {
  readonly #parts: ApplierParts;
  readonly #flusher: Flusher;
  readonly #plans = new Map<number, TablePlan>();
  readonly #optimism: Optimism = new Map();
  /** Of this opening. */
  #hasSteps = false;

  constructor(parts: ApplierParts) {
    this.#parts = parts;
    this.#flusher = new Flusher(parts.side, parts.watchdog, parts.clock, parts.synchronousCommit);
  }

  async close(): Promise<void> {
    this.#parts.watchdog[Symbol.dispose]();
    await Promise.all([this.#parts.session[Symbol.asyncDispose](), this.#parts.side[Symbol.asyncDispose]()]);
  }

  cut(why: TidemarkError): void {
    this.#parts.session.cut(why);
    this.#parts.side.cut(why);
  }

  flushed(): Promise<void> {
    return this.#flusher.flushed();
  }

  toError(failure: unknown): TidemarkError {
    return sinkError(failure, { sink: this.#parts.target.sink });
  }

  /** A batch of rows alone becomes one pipeline. The batch before may still run. */
  async encode(batch: SinkBatch, place: BatchPlace, reshaped: boolean): Promise<PreparedRows> {
    const reader = reshaped ? this.#parts.session : this.#parts.side;
    const step = batch.steps[0];
    const tables = step?.kind === 'rows' ? step.tables : [];
    const plans = await this.#plansFor(tables, reader);
    const rowsPlace: RowsPlace = { begin: place.begins, move: place.move, commit: place.commits };
    return prepareRows(this.#parts.session, tables, plans, rowsPlace, this.#optimism);
  }

  async run(rows: PreparedRows): Promise<void> {
    const { session, watchdog } = this.#parts;
    await watchdog.during(session, () => this.#run(rows));
  }

  async #run(rows: PreparedRows): Promise<void> {
    await runRows(this.#parts.session, rows, this.#optimism);
  }

  /** Steps of every kind, one after the other, in one transaction. Watched one by one: thousands of them take longer than the watchdog has patience for one answer. */
  async runSteps(batch: SinkBatch, place: BatchPlace): Promise<void> {
    const { session, side, watchdog, target } = this.#parts;
    this.#hasSteps = true;
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

  /** Steps other than rows leave traces outside of their transaction: labels of enums, what is known of types. */
  async rewound(): Promise<StoredCheckpoint | null> {
    const { session, side, watchdog, target: { sink } } = this.#parts;
    if (this.#hasSteps || session.lost !== null || side.lost !== null) return null;
    this.#plans.clear();
    return watchdog.during(session, async () => {
      await session.client.query('ROLLBACK');
      return readCheckpoint(session.client, sink, false);
    });
  }

  async explain(error: unknown): Promise<TidemarkError> {
    const { session, opened, target: { sink } } = this.#parts;
    if (session.lost === null) await session.client.query('ROLLBACK');
    if (session.lost !== null) return session.lost.at({ sink });
    if (!(error instanceof CheckpointRefused)) return sinkError(error, { sink });
    return refusalError(await readCheckpoint(session.client, sink, false), opened, sink);
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
