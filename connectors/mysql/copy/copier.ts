/**
 * Copies tables of a MySQL or MariaDB source, chunk by chunk (docs/protocol-copy.md, steps 1 to 4). A chunk is what one
 * snapshot shows of one range, in memory; how it joins the stream is the hub's.
 */
import { SMALL_TABLE_BYTES, type CopiedChunk, type CopyPlan, type TableCopier } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import { Gather } from '../../relational/gather.ts';
import { SessionPool } from '../../relational/session-pool.ts';
import { Spool, SpooledChunk } from '../../relational/spooled-chunk.ts';
import { ChunkReader, type ReadParts } from './chunk-reader.ts';
import type { CopierDeps } from './copier-deps.ts';
import { type ALONE, copyTogether, GROUP_TABLES, type SmallTable } from './copy-group.ts';
import { selectKeys, selectRange } from './copy-sql.ts';
import { parseCopyState, type CopyState } from './copy-state.ts';
import { pieceOf } from './key-piece.ts';
import { parseKeyRange, WHOLE_RANGE, type KeyRange } from './key-ranges.ts';
import { planTables, type PlannedTable, type PlanRequest } from './plan-tables.ts';
import { spoolRows } from './read-rows.ts';
import { requireValid } from './read-table.ts';
import { RowPace } from './row-pace.ts';
import { RowSession } from './row-session.ts';
import { readEnd } from './server-state.ts';
import { settle } from './settle.ts';
import { sightOf, type SourceView } from './source-view.ts';
import { copyWhole } from './whole-chunk.ts';

/** A spool in memory never holds much more than this: one buffer, or one row. */
const SPOOL_BYTES = 16 << 20;
/** Of a small table: many of them may wait to be joined. */
const SMALL_SPOOL_BYTES = 1 << 20;
const SMALL_ROWS = 20_000;
const SMALL_BUFFER_BYTES = 16 << 10;
/** What the plan aims at for a range, in bytes of the table. */
const RANGE_BYTES = 24 << 20;
/** What a record has besides the values, about: its head, and five bytes a column. */
const RECORD_BYTES = 40;
const CELL_BYTES = 6;
/** How full the first spool is to become, which goes by the server's estimate. */
const FIRST_FILL = 0.6;
/** Keys that one statement looks for. */
export const KEYS_PER_STATEMENT = 200;

export class MysqlCopier implements TableCopier, AsyncDisposable {
  readonly #deps: CopierDeps;
  readonly #spoolBytes: number;
  readonly #rangeBytes: number;
  readonly #sessions: SessionPool<RowSession>;
  readonly #reader: ChunkReader;
  readonly #paces = new Map<string, RowPace>();
  readonly #plans: Gather<PlanRequest, PlannedTable>;
  readonly #together: Gather<SmallTable, CopiedChunk | typeof ALONE>;
  /** Chunks of small tables, of which there may be very many, that do not go together with others: one by one. */
  readonly #alone: Gather<(signal: AbortSignal) => Promise<CopiedChunk>, CopiedChunk>;
  #waitingFor = '';

  /** @param limits smaller ones are for tests */
  constructor(deps: CopierDeps, limits: { spoolBytes?: number; rangeBytes?: number } = {}) {
    this.#deps = deps;
    this.#spoolBytes = limits.spoolBytes ?? SPOOL_BYTES;
    this.#rangeBytes = limits.rangeBytes ?? RANGE_BYTES;
    this.#sessions = new SessionPool(async (signal) => new RowSession(await deps.open(signal)), deps.clock);
    this.#reader = new ChunkReader(deps, this.#sessions);
    this.#plans = new Gather<PlanRequest, PlannedTable>(GROUP_TABLES, (asked, signal) => this.#planAll(asked, signal));
    this.#together = new Gather<SmallTable, CopiedChunk | typeof ALONE>(GROUP_TABLES, (asked, signal) => this.#copyAll(asked, signal));
    this.#alone = new Gather<(signal: AbortSignal) => Promise<CopiedChunk>, CopiedChunk>(1, (asked, signal) => Promise.all(asked.map((copy) => copy(signal))));
  }

  get waitingFor(): string {
    return this.#waitingFor;
  }

  /** The stream has ended: the next one may come from another server, and what is copied then must be read there. */
  async streamEnded(): Promise<void> {
    await this.#sessions.renew();
  }

