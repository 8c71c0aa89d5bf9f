/**
 * Small tables are copied many at a time: one transaction, one snapshot, one wait for the stream, so that a database of
 * thousands of them does not wait thousands of times. Each gets a chunk of its own, and steps 3 to 6 of
 * docs/protocol-copy.md hold for each.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { CopyPlan } from '../../../contracts/connector.ts';
import { ALONE, type GroupAnswer } from '../../relational/gathered-copier.ts';
import type { Lease } from '../../relational/session-pool.ts';
import { Spool } from '../../relational/spooled-chunk.ts';
import type { ChunkReader } from './chunk-reader.ts';
import type { CopierDeps, FollowedShape } from './copier-deps.ts';
import { selectRange, touch } from './copy-sql.ts';
import type { CopyState } from './copy-state.ts';
import type { KeyRange } from './key-ranges.ts';
import { pieceOf } from './key-piece.ts';
import { spoolRows, type Spooled } from './read-rows.ts';
import { requireValid, type ReadTable } from './read-table.ts';
import type { RowSession } from './row-session.ts';
import type { SourceView } from './source-view.ts';
import { streamPassed } from './stream-wait.ts';
import { takeUnlocked } from './take-view.ts';

/** Once their rows are so many bytes, the tables that are left are copied one by one. */
const GROUP_BYTES = 8 << 20;
const BUFFER_BYTES = 16 << 10;
/** How long the transaction waits for a table whose definition is being changed, with the tables before held: the least that servers take. */
const LOCK_WAIT_S = 1;

/** A range of a small table, nearly always all of it. */
export interface SmallTable {
  /** A table whose rows are more than this, because they are stored packed or its size is out of date, is copied alone. */
  readonly mostBytes: number;
  /** What is behind so many rows is left for another chunk. */
  readonly mostRows: number;
  readonly plan: CopyPlan;
  readonly state: CopyState;
  readonly range: KeyRange;
}

interface Ready {
  readonly small: SmallTable;
  readonly followed: FollowedShape;
  readonly table: ReadTable;
}

/**
 * One chunk for each table, from one transaction. What stands in the way of any of them is found out by each by itself:
 * all go alone then.
 * @param lease gets the session; it is given back as soon as the rows are read
 * @throws TidemarkError where the session is lost; `ABORTED`
 */
export async function copyTogether(
  deps: CopierDeps,
  reader: ChunkReader,
  lease: () => Promise<Lease<RowSession>>,
  asked: readonly SmallTable[],
  signal: AbortSignal,
): Promise<readonly GroupAnswer[]> {
  const answers = new Map<SmallTable, GroupAnswer>();
  let read: readonly Ready[];
  let view: SourceView | null;
  {
    await using held = await lease();
    read = await readyOf(reader, held.session, asked, answers);
    view = await readAll(deps, held, read, answers, signal);
  }
  if (view !== null) {
    // What was changed up to the snapshot's end the stream has told by then.
    await streamPassed(deps.stream, view, signal);
    for (const { small, followed } of read) {
      const chunk = answers.get(small);
      if (chunk === undefined || 'alone' in chunk || chunk instanceof TidemarkError || reader.isSame(followed)) continue;
      await chunk[Symbol.asyncDispose]();
      answers.set(small, ALONE);
    }
  }
  return asked.map((small) => answers.get(small) ?? ALONE);
}

/** Those that can be read together, as the stream has followed them and the server has them. */
async function readyOf(reader: ChunkReader, session: RowSession, asked: readonly SmallTable[], answers: Map<SmallTable, GroupAnswer>): Promise<Ready[]> {
  const tables = await reader.tablesOf(session, asked.map(({ plan }) => plan.table));
  return asked.flatMap((small, at) => {
    const table = tables[at];
    if (table === undefined || table instanceof TidemarkError || !table.isVersioned) return [];
    try {
      const followed = reader.follow(small.plan.table);
      requireValid(small.plan.table, small.state, table);
      return followed.schema === table.schema ? [{ small, followed, table }] : [];
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      answers.set(small, error);
      return [];
    }
  });
}

/** Null: nothing was read, and each is to be read by itself. */
async function readAll(
  deps: CopierDeps,
  lease: Lease<RowSession>,
  read: readonly Ready[],
  answers: Map<SmallTable, GroupAnswer>,
  signal: AbortSignal,
): Promise<SourceView | null> {
  const { session } = lease;
  if (read.length === 0) {
    lease.keep();
    return null;
  }
  try {
    await session.query(`SET SESSION lock_wait_timeout = ${LOCK_WAIT_S}`);
    const view = await takeUnlocked(session, { exact: false, touches: read.map(({ table }) => touch(table)), clock: deps.clock, signal });
    const isWhole = view !== null && (await readRows(session, view, read, answers));
    // Otherwise the session is in the middle of a result.
    if (isWhole) await session.query('COMMIT');
    if (isWhole || view === null) lease.keep();
    return view;
  } catch (error) {
    // A lost session is nobody's fault; what else it is, is one table's.
    if (!(error instanceof TidemarkError) || !session.isUsable) throw error;
    answers.clear();
    await session.query('ROLLBACK');
    lease.keep();
    return null;
  }
}

/** False: the session is in the middle of a result, and the tables from there on were not read. */
async function readRows(session: RowSession, view: SourceView, read: readonly Ready[], answers: Map<SmallTable, GroupAnswer>): Promise<boolean> {
  let bytes = 0;
  for (const { small, table } of read) {
    if (bytes > GROUP_BYTES) return true;
    const spool = new Spool(small.mostBytes);
    const spooled = await spooledOf(session, table, small, spool);
    if (spooled === null) return false;
    bytes += spool.bytes;
    answers.set(small, pieceOf({ table, asked: small.range, limit: small.mostRows, spool, view, ...spooled }));
  }
  return true;
}

/** Null: there are too many rows, or one that cannot be read. */
async function spooledOf(session: RowSession, table: ReadTable, { range, mostRows }: SmallTable, spool: Spool): Promise<Spooled | null> {
  try {
    const spooled = await spoolRows(session, table, selectRange(table, range, mostRows), spool, BUFFER_BYTES);
    return spooled.how === 'enough' ? null : spooled;
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.retry === 'auto' || session.isUsable) throw error;
    return null;
  }
}
