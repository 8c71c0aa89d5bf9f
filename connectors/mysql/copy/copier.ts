/**
 * Copies tables of a MySQL or MariaDB source, chunk by chunk (docs/protocol-copy.md, steps 1 to 4). A chunk is what one
 * snapshot shows of one range, in memory; how it joins the stream is the hub's.
 */
import { SMALL_TABLE_BYTES, type CopiedChunk, type CopyPlan, type TableCopier } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import { ChunkReader, lockedOr, type ReadParts } from './chunk-reader.ts';
import { Spool, SpooledChunk } from '../../relational/spooled-chunk.ts';
import type { CopierDeps } from './copier-deps.ts';
import { divided, isDivisible, rangeCount } from './copy-plan.ts';
import { selectEnds, selectKeys, selectRange } from './copy-sql.ts';
import { boundTexts, formatCopyState, parseCopyState, plannedRanges, whyVoid, type CopyState } from './copy-state.ts';
import { formatBound, formatKeyRange, parseKeyRange, rangesLeft, WHOLE_RANGE, type KeyRange } from './key-ranges.ts';
import { spoolRows } from './read-rows.ts';
import { reliesOn, requireValid, type ReadTable } from './read-table.ts';
import { RowPace } from './row-pace.ts';
import { RowSession } from './row-session.ts';
import { readEnd } from './server-state.ts';
import { SessionPool } from '../../relational/session-pool.ts';
import { settle } from './settle.ts';
import { sightOf, type SourceView } from './source-view.ts';
import { copyWhole } from './whole-chunk.ts';

