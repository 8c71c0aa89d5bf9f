import type { Op } from '../../../contracts/op.ts';
import type { EnumLabels } from '../schema/enum-labels.ts';
import type { Relation } from './relation.ts';
import type { RowPlan } from './row-plan.ts';
import type { RowWidth } from './row-width.ts';

/** Where the rows of a relation go. */
export interface Route {
  readonly relation: Relation;
  /** False: the table is not captured, its rows are passed over. */
  readonly captured: boolean;
  readonly tableId: number;
  readonly version: number;
  /** Indexes into the image's columns, in key order; empty: keyless. */
  readonly key: readonly number[];
  readonly plan: RowPlan;
  /** Bounds for tuples as they come; null: no row needs to be remembered as wide. */
  readonly width: RowWidth | null;
  /** Null: no column of it is of an enum. */
  readonly enums: EnumLabels | null;
  /** Schema and control records that stand before the route's next record; emptied when written. */
  readonly before: PendingRecord[];
}

export interface PendingRecord {
  readonly op: typeof Op.schema | typeof Op.control;
  readonly tableId: number;
  readonly version: number;
  readonly payload: Buffer;
}
