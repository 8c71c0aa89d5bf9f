import fc from 'fast-check';
import type { Fault } from '../../../fixtures/faulty-files.ts';
import { CrashRun, type CycleOptions } from './crash-run.ts';

const life = {
  compacts: fc.boolean(),
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

const faults = {
  faults: fc.array(fault, { maxLength: 4 }),
  room: fc.option(fc.integer({ min: 0, max: 20_000 }), { freq: 3 }),
};

/** Lives that went wrong once. */
const FOUND: [number, CycleOptions[]][] = [
  [
    // A failed sync had reached the disk, and the machine stopped before the next writer had cut it.
    677097485,
    [
      { steps: 5, crashAt: 33, kind: 'machine', faults: [{ operation: 'sync', nth: 6, code: 'EIO', after: true }] },
      { steps: 0, crashAt: null, kind: 'process' },
    ],
  ],
];

/**
 * Logs that live several times, each life ended by a crash, with failing operations and a full disk on the way if asked
 * for.
 * @param budgetMs no new log is begun after this; a failure prints the seed and path that replay it
 */
export async function checkLives(budgetMs: number, withFaults: boolean): Promise<void> {
  const one: fc.Arbitrary<CycleOptions> = fc.record(withFaults ? { ...life, ...faults } : life);
  const property = fc.asyncProperty(fc.integer({ min: 0, max: 1 << 30 }), fc.array(one, { minLength: 1, maxLength: 5 }), async (seed, lives) => {
    const run = new CrashRun(seed);
    for (const ended of lives) await run.cycle(ended);
  });
  await fc.assert(property, { numRuns: 1_000_000, interruptAfterTimeLimit: budgetMs, examples: FOUND });
}
