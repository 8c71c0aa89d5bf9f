/**
 * Copies tables of a MySQL or MariaDB source, chunk by chunk (docs/protocol-copy.md, steps 1 to 4). A chunk is what one
 * snapshot shows of one range, in memory; how it joins the stream is the hub's.
 */
import { SMALL_TABLE_BYTES, type CopiedChunk, type CopyPlan } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import { GatheredCopier, type GroupAnswer, type PlanRequest } from '../../relational/gathered-copier.ts';
import { Spool, SpooledChunk } from '../../relational/spooled-chunk.ts';
import { ChunkReader, type ReadParts } from './chunk-reader.ts';
import type { CopierDeps } from './copier-deps.ts';
import { copyTogether, type SmallTable } from './copy-group.ts';
import { selectKeys, selectRange } from './copy-sql.ts';
import { parseCopyState, type CopyState } from './copy-state.ts';
import { pieceOf } from './key-piece.ts';
import { parseKeyRange, WHOLE_RANGE, type KeyRange } from './key-ranges.ts';
import { planTables, type PlannedTable } from './plan-tables.ts';
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

export class MysqlCopier extends GatheredCopier<RowSession, PlannedTable, SmallTable> {
  readonly #deps: CopierDeps;
  readonly #spoolBytes: number;
  readonly #rangeBytes: number;
  readonly #reader: ChunkReader;
  readonly #paces = new Map<string, RowPace>();

  /** @param limits smaller ones are for tests */
  constructor(deps: CopierDeps, limits: { spoolBytes?: number; rangeBytes?: number } = {}) {
    super(async (signal) => new RowSession(await deps.open(signal)), deps.clock);
    this.#deps = deps;
    this.#spoolBytes = limits.spoolBytes ?? SPOOL_BYTES;
    this.#rangeBytes = limits.rangeBytes ?? RANGE_BYTES;
    this.#reader = new ChunkReader(deps, this.sessions);
  }

  protected override settle(session: RowSession, waiting: (what: string) => void, signal: AbortSignal): Promise<void> {
    return settle(this.#deps, session, waiting, signal);
  }

  protected override planAll(session: RowSession, asked: readonly PlanRequest[]): Promise<(PlannedTable | TidemarkError)[]> {
    return planTables(this.#reader, session, asked, this.#rangeBytes);
  }

  protected override planned({ read, ...plan }: PlannedTable): CopyPlan {
    // Small tables need none, and there may be very many of them.
    if (!isSmall(plan)) this.#paces.set(plan.table.sourceTableId, this.#firstPace(read, read.schema));
    return plan;
  }

  protected override copyAll(asked: readonly SmallTable[], signal: AbortSignal): Promise<readonly GroupAnswer[]> {
    return copyTogether(this.#deps, this.#reader, () => this.sessions.lease(signal), asked, signal);
  }

  protected override async copyRange(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const state = parseCopyState(plan.copyState);
    if (range === WHOLE_RANGE) return copyWhole({ deps: this.#deps, reader: this.#reader, sessions: this.sessions }, plan.table, state, signal);
    const asked = parseKeyRange(range);
    const alone = (stop: AbortSignal): Promise<CopiedChunk> => this.#reader.read(plan.table, false, (parts) => this.#keyedRange(parts, plan, state, asked), stop);
    if (!isSmall(plan)) return alone(signal);
    const small = { plan, state, range: asked, mostBytes: Math.min(SMALL_SPOOL_BYTES, this.#spoolBytes), mostRows: Math.min(SMALL_ROWS, this.#firstPace(plan, plan.table).rows) };
    return this.together(small, alone, signal);
  }

  protected override copyRows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal, exact: boolean): Promise<CopiedChunk> {
    return this.#reader.read(table, exact, (parts) => this.#keyedRows(parts, keys), signal);
  }

  #firstPace({ estimatedBytes, estimatedRows }: Pick<CopyPlan, 'estimatedBytes' | 'estimatedRows'>, schema: TableSchema): RowPace {
    const row = estimatedRows > 0 ? estimatedBytes / estimatedRows : 0;
    return new RowPace((this.#spoolBytes * FIRST_FILL) / (row + RECORD_BYTES + CELL_BYTES * schema.columns.length));
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
