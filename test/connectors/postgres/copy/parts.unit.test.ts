import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareTids, firstPages, formatKeyRange, formatTidRange, halved, MAX_ITEMS, parseKeyRange, parseTidRange, tidRanges, type Tid, type TidRange,
} from '../../../../connectors/postgres/copy/ranges.ts';
import { Snapshot, streamEnd, widened } from '../../../../connectors/postgres/copy/xid-snapshot.ts';
import { formatCopyState, parseCopyState, whyVoid, type CopyState } from '../../../../connectors/postgres/copy/state.ts';
import { RangePace } from '../../../../connectors/postgres/copy/range-pace.ts';

const tid: fc.Arbitrary<Tid> = fc.record({ page: fc.nat(5_000), item: fc.nat(MAX_ITEMS) });
const tidRange: fc.Arbitrary<TidRange> = fc
  .record({ leaf: fc.constantFrom('1', '16384'), a: tid, b: fc.option(tid) })
  .map(({ leaf, a, b }) => (b === null ? { leaf, from: a, to: null } : compareTids(a, b) < 0 ? { leaf, from: a, to: b } : { leaf, from: b, to: { page: a.page, item: a.item + 1 } }));

function contains(range: TidRange, at: Tid): boolean {
  return compareTids(range.from, at) <= 0 && (range.to === null || compareTids(at, range.to) < 0);
}

describe('ranges by place', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(tidRange, (range) => {
        expect(parseTidRange(formatTidRange(range))).toEqual(range);
      }),
    );
  });

  it.each(['ctid', 'ctid 1 2', 'ctid 1 2.3 x', 'ctid x 0.0 end', 'ctid 1 0.0 1.1 2.2'])('%j is refused', (text) => {
    expect(parseTidRange('whole')).toBe(null);
    expect(() => parseTidRange(`${text} `)).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }));
  });

  it('of a plan and those done before it hold every place once', () => {
    const leaf = fc.record({ pages: fc.nat(400), perRange: fc.integer({ min: 1, max: 90 }), done: fc.array(fc.nat(20), { maxLength: 8 }), at: tid });
    fc.assert(
      fc.property(leaf, ({ pages, perRange, done, at }) => {
        const first = tidRanges([{ oid: '7', pages }], perRange, []);
        const copied = first.filter((_, index) => done.includes(index));
        const left = tidRanges([{ oid: '7', pages: pages + 100 }], perRange, copied.map(formatTidRange));
        expect([...copied, ...left].filter((range) => contains(range, at)).length).toBe(1);
        expect(first.filter((range) => range.to === null).length).toBe(1);
      }),
    );
  });

  it('halved, or cut to their first pages, lose no place', () => {
    fc.assert(
      fc.property(tidRange, fc.integer({ min: 1, max: 100 }), fc.nat(6_000), tid, (range, pages, tablePages, at) => {
        for (const parts of [halved(range, tablePages), firstPages(range, pages, tablePages)]) {
          if (parts === null) continue;
          expect(parts.filter((part) => contains(part, at)).length).toBe(contains(range, at) ? 1 : 0);
          expect(compareTids(parts[0].from, parts[0].to ?? parts[0].from)).toBeLessThan(0);
        }
      }),
    );
  });

  it('can be halved down to one item', () => {
    let range: TidRange = { leaf: '1', from: { page: 0, item: 0 }, to: null };
    let steps = 0;
    for (let parts = halved(range, 1_000_000); parts !== null; parts = halved(range, 1_000_000)) {
      range = parts[1].to === null ? parts[0] : parts[1];
      steps++;
    }
    expect(steps).toBeLessThan(40);
    const items = (range.to?.page ?? 0) * MAX_ITEMS + (range.to?.item ?? 0) - range.from.page * MAX_ITEMS - range.from.item;
    expect(items).toBe(1);
  });
});

describe('ranges by key', () => {
  it('are read as they were written', () => {
    const key = fc.option(fc.uint8Array().map((bytes) => Buffer.from(bytes)));
    fc.assert(
      fc.property(key, key, (after, to) => {
        expect(parseKeyRange(formatKeyRange({ after, to }))).toEqual({ after, to });
      }),
    );
  });
});

describe('a snapshot', () => {
  it('sees what has ended before it, and not what runs or is younger', () => {
    const snapshot = new Snapshot('100:110:102,105');
    expect([99, 100, 101, 102, 103, 105, 109, 110, 5_000_000_000].map((xid) => snapshot.sees(xid))).toEqual([
      true, true, true, false, true, false, true, false, false,
    ]);
    expect(new Snapshot('7:7:').sees(6)).toBe(true);
    expect(new Snapshot('7:7:').sees(7)).toBe(false);
  });

  it('of another form is refused', () => {
    expect(() => new Snapshot('100:110')).toThrow(expect.objectContaining({ code: 'POSTGRES_PROTOCOL' }));
  });
});

describe('a transaction id', () => {
  it('is widened to the nearest one of 64 bits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2 ** 33, max: 2 ** 50 }), fc.integer({ min: -(2 ** 31) + 1, max: 2 ** 31 - 1 }), (near, distance) => {
        const full = near + distance;
        expect(widened(full % 2 ** 32, near)).toBe(full);
      }),
    );
  });
});

describe('the end of WAL', () => {
  const PAGE = 8192;
  const SEGMENT = 16 << 20;
  it.each([
    ['inside a page', 3 * SEGMENT + 5 * PAGE + 100, 3 * SEGMENT + 5 * PAGE + 100],
    ['just past a page header', 3 * SEGMENT + 5 * PAGE + 24, 3 * SEGMENT + 5 * PAGE],
    ['just past the header of a segment', 3 * SEGMENT + 40, 3 * SEGMENT],
    ['inside the header of a segment, which no position is', 3 * SEGMENT + 24, 3 * SEGMENT + 24],
  ])('%s', (_, insert, end) => {
    expect(streamEnd(insert, PAGE, SEGMENT)).toBe(end);
  });
});

describe('the state of a copy', () => {
  const state: CopyState = { mode: 'ctid', storage: '1:2', hashed: ['a'], systemId: '7', timeline: 1 };

  it('is read as it was written, and one of another form makes the copy void', () => {
    expect(parseCopyState(formatCopyState(state))).toEqual(state);
    expect(() => parseCopyState('{"mode":"other"}')).toThrow(expect.objectContaining({ code: 'COPY_VOID' }));
  });

  it('says why ranges do not go together', () => {
    expect(whyVoid(state, { ...state })).toBe(null);
    for (const change of [{ storage: '1:3' }, { timeline: 2 }, { systemId: '8' }, { mode: 'key' as const }, { hashed: [] }]) {
      expect(whyVoid(state, { ...state, ...change })).not.toBe(null);
    }
  });
});

describe('the pace of a copy', () => {
  it('is as planned while chunks are quick, and slower when they are not', () => {
    const pace = new RangePace(1_000);
    expect(pace.pages).toBe(Infinity);
    pace.took(100, 500, 0.5);
    expect(pace.pages).toBe(Infinity);
    pace.took(100, 8_000, 0.5);
    expect(pace.pages).toBe(25);
    pace.took(25, 1_000, 0.5);
    expect(pace.pages).toBe(37);
  });

  it('leaves room once a spool was too small', () => {
    const pace = new RangePace(1_000);
    pace.overflowed(50);
    pace.took(50, 10, 0.9);
    expect(pace.pages).toBe(41);
  });
});
