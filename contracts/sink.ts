import type { Catalog } from './catalog.ts';
import type { ChangeBatch } from './change-batch.ts';
import type { Checkpoint, EpochId, LogId } from './checkpoint.ts';
import type { Finding } from './finding.ts';
import type { LoadCursor } from './load-cursor.ts';
import type { Offset } from './offset.ts';
import type { Position } from './position.ts';
import type { ShadowRebuild } from './rebuild.ts';
import type { TableSchema } from './schema.ts';
import type { SinkSnapshot } from './verify.ts';

/**
 * `state`: equals the source (replica, cache, search); gets batches folded by key.
 * `history`: every change (topics, change files). `effect`: does something for each change (jobs, webhooks).
 */
export type SinkKind = 'state' | 'history' | 'effect';

/** The tables of the log that a sink mirrors: a pure function of its configuration. */
export type TableSelector = (table: Pick<TableSchema, 'namespace' | 'name'>) => boolean;

export interface SinkStart {
  readonly logId: LogId;
  /**
   * Tables that the sink mirrors anywhere in the history, with all their versions: also those that the log removes, or
   * renames out of the selection, after the sink's checkpoint. Tables removed at or below the horizon are not here.
   */
  readonly catalog: Catalog;
}

/** What a sink may be asked to apply: the records of (after, to], of mirrored tables only. */
export interface SinkBatch {
  readonly after: Offset;
  readonly to: Offset;
  /**
   * True when `to` stands inside a transaction that is too large to be one batch. A sink whose `limits` ask for whole
   * transactions applies the part but commits nothing until the batch that ends it; `durable` of the parts then
   * resolves with that one's, and the batch after a part is accepted once the part has been applied. Opening the sink
   * again gives the parts up. Only rows that come again in any case, of a keyed table under copy or of a load, may be
   * committed before the checkpoint, also of a batch that is no part. Always false where the sink does not ask for whole transactions and may commit anywhere.
   */
  readonly endsOpen: boolean;
  /** Epoch of the record at `to`. */
  readonly epoch: EpochId;
  /** Source position at `to`; of the last transaction that ended at or before it. */
  readonly position: Position;
  /**
   * The checkpoint's cursor once the batch is applied, kept and changed with it as `to` is: also by a batch whose `to` is
   * its `after`. Rows of such batches may come again when the sink was cut off while it applied them.
   * Not null: a part of a load, at offset 0, or of tables that join the others where the sink stands (`after` and `to`). From
   * the table's schema step on, which such a batch brings, until it is `loaded`, each of its
   * rows comes once, in `inserts`: none is looked up. What the sink had of it is gone before the first.
   */
  readonly cursor: LoadCursor | null;
  /** Commit time at `to`, microseconds since 1970. */
  readonly commitTime: number;
  /** In order. A step that is not `rows` is applied after all before it and before all after it. */
  readonly steps: readonly SinkStep[];
  /** Records that were folded into this, for progress and metrics. */
  readonly records: number;
  /** Bytes of the batches it refers to, for the budget. */
  readonly bytes: number;
}

export type SinkStep =
  | { readonly kind: 'rows'; readonly tables: readonly FoldedTable[] }
  /** A mirrored table appears or changes its shape. `before` is null for a new generation. */
  | { readonly kind: 'schema'; readonly before: TableSchema | null; readonly after: TableSchema }
  /**
   * The table's copy begins (rows may be stale until `copied`), is complete, or is over. `loaded`: the sink has all that the
   * log's base has of the table; what comes later may change these rows.
   */
  | { readonly kind: 'table-state'; readonly table: TableSchema; readonly state: 'copying' | 'loaded' | 'copied' | 'stopped' | 'removed' };

/** A reference to a record: the batch it is in and its byte position there. */
export interface RecordRef {
  readonly batch: ChangeBatch;
  readonly at: number;
}

/**
 * The net change of one table: apply `truncate` first, then `deletes`, then `upserts`. A key stands at most once in
 * `deletes` and `upserts` together, and each that was touched since `truncate` does: also one that came and went within the
 * batch, so that what an earlier attempt left of it goes. All images are of `schema` (older ones were projected).
 */
export interface FoldedTable {
  readonly schema: TableSchema;
  /** Empty the table first. */
  readonly truncate: boolean;
  /** True while the table is copied: a row in the way of a unique constraint is stale, and is deleted. */
  readonly copying: boolean;
  /** Records whose key is to be removed (op d); for a keyless table, rows (before image) of which one each goes. */
  readonly deletes: readonly RecordRef[];
  /** Records whose after image is the row's new state and that may exist already. */
  readonly upserts: readonly RecordRef[];
  /** The same for rows that did not exist before the batch: a plain insert is enough. Keyless rows stand here. */
  readonly inserts: readonly RecordRef[];
}

