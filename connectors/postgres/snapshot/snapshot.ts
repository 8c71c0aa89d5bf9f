/**
 * The source's rows as of one moment, to verify by. One session holds a REPEATABLE READ transaction and exports its
 * snapshot; each table is read by a session of its own that imports it, so that tables can be read side by side.
 */
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { Position } from '../../../contracts/position.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';
import { copyBatches } from '../../../contracts/types/postgres-copy-out.ts';
import type { RowLayout } from '../../../contracts/types/postgres-copy-text.ts';
import { LOCK_AWAITED_SQL, LockWatch } from '../../../contracts/types/postgres-lock.ts';
import { inBucketsSql, sumRows, sumsRows } from '../../../contracts/types/postgres-row-sums.ts';
import type { ChosenBuckets, RowSums, SourceSnapshot, SumsRequest } from '../../../contracts/verify.ts';
import type { CopierDeps } from '../copy/copier-deps.ts';
import { passedBy, seesTransaction, type ChunkView } from '../copy/chunk-view.ts';
import { readKeyOperators } from '../copy/operators.ts';
import { copyLeaf, copyRows, quoted } from '../copy/sql.ts';
import { LOCK_TIMEOUT_MS } from '../copy/transaction.ts';
import { postgresError, sqlState } from '../errors.ts';
import { SessionPool } from '../../relational/session-pool.ts';
import type { Session } from '../session.ts';
import { changing, checkUnchanged, lockTable, type LockedTable, type SnapshotSessions } from './table.ts';
import { takeSnapshot } from './view.ts';

/** Keys that one statement looks for. */
const KEYS_PER_STATEMENT = 500;

interface SnapshotParts {
  readonly deps: CopierDeps;
  /** The session that holds it, and how it is given up with all others. */
  readonly holder: Session;
  readonly life: AbortController;
  /** As `SET TRANSACTION SNAPSHOT` takes it. */
  readonly id: string;
  readonly view: ChunkView;
  readonly isExact: boolean;
}

export class PostgresSnapshot implements SourceSnapshot {
  readonly isExact: boolean;
  readonly #parts: SnapshotParts;
  readonly #sessions: SessionPool<Session>;
  #isHeld = true;
  /** The server hashes rows as the hub does; null: not asked yet. */
  #isAble: Promise<boolean> | null = null;

  private constructor(parts: SnapshotParts) {
    this.isExact = parts.isExact;
    this.#parts = parts;
    this.#sessions = new SessionPool((signal) => openBounded(parts.deps, signal), parts.deps.clock);
    parts.holder.client.once('end', () => {
      this.#isHeld = false;
    });
  }

  /** @param signal ends the snapshot when it aborts */
  static async open(deps: CopierDeps, signal: AbortSignal): Promise<PostgresSnapshot> {
    const life = new AbortController();
    await using stack = new AsyncDisposableStack();
    const holder = stack.use(await deps.open(AbortSignal.any([signal, life.signal])));
    const { systemId } = await deps.identity(holder);
    const taken = await takeSnapshot(holder, deps.clock, signal);
    const [row] = await holder.query('SELECT pg_export_snapshot() AS id');
    const id = row?.['id'];
    if (typeof id !== 'string' || !/^[0-9A-F-]+$/i.test(id)) throw new TidemarkError('POSTGRES_PROTOCOL', 'the server exported no snapshot');
    stack.move();
    return new PostgresSnapshot({ deps, holder, life, id, view: { ...taken, systemId }, isExact: taken.isExact });
  }

