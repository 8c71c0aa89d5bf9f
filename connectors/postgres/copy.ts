/**
 * Copies tables of a Postgres source, chunk by chunk (docs/protocol-copy.md, steps 1 to 4). A chunk is what one
 * repeatable-read transaction sees of one range, in memory; how it joins the stream is the hub's.
 */
import type { CopiedChunk, CopyPlan, TableCopier } from '../../contracts/connector.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { RecordView } from '../../contracts/record.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { CopierDeps, DescribedTable } from './copier-deps.ts';
import { SpooledChunk, Spool } from './copy-chunk.ts';
import { copyOut } from './copy-query.ts';
import {
  firstPages, formatKeyRange, formatTidRange, halved, parseKeyRange, parseTidRange, tidRanges, WHOLE_RANGE, type KeyRange, type TidRange,
} from './copy-ranges.ts';
import { settle } from './copy-settle.ts';
import { readKeyOperators } from './copy-operators.ts';
import { copyKeys, copyRows, copyTids, type KeyedSource } from './copy-sql.ts';
import { formatCopyState, parseCopyState, whyVoid, type CopyMode, type CopyState } from './copy-state.ts';
import { CopyTextDecoder } from './copy-text.ts';
import { beginChunk, describe, endOfChunk, type ChunkTransaction } from './copy-transaction.ts';
import { WholeCopier } from './copy-whole.ts';
import { RangePace } from './range-pace.ts';
import { leavesOf, type LeafSize } from './table-size.ts';
import type { Session } from './session.ts';

/** A spool in memory never holds much more than this: one buffer, or one row. */
const SPOOL_BYTES = 24 << 20;
/** What the plan aims at for a range, in bytes of the heap; as records it is some third more. */
const RANGE_BYTES = 36 << 20;
const TID_RANGE_SCAN = 140_000;

export class PostgresCopier implements TableCopier {
  readonly #deps: CopierDeps;
  readonly #spoolBytes: number;
  readonly #rangeBytes: number;
  readonly #paces = new Map<string, RangePace>();
  readonly #waiting = new Map<string, string>();

  /** @param limits smaller ones are for tests */
  constructor(deps: CopierDeps, limits: { spoolBytes?: number; rangeBytes?: number } = {}) {
    this.#deps = deps;
    this.#spoolBytes = limits.spoolBytes ?? SPOOL_BYTES;
    this.#rangeBytes = limits.rangeBytes ?? RANGE_BYTES;
  }