  /** Ends the sessions that are kept for later copies. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sessions[Symbol.asyncDispose]();
  }

  plan(table: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan> {
    return unlessAborted(signal, () => this.#plan({ table, resume }, signal));
  }

  chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    return unlessAborted(signal, () => this.#chunk(plan, range, signal));
  }

  rows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): Promise<CopiedChunk> {
    return unlessAborted(signal, () => this.#alone.ask((stop) => this.#reader.read(table, false, (parts) => this.#keyedRows(parts, keys), stop), signal));
  }

  async #plan(request: PlanRequest, signal: AbortSignal): Promise<CopyPlan> {
    const { read, ...plan } = await this.#plans.ask(request, signal);
    // Small tables need none, and there may be very many of them.
    if (!isSmall(plan)) this.#paces.set(request.table.sourceTableId, this.#firstPace(read, read.schema));
    return plan;
  }

  async #planAll(asked: readonly PlanRequest[], signal: AbortSignal): Promise<(PlannedTable | TidemarkError)[]> {
    await using lease = await this.#sessions.lease(signal);
    const { session } = lease;
    try {
      await settle(this.#deps, session, (what) => (this.#waitingFor = what), signal);
    } finally {
      this.#waitingFor = '';
    }
    const plans = await planTables(this.#reader, session, asked, this.#rangeBytes);
    lease.keep();
    return plans;
  }

  #copyAll(asked: readonly SmallTable[], signal: AbortSignal): ReturnType<typeof copyTogether> {
    return copyTogether(this.#deps, this.#reader, () => this.#sessions.lease(signal), asked, signal);
  }

  #firstPace({ estimatedBytes, estimatedRows }: Pick<CopyPlan, 'estimatedBytes' | 'estimatedRows'>, schema: TableSchema): RowPace {
    const row = estimatedRows > 0 ? estimatedBytes / estimatedRows : 0;
    return new RowPace((this.#spoolBytes * FIRST_FILL) / (row + RECORD_BYTES + CELL_BYTES * schema.columns.length));
  }

  async #chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const state = parseCopyState(plan.copyState);
    if (range === WHOLE_RANGE) return copyWhole({ deps: this.#deps, reader: this.#reader, sessions: this.#sessions }, plan.table, state, signal);
    const asked = parseKeyRange(range);
    const alone = (stop: AbortSignal): Promise<CopiedChunk> => this.#reader.read(plan.table, false, (parts) => this.#keyedRange(parts, plan, state, asked), stop);
    if (!isSmall(plan)) return alone(signal);
    const small = { plan, state, range: asked, mostBytes: Math.min(SMALL_SPOOL_BYTES, this.#spoolBytes), mostRows: Math.min(SMALL_ROWS, this.#firstPace(plan, plan.table).rows) };
    const chunk = await this.#together.ask(small, signal);
    return 'alone' in chunk ? this.#alone.ask(alone, signal) : chunk;
  }

  /** One range, as many rows as the spool takes. */
  async #keyedRange(parts: ReadParts, plan: CopyPlan, state: CopyState, asked: KeyRange): Promise<CopiedChunk> {
    const { lease, table } = parts;
    requireValid(plan.table, state, table);
    const spool = new Spool(isSmall(plan) ? Math.min(SMALL_SPOOL_BYTES, this.#spoolBytes) : this.#spoolBytes);
    const pace = this.#paces.get(plan.table.sourceTableId) ?? this.#firstPace(table, table.schema);
    this.#paces.set(plan.table.sourceTableId, pace);
    const limit = pace.rows;
    const { clock } = this.#deps;
    const started = clock.monotonic();
    const { how, last } = await spoolRows(lease.session, table, selectRange(table, asked, limit), spool, isSmall(plan) ? SMALL_BUFFER_BYTES : undefined);
    if (spool.rows > 0) pace.took(spool.rows, clock.monotonic() - started, spool.bytes / spool.limit);
    const view = how === 'ended' ? await ended(parts) : parts.view;
    if (how === 'enough' && !table.isVersioned) throw new TidemarkError('MYSQL_COPY_CHANGING', 'the rows did not fit: fewer are read next time', { where: { table: tableName(plan.table) } });
    return pieceOf({ table, asked, limit, spool, how, last, view });
  }

  async #keyedRows(parts: ReadParts, keys: readonly Uint8Array[]): Promise<CopiedChunk> {
    const { lease, table } = parts;
    const spool = new Spool(Infinity);
    for (let at = 0; at < keys.length; at += KEYS_PER_STATEMENT) {
      await spoolRows(lease.session, table, selectKeys(table, keys.slice(at, at + KEYS_PER_STATEMENT)), spool);
    }
    return new SpooledChunk({ schema: table.schema, range: 'rows', rest: null, sight: sightOf(await ended(parts)), spool });
  }
}

/** Ends the transaction. Rows that are in no snapshot are as of some moment before they have been read. */
async function ended({ lease, table, view }: ReadParts): Promise<SourceView> {
  const { session } = lease;
  const end = table.isVersioned ? {} : await readEnd(session);
  await session.query('COMMIT');
  lease.keep();
  return { ...view, ...end };
}

function isSmall({ estimatedBytes, whole }: CopyPlan): boolean {
  return !whole && estimatedBytes <= SMALL_TABLE_BYTES;
}

/** What fails because it was asked to stop says so, whatever the cut session says. */
export async function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (signal.aborted) throw new TidemarkError('ABORTED', 'the copy was asked to stop', { cause });
    throw cause;
  }
}
