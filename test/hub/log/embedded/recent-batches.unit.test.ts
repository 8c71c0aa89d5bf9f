import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { RecentBatches } from '../../../../hub/log/embedded/reading/recent-batches.ts';

test('the batch after an offset is the one that a walk from the beginning comes to, or is not said to be here', () => {
  const counts = fc.array(fc.nat(3), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(counts, fc.integer({ min: 600, max: 30_000 }), fc.integer({ min: -1, max: 130 }), (list, limit, offset) => {
      const recent = new RecentBatches(limit);
      const all: ChangeBatch[] = [];
      let next = 1;
      for (const [position, count] of list.entries()) {
        const batch = new ChangeBatch({ baseOffset: next, count, records: Buffer.alloc(count), transactions: [], progress: null });
        all.push(batch);
        recent.push({ segment: 1, position, end: position + 1, batch });
        next += count;
      }
      const wanted = all.find((batch) => batch.lastOffset > offset || batch.baseOffset > offset);
      const found = recent.firstAfter(offset)?.batch;
      if (found !== undefined) expect(found).toBe(wanted);
      // With room for all of them only what stands before the first one is not sure.
      else if (limit > 29_000 && wanted !== undefined) expect(wanted).toBe(all[0]);
    }),
    { numRuns: 500 },
  );
});
