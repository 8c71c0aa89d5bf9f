/** The replica as of its checkpoint, to verify by. */
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import type { MysqlHost } from '../../contracts/types/mysql-address.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { serverErrorNumber } from '../../contracts/types/mysql-errors.ts';
import { LockWatch } from '../../contracts/types/postgres-lock.ts';
import type { SinkSnapshot } from '../../contracts/verify.ts';
import { printedName, targetName, type TargetName } from '../relational/names.ts';
import { checkpointTable, readCheckpoint } from './checkpoint-table.ts';
import { parseIntents } from './ddl.ts';
import { sinkError } from './errors.ts';
import { Registry } from './registry.ts';
import { readReplicaTable } from './replica-table.ts';
import { keyStatements } from './row-text.ts';
import { readServer, type ServerFacts } from './server.ts';
import type { Session } from './session.ts';
import { type SinkTarget, targetAt } from './sink-target.ts';
import { beginTogether } from './snapshot-group.ts';
import { changing, isExactPlan, keyRefs, printedRows, RowReader, selectList, unfit } from './snapshot-plan.ts';
import { qualified, quoteName, quoteText } from './sql.ts';
import { parseSwap } from './swap.ts';
import { planTable, type TablePlan } from './table-plan.ts';
import { statementLimits, type WriteRules } from './statement.ts';

/** Tables that are read side by side; who wants to read one more waits. */
const READERS = 3;
/** Keys that one statement looks for. */
const KEYS_PER_STATEMENT = 500;
/** Seconds that a table is waited for which somebody has locked. */
const LOCK_WAIT_S = 2;
/** A table was changed since the snapshot; no such table; lock wait; the statement was ended. */
const CHANGED: ReadonlySet<number> = new Set([1412, 1146, 1205]);
const INTERRUPTED: ReadonlySet<number> = new Set([1317, 1969]);

export interface ReplicaSnapshotParts {
  readonly target: SinkTarget;
  readonly ownDatabase: string;
  readonly logId: string;
  readonly clock: Clock;
  /** A session of its own, with that host where one is named; the caller disposes it. */
  readonly open: (signal: AbortSignal, host?: MysqlHost) => Promise<Session>;
}

export class ReplicaSnapshot implements SinkSnapshot {
  readonly isExact = true;
  readonly checkpoint: Checkpoint | null;
  readonly #parts: ReplicaSnapshotParts;
  readonly #server: ServerFacts;
  readonly #all: readonly Session[];
  readonly #idle: Session[];
  readonly #waiting: ((session: Session) => void)[] = [];
  readonly #looker: Looker;
  readonly #life: AbortController;

  private constructor(parts: ReplicaSnapshotParts, readers: readonly Session[], looker: Session, server: ServerFacts, checkpoint: Checkpoint | null, life: AbortController) {
    this.#parts = parts;
    this.#all = [...readers, looker];
    this.#idle = [...readers];
    this.#looker = new Looker(looker);
    this.#server = server;
    this.checkpoint = checkpoint;
    this.#life = life;
  }

  /**
   * @param signal ends the snapshot when it aborts
   * @throws TidemarkError `SINK_FOREIGN`, and what opening a session throws
   */
  static async open(parts: ReplicaSnapshotParts, signal: AbortSignal): Promise<ReplicaSnapshot> {
    const { target: { sink }, ownDatabase, logId } = parts;
    const life = new AbortController();
    signal.addEventListener('abort', () => life.abort(signal.reason), { once: true, signal: life.signal });
    await using stack = new AsyncDisposableStack();
    try {
      const looker = stack.use(await parts.open(signal));
      const readers: Session[] = [];
      for (let count = 0; count < READERS; count++) readers.push(stack.use(await parts.open(signal, looker.host)));
      const server = await looker.within(signal, () => readServer(looker));
      const checkpoint = await looker.within(signal, () => beginTogether(readers, looker, { sink, ownDatabase, logId }));
      for (const session of [looker, ...readers]) {
        await session.run(`SET SESSION lock_wait_timeout = ${LOCK_WAIT_S}`);
        cutOnAbort(session, life.signal);
      }
      stack.move();
      return new ReplicaSnapshot({ ...parts, target: targetAt(server, parts.target) }, readers, looker, server, checkpoint, life);
    } catch (error) {
      throw sinkError(error, { sink });
    }
  }

