/**
 * Copies tables of a Postgres source, chunk by chunk (docs/protocol-copy.md, steps 1 to 4). A chunk is what one
 * repeatable-read transaction sees of one range, in memory; how it joins the stream is the hub's.
 */
import { SMALL_TABLE_BYTES, type CopiedChunk, type CopyPlan, type TableCopier } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { CopierDeps } from './copier-deps.ts';
import { Spool, SpooledChunk } from '../../relational/spooled-chunk.ts';
import { sightOf } from './chunk-view.ts';
import { fillSpool } from './fill.ts';
import { ALONE, copyTogether, GROUP_TABLES, type SmallTable } from './group.ts';
import { modeOf, planTables, type PlanRequest } from './plan.ts';
import {
  firstPages, formatKeyRange, formatTidRange, halved, parseKeyRange, parseTidRange, WHOLE_RANGE, type KeyRange, type TidRange,
} from './ranges.ts';
import { settle } from './settle.ts';
import { readKeyOperators } from './operators.ts';
import { copyKeys, copyRows, copyTids, type KeyedSource } from './sql.ts';
import { parseCopyState, type CopyState } from './state.ts';
import { beginChunk, describe, endOfChunk, type ChunkTransaction } from './transaction.ts';
import { WholeCopier } from './whole.ts';
import { Gather } from '../../relational/gather.ts';
import { RangePace } from './range-pace.ts';
import { SessionPool, type Lease } from '../../relational/session-pool.ts';
import type { Session } from '../session.ts';
import { leavesOf } from './table-size.ts';

/** A spool in memory never holds much more than this: one buffer, or one row. */
const SPOOL_BYTES = 24 << 20;
/** What the plan aims at for a range, in bytes of the heap; as records it is some third more. */
const RANGE_BYTES = 36 << 20;

export class PostgresCopier implements TableCopier, AsyncDisposable {
  readonly #deps: CopierDeps;
  readonly #spoolBytes: number;
  readonly #rangeBytes: number;
  readonly #paces = new Map<string, RangePace>();
  readonly #sessions: SessionPool<Session>;
  readonly #plans: Gather<PlanRequest, CopyPlan>;
  readonly #together: Gather<SmallTable, CopiedChunk | typeof ALONE>;
  /** Chunks that do not go together with others although there may be many: one by one. */
  readonly #alone: Gather<(signal: AbortSignal) => Promise<CopiedChunk>, CopiedChunk>;
  #waitingFor = '';

  /** @param limits smaller ones are for tests */
  constructor(deps: CopierDeps, limits: { spoolBytes?: number; rangeBytes?: number } = {}) {
    this.#deps = deps;
    this.#spoolBytes = limits.spoolBytes ?? SPOOL_BYTES;
    this.#rangeBytes = limits.rangeBytes ?? RANGE_BYTES;
    this.#sessions = new SessionPool((signal) => deps.open(signal), deps.clock);
    this.#plans = new Gather<PlanRequest, CopyPlan>(GROUP_TABLES, (asked, signal) => this.#planAll(asked, signal));
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
    return unlessAborted(signal, () => this.#alone.ask((stop) => this.#keyedRows(table, keys, stop), signal));
  }

  async #plan(request: PlanRequest, signal: AbortSignal): Promise<CopyPlan> {
    const plan = await this.#plans.ask(request, signal);
    const { estimatedRows: rows, estimatedBytes: bytes } = plan;
    // Small tables need none, and there may be very many of them.
    if (bytes > SMALL_TABLE_BYTES) this.#paces.set(request.table.sourceTableId, new RangePace(Math.ceil((this.#rangeBytes * rows) / bytes || 10_000)));
    return plan;
  }

