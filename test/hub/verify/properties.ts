/** What a verification must hold to in any world; each answers how much it has met, so that it is known to have met something. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { seededUnit } from '../../../contracts/kit/log-workload.ts';
import type { Comparison, VerifyReport, VerifyRequest } from '../../../hub/verify/report.ts';
import { Verification } from '../../../hub/verify/verify.ts';
import { KEYLESS, TABLES } from './world-rows.ts';
import { World } from './world.ts';

export const NEVER: AbortSignal = new AbortController().signal;
export const ALL: VerifyRequest = { tables: [], against: 'source', repair: false, rate: null };

export function verify(world: World, request: Partial<VerifyRequest> = {}): Promise<VerifyReport> {
  return new Verification(world.parts(), { ...ALL, ...request }, () => undefined, NEVER).run();
}

/** A world with some past: changes, folded history, a table that was copied again, one with another shape. */
async function worldWithPast(seed: number, options: { readonly isExact?: boolean } = {}): Promise<World> {
  const unit = seededUnit(seed);
  const world = await World.open({ unit, segmentBytes: 1024 + Math.floor(unit() * 4096), ...options });
  for (let step = world.draw(40); step > 0; step--) {
    await world.commit();
    const what = world.draw(16);
    if (what === 0) await world.compact();
    if (what === 1) await world.widen(1 + world.draw(3));
    if (what === 2) await world.recopy(1 + world.draw(2));
  }
  world.follow(world.draw(world.log.state().highWatermark + 1));
  return world;
}

/** Others go on: the source commits, commits become visible, the sink follows. */
function busy(world: World): () => Promise<void> {
  return async () => {
    for (let commits = world.draw(4); commits > 0; commits--) await world.commit();
    if (world.draw(2) === 0) world.hidden.clear();
    const { highWatermark } = world.log.state();
    world.follow(world.sinkAt + world.draw(highWatermark - world.sinkAt + 1));
  };
}

/** Where the sink stands below what is folded, it stands nowhere that could be compared. */
function standing(world: World): void {
  world.follow(world.log.state().horizon);
}

/** What is said where no row differs. */
function withoutDifference(report: VerifyReport): VerifyReport['outcome'] {
  return report.tables.some(({ comparisons }) => comparisons.some(({ skipped }) => skipped !== null)) ? 'incomplete' : 'equal';
}

function comparisonsOf(report: VerifyReport): { readonly tableId: number; readonly comparison: Comparison }[] {
  return report.tables.flatMap(({ tableId, comparisons }) => comparisons.filter(({ skipped }) => skipped === null).map((comparison) => ({ tableId, comparison })));
}

/** Keys as the report tells them; of rows without a key how many. */
function keysIn(tableId: number, { first }: Comparison): string[] {
  return first.map(({ key }) => (tableId === KEYLESS ? 'row' : key)).toSorted();
}

function keysOf(tableId: number, wrong: readonly string[] | undefined): string[] {
  return (wrong ?? []).map((line) => (tableId === KEYLESS ? 'row' : `id=${/^row \d+/.exec(line)?.[0] ?? ''}`)).toSorted();
}

const SEED = fc.integer({ min: 0, max: 2 ** 32 - 1 });

/** Finds no difference where there is none, whatever becomes visible late, is folded, copied again or changes its shape meanwhile. */
export async function findsNothing(numRuns: number): Promise<number> {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(SEED, async (seed) => {
      await using world = await worldWithPast(seed);
      standing(world);
      world.meanwhile = busy(world);
      for (let time = 0; time < 3; time++) {
        const report = await verify(world);
        expect(report.outcome).toBe(withoutDifference(report));
        expect(report.tables.map(({ tableId }) => tableId)).toEqual([...TABLES]);
        compared += comparisonsOf(report).length;
      }
    }),
    { numRuns },
  );
  return compared;
}

