import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Fault } from '../../../fixtures/faulty-files.ts';
import { CrashRun } from './crash-run.ts';

const SECOND = 1000;

describe('crashes', () => {
  it.each(['process', 'machine'] as const)('loses nothing durable, wherever the %s stops', { timeout: 60 * SECOND }, async (kind) => {
    const whole = new CrashRun(42);
    await whole.cycle({ steps: 40, crashAt: null, kind });
    expect(whole.operations).toBeGreaterThan(60);
    for (let crashAt = 1; crashAt <= whole.operations; crashAt++) {
      const run = new CrashRun(42);
      await run.cycle({ steps: 40, crashAt, kind });
    }
  });

  it('loses nothing durable through several lives', { timeout: 60 * SECOND }, async () => {
    const life = fc.record({
      steps: fc.integer({ min: 0, max: 60 }),
      crashAt: fc.option(fc.integer({ min: 1, max: 250 })),
      kind: fc.constantFrom('process' as const, 'machine' as const),
    });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 1 << 30 }), fc.array(life, { minLength: 1, maxLength: 5 }), async (seed, lives) => {
        const run = new CrashRun(seed);
        for (const one of lives) await run.cycle(one);
      }),
      { numRuns: 150, interruptAfterTimeLimit: 20 * SECOND },
    );
  });

  it('loses nothing durable when writes and syncs fail', { timeout: 60 * SECOND }, async () => {
    const fault: fc.Arbitrary<Fault> = fc.record({
      operation: fc.constantFrom('write', 'sync', 'create', 'rename', 'sync-directory', 'truncate', 'remove', 'open', 'read'),
      nth: fc.integer({ min: 1, max: 60 }),
      code: fc.constantFrom('EIO', 'ENOSPC'),
      after: fc.boolean(),
    });
    const life = fc.record({
      steps: fc.integer({ min: 0, max: 60 }),
      crashAt: fc.option(fc.integer({ min: 1, max: 250 })),
      kind: fc.constantFrom('process' as const, 'machine' as const),
      faults: fc.array(fault, { maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 1 << 30 }), fc.array(life, { minLength: 1, maxLength: 4 }), async (seed, lives) => {
        const run = new CrashRun(seed);
        for (const one of lives) await run.cycle(one);
      }),
      { numRuns: 150, interruptAfterTimeLimit: 20 * SECOND },
    );
  });
});
