/** Whether a change of a table's definition changed values that the log has, without row events. Pure. */
import type { TableSchema } from '../../../contracts/schema.ts';
import type { Fill } from '../ddl/shape.ts';

/**
 * Why the table must be copied again, for people; null: every row in the log is still as at the source.
 * `added` and `rewritten` as AlteredTable has them, by number of columns.
 */
export function recopyReason(before: TableSchema, next: TableSchema, added: ReadonlyMap<number, Fill>, rewritten: ReadonlySet<number>): string | null {
  for (const column of next.columns) {
    const known = before.columns.find(({ number }) => number === column.number);
    if (known === undefined) {
      if (!added.has(column.number)) return `column ${column.name} was left out`;
      if (added.get(column.number)?.kind === 'unknown') return `column ${column.name} was added, with values that the statement does not tell`;
    } else if (known.hashed !== column.hashed) return `the values of column ${column.name} are hashed in another way`;
    else if (rewritten.has(column.number)) {
      const how = known.nativeType === column.nativeType ? 'was changed' : `changed from ${known.nativeType} to ${column.nativeType}`;
      return `column ${column.name} ${how}, and values of it may have`;
    }
  }
  return null;
}
