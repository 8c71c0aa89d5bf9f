import { describe, expect, it } from 'vitest';
import { checkLives } from './crash-properties.ts';
import { CrashRun } from './crash-run.ts';

const BUDGET_MS = 1500;

describe('crashes', () => {
  it.each(['process', 'machine'] as const)('loses nothing durable, wherever the %s stops', async (kind) => {
    const whole = new CrashRun(42);
    await whole.cycle({ steps: 30, crashAt: null, kind });
    expect(whole.operations).toBeGreaterThan(60);
    for (let crashAt = 1; crashAt <= whole.operations; crashAt++) {
      const run = new CrashRun(42);
      await run.cycle({ steps: 30, crashAt, kind });
    }
  });

  it('loses nothing durable through several lives', () => checkLives(BUDGET_MS, false));

  it('loses nothing durable when operations fail', () => checkLives(3 * BUDGET_MS, true));
});
