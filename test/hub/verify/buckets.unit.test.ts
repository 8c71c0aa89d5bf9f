import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import { buildKey } from '../../../contracts/key.ts';
import { Op } from '../../../contracts/op.ts';
import { buildImage } from '../../../contracts/row-image.ts';
import { Buckets, bucketsFor, MOST_BUCKETS } from '../../../hub/verify/buckets.ts';
import { Gather } from '../../../hub/verify/gather.ts';
import { Pace } from '../../../hub/verify/pace.ts';
import { RowHash } from '../../../hub/verify/row-hash.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { SimulatedClock, seededRandom } from '../../fixtures/runtime.ts';

const NONE = Buffer.alloc(0);

interface RowOf {
  readonly key: string;
  readonly value: string | null;
}

function batchOf(rows: readonly RowOf[], keyless = false): ChangeBatch {
  const builder = new BatchBuilder(64);
  builder.begin('hub', 0, 0);
  for (const { key, value } of rows) builder.record(Op.read, 0, 0, 0, keyless ? NONE : buildKey([key]), NONE, buildImage([key, value]));
  return builder.take();
}

const ROW = fc.record({ key: fc.string({ maxLength: 9 }), value: fc.option(fc.string({ maxLength: 40 })) });
const ROWS = fc.uniqueArray(ROW, { selector: ({ key }) => key, maxLength: 200 });

function sums(rows: readonly RowOf[], size = 64): Buckets {
  const buckets = new Buckets(size);
  buckets.add(batchOf(rows), new RowHash([7, 9]));
  return buckets;
}

describe('buckets', () => {
  it('do not depend on the order of rows, nor on how many buckets they were summed in first', () => {
    fc.assert(
      fc.property(ROWS, fc.integer(), (rows, seed) => {
        const other = rows.toSorted((a, b) => ((a.key.length * seed) % 7) - ((b.key.length * seed) % 7));
        expect(sums(rows).differing(sums(other)).count).toBe(0);
        expect(sums(rows, 1024).folded(64).differing(sums(other)).count).toBe(0);
        const half = rows.length >> 1;
        expect(sums(rows.slice(0, half)).folded(64, sums(rows.slice(half))).differing(sums(rows)).count).toBe(0);
      }),
    );
  });

  it('differ where a row is missing, changed or there twice, and forget a row that is taken back', () => {
    fc.assert(
      fc.property(ROWS.filter((rows) => rows.length > 0), fc.nat(), fc.string({ minLength: 1, maxLength: 9 }), (rows, at, text) => {
        const index = at % rows.length;
        const row = rows[index] ?? { key: '', value: '' };
        const changed = rows.with(index, { ...row, value: `${row.value ?? ''}${text}` });
        for (const other of [rows.toSpliced(index, 1), changed, [...rows, row]]) expect(sums(rows).differing(sums(other)).count).toBe(1);
        const back = sums([...rows, row]);
        back.add(batchOf([row]), new RowHash([7, 9]), -1);
        expect(back.differing(sums(rows)).count).toBe(0);
        expect(back.rows).toBe(rows.length);
      }),
    );
  });

  it('tell NULL from the empty text, and values that trade places', () => {
    const row = (value: string | null): Buckets => sums([{ key: '1', value }]);
    expect(row(null).differing(row('')).count).toBe(1);
    expect(row('1.0').differing(row('1.00')).count).toBe(1);
    const traded = sums([{ key: '1', value: 'a' }, { key: '2', value: 'b' }], 1);
    expect(traded.differing(sums([{ key: '1', value: 'b' }, { key: '2', value: 'a' }], 1)).count).toBe(1);
  });

  it('are as many as the rows ask for, within bounds', () => {
    expect([0, 1000, 100_000, 10_000_000, 10 ** 12].map(bucketsFor)).toEqual([256, 256, 4096, MOST_BUCKETS, MOST_BUCKETS]);
  });

  it('spread rows evenly', () => {
    const rows = Array.from({ length: 64_000 }, (_, id) => ({ key: String(id), value: 'v' }));
    const marked = new Buckets(256).differing(sums(rows, 256));
    expect(marked.count).toBe(256);
    const hash = new RowHash([7, 9]);
    const counts = new Array<number>(256).fill(0);
    for (const { key } of rows) {
      const bytes = buildKey([key]);
      hash.row(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length, bytes.length);
      counts[hash.place & 255] = (counts[hash.place & 255] ?? 0) + 1;
    }
    expect(Math.min(...counts)).toBeGreaterThan(150);
    expect(Math.max(...counts)).toBeLessThan(350);
  });

  it('hash rows of one length apart wherever they differ', () => {
    const hash = new RowHash([1, 2]);
    const seen = new Set<string>();
    const bytes = Buffer.alloc(64);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < 61; at++) {
      for (let value = 0; value < 256; value++) {
        bytes[at] = value;
        hash.row(view, 0, 8, 61);
        seen.add(`${hash.low} ${hash.high}`);
      }
      bytes[at] = 0;
    }
    expect(seen.size).toBe(61 * 255 + 1);
  });
});