export interface Applying {
  /** The sink is ready for the next batch (this one may still be in flight). */
  readonly accepted: Promise<void>;
  /** Data and checkpoint are durable together. In order. */
  readonly durable: Promise<Offset>;
}

/** How large the batches are that a sink takes. */
export interface BatchLimits {
  /** True: a batch ends where a transaction ends (or says `endsOpen`). False: it may end after any record. */
  readonly wholeTransactions: boolean;
  /** Keys (rows of keyless tables) in one batch, at most; one transaction may be above it where they are kept whole. */
  readonly maxKeys: number;
  /**
   * True: steps other than `rows` stand at the beginning of a batch, before its only `rows` step, because the sink cannot
   * change shapes and rows in one transaction. What a source's transaction had before such a step is a batch that says
   * `endsOpen`, or has its end there. Of a load, of a large transaction of which rows are refused, and of rows that are
   * tried without moving the checkpoint, batches may be mixed all the same; the last have no rows of tables without a key.
   * Left out: false.
   */
  readonly stepsFirst?: boolean;
}

/** The limits of a sink that names none. */
export const DEFAULT_LIMITS: BatchLimits = { wholeTransactions: true, maxKeys: 50_000 };

/** A place that mirrors tables of one source's log. One applying owner at a time, fenced by the checkpoint. */
export interface Sink extends AsyncDisposable {
  readonly kind: SinkKind;
  /** Left out: {@link DEFAULT_LIMITS}. */
  readonly limits?: BatchLimits;
  /**
   * True: a table may get the name that another mirrored table still has, which then keeps its rows under a name in
   * between until its own change of name comes. Left out: the hub has that other table leave the sink, and come back by a
   * copy.
   */
  readonly handsNamesOn?: boolean;
  /** Connects, looks, changes nothing. */
  check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]>;
  /**
   * Takes the sink over (fence + 1) and answers its checkpoint, null when it has none. Called again after every
   * failure, and after the sink was closed by its disposal: the answer, not memory, says where to go on.
   * @throws TidemarkError `SINK_FOREIGN` when another log's checkpoint stands there, `SINK_UNREACHABLE`
   */
  open(start: SinkStart, signal: AbortSignal): Promise<Checkpoint | null>;
  /**
   * Instead of opening the sink anew after batches that it refused as data, and after parts whose end does not come: gives up
   * what is not committed, by the connections that there are. True: it stands at its checkpoint, which is looked at, is still
   * this opening's, and takes batches again. False: it is to be opened. `accepted` of every batch has settled, and `durable`
   * of every one that is no part. Left out: the sink is always opened.
   * @param start as for `open`
   * @throws TidemarkError as `open`; it is to be opened then
   */
  rewind?(start: SinkStart, signal: AbortSignal): Promise<boolean>;
  /**
   * Compares the checkpoint with `batch.after` and sets it to `batch.to` together with the data. May be called again
   * once `accepted`. After a failure both promises reject, with every later batch; the caller opens again.
   * @throws TidemarkError (through the promises) `SINK_FENCED` (another hub owns the sink: stop), `SINK_DATA` (this
   *   batch can never be applied as it is), `SINK_UNREACHABLE` (retry: auto), ...
   */
  apply(batch: SinkBatch, signal: AbortSignal): Applying;
  /**
   * Begins a rebuild in place: rows applied from now on are marked, `sweep` removes what was not. Null where the sink
   * rebuilds in another way.
   */
  readonly inPlace: InPlaceRebuild | null;
  /** A rebuild beside what is served. Left out: the sink has none. */
  readonly shadow?: ShadowRebuild;
  /**
   * The sink's rows and its checkpoint, by connections of their own: the sink need not be open, nothing is taken over or
   * changed, and others may apply meanwhile. Left out: the sink cannot be read back.
   * @param start as for `open`; its tables are those that may be read
   * @throws TidemarkError `SINK_FOREIGN` when another log's checkpoint stands there, `SINK_UNREACHABLE`
   */
  snapshot?(start: SinkStart, signal: AbortSignal): Promise<SinkSnapshot>;
}

export interface InPlaceRebuild {
  /** Removes the checkpoint and notes that a rebuild from the log's start is under way; survives a restart. */
  begin(start: SinkStart, signal: AbortSignal): Promise<Checkpoint>;
  /** True when a rebuild was begun and not swept yet. */
  pending(signal: AbortSignal): Promise<boolean>;
  /** Called once the replay has reached the end: removes what the replay did not write. */
  sweep(signal: AbortSignal): Promise<void>;
}
