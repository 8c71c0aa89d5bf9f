/**
 * The replica as of its checkpoint, to verify by. One session holds a REPEATABLE READ transaction, in which the checkpoint
 * is read, and exports its snapshot; each table is read by a session of its own that imports it.
 */
import type pg from 'pg';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { Checkpoint } from '../../contracts/checkpoint.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock } from '../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { copyBatches } from '../../contracts/types/postgres-copy-out.ts';
import type { RowLayout } from '../../contracts/types/postgres-copy-text.ts';
import { LOCK_AWAITED_SQL, LockWatch } from '../../contracts/types/postgres-lock.ts';
import { inBucketsSql, type RunStatement, sumRows, sumsRows } from '../../contracts/types/postgres-row-sums.ts';
import type { ChosenBuckets, RowSums, SinkSnapshot, SumsRequest } from '../../contracts/verify.ts';
import { isFresh } from '../relational/checkpoint.ts';
import { printedName, targetName } from '../relational/names.ts';
import { readCheckpoint } from './checkpoint-table.ts';
import { sinkError, sqlState } from './errors.ts';
import { readReplicaTable } from './replica-table.ts';
import type { ReplicaSchemas } from './replica-schemas.ts';
import type { Session } from './session.ts';
import type { SinkTarget } from './sink-target.ts';
import { copyAll, type ReadPlan, readPlan, unfit } from './snapshot-plan.ts';
import { printedRows, rowsByKey } from './snapshot-rows.ts';
import { changing, lockTable, type LockedTable } from './snapshot-table.ts';

/** Sessions that are kept for the tables to come. */
const MOST_IDLE = 2;
/** A session that applies finds rows by an index; one that verifies reads all of them. */
const READING_SQL = 'SET LOCAL enable_seqscan = on; SET LOCAL max_parallel_workers_per_gather = 0';
/** Keys that one statement looks for. */
const KEYS_PER_STATEMENT = 1_000;

export interface ReplicaSnapshotParts {
  readonly target: SinkTarget;
  readonly schemas: ReplicaSchemas;
  readonly logId: string;
  readonly clock: Clock;
  /** A session of its own; the caller disposes it. */
  readonly open: (signal: AbortSignal) => Promise<Session>;
}

export class ReplicaSnapshot implements SinkSnapshot {
  readonly isExact = true;
  readonly checkpoint: Checkpoint | null;
  readonly #parts: ReplicaSnapshotParts;
  readonly #holder: Session;
  readonly #looker: Looker;
  readonly #id: string;
  readonly #life: AbortController;
  readonly #plans = new Map<string, Promise<ReadPlan>>();
  readonly #idle: Session[] = [];
  /** The server hashes rows as the hub does; null: not asked yet. */
  #isAble: Promise<boolean> | null = null;

  private constructor(parts: ReplicaSnapshotParts, sessions: { holder: Session; looker: Session }, life: AbortController, shown: Shown) {
    this.#parts = parts;
    this.#holder = sessions.holder;
    this.#looker = new Looker(sessions.looker);
    this.#life = life;
    this.checkpoint = shown.checkpoint;
    this.#id = shown.id;
  }

  /**
   * @param signal ends the snapshot when it aborts
   * @throws TidemarkError `SINK_FOREIGN`, and what opening a session throws
   */
  static async open(parts: ReplicaSnapshotParts, signal: AbortSignal): Promise<ReplicaSnapshot> {
    const { sink } = parts.target;
    const life = new AbortController();
    signal.addEventListener('abort', () => life.abort(signal.reason), { once: true, signal: life.signal });
    await using stack = new AsyncDisposableStack();
    try {
      const holder = stack.use(await parts.open(signal));
      const looker = stack.use(await parts.open(signal));
      const shown = await holder.within(signal, () => takeSnapshot(holder, parts));
      await looker.within(signal, () => parts.schemas.learn(looker.client));
      for (const session of [holder, looker]) cutOnAbort(session, life.signal);
      stack.move();
      return new ReplicaSnapshot(parts, { holder, looker }, life, shown);
    } catch (error) {
      throw sinkError(error, { sink });
    }
  }

