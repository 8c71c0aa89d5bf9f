import { describe, expect, test } from 'vitest';
import { readOptions } from '../../bench/options.ts';
import { isMet, jsonLine, median, percentile, ratioOf } from '../../bench/report.ts';
import { peakRssMb } from '../../bench/rss.ts';
import { type Bench, runBench } from '../../bench/runner.ts';

const AT_LEAST = { target: 0.9, sense: 'at-least' } as const;
const AT_MOST = { target: 2, sense: 'at-most' } as const;

test('medians and percentiles', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(() => median([])).toThrow('no median');
  const hundred = Float64Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(percentile(hundred, 0.5)).toBe(51);
  expect(percentile(hundred, 0.99)).toBe(100);
});

test('the worst figure decides', () => {
  const measures = [
    { unit: 'a', baseline: 10, tidemark: 12 },
    { unit: 'b', baseline: 10, tidemark: 9 },
  ];
  expect(ratioOf(measures, AT_LEAST)).toBeCloseTo(0.9);
  expect(ratioOf(measures, AT_MOST)).toBeCloseTo(1.2);
});

test.each([
  [0.9, 399, AT_LEAST, true],
  [0.89, 100, AT_LEAST, false],
  [5, 400, AT_LEAST, false],
  [2, 100, AT_MOST, true],
  [2.01, 100, AT_MOST, false],
])('ratio %d with %d MB', (ratio, rss_mb, goal, met) => {
  expect(isMet({ bench: 'x', ratio, target: goal.target, samples: 3, rss_mb }, goal)).toBe(met);
});

test('the line for scripts has these five fields', () => {
  const line = jsonLine({ bench: 'capture', ratio: 1.23456, target: 0.9, samples: 3, rss_mb: 123.456 });
  expect(line).toBe('{"bench":"capture","ratio":1.235,"target":0.9,"samples":3,"rss_mb":123.5}');
});

describe('the runner', () => {
  test('alternates, compares medians, keeps the highest peak, ends the servers', async () => {
    const calls: string[] = [];
    const take = (side: string, values: readonly number[], rss: readonly number[]) => (index: number) => {
      calls.push(`${side}${index}`);
      return Promise.resolve({ figures: [values[index] ?? 0], rssMb: rss[index] ?? 0 });
    };
    const bench: Bench = {
      name: 'probe',
      baselineName: 'other',
      units: ['rows/s'],
      goal: AT_LEAST,
      prepare: () =>
        Promise.resolve({
          baseline: take('b', [100, 1, 110], []),
          tidemark: take('t', [200, 210, 1000], [50, 70, 60]),
          [Symbol.asyncDispose]: () => Promise.resolve(void calls.push('end')),
        }),
    };
    const outcome = await runBench(bench, { samples: 3, scale: 1, profile: null }, () => undefined);
    expect(calls).toEqual(['b0', 't0', 'b1', 't1', 'b2', 't2', 'end']);
    expect(outcome).toEqual({ bench: 'probe', ratio: 2.1, target: 0.9, samples: 3, rss_mb: 70 });
  });
});

test('arguments', () => {
  expect(readOptions(['mirror', '--json', '--samples', '5'])).toEqual({ bench: 'mirror', json: true, samples: 5, scale: 1, profile: null });
  expect(() => readOptions([])).toThrow('name one bench');
  expect(() => readOptions(['mirror', 'redis'])).toThrow('name one bench');
  expect(() => readOptions(['mirror', '--samples', '0'])).toThrow('--samples');
  expect(() => readOptions(['mirror', '--scale', 'x'])).toThrow('--scale');
});

test('the peak memory of a process is read from the kernel', async () => {
  const mine = await peakRssMb(process.pid);
  expect(mine).toBeGreaterThan(20);
  expect(mine).toBeLessThan(10_000);
});
