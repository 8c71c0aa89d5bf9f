/**
 * Rows that may stand at the replica before its checkpoint says so: of a table under copy, or of a load from the log's base.
 * Nobody takes such a table for the source's as of the checkpoint, and whatever is cut off, the same keys come again from
 * the checkpoint on, each with its row or its delete. So they need not be in the checkpoint's transaction: several sessions
 * load them side by side, and the checkpoint follows once all of them are committed.
 */
import type { FoldedTable, RecordRef } from '../../contracts/sink.ts';
import type { CheckpointMove } from '../relational/apply-line.ts';
import { inKeyOrder } from '../relational/key-order.ts';
import type { WriteRules } from './statement.ts';
import type { TablePlan } from './table-plan.ts';

/** Below this many rows one session is as quick. */
const LOOSE_FROM_ROWS = 4_096;

export interface LooseRows {
  readonly plan: TablePlan;
  /** In the order of the key, each key once. */
  readonly refs: readonly RecordRef[];
}

export interface SplitChange {
  readonly loose: LooseRows | null;
  /** What is left for the checkpoint's transaction; null: nothing. */
  readonly bound: FoldedTable | null;
}

/** The rows of a table that need not wait for the checkpoint's transaction; its deletes do. */
export function splitChange(change: FoldedTable, plan: TablePlan, move: CheckpointMove, rules: WriteRules): SplitChange {
  const { schema, upserts, inserts, deletes } = change;
  const rows = upserts.length + inserts.length;
  const isRepeated = change.copying || (move.cursor !== null && move.to === 0);
  if (!isRepeated || !rules.loadData || rows < LOOSE_FROM_ROWS || change.truncate || !canRepeat(plan)) return { loose: null, bound: change };
  const refs = inKeyOrder(upserts.length === 0 ? inserts : [...upserts, ...inserts], schema);
  return { loose: { plan, refs }, bound: deletes.length === 0 ? null : { ...change, upserts: [], inserts: [] } };
}

/**
 * A row that comes again replaces itself and nothing else. Of the primary key alone: looking for a duplicate in another
 * unique index locks the gaps beside it, in which other sessions write.
 */
function canRepeat({ keyed, isSoleUnique, table, extraColumns, columns }: TablePlan): boolean {
  return keyed && isSoleUnique && extraColumns.length === 0 && columns.length > 0 && table.indexes.some(({ name, unique }) => unique && name === 'PRIMARY');
}
