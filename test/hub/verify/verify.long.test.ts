import { describe, expect, it } from 'vitest';
import { findsNothing, findsWrongAtSink, findsWrongAtSource, repairs, withoutSnapshots } from './properties.ts';

const RUNS = 150;
const MINUTES = 60_000;

describe('verify, for long', () => {
  it('finds no difference where there is none, whatever becomes visible late, is folded, copied again or changes its shape meanwhile', { timeout: 15 * MINUTES }, async () => {
    expect(await findsNothing(RUNS)).toBeGreaterThan(800);
  });

  it('finds exactly the rows that differ at the sink, at the moment that it names', { timeout: 15 * MINUTES }, async () => {
    expect(await findsWrongAtSink(RUNS)).toBeGreaterThan(60);
  });

  it('finds exactly the rows that differ at the source', { timeout: 15 * MINUTES }, async () => {
    expect(await findsWrongAtSource(RUNS)).toBeGreaterThan(30);
  });

  it('repairs what differs and nothing else, also while the sink goes on', { timeout: 15 * MINUTES }, async () => {
    expect(await repairs(RUNS)).toBeGreaterThan(60);
  });

  it('counts a difference of a sink without snapshots only if it is there while nothing is applied', { timeout: 15 * MINUTES }, async () => {
    expect(await withoutSnapshots(RUNS)).toBeGreaterThan(4);
  });
});
