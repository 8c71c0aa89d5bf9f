import type { ChangeBatch } from './change-batch.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Position } from './position.ts';
import type { HashSeed } from './row-text-hash.ts';
import type { TableSchema } from './schema.ts';
import type { TransactionEntry } from './transaction.ts';

/** How a place sums its rows. Both sides of a comparison are asked for the same. */
export interface SumsRequest {
  /** Of the hash. */
  readonly seed: HashSeed;
  /** A power of two, up to 65,536. A row is in the bucket that the lowest bits of its hash name. */
  readonly buckets: number;
}

/** Sums over some rows of one bucket. */
export interface BucketSum {
  readonly bucket: number;
  readonly rows: number;
  /** Of the hashes of the rows, modulo 2^64: both halves, as 32 bits with or without a sign. */
  readonly low: number;
  readonly high: number;
}

/** Sums over some rows of a table; the rows of a bucket may be in several of these. */
export interface RowSums {
  readonly rows: number;
  readonly sums: readonly BucketSum[];
}

/** Some of the buckets of a table. */
export interface ChosenBuckets extends SumsRequest {
  readonly chosen: readonly number[];
}

/**
 * Rows of a place to be compared with the log's, in canonical form. Owned by who opened it; disposing ends the snapshot
 * and gives its connections back. Several tables may be read side by side, each by a connection of its own. While it is
 * open the place keeps what the snapshot shows (Postgres: VACUUM removes nothing newer). Somebody who changes the shape of a
 * table or truncates it, the sink's own worker too, may have to wait while its rows are read, until the reading gives way at
 * one of the next batches: never wait for anybody's progress within a loop over rows. Between two such loops nobody waits.
 *
 * Batches are `r` records with key and after image, in no transaction; table id, schema version and flags say nothing.
 */
export interface RowsSnapshot extends AsyncDisposable {
  /**
   * True: every row of every table is as of one moment. False: the place has no such thing, and is written to meanwhile.
   * Then a row may be newer than others, or come twice, or not at all: a difference counts only when `find` still gives it
   * while nothing is applied.
   */
  readonly isExact: boolean;
  /**
   * Sums over all rows of a table, made at the place itself: each row, of a table without a key too, counts in the bucket of
   * its hash, which is that of `RowTextHash` (`row-text-hash.ts`) over the image that `rows` would give. They come bit by
   * bit, about one a second, each with the rows that the others have not; not asking for the next one is the back-pressure,
   * and leaving the loop early ends the summing. Null, which is the last to come: the place cannot sum this table, nor what
   * `expected` answers for rows of the log other than those rows; what came before counts for nothing. Left out: the place
   * can sum none.
   * @throws TidemarkError as `rows`
   */
  sums?(schema: TableSchema, request: SumsRequest, signal: AbortSignal): AsyncIterable<RowSums | null>;
  /**
   * All rows of a table, in any order. A few batches are read ahead; not asking for the next one is the back-pressure.
   * Leaving the loop early ends the reading.
   * @param schema as the log has it at what the rows are compared with; images have its columns, in its order
   * @param only given after `sums` of this table: rows of other buckets may be left out
   * @throws TidemarkError `VERIFY_TABLE` when the rows cannot be given in this shape, never rows in another one: with
   *   `retry: 'auto'` when another snapshot will do (the table is being changed, locked, rewritten), with `'operator'`
   *   when somebody must see to it (the place has no such table or column); the place's own errors; `ABORTED`
   */
  rows(schema: TableSchema, signal: AbortSignal, only?: ChosenBuckets): AsyncIterable<ChangeBatch>;
  /**
   * Those of the rows with the given keys that are there; where `isExact`, in this snapshot, else now. For some thousand
   * keys at a time. Not for tables without a key.
   * @param keys as the records of `rows` (at a sink: of `expected`) have them
   * @throws TidemarkError as `rows`
   */
  find(schema: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal): AsyncIterable<ChangeBatch>;
}

/** A sink as of its checkpoint. */
export interface SinkSnapshot extends RowsSnapshot {
  /** Where the rows stand; null: the sink has no checkpoint. */
  readonly checkpoint: Checkpoint | null;
  /**
   * What the sink would have for rows of the log: records as `rows` and `find` give them, with the sink's key, in the same
   * order. A row that the sink keeps nothing of is left out. A sink that stores rows as they are answers the same batch.
   * An image has a cell for each column of the schema, null where the sink does not keep it; one more cell at the end may
   * stand for what the sink has that belongs to no column (never in what is expected).
   * @throws TidemarkError `VERIFY_TABLE`; `SINK_DATA` when the sink cannot have such a row
   */
  expected(schema: TableSchema, rows: ChangeBatch, signal: AbortSignal): Promise<ChangeBatch>;
  /**
   * True: rows may be missing at the sink without being wrong there, because they expire or may be evicted. Those that
   * are there must be right all the same, and none may be there that the log has not.
   */
  mayLack(schema: TableSchema): boolean;
  /**
   * The log's key of the row that the sink has under a key of its own; null where that key does not tell. Left out: the
   * sink's keys are the log's.
   */
  logKey?(schema: TableSchema, key: Uint8Array): Buffer | null;
}

/** A source as of one snapshot, which is not a position: which transactions it shows is asked for each. */
export interface SourceSnapshot extends RowsSnapshot {
  /**
   * True when the rows have what that transaction of kind `source` did. Not monotonic in the log's order: one that has
   * committed, but waits for a synchronous standby, is invisible still while later ones are seen. True for any transaction
   * of the hub, which did nothing at the source.
   */
  sees(transaction: TransactionEntry): boolean;
  /** True when the stream has come past everything that the snapshot may show: the log then has all of it. */
  passedBy(position: Position): boolean;
}
