import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { killedRebuilds } from './kills.ts';

describe('rebuilds while the hub is killed, fails, is asked for other things', () => {
  it('leave the sink equal to the source at its checkpoint at every moment, and nothing behind', async () => {
    let runs = 0;
    let kills = 0;
    let swaps = 0;
    const property = fc.asyncProperty(fc.integer({ min: 0, max: 1 << 30 }), fc.integer({ min: 5, max: 40 }), async (seed, actions) => {
      const outcome = await killedRebuilds(seed, actions);
      runs++;
      kills += outcome.kills;
      swaps += outcome.swaps;
    });
    await fc.assert(property, { numRuns: 60, interruptAfterTimeLimit: 8000, endOnFailure: true });
    // A machine that is busy comes to a few runs only.
    if (runs < 15) return;
    expect(kills).toBeGreaterThan(0);
    expect(swaps).toBeGreaterThan(0);
  });
});