  sums(schema: TableSchema, request: SumsRequest, signal: AbortSignal): AsyncGenerator<RowSums | null, void, void> {
    const { clock } = this.#parts;
    const look: RunStatement = (text, values) => this.#looker.look((client) => textRows(client, text, values));
    const isAble = (): Promise<boolean> => (this.#isAble ??= sumsRows(look).catch((error: unknown) => {
      this.#isAble = null;
      throw error;
    }));
    return this.#read<RowSums | null>(this.#parts.schemas.of(schema), signal, async function* summing({ plan, leaves }, { client }) {
      if (!plan.isSame || !(await isAble())) yield null;
      else {
        await client.query(READING_SQL);
        const run: RunStatement = (text, values) => textRows(client, text, values);
        yield* sumRows({ run, look, stateOf: sqlState, leaves, columns: columnsOf(plan), request, clock });
      }
    });
  }

  rows(logged: TableSchema, signal: AbortSignal, only?: ChosenBuckets): AsyncGenerator<ChangeBatch, void, void> {
    const schema = this.#parts.schemas.of(logged);
    return this.#read<ChangeBatch>(schema, signal, async function* all({ plan }, { client }) {
      await client.query(READING_SQL);
      const layout: RowLayout = { actions: plan.columns.map(({ action }) => action), key: schema.key, hash: () => Buffer.alloc(0), width: null };
      yield* copyBatches({ client, toError: sinkError }, copyAll(plan, only === undefined ? '' : inBucketsSql(columnsOf(plan), only)), layout);
    });
  }

  find(schema: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    return this.#read<ChangeBatch>(this.#parts.schemas.of(schema), signal, async function* some({ plan }, { client }) {
      for (let at = 0; at < keys.length; at += KEYS_PER_STATEMENT) yield await rowsByKey(client, plan, keys.slice(at, at + KEYS_PER_STATEMENT));
    });
  }

  async expected(schema: TableSchema, rows: ChangeBatch, signal: AbortSignal): Promise<ChangeBatch> {
    try {
      const plan = await this.#planOf(this.#parts.schemas.of(schema));
      return plan.isSame ? rows : await this.#looker.look((client) => printedRows(client, plan, rows));
    } catch (error) {
      throw this.#failure(error, schema, signal);
    }
  }

  mayLack(): boolean {
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new TidemarkError('ABORTED', 'the snapshot is closed'));
    await Promise.all([this.#holder, this.#looker.session, ...this.#idle.splice(0)].map((session) => session[Symbol.asyncDispose]()));
  }

  async *#read<T>(
    schema: TableSchema,
    signal: AbortSignal,
    read: (table: LockedTable, reader: Session) => AsyncGenerator<T, void, void>,
  ): AsyncGenerator<T, void, void> {
    const stop = AbortSignal.any([signal, this.#life.signal]);
    const { target, open } = this.#parts;
    let reader: Session | null = null;
    try {
      if (this.#holder.lost !== null) throw this.#holder.lost;
      reader = this.#idle.pop() ?? (await open(stop));
      using _cut = cutOnAbort(reader, stop);
      const table = await lockTable({ reader, looker: this.#looker, snapshotId: this.#id, sink: target.sink, names: target.names }, schema);
      const watch = new LockWatch(this.#parts.clock, () => this.#isAwaited(table.oids));
      for await (const some of read(table, reader)) {
        yield some;
        if (await watch.isAwaited()) throw changing(schema, 'somebody waits for an exclusive lock on the table, and everybody else behind it');
      }
      await reader.client.query('COMMIT');
      if (this.#idle.length < MOST_IDLE && !stop.aborted) {
        this.#idle.push(reader);
        reader = null;
      }
    } catch (error) {
      throw this.#failure(error, schema, signal);
    } finally {
      // In the middle of its rows it would not hear that it is to end.
      reader?.cut(new TidemarkError('ABORTED', 'the reading was given up'));
      await reader?.[Symbol.asyncDispose]();
    }
  }

  #isAwaited(oids: readonly number[]): Promise<boolean> {
    return this.#looker.look(async (client) => {
      const { rows } = await client.query<{ awaited: string }>(LOCK_AWAITED_SQL, [oids]);
      return rows[0]?.awaited === 't';
    });
  }

  #planOf(schema: TableSchema): Promise<ReadPlan> {
    const known = `${schema.tableId}/${schema.version}`;
    const plan = this.#plans.get(known) ?? this.#readPlan(schema);
    this.#plans.set(known, plan);
    plan.catch(() => this.#plans.delete(known));
    return plan;
  }

  async #readPlan(schema: TableSchema): Promise<ReadPlan> {
    const name = targetName(this.#parts.target.names, schema);
    const table = await this.#looker.look((client) => readReplicaTable(client, name));
    if (table === null) throw unfit(schema, `${printedName(name)} does not exist at the replica`);
    return readPlan(schema, table);
  }

  #failure(error: unknown, schema: TableSchema, signal: AbortSignal): TidemarkError {
    const where = { sink: this.#parts.target.sink, table: tableName(schema) };
    if (signal.aborted || this.#life.signal.aborted) return new TidemarkError('ABORTED', 'the snapshot was given up', { where, cause: error });
    // Without its session nobody can import the snapshot, whatever the server then says.
    return sinkError(this.#holder.lost ?? this.#looker.session.lost ?? error, where);
  }
}

/** The session that sees what is there now and asks the server how it prints values: for one at a time. */
class Looker {
  readonly session: Session;
  #last: Promise<unknown> = Promise.resolve();

  constructor(session: Session) {
    this.session = session;
  }

  look<T>(work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => work(this.session.client));
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

function columnsOf(plan: ReadPlan): string[] {
  return plan.columns.map(({ sql }) => sql);
}

async function textRows(client: pg.ClientBase, text: string, values: readonly unknown[] = []): Promise<readonly Readonly<Record<string, string | null>>[]> {
  return (await client.query<Record<string, string | null>>(text, [...values])).rows;
}

interface Shown {
  readonly checkpoint: Checkpoint | null;
  readonly id: string;
}

/** The first statement of the transaction takes the snapshot. */
async function takeSnapshot({ client }: Session, { target: { sink }, logId }: ReplicaSnapshotParts): Promise<Shown> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const { rows } = await client.query<{ id: string; made: boolean }>(
    `SELECT pg_catalog.pg_export_snapshot() AS id, pg_catalog.to_regclass('tidemark.checkpoint') IS NOT NULL AS made`,
  );
  const [row] = rows;
  if (row === undefined || !/^[0-9A-F-]+$/i.test(row.id)) throw new TidemarkError('REPLICA_STATEMENT', 'the replica exported no snapshot');
  const stored = row.made ? await readCheckpoint(client, sink, false) : null;
  if (stored !== null && stored.logId !== logId) {
    throw new TidemarkError('SINK_FOREIGN', `the checkpoint at the replica is of log ${stored.logId}, not of ${logId}`);
  }
  if (stored === null || isFresh(stored)) return { id: row.id, checkpoint: null };
  const { epoch, offset, position, cursor, fence } = stored;
  return { id: row.id, checkpoint: { logId, epoch, offset, position, cursor, fence } };
}

/** Breaks the session when the signal aborts, until the answer is disposed. */
function cutOnAbort(session: Session, signal: AbortSignal): Disposable {
  const cut = (): void => session.cut(new TidemarkError('ABORTED', 'asked to stop'));
  if (signal.aborted) cut();
  signal.addEventListener('abort', cut, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', cut) };
}
