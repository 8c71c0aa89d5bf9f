import { TidemarkError } from './errors/error.ts';

/**
 * A record's place in its source's log: dense, assigned by the hub, starting at 1. 0 is before everything.
 * Ranges are written (after, to]. On disk an unsigned 64-bit integer; in memory a safe integer, so that no
 * BigInt is made per record.
 */
export type Offset = number;

/** The offset before the first record. */
export const BEFORE_ALL: Offset = 0;

/** The largest offset that a log can hold: 2^53 - 1. */
export const MAX_OFFSET: Offset = Number.MAX_SAFE_INTEGER;

/** @throws TidemarkError `OFFSET_RANGE` when `value` is not an integer in 0 .. 2^53 - 1. */
export function checkedOffset(value: number): Offset {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new TidemarkError('OFFSET_RANGE', `${value} is not an offset`);
  }
  return value;
}
