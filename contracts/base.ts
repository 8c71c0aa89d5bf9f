import type { Catalog } from './catalog.ts';
import type { ChangeBatch } from './change-batch.ts';
import type { Offset } from './offset.ts';
import type { Position } from './position.ts';

/** Rows of one table of the base. */
export interface BaseRows {
  /** `r` records in order of their keys (rows of a keyless table: in order of their images). Without a place in the log. */
  readonly batch: ChangeBatch;
  /** For each record the offset at which the row was last changed. */
  readonly offsets: readonly Offset[];
  /** Where to go on after these: what `after` takes. Null: these are the last ones. */
  readonly last: Uint8Array | null;
}

export interface BaseRow {
  /** The offset at which the row was last changed. */
  readonly offset: Offset;
  readonly schemaVersion: number;
  /** A copy of the row image. */
  readonly image: Buffer;
}

/**
 * Each table as of exactly the horizon. While it is open and read from, the history after it stays, too; over a restart
 * that is what a lease is for. Owned by who opened it.
 */
export interface BaseReader extends AsyncDisposable {
  readonly horizon: Offset;
  /** The source position at the horizon; null: none was known yet. */
  readonly position: Position | null;
  /** Commit time of the last transaction up to the horizon, microseconds since 1970. */
  readonly commitTime: number;
  /** As of the horizon. The caller must not change it. */
  readonly catalog: Catalog;
  /**
   * The rows of a table, in order; nothing is read ahead beyond one batch.
   * @param options.after the `last` of rows that came before: goes on behind them, also in a later opening of a base of
   *   the same horizon
   * @param options.withDropped with rows of a windowed table that were dropped, and are kept only because they may have to
   *   complete later changes of themselves; default: without
   * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
   */
  rows(tableId: number, options: { readonly after?: Uint8Array | null; readonly withDropped?: boolean; readonly signal: AbortSignal }): AsyncIterable<BaseRows>;
  /** About how many rows some tables have together, at the cost of a look. @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED` */
  estimateRows(isCounted: (tableId: number) => boolean): Promise<number>;
  /**
   * One row by its key; null: there is none. Not for keyless tables.
   * @param withDropped as of `rows`; default: false
   * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`
   */
  find(tableId: number, key: Uint8Array, withDropped?: boolean): Promise<BaseRow | null>;
}
