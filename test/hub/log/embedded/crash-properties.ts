import fc from 'fast-check';
import type { Fault } from '../../../fixtures/faulty-files.ts';
import { CrashRun } from './crash-run.ts';

const life = {
  steps: fc.integer({ min: 0, max: 60 }),
  crashAt: fc.option(fc.integer({ min: 1, max: 250 })),
  kind: fc.constantFrom('process' as const, 'machine' as const),
};

const fault: fc.Arbitrary<Fault> = fc.record({
  operation: fc.constantFrom('write', 'sync', 'create', 'rename', 'sync-directory', 'truncate', 'remove', 'open', 'read'),
  nth: fc.integer({ min: 1, max: 60 }),
  code: fc.constantFrom('EIO', 'ENOSPC'),
  after: fc.boolean(),
});

/**
 * Logs that live several times, each life ended by a crash, with failing operations on the way if asked for.
 * @param budgetMs no new log is begun after this; a failure prints the seed and path that replay it
 */
export async function checkLives(budgetMs: number, withFaults: boolean): Promise<void> {
  const lives = fc.array(fc.record({ ...life, faults: withFaults ? fc.array(fault, { maxLength: 4 }) : fc.constant([]) }), { minLength: 1, maxLength: 5 });
  const property = fc.asyncProperty(fc.integer({ min: 0, max: 1 << 30 }), lives, async (seed, ended) => {
    const run = new CrashRun(seed);
    for (const one of ended) await run.cycle(one);
  });
  await fc.assert(property, { numRuns: 100_000, interruptAfterTimeLimit: budgetMs });
}
