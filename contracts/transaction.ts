import type { Position } from './position.ts';

/** `source`: a transaction of the source. `hub`: written by the hub itself (a copied chunk, a control record). */
export type TransactionKind = 'source' | 'hub';

/**
 * One transaction, or the part of it that stands in one batch. Its records are contiguous.
 * A transaction larger than a batch has an entry in each batch that it touches; only the first `begins`, only the
 * last `commits`.
 */
export interface TransactionEntry {
  readonly kind: TransactionKind;
  /** Index in the batch of its first record here. */
  readonly first: number;
  /** Records of it in this batch; may be 0 (an entry that only commits). */
  readonly count: number;
  readonly begins: boolean;
  readonly commits: boolean;
  /** The source's transaction id, widened to 64 bits (a safe integer); 0 where there is none. */
  readonly xid: number;
  /**
   * The end of the transaction at the source, in the entry that commits; empty in the others. A hub transaction
   * carries the position of the source transaction before it (empty when there was none).
   */
  readonly position: Position;
  /** Commit time in microseconds since 1970-01-01 UTC, by the source's clock. */
  readonly commitTime: number;
  /** Replication origin by name; '' where there is none. */
  readonly origin: string;
}