describe('rows of differing buckets', () => {
  it('of a place with keys of its own are nobody\'s where the log has none there', async () => {
    const files = new FaultyFiles(seededRandom(1));
    await files.makeDirectory('/gather');
    const buckets = { marked: new Uint8Array(1).fill(1), count: 1, mask: 0 };
    await using gather = await Gather.create({ files, directory: '/gather/one', memoryBytes: 2000, buckets, keyless: false, ownKeys: true });
    await gather.add('right', batchOf([{ key: 'public.things:7', value: 'stray' }], false), new RowHash([3, 4]));
    const found: (Buffer | null)[] = [];
    for await (const { logKey } of gather.wrong()) found.push(logKey);
    expect(found).toEqual([null]);
  });

  it('are told apart exactly, by key or by how often they stand there, in little memory', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(ROWS, ROWS, fc.boolean(), async (left, right, keyless) => {
        const files = new FaultyFiles(seededRandom(1));
        await files.makeDirectory('/gather');
        const buckets = { marked: new Uint8Array(1).fill(1), count: 1, mask: 0 };
        await using gather = await Gather.create({ files, directory: '/gather/one', memoryBytes: 2000, buckets, keyless, ownKeys: false });
        const hash = new RowHash([3, 4]);
        await gather.add('left', batchOf(left, keyless), hash);
        await gather.add('right', batchOf(right, keyless), hash);
        // A row that is counted and taken back counts for nothing.
        if (keyless && left[0] !== undefined) {
          await gather.add('right', batchOf([left[0]], true), hash);
          await gather.add('right', batchOf([left[0]], true), hash, { sign: -1 });
        }
        const found: string[] = [];
        for await (const row of gather.wrong()) found.push(`${(keyless ? (row.left ?? row.right) : row.key)?.toString('hex')} ${row.leftCount} ${row.rightCount}`);
        const name = ({ key, value }: RowOf): string => (keyless ? buildImage([key, value]) : buildKey([key])).toString('hex');
        const same = (a: RowOf, b: RowOf | undefined): boolean => b !== undefined && a.value === b.value;
        const expected = new Set<string>();
        for (const row of left) {
          const other = right.find(({ key }) => key === row.key);
          if (same(row, other)) continue;
          expected.add(`${name(row)} 1 ${other === undefined || keyless ? 0 : 1}`);
        }
        for (const row of right) {
          const other = left.find(({ key }) => key === row.key);
          if (same(row, other)) continue;
          if (keyless || other === undefined) expected.add(`${name(row)} 0 1`);
        }
        expect(found.toSorted()).toEqual([...expected].toSorted());
      }),
      { numRuns: 100 },
    );
  });
});

describe('the pace of a reading', () => {
  it('waits as long as its rate asks for, and does not make up for time in which nothing was read', async () => {
    const clock = new SimulatedClock();
    const pace = new Pace(clock, { rowsPerSecond: 1000 });
    let done = 0;
    const never = new AbortController().signal;
    const reading = (async () => {
      for (let batch = 0; batch < 5; batch++) {
        await pace.took(100, 1, never);
        done++;
      }
    })();
    for (let ms = 0; ms < 480; ms += 10) await clock.advance(10);
    expect(done).toBe(4);
    for (let ms = 0; ms < 60; ms += 10) await clock.advance(10);
    await reading;
    expect(done).toBe(5);
    await clock.advance(60_000);
    const slow = pace.took(1000, 1, never).then(() => 'done');
    await clock.advance(500);
    expect(await Promise.race([slow, Promise.resolve('waits')])).toBe('waits');
    await clock.advance(600);
    expect(await slow).toBe('done');
  });
});
