import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { divided, rangeCount } from '../../../../connectors/mysql/copy/copy-plan.ts';
import { formatCopyState, parseCopyState, whyVoid, type CopyState } from '../../../../connectors/mysql/copy/copy-state.ts';
import { formatKeyRange, parseKeyRange, rangesLeft, tiled } from '../../../../connectors/mysql/copy/key-ranges.ts';
import { RowPace } from '../../../../connectors/mysql/copy/row-pace.ts';

const at = (number: number): Buffer[] => [Buffer.from(String(number))];

describe('ranges by key', () => {
  it('are read back as they were written', () => {
    const bound = fc.array(fc.uint8Array({ maxLength: 5 }).map((bytes) => Buffer.from(bytes)), { minLength: 1, maxLength: 4 });
    fc.assert(fc.property(fc.option(bound), fc.option(bound), (after, to) => {
      expect(parseKeyRange(formatKeyRange({ after, to }))).toEqual({ after, to });
    }));
    for (const text of ['whole', 'key begin', 'key  end', 'key x1 end', 'key y11 end', 'key x11 x22 end', 'key end begin']) expect(() => parseKeyRange(text), text).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }));
  });

  it('leave nothing out when a copy goes on, whichever pieces are done', () => {
    fc.assert(fc.property(fc.array(fc.nat(40), { maxLength: 4 }), fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }), (cuts, done) => {
      const planned = tiled([...new Set(cuts.map((cut) => cut * 10))].toSorted((a, b) => a - b).map(at));
      // Each planned range in pieces of seven; a place is a number here.
      const numberOf = (bound: readonly Buffer[] | null, open: number): number => (bound === null ? open : Number(bound[0]));
      const copied = new Set<number>();
      const texts: string[] = [];
      let piece = 0;
      for (const range of planned) {
        const end = numberOf(range.to, 401);
        for (let from = numberOf(range.after, -1); from < end; ) {
          const to = Math.min(from + 7, end);
          if (done[piece++ % done.length] === true) {
            texts.push(formatKeyRange({ after: from === -1 ? null : at(from), to: to === 401 ? null : at(to) }));
            for (let number = from + 1; number <= to; number++) copied.add(number);
          }
          from = to;
        }
      }
      for (const range of rangesLeft(planned, texts)) for (let number = numberOf(range.after, -1) + 1; number <= numberOf(range.to, 401); number++) copied.add(number);
      expect(copied.size).toBe(402);
    }));
  });

  it('are not led astray by what a log may have', () => {
    const planned = tiled([at(10)]);
    // A piece without an end of its own, and two that lead round.
    expect(rangesLeft(planned, ['key x3130 x3130'])).toEqual(planned);
    expect(rangesLeft(planned, ['key begin x31', 'key x31 x32', 'key x32 x31']).length).toBe(2);
    expect(rangesLeft(planned, ['key begin x3130', 'key x3130 end'])).toEqual([]);
  });
});

describe('dividing', () => {
  it('gives places in order, within the ends, none twice', () => {
    fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n }), fc.bigInt({ min: 0n, max: 2n ** 64n }), fc.integer({ min: 1, max: 64 }), fc.boolean(), (low, width, ranges, isDescending) => {
      const places = divided(low, low + width, ranges, isDescending).map((bound) => BigInt(String(bound[0])));
      expect(places.length).toBeLessThan(ranges);
      const inOrder = isDescending ? places.toReversed() : places;
      for (const [index, place] of inOrder.entries()) {
        expect(place >= low && place <= low + width).toBe(true);
        if (index > 0) expect(place > (inOrder[index - 1] as bigint)).toBe(true);
      }
    }));
    expect(rangeCount(0, 36)).toBe(1);
    expect(rangeCount(100, 36)).toBe(3);
    expect(rangeCount(2 ** 40, 36)).toBe(64);
  });
});

describe('the pace', () => {
  it('goes by time and by room, and grows by steps', () => {
    const pace = new RowPace(100);
    pace.took(100, 1, 0.01);
    expect(pace.rows).toBe(400);
    pace.took(400, 4_000, 0.1);
    expect(pace.rows).toBe(200);
    pace.took(200, 10, 2);
    expect(pace.rows).toBe(75);
    pace.took(1, 60_000, 1);
    expect(pace.rows).toBe(1);
  });
});

describe('what a copy relies on', () => {
  const state: CopyState = { mode: 'key', key: ['1 int'], hashed: [], bounds: ['x31'] };

  it('is read back, and voids what was copied when it changes', () => {
    expect(parseCopyState(formatCopyState(state))).toEqual(state);
    expect(() => parseCopyState('{"mode":"ctid"}')).toThrow(expect.objectContaining({ code: 'COPY_VOID' }));
    expect(whyVoid(state, { ...state, bounds: [] } as CopyState)).toBeNull();
    expect(whyVoid(state, { ...state, key: ['1 bigint'] })).toMatch(/key/);
    expect(whyVoid(state, { ...state, mode: 'whole' })).not.toBeNull();
    expect(whyVoid(state, { ...state, hashed: ['a k'] })).toMatch(/hashed/);
  });
});
