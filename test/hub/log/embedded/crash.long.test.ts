import { describe, it } from 'vitest';
import { checkLives } from './crash-properties.ts';

/** Of each search. */
const BUDGET_MS = Number(process.env.TIDEMARK_SEARCH_SECONDS ?? 60) * 1_000;

describe('crashes, for longer', () => {
  it('loses nothing durable through several lives', () => checkLives(BUDGET_MS, false));

  it('loses nothing durable when operations fail', () => checkLives(BUDGET_MS, true));
});
