/**
 * The source's rows as of one moment, to verify by. MySQL has no way to share a snapshot between sessions, so that one session
 * reads all tables, one statement at a time. A table with a key is read in pieces of bounded size, which wait in memory to
 * be taken; behind each the lock on the table's definition is given back (ROLLBACK TO SAVEPOINT keeps the snapshot), so that
 * who changes the table waits for one piece at most. A table without a key is read in one statement, and locked until it ends.
 * MariaDB gives no lock back before the transaction ends: there the whole snapshot is given up for who waits.
 */
import { ChangeBatch } from '../../../contracts/change-batch.ts';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { Position } from '../../../contracts/position.ts';
import { RecordView } from '../../../contracts/record.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';
import type { SourceSnapshot } from '../../../contracts/verify.ts';
import type { CopierDeps, FollowedShape } from '../copy/copier-deps.ts';
import { KEYS_PER_STATEMENT } from '../copy/copier.ts';
import { Spool } from '../../relational/spooled-chunk.ts';
import { selectAll, selectKeys, selectRange } from '../copy/copy-sql.ts';
import type { Bound } from '../copy/key-ranges.ts';
import { spoolSome, streamRows } from '../copy/read-rows.ts';
import { readTable, type ReadTable } from '../copy/read-table.ts';
import { RowPace } from '../copy/row-pace.ts';
import { RowSession } from '../copy/row-session.ts';
import { readEnd } from '../copy/server-state.ts';
import { passedBy, seesTransaction, type SourceView } from '../copy/source-view.ts';
import { streamPassed } from '../copy/stream-wait.ts';
import { serverErrorNumber } from '../errors.ts';
import { LockWatch } from './lock-watch.ts';
import { readingOf } from './snapshot-columns.ts';
import { Turns } from './turns.ts';
import { takeVerifyView } from './verify-view.ts';

/** What a piece holds in memory. */
const PIECE_BYTES = 4 << 20;
const FIRST_ROWS = 2_000;
const SAVEPOINT = 'tidemark';
/** The table, a column or an index is gone, was rebuilt or emptied; is locked. */
const CHANGED = new Set([1146, 1412, 1176, 1054, 1205, 1213]);
const INTERRUPTED = 1317;

export class MysqlSnapshot implements SourceSnapshot {
  readonly isExact: boolean;
  readonly #deps: CopierDeps;
  readonly #view: SourceView;
  readonly #holder: RowSession;
  readonly #life: AbortController;
  readonly #turns = new Turns();
  readonly #watch: LockWatch;
  /** Locks stay until the snapshot is closed. */
  readonly #keepsLocks: boolean;
  #isAwaited = false;

