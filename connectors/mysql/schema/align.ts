import { foldCase } from '../ddl/context.ts';
import type { TableShape } from '../ddl/shape.ts';

/**
 * A shape that was read at the server, with the numbers of the shape that was known before: a column that has the name of
 * one of that is taken for it, any other is new. (Values are all copied again, so that nothing hangs on the guess but what a
 * sink calls a rename.)
 */
export function alignShape(before: TableShape | null, read: TableShape): TableShape {
  if (before === null) return read;
  const known = new Map(before.columns.map(({ name, number }) => [foldCase(name), number]));
  const numbers = new Map<number, number>();
  let next = before.nextNumber;
  for (const { name, number } of read.columns) numbers.set(number, known.get(foldCase(name)) ?? next++);
  const numberOf = (number: number): number => numbers.get(number) ?? number;
  return {
    ...read,
    columns: read.columns.map((column) => ({ ...column, number: numberOf(column.number) })),
    keys: read.keys.map((key) => ({ ...key, parts: key.parts.map((part) => ({ ...part, column: part.column === null ? null : numberOf(part.column) })) })),
    nextNumber: next,
  };
}
