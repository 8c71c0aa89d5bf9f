import type { BaseReader } from './base.ts';
import type { Catalog } from './catalog.ts';
import type { ChangeBatch } from './change-batch.ts';
import type { Checkpoint, Epoch, EpochId, LogId } from './checkpoint.ts';
import type { Offset } from './offset.ts';
import type { Position } from './position.ts';
import type { RecordView } from './record.ts';
import type { TableSchema } from './schema.ts';

/**
 * The log of every source of one hub. One implementation of {@link LogEngine} serves all sources; a source has one
 * writer at a time and any number of readers.
 */
export interface LogEngine extends AsyncDisposable {
  /** The sources that have a log here. */
  sources(): Promise<string[]>;
  /**
   * The log of a source, made if `create`; the same object for the same source.
   * @throws TidemarkError `LOG_UNKNOWN`, `LOG_CORRUPT`, `LOG_FORMAT`, `LOG_READ_FAILED`
   */
  open(source: string, options: { create: boolean }): Promise<SourceLog>;
}

/** Durable progress: everything up to `offset` is durable and ends a transaction; `position` is the source's there. */
export interface DurableProgress {
  readonly highWatermark: Offset;
  readonly position: Position | null;
}

export interface LogState extends DurableProgress {
  readonly logId: LogId;
  readonly epochs: readonly Epoch[];
  /** Every state at an offset >= horizon can be rebuilt exactly. 0: the history holds everything. */
  readonly horizon: Offset;
  /** Commit time of the last transaction up to the horizon, microseconds since 1970; 0 when that is 0. */
  readonly horizonTime: number;
  /** Commit time of the last transaction, microseconds since 1970; 0 when there is none. */
  readonly commitTime: number;
  /** Bytes on disk: history, base and archive. */
  readonly bytes: number;
  /** Those of them that are history. */
  readonly historyBytes: number;
  /** Those that are the base: each table as of the horizon. */
  readonly baseBytes: number;
  /** Those that are the archive: records from below the horizon of tables that keep them. */
  readonly archiveBytes: number;
}

/** How long the log keeps what happened to a table. What stands in the history is kept in any case. */
export type Keep =
  /** Below the horizon its rows stay, its single records do not. */
  | { readonly kind: 'compact' }
  /** No record is ever dropped: those below the horizon are archived, beside the rows. */
  | { readonly kind: 'all' }
  /**
   * Records are archived, and with the rows that they were the last to change dropped when they are older than this, in
   * milliseconds: by the running maximum of commit times, at the next fold. Rows without a key are never dropped.
   */
  | { readonly kind: 'window'; readonly ageMs: number };

/** What the log has of one table. */
export interface TableExtent {
  /** Every record of the table behind this offset can be read; at most the horizon, and exactly that for a folded table. */
  readonly recordsAfter: Offset;
  /**
   * Rows whose last change stands at or below this offset have been dropped: the table as of any offset is the fold of
   * what came after this one. 0: none was, the table is whole.
   */
  readonly rowsAfter: Offset;
}

/** The end of a source transaction. */
export interface CommitPoint {
  readonly offset: Offset;
  /** Null: not known (the horizon of a log that has no position there). */
  readonly position: Position | null;
  /** Microseconds since 1970, by the source's clock, which may go back. */
  readonly commitTime: number;
  /**
   * The greatest commit time up to here: never goes back. Of a horizon before which the source had none: when the hub had
   * written what it holds.
   */
  readonly maxCommitTime: number;
}

/** A place where the horizon may come to stand, about: near the end of a sealed part of the history. */
export interface HistoryMark {
  readonly offset: Offset;
  /**
   * From when on all up to there ages, microseconds since 1970: the greatest commit time, or when the hub wrote it where that
   * is earlier, or where it is the hub's own (the rows of a copy).
   */
  readonly agesFrom: number;
  /** Bytes of the history from the mark before to this one. */
  readonly bytes: number;
}

/** What compaction may take. */
export interface CompactionBudget {
  /** Bytes of records that are sorted in memory. */
  readonly memoryBytes: number;
  /** Share of the time that the work may take: above 0, at most 1. */
  readonly share: number;
  /** Bytes of history that are read and of runs that are written in a second, together. Default, and null: no limit. */
  readonly bytesPerSecond?: number | null;
}

export interface CompactionOptions extends CompactionBudget {
  /** How long each table is kept, by its newest name. Default: all are folded. */
  readonly keep?: (table: TableSchema) => Keep;
  /** The newest part of the history is closed first, however small it is, so that it can be folded, too. Default: false. */
  readonly seals?: boolean;
  /**
   * For the last room on the disk only: readers are passed, leases end; both find `LOG_BELOW_HORIZON` then. A copy under
   * way is never passed. Default: false.
   */
  readonly force?: boolean;
}

