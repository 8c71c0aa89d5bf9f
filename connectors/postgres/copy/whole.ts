/**
 * The copy of a keyless table. Its rows are a bag: replaying a change that the snapshot contains already would double a
 * row. So the snapshot must be a prefix of the commit order, which a snapshot exported by a new slot is: it sees exactly
 * the transactions whose commit record ends at or before the slot's consistent point. The slot is temporary, and is
 * dropped as soon as the transaction has taken its snapshot over.
 */
import pg from 'pg';
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import type { CopiedChunk } from '../../../contracts/connector.ts';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { Position } from '../../../contracts/position.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';
import { copyBatches } from '../../../contracts/types/postgres-copy-out.ts';
import type { CopierDeps, DescribedTable } from './copier-deps.ts';
import { passedBy, seesTransaction, type ChunkView } from './chunk-view.ts';
import { WHOLE_RANGE } from './ranges.ts';
import { copyLeaf } from './sql.ts';
import { whyVoid, type CopyState } from './state.ts';
import { checkNames, describe, gone, lock, namesOf } from './transaction.ts';
import { postgresError } from '../errors.ts';
import { parseLsn, type Lsn } from '../position.ts';
import { endClient, type Session } from '../session.ts';
import { leavesOf } from './table-size.ts';

export class WholeCopier {
  readonly #deps: CopierDeps;

  constructor(deps: CopierDeps) {
    this.#deps = deps;
  }

  /** @throws TidemarkError `COPY_VOID` when the table changed between plan, slot and lock; `POSTGRES_COPY_LOCKED` */
  async copy(table: TableSchema, before: CopyState, signal: AbortSignal): Promise<CopiedChunk> {
    await using stack = new AsyncDisposableStack();
    const session = stack.use(await this.#deps.open(signal));
    const look = await describe(this.#deps, session, table, 'whole');
    const why = whyVoid(before, look.state);
    if (why !== null) throw gone(table, why);
    const leaves = (await leavesOf(session, look.described)).map((leaf) => leaf.oid);
    const names = await namesOf(session, [...new Set([table.sourceTableId, ...leaves])], table);
    const consistentPoint = await this.#takeSnapshot(session, signal);
    await lock(session, [...names.values()], table);
    await checkNames(session, names, table);
    await this.#checkUnchanged(table, look, signal);
    const view: ChunkView = { systemId: look.state.systemId, sees: { upTo: consistentPoint }, end: consistentPoint };
    const statements = leaves.map((leaf) => copyLeaf(look.described.schema, names.get(leaf) ?? ''));
    const kept = stack.move();
    return new StreamedChunk(look.described, view, statements, session, this.#deps, kept);
  }

  /** The session's transaction is as of the slot's consistent point, which it answers. */
  async #takeSnapshot(session: Session, signal: AbortSignal): Promise<Lsn> {
    const { socket, config } = await this.#deps.wire(session.host);
    const replication: pg.ClientConfig & { replication: string } = { ...config, replication: 'database' };
    const client = new pg.Client(replication);
    client.on('error', () => undefined);
    const abort = (): void => void socket.destroy(new TidemarkError('ABORTED', 'the copy was asked to stop'));
    signal.addEventListener('abort', abort, { once: true });
    try {
      await client.connect();
      const [backend] = await session.query('SELECT pg_backend_pid() AS pid');
      const name = `${this.#deps.slot.slice(0, 40)}_copy_${backend?.['pid'] ?? ''}`;
      const { rows } = await client.query<Record<string, string>>(`CREATE_REPLICATION_SLOT ${name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT`);
      const { consistent_point: point, snapshot_name: snapshot } = rows[0] ?? {};
      if (point === undefined || snapshot === undefined) throw new TidemarkError('POSTGRES_PROTOCOL', 'the server exported no snapshot');
      await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await session.query(`SET TRANSACTION SNAPSHOT ${pg.escapeLiteral(snapshot)}`);
      return parseLsn(point);
    } catch (error) {
      throw postgresError(error);
    } finally {
      signal.removeEventListener('abort', abort);
      await endClient(client, socket, this.#deps.clock);
    }
  }

  /**
   * The snapshot is older than the lock: a change of the table in between would not fit the rows. Seen from another
   * session, since this one's snapshot shows the catalog of before.
   */
  async #checkUnchanged(table: TableSchema, look: { described: DescribedTable; state: CopyState }, signal: AbortSignal): Promise<void> {
    await using session = await this.#deps.open(signal);
    const now = await describe(this.#deps, session, table, 'whole');
    const why = whyVoid(look.state, now.state);
    if (why !== null) throw gone(table, why);
    if (JSON.stringify(now.described.schema.columns) !== JSON.stringify(look.described.schema.columns)) {
      throw gone(table, 'the columns of the table changed while its copy began');
    }
  }
}

/** Rows as they come from the server, which is held back while nobody takes them. */
class StreamedChunk implements CopiedChunk {
  readonly schema: TableSchema;
  readonly range = WHOLE_RANGE;
  rowCount = 0;
  readonly #table: DescribedTable;
  readonly #view: ChunkView;
  readonly #statements: readonly string[];
  readonly #session: Session;
  readonly #deps: CopierDeps;
  readonly #owned: AsyncDisposableStack;

  constructor(table: DescribedTable, view: ChunkView, statements: readonly string[], session: Session, deps: CopierDeps, owned: AsyncDisposableStack) {
    this.schema = table.schema;
    this.#table = table;
    this.#view = view;
    this.#statements = statements;
    this.#session = session;
    this.#deps = deps;
    this.#owned = owned;
  }

  async *batches(): AsyncGenerator<ChangeBatch, void, void> {
    for (const statement of this.#statements) yield* this.#leaf(statement);
    await this.#session.query('COMMIT');
  }

  sees(transaction: TransactionEntry): boolean {
    return seesTransaction(this.#view, transaction);
  }

  passedBy(position: Position): boolean {
    return passedBy(this.#view, position);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }

  async *#leaf(statement: string): AsyncGenerator<ChangeBatch, void, void> {
    const { actions, width, schema } = this.#table;
    const layout = { actions, width, key: schema.key, hash: (value: Uint8Array) => this.#deps.hash(value) };
    try {
      for await (const batch of copyBatches({ client: this.#session.client, toError: postgresError }, statement, layout)) {
        this.rowCount += batch.count;
        yield batch;
      }
    } catch (error) {
      throw asTidemarkError(error, 'POSTGRES_COPY_FAILED', { table: tableName(schema) });
    }
  }
}
