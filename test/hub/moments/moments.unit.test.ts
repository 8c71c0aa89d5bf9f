import { describe, it } from 'vitest';
import { checkMoments } from './random-moments.ts';

describe('a random history', () => {
  it('gives the table, the row and its versions as of every offset, and the difference of any two', { timeout: 60_000 }, () => checkMoments({ numRuns: 12 }));
});
