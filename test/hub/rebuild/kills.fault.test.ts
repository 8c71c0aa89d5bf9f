import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { killedRebuilds, type Way } from './kills.ts';

const WAYS = fc.constantFrom<Way>('shadow', 'shadow', 'in-place', 'either');
const BUDGET_MS = 8000;

describe('rebuilds while the hub is killed, fails, is asked for other things', () => {
  it('leave the sink equal to the source at its checkpoint at every moment, and nothing behind', async () => {
    let runs = 0;
    let kills = 0;
    let swaps = 0;
    const limit = performance.now() + BUDGET_MS;
    const property = fc.asyncProperty(fc.integer({ min: 0, max: 1 << 30 }), fc.integer({ min: 5, max: 40 }), WAYS, async (seed, actions, way) => {
      // What is under way ends, so that it leaves nothing on the disk.
      if (performance.now() > limit) return;
      const outcome = await killedRebuilds(seed, actions, way);
      runs++;
      kills += outcome.kills;
      swaps += outcome.swaps;
    });
    await fc.assert(property, { numRuns: 60, endOnFailure: true });
    // A machine that is busy comes to a few runs only.
    if (runs < 15) return;
    expect(kills).toBeGreaterThan(0);
    expect(swaps).toBeGreaterThan(0);
  });
});