/** Finds exactly the rows that differ at the sink, at the moment that it names. */
export async function findsWrongAtSink(numRuns: number): Promise<number> {
  let found = 0;
  await fc.assert(
    fc.asyncProperty(SEED, fc.integer({ min: 1, max: 8 }), async (seed, damages) => {
      await using world = await worldWithPast(seed);
      standing(world);
      for (let left = damages; left > 0; left--) world.damage();
      world.meanwhile = busy(world);
      for (const { tableId, comparison } of comparisonsOf(await verify(world))) {
        if (comparison.sides === 'source-log') {
          expect(comparison.first).toEqual([]);
          continue;
        }
        const wrong = world.wrongAt.get(comparison.offset)?.get(tableId);
        expect(keysIn(tableId, comparison)).toEqual(keysOf(tableId, wrong));
        found += comparison.differences;
        if (comparison.offset === world.sinkAt && tableId !== KEYLESS) expect(comparison.still).toBe(comparison.differences);
      }
    }),
    { numRuns },
  );
  return found;
}

/** Finds exactly the rows that differ at the source. */
export async function findsWrongAtSource(numRuns: number): Promise<number> {
  let found = 0;
  await fc.assert(
    fc.asyncProperty(SEED, async (seed) => {
      await using world = await worldWithPast(seed);
      standing(world);
      world.meanwhile = busy(world);
      // In one snapshot only, or in all.
      const isOnce = world.draw(2) === 0;
      world.spoilsSource = (rows) => {
        if (isOnce) world.spoilsSource = () => undefined;
        for (const tableId of [1, 2]) {
          rows.of(tableId).set('row 0', JSON.stringify(['row 0', null, 'only at the source']));
          if (rows.of(tableId).size > 1) rows.of(tableId).delete([...rows.of(tableId).keys()][0] ?? '');
        }
      };
      const report = await verify(world);
      for (const { tableId, comparison } of comparisonsOf(report)) {
        if (comparison.sides === 'log-sink' || tableId === KEYLESS) expect(comparison.differences).toBe(0);
        else {
          found += comparison.differences;
          if (!isOnce || comparison.differences > 0) expect(comparison.first.filter(({ key }) => key === 'id=row 0').map(({ kind }) => kind)).toEqual(['missing']);
          expect(comparison.differences).toBeLessThanOrEqual(2);
          const still = comparison.first.filter(({ seen }) => seen === 'still').map(({ key }) => key);
          if (isOnce) expect(still).toEqual([]);
          else expect(still).toContain('id=row 0');
        }
      }
    }),
    { numRuns },
  );
  return found;
}

/** Repairs what differs and nothing else, also while the sink goes on. */
export async function repairs(numRuns: number): Promise<number> {
  let repaired = 0;
  await fc.assert(
    fc.asyncProperty(SEED, fc.integer({ min: 1, max: 8 }), async (seed, damages) => {
      await using world = await worldWithPast(seed);
      world.follow(world.log.state().highWatermark);
      for (let left = damages; left > 0; left--) world.damage();
      world.meanwhile = busy(world);
      const report = await verify(world, { repair: true });
      expect(report.outcome).toBe(withoutDifference(report));
      for (const { comparison } of comparisonsOf(report)) repaired += comparison.repaired;
      const consistent = comparisonsOf(report).filter(({ comparison }) => comparison.sides === 'log-sink');
      for (const { tableId } of consistent) expect(world.wrong().get(tableId)).toEqual([]);
    }),
    { numRuns },
  );
  return repaired;
}

/** Counts a difference of a sink without snapshots only if it is there while nothing is applied. */
export async function withoutSnapshots(numRuns: number): Promise<number> {
  let found = 0;
  await fc.assert(
    fc.asyncProperty(SEED, fc.integer({ min: 0, max: 4 }), async (seed, damages) => {
      await using world = await worldWithPast(seed, { isExact: false });
      standing(world);
      for (let left = damages; left > 0; left--) world.damage();
      const before = world.wrong();
      world.meanwhile = busy(world);
      const report = await verify(world, { tables: ['public.table_1', 'public.table_2'], against: 'log' });
      const after = world.wrong();
      for (const { tableId, comparison } of comparisonsOf(report)) {
        const keys = keysIn(tableId, comparison);
        expect(keysOf(tableId, before.get(tableId))).toEqual(expect.arrayContaining(keys));
        expect(keys).toEqual(expect.arrayContaining(keysOf(tableId, after.get(tableId))));
        found += keys.length;
      }
    }),
    { numRuns },
  );
  return found;
}
