import type { ColumnDefinition } from './column-definition.ts';

/** What a column holds where an INSERT leaves it out. A default of NULL is `none`. */
export type ColumnDefault =
  | { readonly kind: 'none' }
  /** As canonical text; bytes as `\x` and hexadecimal digits. */
  | { readonly kind: 'constant'; readonly text: string }
  /** Computed for each row, or a constant whose canonical text cannot be told for sure. */
  | { readonly kind: 'expression' };

export interface ColumnShape {
  /** Kept through rename and change; never given to another column of the table. From 1. */
  readonly number: number;
  readonly name: string;
  /** As COLUMN_TYPE prints it. */
  readonly type: string;
  /** Null where the type has none. */
  readonly collation: string | null;
  readonly nullable: boolean;
  readonly default: ColumnDefault;
  readonly generated: ColumnDefinition['generated'];
  readonly invisible: boolean;
  readonly autoIncrement: boolean;
  /** MariaDB: text that a check keeps to JSON. */
  readonly json: boolean;
  readonly rowBound: ColumnDefinition['rowBound'];
}

export interface KeyShape {
  /** `PRIMARY` for the primary key. */
  readonly name: string;
  readonly kind: 'primary' | 'unique' | 'index';
  /** In key order; `column` is a column's number, null for an expression. `length`: of a prefix; null: the whole value,
   * or, of an index that is not unique, as much of it as the server takes. */
  readonly parts: readonly { readonly column: number | null; readonly length: number | null }[];
  /** Made for a foreign key; goes when another index serves it. */
  readonly generated: boolean;
}

/** A table's columns and keys between two statements. Immutable. */
export interface TableShape {
  /** In the order of the table, which is that of row events. */
  readonly columns: readonly ColumnShape[];
  readonly keys: readonly KeyShape[];
  /** The next column's number: above every number ever given. */
  readonly nextNumber: number;
  /** The default of columns of text that are added. */
  readonly collation: string;
  readonly systemVersioned: boolean;
  /** Columns of the server's own, for indexes over expressions, may stand before a column of these. Left out: all are behind. */
  readonly hiddenInside?: true;
}

/** MySQL before 8.0.18 writes a hidden column for each into its rows. */
export function functionalParts(keys: readonly KeyShape[]): number {
  return keys.reduce((sum, { parts }) => sum + parts.filter(({ column }) => column === null).length, 0);
}

/** The value of a column just added, in the rows that were there before. `unknown`: computed for each row. */
export type Fill = { readonly kind: 'null' } | { readonly kind: 'constant'; readonly text: string } | { readonly kind: 'unknown' };

/** The shape of a table made LIKE this one: numbers begin anew. */
export function shapeLike(shape: TableShape): TableShape {
  const numbers = new Map(shape.columns.map((column, index) => [column.number, index + 1]));
  const numberOf = (column: number | null): number | null => (column === null ? null : (numbers.get(column) ?? null));
  return {
    ...shape,
    columns: shape.columns.map((column, index) => ({ ...column, number: index + 1 })),
    keys: shape.keys.map((key) => ({ ...key, generated: false, parts: key.parts.map((part) => ({ ...part, column: numberOf(part.column) })) })),
    nextNumber: shape.columns.length + 1,
  };
}
