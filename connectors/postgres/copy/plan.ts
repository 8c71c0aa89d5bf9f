/** Steps 1 and 2 of docs/protocol-copy.md for many tables at once: one settling, one reading of the catalog. */
import type { CopyPlan } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { PlanRequest } from '../../relational/gathered-copier.ts';
import type { CopierDeps, DescribedTable } from './copier-deps.ts';
import { formatKeyRange, formatTidRange, parseKeyRange, tidRanges, WHOLE_RANGE } from './ranges.ts';
import { copyStateOf, formatCopyState, parseCopyState, whyVoid, type CopyMode } from './state.ts';
import { gone, LOCK_TIMEOUT_MS, lockedError, lockRefusal, presentNames } from './transaction.ts';
import type { WalIdentity } from '../position.ts';
import type { Session } from '../session.ts';
import { leavesOfAll, type LeafSize } from './table-size.ts';

const TID_RANGE_SCAN = 140_000;

export function modeOf(table: TableSchema, session: Session): CopyMode {
  if (table.keyKind === 'none') return 'whole';
  return session.version >= TID_RANGE_SCAN ? 'ctid' : 'key';
}

/**
 * A plan for each, or why there is none.
 * @param rangeBytes what is aimed at for a range, in bytes of the heap
 * @throws TidemarkError where the session is lost
 */
export async function planTables(deps: CopierDeps, session: Session, asked: readonly PlanRequest[], rangeBytes: number): Promise<(CopyPlan | TidemarkError)[]> {
  let described: Map<string, DescribedTable>;
  let leaves: Map<string, LeafSize[]>;
  try {
    await session.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    const tables = await deps.describe(session, asked.map(({ table }) => table.sourceTableId));
    described = new Map(tables.map((table) => [table.schema.sourceTableId, table]));
    // Sizes are not told of a table that is locked.
    leaves = await leavesOfAll(session, tables);
  } catch (error) {
    const isHeld = lockRefusal(error) === 'held';
    if (!(error instanceof TidemarkError) || (error.retry === 'auto' && !isHeld)) throw error;
    const [only] = asked;
    if (only !== undefined && asked.length === 1) return [isHeld ? await lockedError(session, [await nameOf(session, only.table)], only.table, error) : error];
    // One of them cannot be described: each by itself finds out whether it is the one.
    const plans: (CopyPlan | TidemarkError)[] = [];
    for (const one of asked) plans.push(...(await planTables(deps, session, [one], rangeBytes)));
    return plans;
  }
  const identity = await deps.identity(session);
  return asked.map((request) => {
    const table = described.get(request.table.sourceTableId);
    if (table === undefined) return gone(request.table, 'the table is not there any more');
    return planOf(request, table, identity, leaves.get(request.table.sourceTableId) ?? [], { mode: modeOf(request.table, session), rangeBytes });
  });
}

async function nameOf(session: Session, { sourceTableId }: TableSchema): Promise<string> {
  return (await presentNames(session, [sourceTableId])).get(sourceTableId) ?? '';
}

function planOf(
  { table, resume }: PlanRequest,
  described: DescribedTable,
  identity: WalIdentity,
  leaves: readonly LeafSize[],
  { mode, rangeBytes }: { mode: CopyMode; rangeBytes: number },
): CopyPlan | TidemarkError {
  const state = copyStateOf(described, identity, mode);
  try {
    if (resume !== null) {
      const why = mode === 'whole' ? 'a table without a key is copied whole' : whyVoid(parseCopyState(resume.copyState), state);
      if (why !== null) throw new TidemarkError('COPY_VOID', why, { where: { table: tableName(table) } });
    }
    return {
      table,
      copyState: formatCopyState(state),
      ranges: rangesOf(mode, leaves, resume?.done ?? [], rangeBytes),
      estimatedRows: leaves.reduce((sum, leaf) => sum + leaf.rows, 0),
      estimatedBytes: leaves.reduce((sum, leaf) => sum + leaf.bytes, 0),
      whole: mode === 'whole',
    };
  } catch (error) {
    if (error instanceof TidemarkError) return error;
    throw error;
  }
}

function rangesOf(mode: CopyMode, leaves: readonly LeafSize[], done: readonly string[], rangeBytes: number): string[] {
  if (mode === 'whole') return [WHOLE_RANGE];
  if (mode === 'key') {
    const last = done.map(parseKeyRange).findLast((range) => range !== null) ?? null;
    if (last !== null && last.to === null) return [];
    return [formatKeyRange({ after: last?.to ?? null, to: null })];
  }
  const pages = leaves.reduce((sum, leaf) => sum + leaf.pages, 0);
  const bytes = leaves.reduce((sum, leaf) => sum + leaf.bytes, 0);
  const perRange = Math.max(1, Math.floor((rangeBytes * pages) / Math.max(bytes, 1)));
  return tidRanges(leaves, perRange, done).map(formatTidRange);
}