  private constructor(deps: CopierDeps, view: SourceView, sessions: { holder: RowSession; looker: RowSession }, life: AbortController) {
    this.isExact = view.isExact;
    this.#deps = deps;
    this.#view = view;
    this.#holder = sessions.holder;
    this.#life = life;
    this.#keepsLocks = sessions.holder.session.version.flavor === 'mariadb';
    this.#watch = new LockWatch(sessions.looker, deps.clock, () => {
      this.#isAwaited = true;
      life.abort(new TidemarkError('ABORTED', 'somebody waits for a table'));
    });
  }

  /** @param signal ends the snapshot when it aborts */
  static async open(deps: CopierDeps, signal: AbortSignal): Promise<MysqlSnapshot> {
    const life = new AbortController();
    await using stack = new AsyncDisposableStack();
    const stop = AbortSignal.any([signal, life.signal]);
    const holder = stack.use(new RowSession(await deps.open(stop)));
    const looker = stack.use(new RowSession(await deps.open(stop)));
    const view = await takeVerifyView(holder, deps.clock, signal);
    stack.move();
    return new MysqlSnapshot(deps, view, { holder, looker }, life);
  }

  sees(transaction: TransactionEntry): boolean {
    return transaction.kind === 'hub' || seesTransaction(this.#view, transaction);
  }

  passedBy(position: Position): boolean {
    return passedBy(this.#view, position);
  }

  rows(schema: TableSchema, signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    return this.#guarded(schema, signal, schema.keyKind === 'none' ? (table) => this.#whole(table, signal) : (table) => this.#pieces(table));
  }

  find(schema: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    if (schema.keyKind === 'none') throw new TidemarkError('INTERNAL', 'rows of a table without a key are looked for by their keys', { where: { table: tableName(schema) } });
    return this.#guarded(schema, signal, (table) => this.#found(table, keys));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new TidemarkError('ABORTED', 'the snapshot is closed'));
    await Promise.all([this.#watch[Symbol.asyncDispose](), this.#holder[Symbol.asyncDispose]()]);
  }

  /** What `read` gives of a table that stays the same until all of it has been read. */
  async *#guarded(schema: TableSchema, signal: AbortSignal, read: (table: ReadTable) => AsyncGenerator<ChangeBatch, void, void>): AsyncGenerator<ChangeBatch, void, void> {
    try {
      const followed = this.#follow(schema);
      if (this.#keepsLocks) this.#watch.keep(followed.schema.name);
      const table = await this.#tableOf(schema, followed);
      for await (const batch of read(table)) {
        this.#throwIfAborted(signal);
        yield batch;
      }
      // Had another table got the name, the stream has been told of it by now.
      const end = await this.#turn(() => readEnd(this.#holder));
      await streamPassed(this.#deps.stream, end, AbortSignal.any([signal, this.#life.signal]));
      const now = this.#deps.table(schema.sourceTableId);
      if (now?.schema !== followed.schema || !now.isKnown) throw changed(schema, 'the name or the columns of the table were changed while it was read');
    } catch (error) {
      if (this.#isAwaited && !signal.aborted) throw changed(schema, 'somebody waits for a table that the snapshot keeps locked, and everybody else behind it', error);
      this.#throwIfAborted(signal, error);
      const number = serverErrorNumber(error);
      if (number !== null && CHANGED.has(number)) throw changed(schema, 'the table was changed, emptied or locked since the snapshot was taken', error);
      if (error instanceof TidemarkError && error.code === 'MYSQL_COPY_CHANGING') throw changed(schema, error.message, error);
      throw asTidemarkError(error, 'INTERNAL', { table: tableName(schema) });
    }
  }

  async *#pieces(table: ReadTable): AsyncGenerator<ChangeBatch, void, void> {
    const pace = new RowPace(FIRST_ROWS);
    const { clock } = this.#deps;
    let after: Bound | null = null;
    for (;;) {
      const spool = new Spool(PIECE_BYTES);
      const limit = pace.rows;
      const started = clock.monotonic();
      const statement = selectRange(table, { after, to: null }, limit);
      const { last, rows } = await this.#released(() => spoolSome(this.#holder, table, statement, spool));
      pace.took(spool.rows, clock.monotonic() - started, spool.bytes / spool.limit);
      yield* spool.batches;
      if (last === null || (rows === spool.rows && rows < limit)) return;
      after = last;
    }
  }

  async *#found(table: ReadTable, keys: readonly Uint8Array[]): AsyncGenerator<ChangeBatch, void, void> {
    const asked = new Set(keys.map((key) => Buffer.from(key).toString('latin1')));
    for (let at = 0; at < keys.length; at += KEYS_PER_STATEMENT) {
      const spool = new Spool(Infinity);
      const statement = selectKeys(table, keys.slice(at, at + KEYS_PER_STATEMENT));
      await this.#released(() => spoolSome(this.#holder, table, statement, spool));
      for (const batch of spool.batches) {
        const found = onlyAsked(batch, asked);
        if (found.count > 0) yield found;
      }
    }
  }

  /** All rows in one statement, in no order; nobody else reads meanwhile. */
  async *#whole(table: ReadTable, signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    using _turn = await this.#turns.take();
    const { name } = table.schema;
    this.#watch.keep(name);
    using _kept = { [Symbol.dispose]: () => this.#watch.release(name) };
    await this.#holder.query(`SAVEPOINT ${SAVEPOINT}`);
    const { batches, ended } = streamRows(this.#holder, table, selectAll(table), 'drain');
    let isWhole = false;
    try {
      for await (const batch of batches) {
        if (signal.aborted) break;
        yield batch;
      }
      isWhole = !signal.aborted;
    } finally {
      if (!isWhole && this.#holder.isLive) await this.#interrupt(ended);
    }
    await this.#holder.query(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`);
  }

  /** Ends the statement that is under way, and keeps the session: the snapshot is in it. */
  async #interrupt(ended: Promise<unknown>): Promise<void> {
    const { session } = this.#holder;
    await using other = await this.#deps.open(this.#life.signal);
    await other.query(`KILL QUERY ${session.id}`);
    await ended.catch(ignoreInterruption);
    // It may have come to an end just before: then the next statement is the one that is interrupted.
    await this.#holder.query('DO 0').catch(ignoreInterruption);
    await this.#holder.query(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`);
  }

  /** A turn, behind which the table's definition is locked no more. */
  #released<T>(read: () => Promise<T>): Promise<T> {
    return this.#turn(async () => {
      await this.#holder.query(`SAVEPOINT ${SAVEPOINT}`);
      try {
        return await read();
      } finally {
        if (this.#holder.isUsable) await this.#holder.query(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`);
      }
    });
  }

  async #turn<T>(work: () => Promise<T>): Promise<T> {
    using _turn = await this.#turns.take();
    return await work();
  }

  #follow(schema: TableSchema): FollowedShape {
    const followed = this.#deps.table(schema.sourceTableId);
    if (followed === null) throw changed(schema, 'the table is not at the source any more');
    if (!followed.isKnown) throw changed(schema, 'the columns of the table are not known for sure just now');
    return followed;
  }

  async #tableOf(schema: TableSchema, followed: FollowedShape): Promise<ReadTable> {
    const reading = readingOf(schema, followed.schema);
    if (typeof reading === 'string') throw changed(schema, reading);
    const table = await this.#released(() => readTable(this.#deps, this.#holder, reading));
    if (table === null) throw changed(schema, 'the table is not at the source any more');
    return table;
  }

  #throwIfAborted(signal: AbortSignal, cause?: unknown): void {
    if (signal.aborted || this.#life.signal.aborted) throw new TidemarkError('ABORTED', 'the snapshot was given up', { cause });
  }
}

/** The server finds by its collation, which takes other keys for the same. */
function onlyAsked(batch: ChangeBatch, asked: ReadonlySet<string>): ChangeBatch {
  const view = new RecordView();
  const records: Buffer[] = [];
  for (view.reset(batch.records); view.next(); ) if (asked.has(view.key().toString('latin1'))) records.push(view.record());
  return records.length === batch.count ? batch : new ChangeBatch({ count: records.length, records: Buffer.concat(records), transactions: [], progress: null });
}

function ignoreInterruption(error: unknown): void {
  if (serverErrorNumber(error) !== INTERRUPTED) throw error;
}

function changed(schema: TableSchema, why: string, cause?: unknown): TidemarkError {
  return new TidemarkError('VERIFY_TABLE', why, { where: { table: tableName(schema) }, ...(cause === undefined ? {} : { cause }) });
}