/** What keeps the horizon from moving on: a reader, a lease by its name, or the copy of a table by its name. */
export interface HorizonHold {
  readonly by: 'reader' | 'lease' | 'copy';
  /** Empty for a reader. */
  readonly name: string;
  /** The horizon does not pass this offset. */
  readonly offset: Offset;
}

/** What compaction does and did, for status. Bytes are of the history as it stood in segments. */
export interface CompactionProgress {
  /** Null: nothing is under way. */
  readonly running: {
    readonly phase: 'fold' | 'merge';
    /** The horizon that is being worked towards. */
    readonly to: Offset;
    /** Of the phase: what is done, and all of it. */
    readonly bytes: number;
    readonly totalBytes: number;
    /** Milliseconds since 1970. */
    readonly since: number;
  } | null;
  /** The last fold that moved the horizon since the log was opened; null: none did. */
  readonly last: { readonly horizon: Offset; readonly bytes: number; readonly seconds: number; readonly at: number } | null;
  /** The lowest of all holds at this moment; null: nobody holds the horizon. */
  readonly hold: HorizonHold | null;
}

/** Where {@link SourceLog.newest} looks. */
export interface NewestOptions {
  /** The lowest offset that counts; above the horizon. */
  readonly notBelow: Offset;
  /** The highest offset that counts; the high watermark bounds it. */
  readonly atMost: Offset;
  readonly signal: AbortSignal;
  /** Passes over records for which it is false; default: every record of the key counts. */
  readonly accepts?: (record: RecordView) => boolean;
}

export interface FoundRecord {
  readonly offset: Offset;
  /** A copy of the record; `new RecordView().seek(record, 0)` reads it. */
  readonly record: Buffer;
}

/** Some records of some tables, in order, with nothing left out between them but records of other tables. */
export interface TableRecords {
  /** Its `baseOffset` counts only where `offsets` is null. */
  readonly batch: ChangeBatch;
  /** The offset of each record; null: they stand without gaps, from the batch's own, and may be of other tables, too. */
  readonly offsets: readonly Offset[] | null;
}

/** How a reader with this checkpoint goes on. */
export type ReadPlan =
  /** Read on after the checkpoint's offset. */
  | { readonly kind: 'resume'; readonly after: Offset }
  /** The checkpoint lies below the horizon (or there is none and the log has a base): load the base, then history. */
  | { readonly kind: 'load'; readonly horizon: Offset }
  /** The checkpoint is of another log, of an unknown epoch or beyond its epoch's end: rebuild, never resume. */
  | { readonly kind: 'diverged'; readonly why: string };

export interface ReadOptions {
  /** The first record read is the one after this offset; may stand inside a transaction. */
  readonly after: Offset;
  /** The last record read; default: the high watermark at each moment. */
  readonly to?: Offset;
  /** At the end wait for more (true), or end (false). */
  readonly follow: boolean;
  /**
   * The caller is done with a batch, its records and positions, when it asks for the next one, and keeps none of its
   * bytes: their memory may be used again. For who walks a lot and copies what it wants. Default: batches stay as they are.
   */
  readonly transient?: boolean;
  /** Where the caller would have to begin again: the horizon does not pass that either, as little as where it reads. Asked often. */
  readonly keeps?: () => Offset;
  readonly signal: AbortSignal;
}

