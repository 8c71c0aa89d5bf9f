import { describe, expect, it } from 'vitest';
import { findsNothing, findsWrongAtSink, findsWrongAtSource, repairs, withoutSnapshots } from './properties.ts';

const RUNS = 400;
const MINUTES = 60_000;

describe('verify, for long', () => {
  it('finds no difference where there is none, whatever becomes visible late, is folded, copied again or changes its shape meanwhile', { timeout: 10 * MINUTES }, async () => {
    expect(await findsNothing(RUNS)).toBeGreaterThan(2000);
  });

  it('finds exactly the rows that differ at the sink, at the moment that it names', { timeout: 10 * MINUTES }, async () => {
    expect(await findsWrongAtSink(RUNS)).toBeGreaterThan(200);
  });

  it('finds exactly the rows that differ at the source', { timeout: 10 * MINUTES }, async () => {
    expect(await findsWrongAtSource(RUNS)).toBeGreaterThan(100);
  });

  it('repairs what differs and nothing else, also while the sink goes on', { timeout: 10 * MINUTES }, async () => {
    expect(await repairs(RUNS)).toBeGreaterThan(200);
  });

  it('counts a difference of a sink without snapshots only if it is there while nothing is applied', { timeout: 10 * MINUTES }, async () => {
    expect(await withoutSnapshots(RUNS)).toBeGreaterThan(10);
  });
});
