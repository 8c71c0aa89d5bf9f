import type { Offset } from '../../../contracts/offset.ts';
import type { Position } from '../../../contracts/position.ts';

/** Where a sink stands, for status. */
export interface SinkProgress {
  readonly offset: Offset;
  /** The source position at `offset`; empty: not known. */
  readonly position: Position;
  /** Commit time at `offset`, microseconds since 1970; 0: not known. */
  readonly commitTime: number;
  readonly caughtUp: boolean;
  readonly rebuilding: boolean;
  /** Commit time of the oldest transaction not applied yet, microseconds since 1970; 0: none. */
  readonly oldestPending: number;
  /** The sink is filled from the log's base: so many rows of about so many; null: it is not. */
  readonly loading: LoadProgress | null;
}

export interface LoadProgress {
  readonly rows: number;
  readonly estimatedRows: number;
}
