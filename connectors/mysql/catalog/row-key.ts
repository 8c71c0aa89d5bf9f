/** What identifies the rows of a table. */
import type { KeyKind } from '../../../contracts/schema.ts';
import type { ColumnShape, KeyShape, TableShape } from '../ddl/shape.ts';

export interface RowKey {
  readonly kind: KeyKind;
  /** Numbers of columns, in key order; empty: nothing identifies a row. */
  readonly numbers: readonly number[];
}

const NO_KEY: RowKey = { kind: 'none', numbers: [] };

/**
 * The primary key, else the unique index over columns that are never null, the one of fewest columns, then the first by
 * name. An index with a prefix or an expression identifies nothing by columns, and a virtual column has no bytes of its own.
 */
export function keyOf(shape: Pick<TableShape, 'columns' | 'keys'>): RowKey {
  const columns = new Map(shape.columns.map((column) => [column.number, column]));
  const usable = shape.keys.flatMap((key) => {
    const numbers = key.kind === 'index' ? null : usableNumbers(columns, key);
    return numbers === null ? [] : [{ kind: key.kind, name: key.name, numbers }];
  });
  const primary = usable.find(({ kind }) => kind === 'primary');
  if (primary !== undefined) return { kind: 'primary', numbers: primary.numbers };
  const [identity] = usable.toSorted((a, b) => a.numbers.length - b.numbers.length || (a.name < b.name ? -1 : 1));
  return identity === undefined ? NO_KEY : { kind: 'identity', numbers: identity.numbers };
}

function usableNumbers(columns: ReadonlyMap<number, ColumnShape>, key: KeyShape): number[] | null {
  const usable: number[] = [];
  for (const part of key.parts) {
    const column = part.column === null ? undefined : columns.get(part.column);
    if (column === undefined || part.length !== null || column.nullable || column.generated === 'virtual') return null;
    // MariaDB adds the end of a row version to keys; current rows all have the same one.
    if (column.rowBound !== 'end') usable.push(column.number);
  }
  return usable.length === 0 ? null : usable;
}