  get waitingFor(): string {
    return [...this.#waiting.values()].find((what) => what !== '') ?? '';
  }

  plan(table: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan> {
    return unlessAborted(signal, () => this.#plan(table, resume, signal));
  }

  chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    return unlessAborted(signal, () => this.#chunk(plan, range, signal));
  }

  rows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): Promise<CopiedChunk> {
    return unlessAborted(signal, () => this.#keyedRows(table, keys, signal));
  }

  async #plan(table: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan> {
    await using session = await this.#deps.open(signal);
    const mode = modeOf(table, session);
    try {
      await settle(session, this.#deps.clock, (what) => this.#waiting.set(table.sourceTableId, what), signal);
    } finally {
      this.#waiting.delete(table.sourceTableId);
    }
    const { described, state } = await describe(this.#deps, session, table, mode);
    if (resume !== null) {
      const why = mode === 'whole' ? 'a table without a key is copied whole' : whyVoid(parseCopyState(resume.copyState), state);
      if (why !== null) throw new TidemarkError('COPY_VOID', why, { where: { table: tableName(table) } });
    }
    const leaves = await leavesOf(session, described);
    const rows = leaves.reduce((sum, leaf) => sum + leaf.rows, 0);
    const bytes = leaves.reduce((sum, leaf) => sum + leaf.bytes, 0);
    this.#paces.set(table.sourceTableId, new RangePace(Math.ceil(rows === 0 ? 10_000 : (this.#rangeBytes * rows) / Math.max(bytes, 1))));
    return {
      table,
      copyState: formatCopyState(state),
      ranges: this.#ranges(mode, leaves, resume?.done ?? []),
      estimatedRows: rows,
      estimatedBytes: bytes,
      whole: mode === 'whole',
    };
  }

  async #chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk> {
    const state = parseCopyState(plan.copyState);
    if (range === WHOLE_RANGE) return new WholeCopier(this.#deps).copy(plan.table, state, signal);
    const tids = parseTidRange(range);
    if (tids !== null) return this.#tidChunk(plan.table, state, tids, signal);
    const keys = parseKeyRange(range);
    if (keys !== null) return this.#keyChunk(plan.table, state, keys, signal);
    throw new TidemarkError('RECORD_CORRUPT', `'${range}' is not a range of a copy`);
  }

  async #keyedRows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): Promise<CopiedChunk> {
    await using session = await this.#deps.open(signal);
    const mode = modeOf(table, session);
    const { state } = await describe(this.#deps, session, table, mode);
    const chunk = await beginChunk(this.#deps, session, table, await this.#allLeaves(session, table), state);
    const spool = new Spool(Infinity);
    await this.#fill(session, spool, chunk.table, copyRows(await keyed(session, chunk, table), keys));
    return await this.#ended(session, chunk, { range: 'rows', rest: null, spool });
  }

  #ranges(mode: CopyMode, leaves: readonly LeafSize[], done: readonly string[]): string[] {
    if (mode === 'whole') return [WHOLE_RANGE];
    if (mode === 'key') {
      const last = done.map(parseKeyRange).findLast((range) => range !== null) ?? null;
      if (last !== null && last.to === null) return [];
      return [formatKeyRange({ after: last?.to ?? null, to: null })];
    }
    const pages = leaves.reduce((sum, leaf) => sum + leaf.pages, 0);
    const bytes = leaves.reduce((sum, leaf) => sum + leaf.bytes, 0);
    const perRange = Math.max(1, Math.floor((this.#rangeBytes * pages) / Math.max(bytes, 1)));
    return tidRanges(leaves, perRange, done).map(formatTidRange);
  }

  /** One range by place. Where the spool is full before its end, its first half is tried instead, and so on. */
  async #tidChunk(table: TableSchema, state: CopyState, asked: TidRange, signal: AbortSignal): Promise<CopiedChunk> {
    const pace = this.#pace(table);
    let range = asked;
    for (;;) {
      await using session = await this.#deps.open(signal);
      const chunk = await beginChunk(this.#deps, session, table, [range.leaf], state);
      const pages = await tablePages(session, range.leaf);
      const narrowed = firstPages(range, pace.pages, pages);
      if (narrowed !== null) [range] = narrowed;
      const spool = new Spool(halved(range, pages) === null ? Infinity : this.#spoolBytes);
      const started = this.#deps.clock.monotonic();
      const leaf = chunk.names.get(range.leaf) ?? '';
      const how = await this.#fill(session, spool, chunk.table, copyTids(chunk.table.schema, leaf, range));
      if (how === 'ended') {
        const taken = Math.min(range.to?.page ?? pages, pages) - range.from.page;
        pace.took(Math.max(taken, 1), this.#deps.clock.monotonic() - started, spool.bytes / this.#spoolBytes);
        const rest = sameEnd(range, asked) ? null : formatTidRange({ leaf: range.leaf, from: range.to ?? asked.from, to: asked.to });
        return await this.#ended(session, chunk, { range: formatTidRange(range), rest, spool });
      }
      const half = halved(range, pages);
      if (half !== null) [range] = half;
      pace.overflowed(Math.max(1, (range.to?.page ?? pages) - range.from.page));
    }
  }

  /** One range by key, as many rows as the spool takes. */
  async #keyChunk(table: TableSchema, state: CopyState, asked: KeyRange, signal: AbortSignal): Promise<CopiedChunk> {
    await using session = await this.#deps.open(signal);
    const chunk = await beginChunk(this.#deps, session, table, await this.#allLeaves(session, table), state);
    const pace = this.#pace(table);
    const limit = pace.rows;
    const spool = new Spool(this.#spoolBytes);
    const started = this.#deps.clock.monotonic();
    const how = await this.#fill(session, spool, chunk.table, copyKeys(await keyed(session, chunk, table), asked, limit));
    pace.tookRows(spool.rows, this.#deps.clock.monotonic() - started);
    const last = lastKey(spool);
    if (last === null || (how === 'ended' && spool.rows < limit)) {
      return await this.#ended(session, chunk, { range: formatKeyRange(asked), rest: null, spool });
    }
    const range = formatKeyRange({ after: asked.after, to: last });
    return await this.#ended(session, chunk, { range, rest: formatKeyRange({ after: last, to: asked.to }), spool }, how);
  }

  async #ended(
    session: Session,
    chunk: ChunkTransaction,
    parts: { range: string; rest: string | null; spool: Spool },
    how: 'ended' | 'enough' = 'ended',
  ): Promise<CopiedChunk> {
    const view = how === 'ended' ? await endOfChunk(session, chunk.view) : chunk.view;
    // A commit, not an abort: what reading wrote to the WAL (hint bits, with checksums on) is flushed soon only after one,
    // and the stream cannot pass what is not flushed.
    if (how === 'ended') await session.query('COMMIT');
    return new SpooledChunk({ schema: chunk.table.schema, view, ...parts });
  }

  #fill(session: Session, spool: Spool, table: DescribedTable, statement: string): Promise<'ended' | 'enough'> {
    const decoder = new CopyTextDecoder(
      { actions: table.actions, key: table.schema.key, width: table.width, hash: (value) => this.#deps.hash(value) },
      (records, count) => spool.add(records, count),
    );
    return copyOut(session.client, statement, (row) => {
      decoder.row(row);
      return !spool.isFull;
    }).then((how) => {
      decoder.flush();
      return how;
    });
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

function modeOf(table: TableSchema, session: Session): CopyMode {
  if (table.keyKind === 'none') return 'whole';
  return session.version >= TID_RANGE_SCAN ? 'ctid' : 'key';
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
