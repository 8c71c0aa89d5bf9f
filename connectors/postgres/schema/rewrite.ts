/**
 * Whether a change of a table's definition changed values, or brought or took rows, without row events. Pure: decides
 * from what the log has, what is to come, and two readings of the catalog.
 */
import type { Column, TableSchema } from '../../../contracts/schema.ts';
import type { SourceTable } from '../catalog/source-table.ts';
import { keepsForm } from './type-change.ts';

export interface RewriteWitnesses {
  readonly logged: TableSchema;
  readonly next: TableSchema;
  /** The catalog of now; null: the table is gone. */
  readonly table: SourceTable | null;
  /** The catalog when the table was last known to be as the log has it; null: not read since the start. */
  readonly last: SourceTable | null;
  /** What changed in the storage of a partitioned table brought no rows and took none. */
  readonly storageHarmless: boolean;
}

/** Why the table must be copied again, for people; null: every row in the log is still as at the source. */
export function rewriteReason(witnesses: RewriteWitnesses): string | null {
  const { logged, next, storageHarmless } = witnesses;
  if (logged.storage !== undefined && next.storage !== undefined && logged.storage !== next.storage && !storageHarmless) {
    return 'partitions were attached, detached, dropped, truncated alone or rewritten';
  }
  if ((logged.storage === undefined) !== (next.storage === undefined)) return 'the table was made partitioned, or is no longer';
  if (logged.published !== undefined && next.published !== undefined && logged.published !== next.published) {
    return 'the publication was changed: it may have left out changes of the table';
  }
  for (const column of next.columns) {
    const before = logged.columns.find((one) => one.number === column.number);
    const why = before === undefined ? addedReason(witnesses, column) : changedReason(witnesses, before, column);
    if (why !== null) return why;
  }
  return null;
}

function changedReason({ table, last }: RewriteWitnesses, before: Column, column: Column): string | null {
  if (before.hashed !== column.hashed) return `the values of column ${column.name} are hashed in another way`;
  if (!keepsForm(before, column)) return `column ${column.name} changed its type from ${before.nativeType} to ${column.nativeType}`;
  const now = table?.columns.find((one) => one.number === column.number);
  const then = last?.columns.find((one) => one.number === column.number);
  if (now !== undefined && then !== undefined && now.expression !== null && then.expression !== null && now.expression !== then.expression) {
    return `the expression of the generated column ${column.name} changed`;
  }
  return null;
}

function addedReason({ logged, next, table, last }: RewriteWitnesses, column: Column): string | null {
  const namesake = logged.columns.find((one) => one.name === column.name);
  if (namesake !== undefined && !next.columns.some((one) => one.number === namesake.number)) {
    return `column ${column.name} was dropped and added again`;
  }
  if (logged.unseen?.includes(column.number) === true) return `column ${column.name} was left out`;
  const now = table?.columns.find((one) => one.number === column.number);
  // Gone again: what rows had in it does not matter any more. A fill value is known to be what older rows have.
  if (now === undefined || now.hasMissing) return null;
  const newest = logged.columns.reduce((most, one) => Math.max(most, one.number), 0);
  const then = last?.columns.find((one) => one.number === column.number);
  const hidden = then !== undefined && then.generated !== 'no';
  if (column.number < newest || hidden) return `column ${column.name} was there before, but was not sent`;
  const rewritten = last === null ? mayHaveValues(column, now.hasDefault) : last.storage !== table?.storage;
  return rewritten ? `column ${column.name} was added with a value that the catalog does not tell` : null;
}

/** Without a reading from before: what a plain nullable column without default never has. */
function mayHaveValues(column: Column, hasDefault: boolean): boolean {
  return hasDefault || !column.nullable || column.identity !== 'no' || column.generated !== 'no';
}
