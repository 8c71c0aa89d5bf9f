import { describe, it } from 'vitest';
import { checkLives } from './crash-properties.ts';

const BUDGET_MS = 60_000;

describe('crashes, for longer', () => {
  it('loses nothing durable through several lives', () => checkLives(BUDGET_MS, false));

  it('loses nothing durable when operations fail', () => checkLives(BUDGET_MS, true));
});
