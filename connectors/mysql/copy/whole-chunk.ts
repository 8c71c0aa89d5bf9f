/**
 * The copy of a keyless table. Its rows are a bag: replaying a change that the snapshot contains already would double a
 * row. So the snapshot must show a prefix of the stream, as far as the table goes. It is read in one statement, and nothing of
 * it is kept in memory.
 */
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import type { CopiedChunk } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Position } from '../../../contracts/position.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';
import type { ChunkReader } from './chunk-reader.ts';
import type { CopierDeps, FollowedShape } from './copier-deps.ts';
import { selectAll, touch } from './copy-sql.ts';
import type { CopyState } from './copy-state.ts';
import { WHOLE_RANGE } from './key-ranges.ts';
import { streamRows } from './read-rows.ts';
import { requireValid, type ReadTable } from './read-table.ts';
import type { RowSession } from './row-session.ts';
import type { SessionPool } from '../../relational/session-pool.ts';
import { passedBy, seesTransaction, type SourceView } from './source-view.ts';
import { streamPassed } from './stream-wait.ts';
import { takeView } from './take-view.ts';

export interface WholeParts {
  readonly deps: CopierDeps;
  readonly reader: ChunkReader;
  readonly sessions: SessionPool<RowSession>;
}

/** @throws TidemarkError `COPY_VOID` when the table is another one than planned; `MYSQL_COPY_LOCKED`, `MYSQL_COPY_PRIVILEGE`, `MYSQL_COPY_CHANGING` */
export async function copyWhole({ deps, reader, sessions }: WholeParts, asked: TableSchema, state: CopyState, signal: AbortSignal): Promise<CopiedChunk> {
  await using stack = new AsyncDisposableStack();
  const lease = stack.use(await sessions.lease(signal));
  const { session } = lease;
  const followed = reader.follow(asked);
  const table = await reader.tableOf(session, followed);
  requireValid(asked, state, table);
  if (!table.isVersioned) {
    throw new TidemarkError('MYSQL_COPY_UNVERSIONED', 'the table has no key, and its engine shows no snapshot: nothing tells which changes its rows have', { where: { table: tableName(asked) } });
  }
  const view = await takeView(session, {
    exact: true, tables: [table.schema], touches: [touch(table)], locker: () => sessions.lease(signal), clock: deps.clock, signal,
  });
  return new StreamedChunk({ deps, reader, followed, table, view, session, signal, owned: stack.move() });
}

interface StreamedParts {
  readonly deps: CopierDeps;
  readonly reader: ChunkReader;
  readonly followed: FollowedShape;
  readonly table: ReadTable;
  readonly view: SourceView;
  readonly session: RowSession;
  readonly signal: AbortSignal;
  readonly owned: AsyncDisposableStack;
}

/** Rows as they come from the server, which is held back while nobody takes them. */
class StreamedChunk implements CopiedChunk {
  readonly schema: TableSchema;
  readonly range = WHOLE_RANGE;
  rowCount = 0;
  readonly #parts: StreamedParts;

  constructor(parts: StreamedParts) {
    this.schema = parts.table.schema;
    this.#parts = parts;
  }

  async *batches(): AsyncGenerator<ChangeBatch, void, void> {
    const { session, table, deps, view, reader, followed, signal } = this.#parts;
    for await (const batch of streamRows(session, table, selectAll(table), 'drop').batches) {
      this.rowCount += batch.count;
      yield batch;
    }
    await session.query('COMMIT');
    // Were they the rows of another table, the stream has been told of it by then.
    await streamPassed(deps.stream, view, signal);
    if (!reader.isSame(followed)) throw new TidemarkError('COPY_VOID', 'the name or the columns of the table were changed as its copy began', { where: { table: tableName(table.schema) } });
  }

  sees(transaction: TransactionEntry): boolean {
    return seesTransaction(this.#parts.view, transaction);
  }

  passedBy(position: Position): boolean {
    return passedBy(this.#parts.view, position);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.owned.disposeAsync();
  }
}
