/** Whether a table's rows can be read now in a shape that the log has. Pure. */
import type { Column, TableSchema } from '../../../contracts/schema.ts';

/**
 * Columns are found by their number, whatever they are called. The source may have more than the log knows yet.
 * @param logged the shape that is asked for
 * @param now the table as the stream has followed it
 * @returns the shape as it is to be read, with the names that its columns have now; or why not, for people
 */
export function readingOf(logged: TableSchema, now: TableSchema): TableSchema | string {
  const columns: Column[] = [];
  for (const column of logged.columns) {
    const found = now.columns.find(({ number }) => number === column.number);
    if (found === undefined) return `the source does not have the column ${column.name} any more, or does not send it`;
    if (found.hashed !== column.hashed) return `the column ${column.name} is hashed in another way than in the log`;
    if (!keepsForm(column, found)) return `the column ${column.name} is ${found.nativeType} at the source and ${column.nativeType} in the log`;
    columns.push(found);
  }
  if (keyNumbers(logged) !== keyNumbers(now)) return 'the table has another key at the source than in the log';
  return { ...logged, namespace: now.namespace, name: now.name, columns };
}

const INTEGERS: ReadonlySet<string> = new Set(['int16', 'int32', 'int64', 'uint64']);

/** Values of both have the same canonical text. */
function keepsForm({ type: a }: Column, { type: b }: Column): boolean {
  if (INTEGERS.has(a.kind) && INTEGERS.has(b.kind)) return true;
  if (a.kind === 'text' && b.kind === 'text') return true;
  return JSON.stringify({ ...a, name: '' }) === JSON.stringify({ ...b, name: '' });
}

function keyNumbers({ columns, key }: TableSchema): string {
  return key.map((at) => columns[at]?.number).join();
}
