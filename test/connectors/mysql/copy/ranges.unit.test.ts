import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { formatCopyState, parseCopyState, whyVoid, type CopyState } from '../../../../connectors/mysql/copy/copy-state.ts';
import { middleOf } from '../../../../connectors/mysql/copy/key-middle.ts';
import { formatKeyRange, parseKeyRange, rangesLeft, tiled } from '../../../../connectors/mysql/copy/key-ranges.ts';
import { rangeCount } from '../../../../connectors/mysql/copy/plan-tables.ts';
import { RowPace } from '../../../../connectors/mysql/copy/row-pace.ts';
import { mysqlType, type MysqlType } from '../../../../contracts/types/mysql-types.ts';

const typeOf = (columnType: string, charset: string | null = null, collation: string | null = null): MysqlType => mysqlType({ columnType, charset, collation });
const middle = (type: MysqlType, one: string, other: string): string | null => middleOf(type, Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1'))?.toString('latin1') ?? null;
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

describe('a value in the middle', () => {
  it('of numbers lies between them, or is the lesser one', () => {
    fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n }), (one, other) => {
      const between = BigInt(middle(typeOf('bigint'), String(one), String(other)) ?? '');
      const [low, high] = one < other ? [one, other] : [other, one];
      expect(between - low).toBe((high - low) / 2n);
    }));
    fc.assert(fc.property(fc.integer({ min: -(10 ** 9), max: 10 ** 9 }), fc.integer({ min: -(10 ** 9), max: 10 ** 9 }), (one, other) => {
      const text = middle(typeOf('decimal(12,2)'), (one / 100).toFixed(2), (other / 100).toFixed(2)) ?? '';
      expect(text).toMatch(/^-?\d+\.\d\d$/);
      expect(Math.round(Number(text) * 100)).toBe(Math.floor((one + other) / 2));
    }));
  });

  it('of bytes lies between them, wherever they differ', () => {
    const bytes = fc.uint8Array({ maxLength: 12 }).map((value) => Buffer.from(value));
    fc.assert(fc.property(bytes, bytes, (one, other) => {
      const [low, high] = Buffer.compare(one, other) < 0 ? [one, other] : [other, one];
      const between = middleOf(typeOf('varbinary(20)'), one, other) ?? Buffer.alloc(0);
      // Zeros at the end do not count: six bytes behind the common ones are looked at.
      expect(Buffer.compare(between, high)).toBeLessThanOrEqual(0);
      expect(Buffer.compare(Buffer.concat([between, Buffer.alloc(12)]), low.subarray(0, between.length))).toBeGreaterThanOrEqual(0);
    }));
  });

  it('is found of texts and times, in the order of their collation', () => {
    const text = typeOf('varchar(40)', 'utf8mb4', 'utf8mb4_0900_ai_ci');
    expect(middle(text, 'user-000001', 'user-999999')).toMatch(/^user-[45]/);
    expect(middle(text, 'A000', 'F999')).toMatch(/^[CD]/);
    expect(middle(text, 'apple', 'zebra')).toMatch(/^[mn]/);
    expect(middle(typeOf('varchar(40)', 'latin1', 'latin1_bin'), 'AAAA', 'aaaa')).toMatch(/^[PQ]/);
    // What they have in common ends before a character of several bytes.
    expect(middleOf(text, Buffer.from('größe1'), Buffer.from('grüße1'))?.toString()).toMatch(/^gr[a-z0-9]*$/);
    expect(middle(typeOf('datetime(6)'), '2026-01-01 00:00:00.000000', '2026-01-03 00:00:00.000000')).toBe('2026-01-02 00:00:00');
    expect(middle(typeOf('date'), '2026-01-01', '2026-01-03')).toBe('2026-01-02');
  });

  it('is none where nothing is known of the order', () => {
    expect(middle(typeOf(`enum('a','b','c')`, 'utf8mb4', 'utf8mb4_bin'), '1', '3')).toBeNull();
    expect(middle(typeOf('varchar(40)', 'utf16', 'utf16_bin'), '\0a', '\0z')).toBeNull();
    expect(middle(typeOf('double'), '1', '3')).toBeNull();
    expect(middle(typeOf('date'), '0000-00-00', '2026-01-03')).toBeNull();
  });
});

it('a table is divided by its size, up to a limit', () => {
  expect(rangeCount(0, 36)).toBe(1);
  expect(rangeCount(100, 36)).toBe(3);
  expect(rangeCount(2 ** 40, 36)).toBe(64);
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
