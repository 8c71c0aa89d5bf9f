import type { ChangeBatch } from './change-batch.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Position } from './position.ts';
import type { TableSchema } from './schema.ts';
import type { TransactionEntry } from './transaction.ts';

/**
 * Rows of a place to be compared with the log's, in canonical form. Owned by who opened it; disposing ends the snapshot
 * and gives its connections back.
 */
export interface RowsSnapshot extends AsyncDisposable {
  /**
   * All rows of a table, in any order: `r` records with key and image; table id and schema version are left 0. Nothing
   * is read ahead beyond one batch; not asking for the next one is the back-pressure.
   * @throws TidemarkError `VERIFY_TABLE` when the place has no such table, or not in this shape; what the place's errors are
   */
  rows(schema: TableSchema, signal: AbortSignal): AsyncIterable<ChangeBatch>;
}

/** A sink as of its checkpoint. */
export interface SinkSnapshot extends RowsSnapshot {
  /** Where the rows stand; null: the sink has no checkpoint. */
  readonly checkpoint: Checkpoint | null;
  /**
   * True: all rows are as of exactly the checkpoint. False: the place has no snapshots, and its rows are read one after
   * the other while the sink is written to: a difference counts only when it is still there while nothing is applied.
   */
  readonly isExact: boolean;
  /**
   * What the sink would have for rows of the log: `r` records of `schema`, as {@link RowsSnapshot.rows} gives them. A sink
   * that stores rows as they are answers the same batch.
   */
  expected(schema: TableSchema, rows: ChangeBatch): ChangeBatch;
  /** Those of the rows with the given keys (as {@link expected} gives them) that are there now. */
  find(schema: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): Promise<ChangeBatch>;
}

/** A source as of one snapshot, which is not a position: which transactions it shows is asked for each. */
export interface SourceSnapshot extends RowsSnapshot {
  /** True when the rows have what that transaction did. */
  sees(transaction: TransactionEntry): boolean;
  /** True when the stream has come past everything that the snapshot may show. */
  passedBy(position: Position): boolean;
}
