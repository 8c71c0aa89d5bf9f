/** When a batch is closed. Pure: the stream tells what happened, and is told what to do. */

/** A batch that was begun is closed after this time, milliseconds. */
export const FLUSH_LIMIT_MS = 5;
/** A source that fills this much in one go is busy: a few milliseconds of waiting make batches worth their cost. */
const BUSY_BYTES = 32 << 10;
const BUSY_WINDOW_MS = 4 * FLUSH_LIMIT_MS;

export interface LastBatch {
  readonly bytes: number;
  /** Monotonic milliseconds. */
  readonly closedAt: number;
}

/**
 * Milliseconds to wait for more before what has come is handed on; 0: as soon as the socket has nothing more to read.
 * Somebody who waits for a single commit must not wait for a batch to fill.
 */
export function lingerMs(last: LastBatch | null, now: number): number {
  if (last === null || last.bytes < BUSY_BYTES || now - last.closedAt > BUSY_WINDOW_MS) return 0;
  return FLUSH_LIMIT_MS;
}