/** One source's log. Readers see committed transactions up to the high watermark, whole batches trimmed to the range. */
export interface SourceLog {
  readonly source: string;
  state(): LogState;
  /** The catalog as of the high watermark: a copy that the caller owns. It knows every schema version of the log. */
  catalog(): Catalog;
  /** The epoch whose record stands at `offset`, which is at or below the high watermark; of 0: the first epoch. */
  epochAt(offset: Offset): EpochId;
  /**
   * The catalog as of an offset from the horizon to the high watermark; the caller owns it.
   * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
   */
  catalogAt(offset: Offset, signal: AbortSignal): Promise<Catalog>;
  /**
   * The last end of a source transaction, from the horizon to the high watermark, that `accepts` is true of; the horizon
   * itself counts as one. `accepts` must stay false behind the first place of which it is. Null: it is true of none.
   * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
   */
  lastCommit(accepts: (point: CommitPoint) => boolean, signal: AbortSignal): Promise<CommitPoint | null>;
  /**
   * Keeps the horizon where it is until the answer is disposed, for who is going to read several things of one log: for five
   * minutes at most, and not where it is forced.
   */
  pin(): Promise<Disposable>;
  /** The base as it is now; null while the horizon is 0. @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT`, `LOG_READ_FAILED` */
  openBase(): Promise<BaseReader | null>;
  /** Where the horizon may move to, oldest first. */
  marks(): readonly HistoryMark[];
  /**
   * Folds the oldest history into the base: moves the horizon as far as it may towards `to`, which is not past a reader
   * in the middle, nor past a lease. Answers the horizon as it is then. Works in steps, each of which moves the horizon:
   * what fails or is aborted in the middle loses one step, and leaves nothing behind.
   * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `LOG_CORRUPT`, `ABORTED`: the log is as after the last step
   */
  compact(to: Offset, options: CompactionOptions, signal: AbortSignal): Promise<Offset>;
  /** What compaction is doing. */
  compaction(): CompactionProgress;
  /** What the log has of a table; of one that it does not know: what it has of a table that is folded. */
  extent(tableId: number): TableExtent;
  /**
   * Keeps the horizon from passing `offset` until the lease is released, also over a restart; again with a greater
   * offset: moves it on. @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_WRITE_FAILED`
   */
  lease(name: string, offset: Offset): Promise<void>;
  /**
   * A lease at the horizon as it is at that moment, which is answered: the base that is opened next is of exactly that
   * offset. @throws TidemarkError `LOG_WRITE_FAILED`
   */
  leaseHorizon(name: string): Promise<Offset>;
  /** Names of the leases that are held. */
  leases(): readonly string[];
  /** Ends a lease; one that is not there is no error. @throws TidemarkError `LOG_WRITE_FAILED` */
  release(name: string): Promise<void>;
  plan(checkpoint: Checkpoint | null): ReadPlan;
  /**
   * Batches in offset order. Back-pressure: nothing is read ahead beyond one batch. A reader of a range that is being
   * removed gets an error, never a hole.
   * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT` (with segment file and byte), `LOG_READ_FAILED`, `ABORTED`
   */
  read(options: ReadOptions): AsyncIterable<ChangeBatch>;
  /**
   * As {@link read}, of some tables, from as far back as each of them has its records ({@link TableExtent}): below the
   * horizon from the archive, above it from the history. Control records that concern every table come with them.
   * @throws TidemarkError as `read`; `LOG_BELOW_HORIZON` also where one of the tables lacks records behind `after`;
   *   `LOG_TABLES` for more tables than can be put in order below the horizon
   */
  readTables(tableIds: readonly number[], options: ReadOptions): AsyncIterable<TableRecords>;
  /**
   * The newest record of a key in a range of the history: a row record with that table and key, or a truncate of the table,
   * after which no older row counts. Null when there is none. Looks from the end of the range back: what was changed
   * lately is found at once.
   * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
   */
  newest(tableId: number, key: Uint8Array, options: NewestOptions): Promise<FoundRecord | null>;
  /** Resolves when the high watermark is at or beyond `offset`. @throws TidemarkError `ABORTED` */
  reached(offset: Offset, signal: AbortSignal): Promise<void>;
  /**
   * Opens a new epoch. Its `start` says where the source goes on. A transaction left half-written is cut first.
   * @throws TidemarkError `LOG_LOCKED` when the log has a writer already
   */
  openWriter(onDurable: (progress: DurableProgress) => void): Promise<LogWriter>;
}

export interface WriterStart {
  readonly logId: LogId;
  readonly epoch: EpochId;
  readonly highWatermark: Offset;
  /** The source position of the last durable batch, keepalives included; null in a new log. */
  readonly position: Position | null;
}

/**
 * The only way records enter a log. Calls are made one at a time, except that `append` may be called again before the
 * last one resolved (it is queued; order is kept).
 */
export interface LogWriter extends AsyncDisposable {
  readonly start: WriterStart;
  /** The last offset given so far, durable or not. */
  readonly lastOffset: Offset;
  /**
   * Appends a batch; resolves with its place when accepted (not yet durable); waiting for it is the back-pressure.
   * Durability is told by `onDurable`, in order. An empty batch moves only the position.
   * @throws TidemarkError `LOG_WRITE_FAILED` (the writer has cut to the last durable length and must be reopened),
   *   `LOG_DISK_FULL`, `LOG_CLOSED`
   */
  append(batch: ChangeBatch): Promise<{ baseOffset: Offset; lastOffset: Offset }>;
  /** Cuts an open transaction: what is not yet committed. Answers the last offset that stays. */
  rollback(): Promise<Offset>;
  /** Resolves when everything accepted so far is durable. */
  flush(): Promise<DurableProgress>;
}
