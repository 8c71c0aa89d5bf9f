import fc from 'fast-check';
import { describe, it } from 'vitest';
import { killedRebuilds, type Way } from './kills.ts';

const WAYS = fc.constantFrom<Way>('shadow', 'shadow', 'in-place', 'either');
const BUDGET_MS = 10 * 60_000;

describe('rebuilds while the hub is killed, for minutes', () => {
  it('leave the sink equal to the source at its checkpoint at every moment, and nothing behind', async () => {
    const limit = performance.now() + BUDGET_MS;
    const property = fc.asyncProperty(fc.integer({ min: 0, max: 1 << 30 }), fc.integer({ min: 10, max: 120 }), WAYS, async (seed, actions, way) => {
      // What is under way ends, so that it leaves nothing on the disk.
      if (performance.now() > limit) return;
      await killedRebuilds(seed, actions, way);
    });
    await fc.assert(property, { numRuns: 100_000, endOnFailure: true });
  });
});
