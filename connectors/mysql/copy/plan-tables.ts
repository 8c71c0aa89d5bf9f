/** Steps 1 and 2 of docs/protocol-copy.md for several tables at once: one settling, one reading of the catalog. */
import type { CopyPlan } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { PlanRequest } from '../../relational/gathered-copier.ts';
import { lockedOr, type ChunkReader } from './chunk-reader.ts';
import { boundTexts, formatCopyState, parseCopyState, plannedRanges, whyVoid, type CopyState } from './copy-state.ts';
import { boundsOf } from './key-bounds.ts';
import { formatKeyRange, rangesLeft, WHOLE_RANGE } from './key-ranges.ts';
import { reliesOn, type ReadTable } from './read-table.ts';
import type { RowSession } from './row-session.ts';
import { LOCK_WAIT_S } from './take-view.ts';

/** Ranges of a plan at most; each is copied in as many pieces as it takes. */
const MOST_RANGES = 64;

export interface PlannedTable extends CopyPlan {
  /** The table as it was read. */
  readonly read: ReadTable;
}

/**
 * A plan for each, or why there is none.
 * @param rangeBytes what is aimed at for a range, in bytes of the table
 * @throws TidemarkError where the session is lost
 */
export async function planTables(reader: ChunkReader, session: RowSession, asked: readonly PlanRequest[], rangeBytes: number): Promise<(PlannedTable | TidemarkError)[]> {
  // Else the sizes may be a day old.
  if (session.session.version.flavor === 'mysql') await session.query('SET SESSION information_schema_stats_expiry = 0');
  const tables = await reader.tablesOf(session, asked.map(({ table }) => table));
  const plans: (PlannedTable | TidemarkError)[] = [];
  for (const [at, request] of asked.entries()) {
    const read = tables[at] ?? new TidemarkError('INTERNAL', 'a table that was asked for was not read');
    plans.push(read instanceof TidemarkError ? read : await planOf(session, request, read, rangeBytes));
  }
  return plans;
}

async function planOf(session: RowSession, { table: asked, resume }: PlanRequest, read: ReadTable, rangeBytes: number): Promise<PlannedTable | TidemarkError> {
  try {
    const relied = reliesOn(read);
    const state = resume === null ? { ...relied, bounds: await boundsFor(session, read, rangeBytes) } : resumed(asked, resume.copyState, relied);
    return {
      table: asked,
      copyState: formatCopyState(state),
      ranges: state.mode === 'whole' ? [WHOLE_RANGE] : rangesLeft(plannedRanges(state), resume?.done ?? []).map(formatKeyRange),
      estimatedRows: read.estimatedRows,
      estimatedBytes: read.estimatedBytes,
      whole: state.mode === 'whole',
      read,
    };
  } catch (error) {
    if (error instanceof TidemarkError && session.isUsable) return error;
    throw error;
  }
}

async function boundsFor(session: RowSession, table: ReadTable, rangeBytes: number): Promise<string[]> {
  const ranges = rangeCount(table.estimatedBytes, rangeBytes);
  if (table.keyParts.length === 0 || ranges === 1) return [];
  try {
    await session.query(`SET SESSION lock_wait_timeout = ${LOCK_WAIT_S}`);
    return boundTexts(await boundsOf(session, table, ranges));
  } catch (error) {
    throw lockedOr(error, table.schema);
  }
}

/** How many ranges a table of so many bytes is to have. */
export function rangeCount(bytes: number, rangeBytes: number): number {
  return Math.max(1, Math.min(MOST_RANGES, Math.ceil(bytes / rangeBytes)));
}

function resumed(asked: TableSchema, copyState: string, now: Pick<CopyState, 'mode' | 'key' | 'hashed'>): CopyState {
  const before = parseCopyState(copyState);
  const why = now.mode === 'whole' ? 'a table without a key is copied whole' : whyVoid(before, now);
  if (why !== null) throw new TidemarkError('COPY_VOID', why, { where: { table: tableName(asked) } });
  return before;
}
