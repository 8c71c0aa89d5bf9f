/**
 * How a part of the hub that is not the stream (a copy, a control record) writes into a source's log while the stream
 * runs. The capture pipeline owns the writer and implements this; nobody else appends.
 */
import type { Catalog } from '../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import type { DurableProgress } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Position } from '../../../contracts/position.ts';

export interface WriterTurns {
  /**
   * Runs `work` between two source transactions: from its call to its end nothing else is appended, so that what the
   * turn says holds until then. Turns are taken one at a time, in the order asked for. The stream waits meanwhile: a
   * turn appends and reads the log, it never waits for the source.
   *
   * `work` leaves no transaction open. When it rejects, what it appended of an unfinished transaction is cut and the
   * rejection is passed on; the log is then as before that transaction. After a failure of the writer itself, or when
   * the stream has ended, every turn rejects (`ABORTED`, or the failure).
   */
  turn<T>(work: (turn: WriterTurn) => Promise<T>): Promise<T>;
  /**
   * Resolves when `passed` is true of the position that the stream has reached (appended, keepalives included; durable
   * or not). Asks the source for progress meanwhile, so that an idle source answers too. Tested again after each
   * append. @throws TidemarkError `ABORTED`
   */
  waitPassed(passed: (position: Position) => boolean, signal: AbortSignal): Promise<void>;
  /**
   * Resolves when `ready` is true of the catalog as of the last append. Tested at once and after each append that held
   * an `s` or `h` record. The catalog is the pipeline's: not to be changed nor kept.
   * @throws TidemarkError `ABORTED`
   */
  waitCatalog(ready: (catalog: Catalog) => boolean, signal: AbortSignal): Promise<void>;
}

export interface WriterTurn {
  /** The last offset given, durable or not; it ends a transaction when the turn begins. Grows with `append`. */
  readonly lastOffset: Offset;
  /** As of `lastOffset`: everything appended is in it. The pipeline's: not to be changed, nor kept after the turn. */
  readonly catalog: Catalog;
  /** Where the stream stands; what a hub transaction carries as its position. Null in a log without a source position. */
  readonly position: Position | null;
  /** Commit time of the last source transaction; what a hub transaction carries. 0 when there was none. */
  readonly commitTime: number;
  /**
   * Takes the same path as a batch of the stream: rows are completed (whole-rows/), the batch is appended, the catalog
   * follows. Resolves when accepted. Batches hold hub transactions only, or a part of one that a later batch of the
   * same turn commits. Must not be called before the last call resolved.
   */
  append(batch: ChangeBatch): Promise<{ baseOffset: Offset; lastOffset: Offset }>;
  /** Resolves when everything appended so far is durable, and so can be read from the log. */
  flush(): Promise<DurableProgress>;
}
