import { describe, expect, it } from 'vitest';
import { horizonTarget } from '../../../hub/compaction/retention.ts';

const HOUR = 3_600_000;
const now = Date.parse('2026-11-20T12:00:00Z');
/** Three sealed parts of the history, of 100 bytes each; changes of 3, 2 and 1 hours ago. 50 bytes have no mark yet. */
const marks = [3, 2, 1].map((hours, index) => ({ offset: (index + 1) * 10, agesFrom: (now - hours * HOUR) * 1000, bytes: 100 }));
const historyBytes = 350;

describe('where the horizon should be', () => {
  it.each([
    ['nowhere without limits', { ageMs: null, bytes: null }, 0],
    ['behind all that is older than the age', { ageMs: 1.5 * HOUR, bytes: null }, 20],
    ['behind a change of exactly that age', { ageMs: 2 * HOUR, bytes: null }, 20],
    ['nowhere while all is younger', { ageMs: 4 * HOUR, bytes: null }, 0],
    ['as far on as it takes for the rest to fit', { ageMs: null, bytes: 260 }, 10],
    ['at the last mark where nothing fits', { ageMs: null, bytes: 10 }, 30],
    ['nowhere while all fits', { ageMs: null, bytes: 350 }, 0],
    ['where the first of both limits is reached', { ageMs: 2.5 * HOUR, bytes: 240 }, 20],
  ])('%s', (_name, retention, expected) => {
    expect(horizonTarget(marks, historyBytes, retention, now)).toBe(expected);
  });
});
