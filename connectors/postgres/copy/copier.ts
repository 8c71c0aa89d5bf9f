/**
 * Copies tables of a Postgres source, chunk by chunk (docs/protocol-copy.md, steps 1 to 4). A chunk is what one
 * repeatable-read transaction sees of one range, in memory; how it joins the stream is the hub's.
 */
import { SMALL_TABLE_BYTES, type CopiedChunk, type CopyPlan } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { CopierDeps } from './copier-deps.ts';
import { GatheredCopier, type GroupAnswer, type PlanRequest } from '../../relational/gathered-copier.ts';
import { Spool, SpooledChunk } from '../../relational/spooled-chunk.ts';
import { sightOf } from './chunk-view.ts';
import { fillSpool } from './fill.ts';
import { copyTogether, type SmallTable } from './group.ts';
import { modeOf, planTables } from './plan.ts';
import {
  firstPages, formatKeyRange, formatTidRange, halved, parseKeyRange, parseTidRange, WHOLE_RANGE, type KeyRange, type TidRange,
} from './ranges.ts';
import { settle } from './settle.ts';
import { readKeyOperators } from './operators.ts';
import { copyKeys, copyRows, copyTids, type KeyedSource } from './sql.ts';
import { parseCopyState, type CopyState } from './state.ts';
import { beginChunk, describe, endOfChunk, type ChunkTransaction } from './transaction.ts';
import { WholeCopier } from './whole.ts';
import { RangePace } from './range-pace.ts';
import type { Lease } from '../../relational/session-pool.ts';
import type { Session } from '../session.ts';
import { leavesOf } from './table-size.ts';

/** A spool in memory never holds much more than this: one buffer, or one row. */
const SPOOL_BYTES = 24 << 20;
/** What the plan aims at for a range, in bytes of the heap; as records it is some third more. */
const RANGE_BYTES = 36 << 20;

export class PostgresCopier extends GatheredCopier<Session, CopyPlan, SmallTable> {
  readonly #deps: CopierDeps;
  readonly #spoolBytes: number;
  readonly #rangeBytes: number;
  readonly #paces = new Map<string, RangePace>();

  /** @param limits smaller ones are for tests */
  constructor(deps: CopierDeps, limits: { spoolBytes?: number; rangeBytes?: number } = {}) {
    super((signal) => deps.open(signal), deps.clock);
    this.#deps = deps;
    this.#spoolBytes = limits.spoolBytes ?? SPOOL_BYTES;
    this.#rangeBytes = limits.rangeBytes ?? RANGE_BYTES;
  }

  protected override settle(session: Session, waiting: (what: string) => void, signal: AbortSignal): Promise<void> {
    return settle(session, this.#deps.clock, waiting, signal);
  }

  protected override planAll(session: Session, asked: readonly PlanRequest[]): Promise<(CopyPlan | TidemarkError)[]> {
    return planTables(this.#deps, session, asked, this.#rangeBytes);
  }

  protected override planned(plan: CopyPlan): CopyPlan {
    const { estimatedRows: rows, estimatedBytes: bytes } = plan;
    // Small tables need none, and there may be very many of them.
    if (bytes > SMALL_TABLE_BYTES) this.#paces.set(plan.table.sourceTableId, new RangePace(Math.ceil((this.#rangeBytes * rows) / bytes || 10_000)));
    return plan;
  }

  protected override async copyAll(asked: readonly SmallTable[], signal: AbortSignal): Promise<readonly GroupAnswer[]> {
    await using lease = await this.sessions.lease(signal);
    return await copyTogether(this.#deps, lease, asked);
  }

  protected override async copyRange(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const state = parseCopyState(plan.copyState);
    if (range === WHOLE_RANGE) return new WholeCopier(this.#deps).copy(plan.table, state, signal);
    const tids = parseTidRange(range);
    const keys = parseKeyRange(range);
    const isSmall = plan.estimatedBytes <= SMALL_TABLE_BYTES;
    if (tids !== null) {
      const copy = (stop: AbortSignal): Promise<CopiedChunk> => this.#tidChunk(plan.table, state, tids, stop);
      if (!isSmall) return copy(signal);
      const isWhole = plan.ranges.length === 1 && tids.leaf === plan.table.sourceTableId;
      return isWhole ? this.together({ plan, state, range: tids }, copy, signal) : this.alone(copy, signal);
    }
    if (keys !== null) {
      const copy = (stop: AbortSignal): Promise<CopiedChunk> => this.#keyChunk(plan.table, state, keys, stop);
      return isSmall ? this.alone(copy, signal) : copy(signal);
    }
    throw new TidemarkError('RECORD_CORRUPT', `'${range}' is not a range of a copy`);
  }

  protected override async copyRows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): Promise<CopiedChunk> {
    await using lease = await this.sessions.lease(signal);
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
      await using lease = await this.sessions.lease(signal);
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
    await using lease = await this.sessions.lease(signal);
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
