/** When a batch is closed. Pure: the stream tells what happened, and is told what to do. */

/** A batch that was begun is closed after this time, milliseconds. */
export const FLUSH_LIMIT_MS = 5;
/** Bytes per millisecond from which a source is busy: a few milliseconds of waiting make batches worth their cost. */
const BUSY_RATE = 2_000;
/** A socket that gave less than this is empty for the moment. */
export const GULP_BYTES = 48 << 10;
/** How much the newest batch counts. */
const WEIGHT = 0.3;

/** How much comes, in bytes of records per millisecond: moves with each batch of `bytes` that took `elapsedMs`. */
export function nextRate(rate: number, bytes: number, elapsedMs: number): number {
  const newest = bytes / Math.max(elapsedMs, 0.05);
  // A pause is noticed at once; a burst has to last.
  return newest < rate / 4 ? newest : rate + (newest - rate) * WEIGHT;
}

/**
 * Milliseconds to wait for more before what has come is handed on; 0: as soon as the socket has nothing more to read.
 * Somebody who waits for a single commit must not wait for a batch to fill.
 */
export function lingerMs(rate: number): number {
  return isBusy(rate) ? FLUSH_LIMIT_MS : 0;
}

export function isBusy(rate: number): boolean {
  return rate >= BUSY_RATE;
}