  rows(schema: TableSchema, signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    return this.#read(schema, signal, async function* all(plan, reader) {
      const rows = new RowReader(plan);
      const stream: AsyncIterable<(Buffer | null)[]> = reader.stream(`SELECT ${selectList(plan)} FROM ${plan.target}`);
      for await (const row of stream) {
        rows.row(row);
        if (rows.isFull) yield rows.take();
      }
      if (!rows.isEmpty) yield rows.take();
    });
  }

  find(schema: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    const rules = this.#rules();
    return this.#read(schema, signal, async function* some(plan, reader) {
      const names = plan.key.map(({ target }) => quoteName(target.name));
      const limits = statementLimits(rules, KEYS_PER_STATEMENT);
      for (const sql of keyStatements(keyRefs(keys), plan, `SELECT ${selectList(plan)} FROM ${plan.target} WHERE `, '', limits, names)) {
        const rows = new RowReader(plan);
        for (const row of await reader.buffers(sql)) rows.row(row);
        yield rows.take();
      }
    });
  }

  async expected(schema: TableSchema, rows: ChangeBatch, signal: AbortSignal): Promise<ChangeBatch> {
    try {
      const plan = await this.#looker.look((session) => this.#planOf(schema, session));
      return isExactPlan(plan) ? rows : await this.#looker.look((session) => printedRows(session, plan, rows, this.#rules()));
    } catch (error) {
      throw this.#failure(error, schema, signal);
    }
  }

  mayLack(): boolean {
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new TidemarkError('ABORTED', 'the snapshot is closed'));
    await Promise.all(this.#all.map((session) => session[Symbol.asyncDispose]()));
  }

  #rules(): WriteRules {
    return { loadData: false, version: this.#server.types.version, maxStatement: this.#server.maxStatement, ownDatabase: this.#parts.ownDatabase };
  }

  async *#read(schema: TableSchema, signal: AbortSignal, read: (plan: TablePlan, reader: Session) => AsyncGenerator<ChangeBatch, void, void>): AsyncGenerator<ChangeBatch, void, void> {
    let reader: Session | null = null;
    try {
      reader = await this.#take(signal);
      await reader.run('SAVEPOINT tidemark_read');
      const plan = await this.#lockTable(reader, schema);
      const watch = new LockWatch(this.#parts.clock, () => this.#isAwaited(plan.table.name));
      for await (const some of read(plan, reader)) {
        yield some;
        if (signal.aborted) throw new TidemarkError('ABORTED', 'the reading was given up');
        if (await watch.isAwaited()) throw changing(schema, 'somebody waits for an exclusive lock on the table, and everybody else behind it');
      }
    } catch (error) {
      throw this.#failure(error, schema, signal);
    } finally {
      if (reader !== null) await this.#give(reader);
    }
  }

  async #take(signal: AbortSignal): Promise<Session> {
    const stop = AbortSignal.any([signal, this.#life.signal]);
    if (stop.aborted) throw new TidemarkError('ABORTED', 'the snapshot was given up');
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const { promise, resolve, reject } = Promise.withResolvers<Session>();
    const giveUp = (): void => {
      const at = this.#waiting.indexOf(resolve);
      if (at >= 0) this.#waiting.splice(at, 1);
      reject(new TidemarkError('ABORTED', 'the snapshot was given up'));
    };
    this.#waiting.push(resolve);
    stop.addEventListener('abort', giveUp, { once: true });
    return promise.finally(() => stop.removeEventListener('abort', giveUp));
  }

  /** The session keeps its snapshot, and gives up the lock on the table that it has read. */
  async #give(reader: Session): Promise<void> {
    try {
      if (reader.lost === null && reader.isBusy) {
        await this.#looker.look((session) => session.run(`KILL QUERY ${reader.id}`));
        // Where the statement had ended meanwhile, the next one ends in its place.
        await reader.buffers(`SELECT 1 FROM ${checkpointTable(this.#parts.ownDatabase)} LIMIT 1`).catch((error: unknown) => {
          if (!INTERRUPTED.has(serverErrorNumber(error) ?? 0)) throw error;
        });
      }
      await reader.run('ROLLBACK TO SAVEPOINT tidemark_read');
    } catch (error) {
      reader.cut(sinkError(error));
    }
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(reader);
    else next(reader);
  }

  /** The table as the snapshot shows it, which the sink must have brought to just this version of the log's, and which nobody may change now. */
  async #lockTable(reader: Session, schema: TableSchema): Promise<TablePlan> {
    const { target: { sink, names }, ownDatabase } = this.#parts;
    const name = targetName(names, schema);
    const shown = this.checkpoint === null ? null : await new Registry(reader, ownDatabase).at(name);
    if (shown === null || shown.sink !== sink) throw unfit(schema, `${printedName(name)} is not a table that this sink mirrors into`);
    if (shown.tableId !== schema.tableId || shown.shape.version !== schema.version) {
      throw changing(schema, `${printedName(name)} has version ${shown.shape.version} of table ${shown.tableId} in the log, and version ${schema.version} of table ${schema.tableId} was asked for`);
    }
    await reader.buffers(`SELECT 1 FROM ${qualified(name)} LIMIT 0`);
    return this.#looker.look(async (session) => {
      const present = await new Registry(session, ownDatabase).at(name);
      const stored = await readCheckpoint(session, ownDatabase, sink, false);
      const intent = stored?.intent ?? null;
      const isUnderWay = parseSwap(intent) !== null || parseIntents(intent).some(({ tableId }) => tableId === schema.tableId);
      if (isUnderWay || present?.tableId !== shown.tableId || present.shape.version !== shown.shape.version) throw changing(schema, `${printedName(name)} is being changed`);
      return this.#planOf(schema, session);
    });
  }

  async #planOf(schema: TableSchema, session: Session): Promise<TablePlan> {
    const name = targetName(this.#parts.target.names, schema);
    const table = await readReplicaTable(session, name);
    if (table === null) throw unfit(schema, `${printedName(name)} does not exist at the replica`);
    try {
      return planTable(schema, table, this.#server.types);
    } catch (error) {
      throw error instanceof TidemarkError && error.code === 'REPLICA_SHAPE' ? unfit(schema, error.message) : error;
    }
  }

  #isAwaited(name: TargetName): Promise<boolean> {
    return this.#looker.look(async (session) => {
      const rows = await session.rows(
        `SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for table metadata lock' AND LOCATE(${quoteText(name.name)}, INFO) > 0 LIMIT 1`,
      );
      return rows.length > 0;
    });
  }

  #failure(error: unknown, schema: TableSchema, signal: AbortSignal): TidemarkError {
    const where = { sink: this.#parts.target.sink, table: tableName(schema) };
    if (signal.aborted || this.#life.signal.aborted) return new TidemarkError('ABORTED', 'the snapshot was given up', { where, cause: error });
    const lost = this.#all.find((session) => session.lost !== null)?.lost;
    if (lost !== undefined && lost !== null) return lost.at(where);
    if (CHANGED.has(serverErrorNumber(error) ?? 0)) return changing(schema, `the table was changed since the snapshot was taken (error ${serverErrorNumber(error)})`, error).at(where);
    return sinkError(error, where);
  }
}

/** The session that sees what is there now: for one at a time. */
class Looker {
  readonly #session: Session;
  #last: Promise<unknown> = Promise.resolve();

  constructor(session: Session) {
    this.#session = session;
  }

  look<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => work(this.#session));
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** Breaks the session when the signal aborts. */
function cutOnAbort(session: Session, signal: AbortSignal): void {
  signal.addEventListener('abort', () => session.cut(new TidemarkError('ABORTED', 'asked to stop')), { once: true });
}
