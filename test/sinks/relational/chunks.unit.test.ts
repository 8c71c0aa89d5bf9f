import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chunks } from '../../../sinks/relational/chunks.ts';
import { refsOf } from './refs.ts';

test('pieces hold every reference once, in order, within the limits', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 60 });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 10 }), fc.integer({ min: 50, max: 2_000 }), (list, rows, bytes) => {
      const refs = refsOf(list.map((size, n) => ({ key: [String(n)], row: ['x'.repeat(size)] })));
      const pieces = chunks(refs, { rows, bytes });
      expect(pieces.flat()).toEqual(refs);
      for (const piece of pieces) {
        const size = piece.reduce((sum, { batch, at }) => sum + batch.records.readUInt32BE(at), 0);
        expect(piece.length).toBeLessThanOrEqual(rows);
        expect(piece.length === 1 || size <= bytes).toBe(true);
      }
    }),
    { numRuns: 200 },
  );
});

test('one piece is the list itself', () => {
  const refs = refsOf([{ key: ['1'], row: ['x'] }]);
  expect(chunks(refs, { rows: 10, bytes: 1_000 })[0]).toBe(refs);
});
