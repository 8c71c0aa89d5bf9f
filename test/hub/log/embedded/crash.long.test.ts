import { describe, it } from 'vitest';
import { checkLives } from './crash-properties.ts';
import { CrashRun } from './crash-run.ts';

/** Of each search. */
const BUDGET_MS = Number(process.env.TIDEMARK_SEARCH_SECONDS ?? 60) * 1_000;

describe('crashes, for longer', () => {
  it.each(['process', 'machine'] as const)('keeps every state from the horizon on, wherever the %s stops while history is folded', async (kind) => {
    const whole = new CrashRun(7);
    await whole.cycle({ steps: 60, crashAt: null, kind, compacts: true });
    for (let crashAt = 1; crashAt <= whole.operations; crashAt++) {
      const run = new CrashRun(7);
      await run.cycle({ steps: 60, crashAt, kind, compacts: true });
    }
  });

  it('loses nothing durable through several lives', () => checkLives(BUDGET_MS, false));

  it('loses nothing durable when operations fail', () => checkLives(BUDGET_MS, true));
});
