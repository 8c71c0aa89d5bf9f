/** Whether a table's rows can be read now in a shape that the log has. Pure. */
import type { TableSchema } from '../../../contracts/schema.ts';
import type { ColumnAction } from '../../../contracts/types/postgres-copy-text.ts';
import type { DescribedTable } from '../copy/copier-deps.ts';
import { keyNumbers } from '../schema/table-shape.ts';
import { keepsForm } from '../schema/type-change.ts';

/** How rows are read in a shape of the log. */
export interface RowsReading {
  /** The shape, with the names that its columns have at the source now. */
  readonly schema: TableSchema;
  /** One for each of its columns. */
  readonly actions: readonly ColumnAction[];
}

/**
 * Columns are found by their number, whatever they are called. The source may have more than the log knows yet.
 * @param logged the shape that is asked for
 * @param now the table as the source has it
 * @returns why not, for people
 */
export function readingOf(logged: TableSchema, now: DescribedTable): RowsReading | string {
  const places = logged.columns.map(({ number }) => now.schema.columns.findIndex((column) => column.number === number));
  const columns = [...logged.columns];
  const actions: ColumnAction[] = [];
  for (const [index, column] of logged.columns.entries()) {
    const place = places[index] ?? -1;
    const found = now.schema.columns[place];
    const action = now.actions[place];
    if (found === undefined || action === undefined) return `the source does not have the column ${column.name} any more, or does not send it`;
    if (found.hashed !== column.hashed) return `the column ${column.name} is hashed in another way than in the log`;
    if (!keepsForm(column, found)) return `the column ${column.name} is ${found.nativeType} at the source and ${column.nativeType} in the log`;
    columns[index] = { ...column, name: found.name };
    actions.push(action);
  }
  if (!sameSet(keyNumbers(logged), keyNumbers(now.schema))) return 'the table has another key at the source than in the log';
  return { schema: { ...logged, columns }, actions };
}

/** The order of a key's columns is the log's own where the source does not send it. */
function sameSet(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((number) => b.includes(number));
}