/** A spool in memory never holds much more than this: one buffer, or one row. */
const SPOOL_BYTES = 24 << 20;
/** Of a small table: many of them are copied side by side. */
const SMALL_SPOOL_BYTES = 1 << 20;
const SMALL_BUFFER_BYTES = 16 << 10;
/** What the plan aims at for a range, in bytes of the table. */
const RANGE_BYTES = 36 << 20;
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
  #waitingFor = '';

  /** @param limits smaller ones are for tests */
  constructor(deps: CopierDeps, limits: { spoolBytes?: number; rangeBytes?: number } = {}) {
    this.#deps = deps;
    this.#spoolBytes = limits.spoolBytes ?? SPOOL_BYTES;
    this.#rangeBytes = limits.rangeBytes ?? RANGE_BYTES;
    this.#sessions = new SessionPool(async (signal) => new RowSession(await deps.open(signal)), deps.clock);
    this.#reader = new ChunkReader(deps, this.#sessions);
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
    return unlessAborted(signal, () => this.#plan(table, resume, signal));
  }

  chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    return unlessAborted(signal, () => this.#chunk(plan, range, signal));
  }

  rows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): Promise<CopiedChunk> {
    return unlessAborted(signal, () => this.#reader.read(table, false, (parts) => this.#keyedRows(parts, keys), signal));
  }

  async #plan(asked: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan> {
    await using lease = await this.#sessions.lease(signal);
    const { session } = lease;
    try {
      await settle(this.#deps, session, (what) => (this.#waitingFor = what), signal);
    } finally {
      this.#waitingFor = '';
    }
    // Else the sizes may be a day old.
    if (session.session.version.flavor === 'mysql') await session.query('SET SESSION information_schema_stats_expiry = 0');
    const followed = this.#reader.follow(asked);
    const table = await this.#reader.tableOf(session, followed);
    const relied = reliesOn(table);
    const state = resume === null ? { ...relied, bounds: await this.#boundsOf(session, table) } : resumed(asked, resume.copyState, relied);
    lease.keep();
    this.#paces.set(asked.sourceTableId, this.#firstPace(table));
    return {
      table: asked,
      copyState: formatCopyState(state),
      ranges: state.mode === 'whole' ? [WHOLE_RANGE] : rangesLeft(plannedRanges(state), resume?.done ?? []).map(formatKeyRange),
      estimatedRows: table.estimatedRows,
      estimatedBytes: table.estimatedBytes,
      whole: state.mode === 'whole',
    };
  }

  async #boundsOf(session: RowSession, table: ReadTable): Promise<string[]> {
    const [first] = table.keyParts;
    const ranges = rangeCount(table.estimatedBytes, this.#rangeBytes);
    if (first === undefined || ranges === 1 || !isDivisible(first.type)) return [];
    try {
      await session.query(`SET SESSION lock_wait_timeout = 2`);
      const [ends] = await session.query(selectEnds(table));
      const at = [ends?.['first'], ends?.['last']].flatMap((value) => (value === null || value === undefined ? [] : [BigInt(value)]));
      const [one, other] = at;
      if (one === undefined || other === undefined) return [];
      return boundTexts(one < other ? divided(one, other, ranges, first.isDescending) : divided(other, one, ranges, first.isDescending));
    } catch (error) {
      throw lockedOr(error, table.schema);
    }
  }

  #firstPace({ schema, estimatedBytes, estimatedRows }: ReadTable): RowPace {
    const row = estimatedRows > 0 ? estimatedBytes / estimatedRows : 0;
    return new RowPace((this.#spoolBytes * FIRST_FILL) / (row + RECORD_BYTES + CELL_BYTES * schema.columns.length));
  }

  async #chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const state = parseCopyState(plan.copyState);
    if (range === WHOLE_RANGE) return copyWhole({ deps: this.#deps, reader: this.#reader, sessions: this.#sessions }, plan.table, state, signal);
    const asked = parseKeyRange(range);
    return this.#reader.read(plan.table, false, (parts) => this.#keyedRange(parts, plan, state, asked), signal);
  }

  /** One range, as many rows as the spool takes. */
  async #keyedRange(parts: ReadParts, plan: CopyPlan, state: CopyState, asked: KeyRange): Promise<CopiedChunk> {
    const { lease, table } = parts;
    requireValid(plan.table, state, table);
    const isSmall = plan.estimatedBytes <= SMALL_TABLE_BYTES;
    const spool = new Spool(isSmall ? Math.min(SMALL_SPOOL_BYTES, this.#spoolBytes) : this.#spoolBytes);
    const pace = this.#paces.get(plan.table.sourceTableId) ?? this.#firstPace(table);
    this.#paces.set(plan.table.sourceTableId, pace);
    const limit = pace.rows;
    const { clock } = this.#deps;
    const started = clock.monotonic();
    const { how, last } = await spoolRows(lease.session, table, selectRange(table, asked, limit), spool, isSmall ? SMALL_BUFFER_BYTES : undefined);
    if (spool.rows > 0) pace.took(spool.rows, clock.monotonic() - started, spool.bytes / spool.limit);
    const view = how === 'ended' ? await ended(parts) : parts.view;
    const isWhole = last === null || (how === 'ended' && spool.rows < limit) || (asked.to !== null && formatBound(asked.to) === formatBound(last));
    const range = formatKeyRange(isWhole ? asked : { after: asked.after, to: last });
    const rest = isWhole ? null : formatKeyRange({ after: last, to: asked.to });
    if (how === 'enough' && !table.isVersioned) throw new TidemarkError('MYSQL_COPY_CHANGING', 'the rows did not fit: fewer are read next time', { where: { table: tableName(plan.table) } });
    return new SpooledChunk({ schema: table.schema, range, rest, sight: sightOf(view), spool });
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

function resumed(asked: TableSchema, copyState: string, now: Pick<CopyState, 'mode' | 'key' | 'hashed'>): CopyState {
  const before = parseCopyState(copyState);
  const why = now.mode === 'whole' ? 'a table without a key is copied whole' : whyVoid(before, now);
  if (why !== null) throw new TidemarkError('COPY_VOID', why, { where: { table: tableName(asked) } });
  return before;
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
