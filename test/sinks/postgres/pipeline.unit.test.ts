import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joined } from '../../../sinks/postgres/pipeline.ts';

describe('the pieces that a pipeline is sent in', () => {
  it('are the same bytes in the same order', () => {
    const chunk = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 0, max: 40_000 }).map((length) => new Uint8Array(length).fill(length)));
    fc.assert(fc.property(fc.array(chunk), (chunks) => {
      expect(Buffer.concat(joined(chunks)).equals(Buffer.concat(chunks))).toBe(true);
    }));
  });

  it('are few where chunks are small, and large chunks are not copied', () => {
    const small = Array.from({ length: 100 }, (_, i) => Buffer.from([i]));
    const large = Buffer.alloc(1 << 20);
    const pieces = joined([...small, large, ...small]);
    expect(pieces.map(({ length }) => length)).toEqual([100, 1 << 20, 100]);
    expect(pieces[1]).toBe(large);
  });
});
