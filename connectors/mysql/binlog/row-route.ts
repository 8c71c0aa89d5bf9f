import type { ColumnDecoder } from '../values/column-decoder.ts';

/** How rows of one table map become records of one schema. Immutable. */
export interface RowRoute {
  readonly tableId: number;
  readonly version: number;
  /** Of each cell of an image, in the schema's order: the column of the table map; -1: it has none. */
  readonly sources: Int32Array;
  /** Of each cell; what writes it. */
  readonly decoders: readonly ColumnDecoder[];
  /**
   * Of each cell the whole cell (kind, length, value) of the column's constant default, which an insert stands for that
   * leaves the column out (row images other than FULL); null: it has none, a placeholder is written.
   */
  readonly defaults: readonly (Uint8Array | null)[];
  /** Cells of the key, in the key's order; empty: the table has no key. */
  readonly key: readonly number[];
  /** Old rows go into the log where they are whole. A table without key has them always. */
  readonly keepBefore: boolean;
  /** Rows may come with columns left out later: the whole-row index must know each. */
  readonly isWide: boolean;
  /** The most bytes that the images of a record may have. */
  readonly maxRowBytes: number;
  /**
   * MariaDB's system versioning: the column of the table map that says until when a row version counts. Those that do not
   * count any more are no rows of the table. Absent: every row counts.
   */
  readonly rowEnd?: number;
  /** Rows that are not whole are refused: the server leaves out what has changed, too (MariaDB). Absent: they are not. */
  readonly isWholeOnly?: boolean;
}
