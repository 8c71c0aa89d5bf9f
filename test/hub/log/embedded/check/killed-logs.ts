import fc from 'fast-check';
import { expect } from 'vitest';
import { FaultyFiles } from '../../../../fixtures/faulty-files.ts';
import { seededRandom } from '../../../../fixtures/runtime.ts';
import { writeFullLog } from '../full-log.ts';
import { checked, DATA } from './flipped-bits.ts';

/** Logs whose writer, or whole machine, ended in any operation: what that leaves is no damage. */
export async function checkKilled(runs: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.nat(1 << 20), fc.integer({ min: 20, max: 900 }), fc.constantFrom('process' as const, 'machine' as const), async (seed, after, kind) => {
      const files = new FaultyFiles(seededRandom(seed));
      const end = new Promise<FaultyFiles>((resolve) => files.crashAt(after, () => resolve(files)));
      // The killed writer's own promises may never settle.
      await Promise.race([writeFullLog(files, DATA, { seed }).catch(() => undefined), end]);
      const left = files.crash(kind);
      if (!(await left.exists(`${DATA}/log`))) return;
      expect(await checked(left)).toEqual([]);
    }),
    { numRuns: runs },
  );
}
