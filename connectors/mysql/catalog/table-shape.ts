/** Tables as `information_schema` describes them at one moment. */
import type { KeyKind } from '../../../contracts/schema.ts';
import type { MysqlType } from '../../../contracts/types/mysql-types.ts';

export interface TableRef {
  readonly namespace: string;
  readonly name: string;
}

export type ColumnDefault =
  /** None, or NULL. */
  | { readonly kind: 'none' }
  /** Canonical text (of bytes: `\x` and hexadecimal digits). */
  | { readonly kind: 'constant'; readonly text: string }
  /** An expression, or a constant that the catalog does not tell whole. */
  | { readonly kind: 'other' };

export interface ShapeColumn {
  readonly name: string;
  readonly type: MysqlType;
  readonly nullable: boolean;
  readonly default: ColumnDefault;
  readonly generated: 'no' | 'stored' | 'virtual';
  /** `SELECT *` leaves it out. */
  readonly invisible: boolean;
  readonly autoIncrement: boolean;
  /** The user may read it. */
  readonly readable: boolean;
}

export interface UniqueIndex {
  readonly name: string;
  /** Indexes into `columns`, in the index's order; null: an expression. */
  readonly columns: readonly (number | null)[];
  /** Some column counts with its beginning only. */
  readonly hasPrefix: boolean;
}

export interface TableShape extends TableRef {
  readonly engine: string;
  /** `Dynamic`, `Compressed` …; '': not known. */
  readonly rowFormat: string;
  /** In the order of the table, invisible and generated ones among them: as the row events have them. */
  readonly columns: readonly ShapeColumn[];
  /** PRIMARY first, then by name. */
  readonly uniqueIndexes: readonly UniqueIndex[];
  readonly isPartitioned: boolean;
  /** MariaDB's system versioning: rows of the past stay in the table. */
  readonly isVersioned: boolean;
}

export interface ShapeKey {
  readonly kind: KeyKind;
  /** Indexes into `columns`, in key order; empty: nothing identifies a row. */
  readonly columns: readonly number[];
}

const NO_KEY: ShapeKey = { kind: 'none', columns: [] };

/**
 * What identifies a row: the primary key, else the unique index over columns that are never null, the one of fewest
 * columns, then the first by name. An index with a prefix or an expression identifies nothing by columns, and a
 * virtual column has no bytes of its own.
 */
export function keyOf(shape: Pick<TableShape, 'columns' | 'uniqueIndexes'>): ShapeKey {
  const usable = shape.uniqueIndexes.flatMap((index) => {
    const columns = usableColumns(shape.columns, index);
    return columns === null ? [] : [{ name: index.name, columns }];
  });
  const primary = usable.find(({ name }) => name === 'PRIMARY');
  if (primary !== undefined) return { kind: 'primary', columns: primary.columns };
  const [identity] = usable.toSorted((a, b) => a.columns.length - b.columns.length || (a.name < b.name ? -1 : 1));
  return identity === undefined ? NO_KEY : { kind: 'identity', columns: identity.columns };
}

function usableColumns(columns: readonly ShapeColumn[], index: UniqueIndex): number[] | null {
  if (index.hasPrefix) return null;
  const usable: number[] = [];
  for (const at of index.columns) {
    const column = at === null ? undefined : columns[at];
    if (at === null || column === undefined || column.nullable || column.generated === 'virtual') return null;
    usable.push(at);
  }
  return usable;
}
