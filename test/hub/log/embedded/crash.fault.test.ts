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

  it.each(['process', 'machine'] as const)('keeps every state from the horizon on, wherever the %s stops while history is folded', { timeout: 120_000 }, async (kind) => {
    const whole = new CrashRun(7);
    await whole.cycle({ steps: 60, crashAt: null, kind, compacts: true });
    // Every one of them: crash.long.test.ts.
    for (let crashAt = 1; crashAt <= whole.operations; crashAt += 53) {
      const run = new CrashRun(7);
      await run.cycle({ steps: 60, crashAt, kind, compacts: true });
    }
  });

  it('loses nothing durable through several lives', () => checkLives(BUDGET_MS, false));

  it('loses nothing durable when operations fail', () => checkLives(3 * BUDGET_MS, true));
});