  async #planAll(asked: readonly PlanRequest[], signal: AbortSignal): Promise<(CopyPlan | TidemarkError)[]> {
    await using lease = await this.#sessions.lease(signal);
    const { session } = lease;
    try {
      await settle(session, this.#deps.clock, (what) => (this.#waitingFor = what), signal);
    } finally {
      this.#waitingFor = '';
    }
    const plans = await planTables(this.#deps, session, asked, this.#rangeBytes);
    lease.keep();
    return plans;
  }

  async #chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const state = parseCopyState(plan.copyState);
    if (range === WHOLE_RANGE) return new WholeCopier(this.#deps).copy(plan.table, state, signal);
    const tids = parseTidRange(range);
    const keys = parseKeyRange(range);
    const isSmall = plan.estimatedBytes <= SMALL_TABLE_BYTES;
    if (tids !== null) {
      const isWhole = plan.ranges.length === 1 && tids.leaf === plan.table.sourceTableId;
      const chunk = isSmall && isWhole ? await this.#together.ask({ plan, state, range: tids }, signal) : ALONE;
      if (!('alone' in chunk)) return chunk;
      const copy = (stop: AbortSignal): Promise<CopiedChunk> => this.#tidChunk(plan.table, state, tids, stop);
      return isSmall ? this.#alone.ask(copy, signal) : copy(signal);
    }
    if (keys !== null) {
      const copy = (stop: AbortSignal): Promise<CopiedChunk> => this.#keyChunk(plan.table, state, keys, stop);
      return isSmall ? this.#alone.ask(copy, signal) : copy(signal);
    }
    throw new TidemarkError('RECORD_CORRUPT', `'${range}' is not a range of a copy`);
  }

  async #copyAll(asked: readonly SmallTable[], signal: AbortSignal): Promise<readonly (CopiedChunk | typeof ALONE | TidemarkError)[]> {
    await using lease = await this.#sessions.lease(signal);
    return await copyTogether(this.#deps, lease, asked);
  }

  async #keyedRows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): Promise<CopiedChunk> {
    await using lease = await this.#sessions.lease(signal);
    const { session } = lease;
    const mode = modeOf(table, session);
    const { state } = await describe(this.#deps, session, table, mode);
    const chunk = await beginChunk(this.#deps, session, table, await this.#allLeaves(session, table), state);
    const spool = new Spool(Infinity);
    await this.#fill(session, spool, chunk, copyRows(await keyed(session, chunk, table), keys));
    return await this.#ended(lease, chunk, { range: 'rows', rest: null, spool });
  }

  /** One range by place. Where the spool is full before its end, its first half is tried instead, and so on. */
  async #tidChunk(table: TableSchema, state: CopyState, asked: TidRange, signal: AbortSignal): Promise<CopiedChunk> {
    const pace = this.#pace(table);
    let range = asked;
    for (;;) {
      await using lease = await this.#sessions.lease(signal);
      const { session } = lease;
      const chunk = await beginChunk(this.#deps, session, table, [range.leaf], state);
      const pages = await tablePages(session, range.leaf);
      const narrowed = firstPages(range, pace.pages, pages);
      if (narrowed !== null) [range] = narrowed;
      const spool = new Spool(halved(range, pages) === null ? Infinity : this.#spoolBytes);
      const started = this.#deps.clock.monotonic();
      const leaf = chunk.names.get(range.leaf) ?? '';
      const how = await this.#fill(session, spool, chunk, copyTids(chunk.table.schema, leaf, range));
      if (how === 'ended') {
        const taken = Math.min(range.to?.page ?? pages, pages) - range.from.page;
        pace.took(Math.max(taken, 1), this.#deps.clock.monotonic() - started, spool.bytes / this.#spoolBytes);
        const rest = sameEnd(range, asked) ? null : formatTidRange({ leaf: range.leaf, from: range.to ?? asked.from, to: asked.to });
        return await this.#ended(lease, chunk, { range: formatTidRange(range), rest, spool });
      }
      const half = halved(range, pages);
      if (half !== null) [range] = half;
      pace.overflowed(Math.max(1, (range.to?.page ?? pages) - range.from.page));
    }
  }

  /** One range by key, as many rows as the spool takes. */
  async #keyChunk(table: TableSchema, state: CopyState, asked: KeyRange, signal: AbortSignal): Promise<CopiedChunk> {
    await using lease = await this.#sessions.lease(signal);
    const { session } = lease;
    const chunk = await beginChunk(this.#deps, session, table, await this.#allLeaves(session, table), state);
    const pace = this.#pace(table);
    const limit = pace.rows;
    const spool = new Spool(this.#spoolBytes);
    const started = this.#deps.clock.monotonic();
    const how = await this.#fill(session, spool, chunk, copyKeys(await keyed(session, chunk, table), asked, limit));
    pace.tookRows(spool.rows, this.#deps.clock.monotonic() - started);
    const last = lastKey(spool);
    if (last === null || (how === 'ended' && spool.rows < limit)) {
      return await this.#ended(lease, chunk, { range: formatKeyRange(asked), rest: null, spool });
    }
    const range = formatKeyRange({ after: asked.after, to: last });
    return await this.#ended(lease, chunk, { range, rest: formatKeyRange({ after: last, to: asked.to }), spool }, how);
  }

  async #ended(
    lease: Lease<Session>,
    chunk: ChunkTransaction,
    parts: { range: string; rest: string | null; spool: Spool },
    how: 'ended' | 'enough' = 'ended',
  ): Promise<CopiedChunk> {
    const { session } = lease;
    const view = how === 'ended' ? await endOfChunk(session, chunk.view) : chunk.view;
    // A commit, not an abort: what reading wrote to the WAL (hint bits, with checksums on) is flushed soon only after one,
    // and the stream cannot pass what is not flushed.
    if (how === 'ended') {
      await session.query('COMMIT');
      lease.keep();
    }
    return new SpooledChunk({ schema: chunk.table.schema, sight: sightOf(view), ...parts });
  }

  #fill(session: Session, spool: Spool, chunk: ChunkTransaction, statement: string): Promise<'ended' | 'enough'> {
    return fillSpool(this.#deps, session, spool, chunk.table, statement);
  }

  async #allLeaves(session: Session, table: TableSchema): Promise<string[]> {
    const { described } = await describe(this.#deps, session, table, 'ctid');
    return (await leavesOf(session, described)).map((leaf) => leaf.oid);
  }

  #pace(table: TableSchema): RangePace {
    const known = this.#paces.get(table.sourceTableId);
    if (known !== undefined) return known;
    const pace = new RangePace(10_000);
    this.#paces.set(table.sourceTableId, pace);
    return pace;
  }
}

/** What fails because it was asked to stop says so, whatever the cut session says. */
async function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (signal.aborted) throw new TidemarkError('ABORTED', 'the copy was asked to stop', { cause });
    throw cause;
  }
}

function sameEnd(a: TidRange, b: TidRange): boolean {
  return a.to?.page === b.to?.page && a.to?.item === b.to?.item;
}

/** The table's name for FROM: its partitions with it, but not what inherits from it. */
function sourceName(chunk: ChunkTransaction, table: TableSchema): string {
  const name = chunk.names.get(table.sourceTableId) ?? '';
  return chunk.table.partitioned ? name : `ONLY ${name}`;
}

async function keyed(session: Session, chunk: ChunkTransaction, table: TableSchema): Promise<KeyedSource> {
  const { schema } = chunk.table;
  return { schema, from: sourceName(chunk, table), operators: await readKeyOperators(session, schema) };
}

async function tablePages(session: Session, oid: string): Promise<number> {
  const [row] = await session.query(
    `SELECT (pg_relation_size($1::oid) / current_setting('block_size')::int8)::text AS pages`, [oid],
  );
  return Number(row?.['pages'] ?? 0);
}

function lastKey(spool: Spool): Buffer | null {
  const batch = spool.batches.at(-1);
  if (batch === undefined) return null;
  const view = new RecordView();
  let key: Buffer | null = null;
  for (view.reset(batch.records); view.next(); ) key = view.key();
  return key === null ? null : Buffer.from(key);
}
