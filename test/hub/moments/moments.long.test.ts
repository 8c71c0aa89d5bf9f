import { it } from 'vitest';
import { checkMoments } from './random-moments.ts';

/** Of the search. */
const BUDGET_MS = Number(process.env.TIDEMARK_SEARCH_SECONDS ?? 60) * 1_000;

it('many random histories give the table, the row and its versions as of every offset, and the difference of any two', () =>
  checkMoments({ numRuns: 1_000_000, interruptAfterTimeLimit: BUDGET_MS }));
