/**
 * Reads some rows of a table in a snapshot of their own, and makes sure that they are that table's: the name and the shape
 * by which it was read are those that the stream has followed it to, and no statement has changed them up to the snapshot's
 * end. A statement that has is in the stream before that end, since the table was locked against it by then; so the stream is
 * waited for, and says whether the table still is the same.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import { serverErrorNumber } from '../errors.ts';
import type { CopierDeps, FollowedShape } from './copier-deps.ts';
import { touch } from './copy-sql.ts';
import { changing, readTables, type ReadTable } from './read-table.ts';
import type { RowSession } from './row-session.ts';
import { readEnd } from './server-state.ts';
import type { Lease, SessionPool } from '../../relational/session-pool.ts';
import type { SourceView } from './source-view.ts';
import { streamPassed } from './stream-wait.ts';
import { takeView } from './take-view.ts';

const ATTEMPTS = 4;
/** No such table, another definition than the snapshot's, no such index, no such column. */
const CHANGED = new Set([1146, 1412, 1176, 1054]);
/** Waited too long for a lock, chosen to end a deadlock, given up because others wait. */
const LOCKED = new Set([1205, 1213, 3572]);

export interface ReadParts {
  readonly lease: Lease<RowSession>;
  readonly table: ReadTable;
  readonly view: SourceView;
}

export class ChunkReader {
  readonly #deps: CopierDeps;
  readonly #sessions: SessionPool<RowSession>;
  /** As read at the server while the stream had followed the table so far. */
  readonly #tables = new WeakMap<TableSchema, ReadTable>();

  constructor(deps: CopierDeps, sessions: SessionPool<RowSession>) {
    this.#deps = deps;
    this.#sessions = sessions;
  }

  /**
   * `read` gets a session in the transaction of a snapshot and reads what it wants; it ends the transaction and keeps the
   * lease where the session is of further use.
   * @param exact the snapshot must show a prefix of the stream
   * @throws TidemarkError `COPY_VOID` when the table is gone; `MYSQL_COPY_CHANGING`, `MYSQL_COPY_LOCKED`, `MYSQL_COPY_PRIVILEGE`
   */
  async read<T extends AsyncDisposable>(table: TableSchema, exact: boolean, read: (parts: ReadParts) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const followed = this.follow(table);
      const answer = await this.#attempt(followed, exact, read, signal);
      if (answer !== null) return answer.value;
    }
    throw changing(table, 'the name or the columns of the table were changed each time that it was read');
  }

  /** The table as the stream has followed it so far. @throws TidemarkError `COPY_VOID`, `MYSQL_COPY_CHANGING` */
  follow(table: TableSchema): FollowedShape {
    const followed = this.#deps.table(table.sourceTableId);
    if (followed === null) throw new TidemarkError('COPY_VOID', 'the table is not there any more', { where: { table: tableName(table) } });
    if (!followed.isKnown) throw changing(followed.schema, 'the columns of the table are not known for sure just now');
    return followed;
  }

  /** True while no statement of the stream has changed the table's name or shape since. */
  isSame(followed: FollowedShape): boolean {
    const now = this.#deps.table(followed.schema.sourceTableId);
    return now !== null && now.isKnown && now.schema === followed.schema;
  }

  /** As the server has it now. @throws TidemarkError `MYSQL_COPY_CHANGING`, `MYSQL_TYPE_UNKNOWN` */
  async tableOf(session: RowSession, { schema }: FollowedShape): Promise<ReadTable> {
    const known = this.#tables.get(schema);
    if (known !== undefined) return known;
    const [table = null] = await readTables(this.#deps, session, [schema]);
    if (table === null) throw changing(schema, 'the server has no table of that name just now');
    if (table instanceof TidemarkError) throw table;
    this.#tables.set(schema, table);
    return table;
  }

  /**
   * Each as the stream has followed it and the server has it now, or what `follow` and `tableOf` say of it; few statements,
   * whatever their number. @throws TidemarkError where the session is lost
   */
  async tablesOf(session: RowSession, tables: readonly TableSchema[]): Promise<(ReadTable | TidemarkError)[]> {
    const followed = tables.map((table) => orError(() => this.follow(table)));
    const unread = followed.flatMap((one) => (one instanceof TidemarkError || this.#tables.has(one.schema) ? [] : [one.schema]));
    for (const table of unread.length > 1 ? await readTables(this.#deps, session, unread) : []) {
      if (table !== null && !(table instanceof TidemarkError)) this.#tables.set(table.schema, table);
    }
    const answers: (ReadTable | TidemarkError)[] = [];
    for (const one of followed) answers.push(one instanceof TidemarkError ? one : await this.#tableOrError(session, one));
    return answers;
  }

  async #tableOrError(session: RowSession, followed: FollowedShape): Promise<ReadTable | TidemarkError> {
    try {
      return await this.tableOf(session, followed);
    } catch (error) {
      if (error instanceof TidemarkError && session.isUsable) return error;
      throw error;
    }
  }

  /** Null: the table was changed meanwhile, and the stream has come past that. */
  async #attempt<T extends AsyncDisposable>(followed: FollowedShape, exact: boolean, read: (parts: ReadParts) => Promise<T>, signal: AbortSignal): Promise<{ value: T } | null> {
    const { stream, clock } = this.#deps;
    const { schema } = followed;
    let view: SourceView;
    let value: T;
    {
      await using lease = await this.#sessions.lease(signal);
      const { session } = lease;
      try {
        const table = await this.tableOf(session, followed);
        const locker = (): Promise<Lease<RowSession>> => this.#sessions.lease(signal);
        view = await takeView(session, { exact, tables: [schema], touches: [touch(table)], locker, clock, signal });
        value = await read({ lease, table, view });
      } catch (error) {
        if (!isChanged(error)) throw lockedOr(error, schema);
        await this.#catchUp(lease, signal);
        return null;
      }
    }
    await streamPassed(stream, view, signal);
    if (this.isSame(followed)) return { value };
    await value[Symbol.asyncDispose]();
    return null;
  }

  /** What has changed the table is in the stream before the end of now. */
  async #catchUp(lease: Lease<RowSession>, signal: AbortSignal): Promise<void> {
    if (!lease.session.isUsable) return;
    await lease.session.query('ROLLBACK');
    const end = await readEnd(lease.session);
    lease.keep();
    await streamPassed(this.#deps.stream, end, signal);
  }
}

function isChanged(error: unknown): boolean {
  const number = serverErrorNumber(error);
  return (number !== null && CHANGED.has(number)) || (error instanceof TidemarkError && error.code === 'MYSQL_COPY_CHANGING');
}

function orError<T>(work: () => T): T | TidemarkError {
  try {
    return work();
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
}

export function lockedOr(error: unknown, schema: TableSchema): unknown {
  const number = serverErrorNumber(error);
  if (number === null || !LOCKED.has(number) || (error instanceof TidemarkError && error.code === 'MYSQL_COPY_LOCKED')) return error;
  return new TidemarkError('MYSQL_COPY_LOCKED', 'somebody holds a lock on the table, or changes its definition', { where: { table: tableName(schema) }, cause: error });
}
