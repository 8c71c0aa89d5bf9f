import { describe, expect, it } from 'vitest';
import { seededUnit } from '../../../contracts/kit/log-workload.ts';
import { Verification } from '../../../hub/verify/verify.ts';
import { ALL, findsNothing, findsWrongAtSink, findsWrongAtSource, NEVER, repairs, verify, withoutSnapshots } from './properties.ts';
import { World } from './world.ts';

/** How much they meet is drawn, too: the long run sees to it that it is much. */
const RUNS = 6;

describe('verify', () => {
  it('finds no difference where there is none, whatever becomes visible late, is folded, copied again or changes its shape meanwhile', { timeout: 60_000 }, async () => {
    expect(await findsNothing(RUNS)).toBeGreaterThan(20);
  });

  it('finds exactly the rows that differ at the sink, at the moment that it names', { timeout: 60_000 }, async () => {
    await findsWrongAtSink(RUNS);
  });

  it('finds exactly the rows that differ at the source', { timeout: 60_000 }, async () => {
    await findsWrongAtSource(RUNS);
  });

  it('repairs what differs and nothing else, also while the sink goes on', { timeout: 60_000 }, async () => {
    await repairs(RUNS);
  });

  it('counts a difference of a sink without snapshots only if it is there while nothing is applied', { timeout: 60_000 }, async () => {
    await withoutSnapshots(RUNS);
  });

  it('tells the column, and both values', async () => {
    await using world = await World.open({ unit: seededUnit(1) });
    while (world.at(world.log.state().highWatermark).of(1).size === 0) await world.commit();
    world.hidden.clear();
    world.follow(world.log.state().highWatermark);
    const [key = '', row = ''] = [...world.sink.of(1)][0] ?? [];
    const cells: unknown = JSON.parse(row);
    const [, name = null] = Array.isArray(cells) ? cells.map((cell) => (cell === null ? null : String(cell))) : [];
    world.sink.of(1).set(key, JSON.stringify([key, 'other', name === null ? 'note' : null]));
    const report = await verify(world);
    const comparison = report.tables[0]?.comparisons.find(({ sides }) => sides === 'log-sink');
    expect(comparison?.first[0]).toMatchObject({ kind: 'changed', key: `id=${key}`, seen: 'still', offset: world.sinkAt });
    expect(comparison?.first[0]?.columns[0]).toEqual({ column: 'name', expected: name, found: 'other' });
    expect(report.outcome).toBe('different');
  });

  it('compares with the source tables that were copied behind a gap, whatever a snapshot knows of before it', async () => {
    await using world = await World.open({ unit: seededUnit(7) });
    for (let count = 0; count < 10; count++) await world.commit();
    await world.gap();
    for (let count = 0; count < 3; count++) await world.commit();
    world.hidden.clear();
    world.follow(world.log.state().highWatermark);
    const { tables } = await verify(world);
    const keyed = tables.filter(({ table }) => table !== 'public.table_3').flatMap(({ comparisons }) => comparisons);
    expect(keyed.map(({ sides, skipped, differences }) => [sides, skipped, differences])).toEqual([1, 2].flatMap(() => [['source-log', null, 0], ['log-sink', null, 0]]));
  });

  it('refuses a table that the sink does not mirror, and a sink that has no checkpoint', async () => {
    await using world = await World.open({ unit: seededUnit(1) });
    expect(() => new Verification(world.parts(), { ...ALL, tables: ['public.nothing'] }, () => undefined, NEVER)).toThrow(expect.objectContaining({ code: 'TABLE_UNKNOWN' }));
    const parts = world.parts();
    const snapshot = parts.sink.snapshot;
    const without: typeof snapshot = async (start, signal) => {
      const real = await snapshot?.(start, signal);
      if (real === undefined) throw new Error('no snapshot');
      return { ...real, checkpoint: null };
    };
    await expect(new Verification({ ...parts, sink: { ...parts.sink, snapshot: without } }, { ...ALL, against: 'log' }, () => undefined, NEVER).run()).rejects.toMatchObject({ code: 'VERIFY_SINK' });
    expect(world.log.leases()).toEqual([]);
  });
});
