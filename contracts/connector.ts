import type { Catalog } from './catalog.ts';
import type { ChangeBatch } from './change-batch.ts';
import type { DurableProgress } from './log-engine.ts';
import type { Finding } from './finding.ts';
import type { Position, PositionCodec } from './position.ts';
import type { TableSchema } from './schema.ts';
import type { TransactionEntry } from './transaction.ts';
import type { SourceSnapshot } from './verify.ts';

/** What the hub gives a connector to begin with. */
export interface StreamStart {
  /** Where to go on: the position of the last durable batch; null: a new log, begin at the slot's start. */
  readonly position: Position | null;
  /**
   * The catalog as of that position: the connector's own copy. It applies every schema record that it emits, so that
   * it emits one just before the first use of a table or of a changed shape, in that transaction.
   */
  readonly catalog: Catalog;
}

/** What is known of a source without touching its rows. */
export interface SourceStatus {
  /** The end of the source's own log, as far as the connector has heard. */
  readonly head: Position | null;
  /** Bytes of the source's log held back for this hub; null where the source does not tell. */
  readonly retainedBytes: number | null;
  readonly connected: boolean;
  /** What the connector waits for, for people: '' when it streams. */
  readonly waitingFor: string;
}

/** A registered database: reads its WAL or binlog, and copies its tables. */
export interface SourceConnector extends AsyncDisposable {
  readonly positions: PositionCodec;
  /** Connects, looks, changes nothing. */
  check(signal: AbortSignal): Promise<Finding[]>;
  /** Makes what the stream needs (publication before slot), refuses what cannot work. Idempotent. */
  prepare(start: StreamStart, signal: AbortSignal): Promise<void>;
  /**
   * The changes after `start.position`, whole transactions in commit order, appended as they come.
   * One stream at a time. Reconnecting is the caller's: it rolls the writer back and calls again.
   */
  stream(start: StreamStart, signal: AbortSignal): ChangeStream;
  /** Present tables that the configuration selects, with the schema each has now (table id and version are 0). */
  tables(signal: AbortSignal): Promise<TableSchema[]>;
  copier(): TableCopier;
  /**
   * Gives up what the source holds back for this hub (the replication slot). No stream runs. Changes from then on are
   * missed until `prepare`, called with a null position, has made it anew: the hub records a gap and copies again.
   * Absent where a source holds nothing back.
   */
  release?(signal: AbortSignal): Promise<void>;
  /**
   * Whether the source still is the system that `position` is of. Where it is another one, the identities of its tables
   * (`sourceTableId`) mean other tables. Absent: always the same.
   */
  isSameSystem?(position: Position, signal: AbortSignal): Promise<boolean>;
  /**
   * The source's rows as of one moment, by a session of its own, which is never written to. Left out: the source cannot
   * be read beside the stream.
   */
  snapshot?(tables: readonly TableSchema[], signal: AbortSignal): Promise<SourceSnapshot>;
  status(signal: AbortSignal): Promise<SourceStatus>;
}

/**
 * Batches closed at 1 MiB, or when the input has nothing more to read, 5 ms at most. Not asking for the next batch is
 * the back-pressure; status updates to the server go on meanwhile. An idle source gives empty batches with `progress`.
 * @throws TidemarkError from iteration: `retry: 'auto'` for a cut connection, else what is wrong and what to do
 */
export interface ChangeStream extends AsyncIterable<ChangeBatch>, AsyncDisposable {
  /**
   * Everything up to `progress.position` is durable in the hub: the only thing that ever moves the slot. The high
   * watermark that comes with it is what the stream names as `consistentUntil` when it must stop a table later.
   */
  acknowledge(progress: DurableProgress): void;
  /** Asks the server to tell how far it is (a keepalive), for somebody who waits. */
  requestProgress(): void;
  /**
   * Tables as the catalog of the source shows them now (added ones, or newer than the log's). Between two transactions
   * the stream emits, in hub transactions, an `s` for each that differs from what it has emitted last. Only the
   * stream gives table ids and versions, so that none is given twice. A table that is dropped, or not selected any more, is
   * left out here: the stream itself emits its `removed`, where nothing of the table can follow.
   */
  announce(tables: readonly TableSchema[]): void;
}

/** Copies one table in chunks, each consistent by itself; the hub joins chunk and stream (docs/protocol-copy.md). */
export interface TableCopier {
  /**
   * Settles (waits until no older transaction can have been missed by the stream), plans ranges. Whatever the stream had
   * delivered when this was called is visible in the snapshot of every chunk begun after it has resolved. `copyState` is
   * opaque, kept in the log, and given back after a restart together with the ranges done.
   * @throws TidemarkError when the ranges done are void: code `COPY_VOID`; the caller writes `chunks-void`, plans anew
   */
  plan(table: TableSchema, resume: { copyState: string; done: readonly string[] } | null, signal: AbortSignal): Promise<CopyPlan>;
  /** Copies one range into memory-bounded spool. Several run side by side. @throws TidemarkError `COPY_VOID` */
  chunk(plan: CopyPlan, range: string, signal: AbortSignal): Promise<CopiedChunk>;
  /**
   * The current rows of given keys (the repair set), as one chunk. `exact`: of every transaction it must be known whether the
   * snapshot sees it, where the source has any way to find out.
   */
  rows(table: TableSchema, keys: readonly Uint8Array[], signal: AbortSignal, exact?: boolean): Promise<CopiedChunk>;
  /** What a plan waits for, for people (`transaction of pid 4711, open for 310 s`); '' or absent: nothing. */
  readonly waitingFor?: string;
}

/** A table whose plan estimates at most this many bytes is small: many of them are copied side by side. */
export const SMALL_TABLE_BYTES = 256 << 10;

export interface CopyPlan {
  readonly table: TableSchema;
  /** Opaque, for the log. */
  readonly copyState: string;
  /** Ranges still to copy; opaque, for the log. The last is open-ended. */
  readonly ranges: readonly string[];
  /** Estimates for progress; not exact. */
  readonly estimatedRows: number;
  readonly estimatedBytes: number;
  /** A keyless table is copied whole, in many hub transactions, and cannot be resumed. */
  readonly whole: boolean;
}

/** Rows of one range as of one snapshot, and what is needed to join them to the stream. Disposing frees the spool. */
export interface CopiedChunk extends AsyncDisposable {
  /** The schema of the rows. Version 0 when it is newer than the log's: its `s` comes first. */
  readonly schema: TableSchema;
  /** What was copied: the range asked for, or its beginning when the spool's bound was reached. */
  readonly range: string;
  /** What of the range asked for is left, to be copied as a range of its own; null or absent: nothing. */
  readonly rest?: string | null;
  /** Rows in `batches`; of a whole copy, which is not spooled: 0 until the last batch has been read. */
  readonly rowCount: number;
  /** Row batches: `r` records with key and after image, in no transaction; table id and version 0, set when written. */
  batches(): AsyncIterable<ChangeBatch>;
  /** True when the snapshot sees that source transaction. A_W is the end of the longest prefix of which this is true. */
  sees(transaction: TransactionEntry): boolean;
  /**
   * True when the snapshot certainly does not see that source transaction, or the part of it that the entry is of. Absent: of those that it does not certainly see
   * none can be told, and rows are read again.
   */
  lacks?(transaction: TransactionEntry): boolean;
  /** True when the stream has come past everything that the snapshot may contain (L). */
  passedBy(position: Position): boolean;
}
