import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { FoldedTable, SinkBatch, SinkStep } from '../../contracts/sink.ts';
import { type BatchPlace, CheckpointRefused, type LineWorker } from '../relational/apply-line.ts';
import { refusalError } from '../relational/checkpoint.ts';
import { printedName, targetName } from '../relational/names.ts';
import { type PreparedRows, prepareTable, runRows, type TableWork } from './batch-transaction.ts';
import { checkpointTable, type OwnCheckpoint, ownedSql, readCheckpoint } from './checkpoint-table.ts';
import { applySchemaStep, type DdlContext, type Intent, parseIntents, tightenTable } from './ddl.ts';
import { DeferredBegin } from './deferred-begin.ts';
import { sinkError } from './errors.ts';
import { LoadPool } from './load-pool.ts';
import { type LooseRows, splitChange } from './loose-rows.ts';
import { holdLock, loadLocks, shapeLock } from './opening.ts';
import { readReplicaTable } from './replica-table.ts';
import type { ServerFacts } from './server.ts';
import type { Session } from './session.ts';
import type { SinkTarget } from './sink-target.ts';
import { quoteText } from './sql.ts';
import { planTable, type TablePlan } from './table-plan.ts';
import type { WriteRules } from './statement.ts';

const MAX_PLANS = 1_000;

export interface ApplierParts {
  readonly target: SinkTarget;
  /** Applies. */
  readonly session: Session;
  /** Reads the catalog while the other one applies. */
  readonly side: Session;
  /** Opens one more at the same server, to load rows. */
  readonly open: (signal: AbortSignal) => Promise<Session>;
  /** Of all of them. Owned by the applier from here on, as the sessions are. */
  readonly watchdog: Disposable;
  readonly server: ServerFacts;
  readonly rules: WriteRules;
  readonly opened: OwnCheckpoint;
  readonly lockTimeoutMs: number;
}

/** What is done between two commits of the server's own: changes of shape, then rows. */
interface Stretch {
  readonly shapes: readonly Extract<SinkStep, { kind: 'schema' }>[];
  readonly rows: readonly (readonly FoldedTable[])[];
}

/** Applies the batches of one opening: by one session, and by others the rows that may come before their checkpoint. */
export class Applier implements LineWorker<PreparedRows> {
  readonly #parts: ApplierParts;
  readonly #pool: LoadPool;
  readonly #plans = new Map<number, TablePlan>();
  /** As of what is prepared, which is run in the same order. */
  #transaction = new DeferredBegin();
  /** Shapes were changed in this opening: each change commits by itself. */
  #hasShapes = false;
  /** What an opening before this one left unfinished. */
  #intents: readonly Intent[];

  constructor(parts: ApplierParts) {
    const { session, open, opened, rules, target: { sink } } = parts;
    this.#parts = parts;
    this.#pool = new LoadPool({ beside: session, open, ownDatabase: rules.ownDatabase, locks: loadLocks(sink, opened.fence) });
    this.#intents = parseIntents(parts.opened.intent);
  }