  sees(transaction: TransactionEntry): boolean {
    return transaction.kind === 'hub' || seesTransaction(this.#parts.view, transaction);
  }

  passedBy(position: Position): boolean {
    return passedBy(this.#parts.view, position);
  }

  sums(schema: TableSchema, request: SumsRequest, signal: AbortSignal): AsyncGenerator<RowSums | null, void, void> {
    const { clock } = this.#parts.deps;
    const isAble = (looker: Session): Promise<boolean> => (this.#isAble ??= sumsRows((text, values) => looker.query(text, values)).catch((error: unknown) => {
      this.#isAble = null;
      throw error;
    }));
    return this.#read<RowSums | null>(schema, signal, async function* summing({ reading, leafOids }, { reader, looker }) {
      // What is hashed with the hub's key is nothing that the server could print.
      if (reading.actions.includes('hash') || !(await isAble(looker))) yield null;
      else {
        yield* sumRows({
          run: (text) => reader.query(text), look: (text, values) => looker.query(text, values), stateOf: (error) => sqlState(error instanceof TidemarkError ? error.cause : error),
          leaves: leafOids, columns: columnsOf(reading.schema), request, clock,
        });
      }
    });
  }

  rows(schema: TableSchema, signal: AbortSignal, only?: ChosenBuckets): AsyncGenerator<ChangeBatch, void, void> {
    return this.#copy(schema, signal, ({ reading, leaves }) => {
      const where = only === undefined ? '' : inBucketsSql(columnsOf(reading.schema), only);
      return Promise.resolve(leaves.map((leaf) => copyLeaf(reading.schema, leaf, where)));
    });
  }

  find(schema: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    if (schema.keyKind === 'none') throw new TidemarkError('INTERNAL', 'rows of a table without a key are looked for by their keys', { where: { table: tableName(schema) } });
    return this.#copy(schema, signal, async ({ reading, from }, reader) => {
      const keyed = { schema: reading.schema, from, operators: await readKeyOperators(reader, schema) };
      const statements: string[] = [];
      for (let at = 0; at < keys.length; at += KEYS_PER_STATEMENT) statements.push(copyRows(keyed, keys.slice(at, at + KEYS_PER_STATEMENT)));
      return statements;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { holder, life } = this.#parts;
    life.abort(new TidemarkError('ABORTED', 'the snapshot is closed'));
    await Promise.all([this.#sessions[Symbol.asyncDispose](), holder[Symbol.asyncDispose]()]);
  }

  #copy(schema: TableSchema, signal: AbortSignal, statementsOf: (table: LockedTable, reader: Session) => Promise<string[]>): AsyncGenerator<ChangeBatch, void, void> {
    const { deps } = this.#parts;
    return this.#read<ChangeBatch>(schema, signal, async function* copying(table, { reader }) {
      const layout: RowLayout = { actions: table.reading.actions, key: schema.key, hash: (value) => deps.hash(value), width: null };
      for (const statement of await statementsOf(table, reader)) yield* copyBatches({ client: reader.client, toError: postgresError }, statement, layout);
    });
  }

  /** What is read of one table by sessions of its own; gives way to who waits for the table. */
  async *#read<T>(
    schema: TableSchema,
    signal: AbortSignal,
    read: (table: LockedTable, sessions: SnapshotSessions) => AsyncGenerator<T, void, void>,
  ): AsyncGenerator<T, void, void> {
    const { deps, life, id } = this.#parts;
    const reading = new AbortController();
    const stop = AbortSignal.any([signal, life.signal, reading.signal]);
    try {
      this.#requireHeld();
      await using lease = await this.#sessions.lease(stop);
      await using looking = await this.#sessions.lease(stop);
      let isDone = false;
      // A session that is in the middle of its rows would be asked politely to end, and would not hear it.
      using _cut = { [Symbol.dispose]: () => (isDone ? undefined : reading.abort(new TidemarkError('ABORTED', 'the reading was given up'))) };
      const sessions = { reader: lease.session, looker: looking.session };
      const table = await lockTable(deps, sessions, id, schema);
      const watch = new LockWatch(deps.clock, () => isAwaited(sessions.looker, table.oids));
      for await (const some of read(table, sessions)) {
        yield some;
        if (await watch.isAwaited()) throw changing(schema, 'somebody waits for an exclusive lock on the table, and everybody else behind it');
      }
      await checkUnchanged(deps, sessions.looker, table);
      await sessions.reader.query('COMMIT');
      isDone = true;
      lease.keep();
      looking.keep();
    } catch (error) {
      if (signal.aborted || life.signal.aborted) throw new TidemarkError('ABORTED', 'the snapshot was given up', { cause: error });
      this.#requireHeld(error);
      throw asTidemarkError(error, 'INTERNAL', { table: tableName(schema) });
    }
  }

  /** Without its session nobody can import the snapshot, whatever the server then says. */
  #requireHeld(cause?: unknown): void {
    if (this.#isHeld) return;
    throw new TidemarkError('POSTGRES_UNREACHABLE', 'the session that holds the snapshot was lost', cause === undefined ? {} : { cause });
  }
}

function columnsOf(schema: TableSchema): string[] {
  return schema.columns.map(({ name }) => quoted(name));
}

async function isAwaited(looker: Session, oids: readonly string[]): Promise<boolean> {
  const [row] = await looker.query(LOCK_AWAITED_SQL, [`{${oids.join(',')}}`]);
  return row?.['awaited'] === 't';
}

/** Who only looks at a table waits no longer for its lock than who reads it. */
async function openBounded(deps: CopierDeps, signal: AbortSignal): Promise<Session> {
  const session = await deps.open(signal);
  try {
    await session.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    return session;
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}
