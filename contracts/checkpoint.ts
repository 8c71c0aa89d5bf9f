import type { LoadCursor } from './load-cursor.ts';
import type { Offset } from './offset.ts';
import type { Position } from './position.ts';

/** 16 opaque bytes as 32 hex digits; compared for equality only. */
export type LogId = string;
/** 16 opaque bytes as 32 hex digits; compared for equality only. */
export type EpochId = string;

/**
 * What a sink has applied, kept in the sink itself, with the data wherever the sink has transactions. `epoch` is the
 * epoch that wrote the record at `offset`.
 */
export interface Checkpoint {
  readonly logId: LogId;
  readonly epoch: EpochId;
  readonly offset: Offset;
  readonly position: Position;
  /** How far the sink is filled from the log's base, while `offset` stands still; null: it is not being filled. */
  readonly cursor: LoadCursor | null;
  /** Grows by one each time a hub takes the sink over; an older owner's compare-and-set then fails. */
  readonly fence: number;
}

/** One opening of a log for writing. Its records are those after `start`, up to the next epoch's start. */
export interface Epoch {
  readonly id: EpochId;
  readonly start: Offset;
}