  async close(): Promise<void> {
    this.#parts.watchdog[Symbol.dispose]();
    await Promise.all([this.#parts.session[Symbol.asyncDispose](), this.#parts.side[Symbol.asyncDispose](), this.#pool.close()]);
  }

  cut(why: TidemarkError): void {
    this.#parts.session.cut(why);
    this.#parts.side.cut(why);
    this.#pool.cut(why);
  }

  /** A commit is durable, as far as the server's settings make it so, once it is answered. */
  flushed(): Promise<void> {
    return Promise.resolve();
  }

  toError(failure: unknown): TidemarkError {
    return sinkError(failure, { sink: this.#parts.target.sink });
  }

  async encode(batch: SinkBatch, place: BatchPlace): Promise<PreparedRows> {
    const step = batch.steps[0];
    return this.#prepared(step?.kind === 'rows' ? [step.tables] : [], this.#parts.side, place);
  }

  async run(rows: PreparedRows): Promise<void> {
    if (rows.loose !== null) await this.#pool.load(rows.loose.tables, rows.loose.owned);
    // Sessions that load keep the checkpoint's row from being changed.
    if (rows.place.begin) await this.#pool.commit();
    await runRows(this.#parts.session, rows);
  }

  /**
   * Changes of shape commit by themselves: what the transaction had so far is committed before them, at its own place in the
   * log. Then come the rows, with the checkpoint. Rows that stand before a change of shape in one batch, for which there is
   * no place, are committed without moving it: they come again after a crash, and do no harm then.
   */
  async runSteps(batch: SinkBatch, place: BatchPlace): Promise<void> {
    const { session, rules } = this.#parts;
    const stretches = stretchesOf(batch.steps);
    this.#hasShapes ||= batch.steps.some(({ kind }) => kind !== 'rows');
    if (stretches.some(({ shapes }) => shapes.length > 0)) await this.#settle();
    for (const [index, { shapes, rows }] of stretches.entries()) {
      if (shapes.length > 0) await this.#reshape(shapes, place, stoppedTables(batch.steps));
      if (index === stretches.length - 1) await this.run(await this.#prepared(rows, session, place));
      else if (rows.length > 0) {
        await session.run('START TRANSACTION');
        await this.#holdCheckpoint(ownedSql(place.move, place.move.fromEpoch, place.move.from));
        const works = await this.#works(rows.flat(), session);
        await runRows(session, { loose: null, works, place: { begin: false, move: null, commit: true }, rules });
      }
    }
    if (place.commits) await this.#tighten(batch.steps, place);
  }

  /** Commits what the open transaction has so far, with the checkpoint there. */
  async #settle(): Promise<void> {
    const { session, rules } = this.#parts;
    const { isOpen } = this.#transaction;
    const move = this.#transaction.settle();
    if (isOpen) await session.run('COMMIT');
    if (move !== null) await this.run({ loose: null, works: [], place: { begin: true, move, commit: true }, rules });
  }

  async rewound(): Promise<OwnCheckpoint | null> {
    const { session, side, rules, target: { sink } } = this.#parts;
    await this.#pool.rollback();
    if (this.#hasShapes || session.lost !== null || side.lost !== null) return null;
    this.#plans.clear();
    this.#transaction = new DeferredBegin();
    await session.run('ROLLBACK');
    return readCheckpoint(session, rules.ownDatabase, sink, false);
  }

  async explain(error: unknown): Promise<TidemarkError> {
    const { session, opened, rules, target: { sink } } = this.#parts;
    await this.#pool.rollback();
    if (session.lost !== null) return session.lost.at({ sink });
    await session.run('ROLLBACK');
    if (!(error instanceof CheckpointRefused)) return sinkError(error, { sink });
    return refusalError(await readCheckpoint(session, rules.ownDatabase, sink, false), opened, sink);
  }

  /** @param steps of rows, in order */
  async #prepared(steps: readonly (readonly FoldedTable[])[], reader: Session, { move, commits }: BatchPlace): Promise<PreparedRows> {
    const { rules } = this.#parts;
    const tables = steps.flat();
    const plans = await this.#plansFor(tables.map(({ schema }) => schema), reader);
    // Rows of a table that has several steps stay in their order.
    const isOnce = new Set(tables.map(({ schema }) => schema.tableId)).size === tables.length;
    const mayLoosen = isOnce && this.#transaction.mayLoosen;
    const loose: LooseRows[] = [];
    const works: TableWork[] = [];
    for (const [index, change] of tables.entries()) {
      const plan = planAt(plans, index);
      const split = mayLoosen ? splitChange(change, plan, move, rules) : { loose: null, bound: change };
      if (split.loose !== null) loose.push(split.loose);
      if (split.bound !== null) works.push(prepareTable(split.bound, plan, rules));
    }
    const whole = this.#transaction.whole(move);
    const place = this.#transaction.next({ move, hasLoose: loose.length > 0, hasBound: works.length > 0, commits });
    return { loose: loose.length === 0 ? null : { tables: loose, owned: ownedSql(whole, whole.fromEpoch, whole.from) }, works, place, rules };
  }

  async #works(tables: readonly FoldedTable[], reader: Session): Promise<TableWork[]> {
    const plans = await this.#plansFor(tables.map(({ schema }) => schema), reader);
    return tables.map((change, index) => prepareTable(change, planAt(plans, index), this.#parts.rules));
  }

  async #reshape(shapes: Stretch['shapes'], place: BatchPlace, recopied: ReadonlySet<number>): Promise<void> {
    await this.#changing(async () => {
      for (const { before, after } of shapes) {
        await applySchemaStep(this.#ddl(ownedSql(place.move, place.move.fromEpoch, place.move.from), recopied), before, after);
        this.#plans.delete(after.tableId);
        this.#intents = this.#intents.filter(({ tableId }) => tableId !== after.tableId);
      }
    });
  }

  /** Not null where it had to wait for rows, once they are there. */
  async #tighten(steps: readonly SinkStep[], place: BatchPlace): Promise<void> {
    const copied = steps.flatMap((step) => (step.kind === 'table-state' && step.state === 'copied' ? [step.table] : []));
    if (copied.length === 0) return;
    const { move } = place;
    const owned = ownedSql(move, move.epoch, move.to);
    await this.#changing(async () => {
      // Whoever has taken the sink over since the commit may have changed the tables: from here on it ends this session first.
      await this.#holdCheckpoint(owned);
      for (const schema of copied) {
        if (await tightenTable(this.#ddl(owned, new Set()), schema, this.#planned(schema)?.table ?? null)) this.#plans.delete(schema.tableId);
      }
    });
  }

  /** Statements that wait for those who use a table: for a bounded time. */
  async #changing(work: () => Promise<void>): Promise<void> {
    const { session, lockTimeoutMs } = this.#parts;
    const [before] = await session.rows('SELECT @@SESSION.lock_wait_timeout AS seconds');
    const lock = shapeLock(this.#parts.target.sink, this.#parts.opened.fence);
    if (!(await holdLock(session, lock, 0))) throw new CheckpointRefused('another hub is taking the sink over');
    await session.run(`SET SESSION lock_wait_timeout = ${Math.max(1, Math.round(lockTimeoutMs / 1000))}`);
    await work();
    await session.rows(`SELECT RELEASE_LOCK(${quoteText(lock)})`);
    await session.run(`SET SESSION lock_wait_timeout = ${before?.['seconds'] ?? '31536000'}`);
  }

  #ddl(owned: string, recopied: ReadonlySet<number>): DdlContext {
    const { session, target, server, rules } = this.#parts;
    return { session, target, server, ownDatabase: rules.ownDatabase, owned, intents: this.#intents, recopied };
  }

  /** Locks the checkpoint where it stands. @throws CheckpointRefused */
  async #holdCheckpoint(owned: string): Promise<void> {
    const { session, rules } = this.#parts;
    const rows = await session.rows(`SELECT 1 FROM ${checkpointTable(rules.ownDatabase)} WHERE ${owned} FOR UPDATE`);
    if (rows.length !== 1) throw new CheckpointRefused('the checkpoint is not where this hub left it');
  }

  /** The plan of exactly this version, if it is known. */
  #planned(schema: TableSchema): TablePlan | null {
    const known = this.#plans.get(schema.tableId);
    return known?.schema.version === schema.version ? known : null;
  }

  async #plansFor(schemas: readonly TableSchema[], reader: Session): Promise<TablePlan[]> {
    const plans: TablePlan[] = [];
    for (const schema of schemas) {
      const plan = this.#planned(schema) ?? (await this.#readPlan(schema, reader));
      plans.push(plan);
      // The last to be used are the last to be forgotten.
      this.#plans.delete(schema.tableId);
      this.#plans.set(schema.tableId, plan);
    }
    for (const oldest of this.#plans.keys()) {
      if (this.#plans.size <= Math.max(MAX_PLANS, schemas.length)) break;
      this.#plans.delete(oldest);
    }
    return plans;
  }

  async #readPlan(schema: TableSchema, reader: Session): Promise<TablePlan> {
    const name = targetName(this.#parts.target.names, schema);
    const table = await readReplicaTable(reader, name);
    if (table === null) throw new TidemarkError('REPLICA_SHAPE', `${printedName(name)} does not exist at the replica`, { where: { table: tableName(schema) } });
    return planTable(schema, table, this.#parts.server.types);
  }
}

function planAt(plans: readonly TablePlan[], index: number): TablePlan {
  const plan = plans[index];
  if (plan === undefined) throw new TidemarkError('INTERNAL', 'a table has no plan');
  return plan;
}

function stoppedTables(steps: readonly SinkStep[]): Set<number> {
  return new Set(steps.flatMap((step) => (step.kind === 'table-state' && step.state === 'stopped' ? [step.table.tableId] : [])));
}

/** A new table whose rows come later in the batch than those of others can be made before them. */
function stretchesOf(steps: readonly SinkStep[]): Stretch[] {
  const stretches: { shapes: Extract<SinkStep, { kind: 'schema' }>[]; rows: (readonly FoldedTable[])[] }[] = [{ shapes: [], rows: [] }];
  const touched = new Set<number>();
  const names = new Set<string>();
  for (const step of steps) {
    const last = stretches.at(-1);
    if (last === undefined || step.kind === 'table-state') continue;
    if (step.kind === 'rows') {
      last.rows.push(step.tables);
      for (const { schema } of step.tables) {
        touched.add(schema.tableId);
        names.add(tableName(schema));
      }
    } else if (last.rows.length === 0 || (step.before === null && !touched.has(step.after.tableId) && !names.has(tableName(step.after)))) {
      last.shapes.push(step);
    } else stretches.push({ shapes: [step], rows: [] });
  }
  return stretches;
}
