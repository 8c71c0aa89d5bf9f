import { describe, expect, it } from 'vitest';
import { patience } from './rebuild-steps.ts';
import { RebuildWorld } from './rebuild-world.ts';

/** Some transactions of several records. Answers the end of the log. */
async function filled(world: RebuildWorld): Promise<number> {
  let end = 0;
  for (let key = 0; key < 6; key++) end = await world.commit([{ table: 1, key, value: key }, { table: 2, key, value: key }, { table: 1, key: key + 1, value: 7 }]);
  return end;
}

describe('a sink that can be rebuilt beside what it serves, and in place', () => {
  it('is rebuilt beside it, and in place where that cannot be, which the answer says', async () => {
    await using world = await RebuildWorld.create({ way: 'either', wholeTransactions: false });
    await world.start();
    await world.pipeline.reached(await filled(world), patience());
    world.place.live.rows.set('public.t1/ghost', 'left by an earlier fault');
    expect((await world.begin()).findings).toEqual([]);
    await world.until('it has ended', () => !world.rebuild.isUnderWay);
    expect(world.place.swaps).toBe(1);
    expect(world.place.live.rows).toEqual(world.source.rows);
    world.place.unfit = 'somebody else is there';
    world.place.live.rows.set('public.t1/ghost', 'left by an earlier fault');
    expect((await world.begin()).findings).toMatchObject([{ severity: 'warning', code: 'rebuild-in-place', what: expect.stringContaining('somebody else is there') as string }]);
    await world.until('it has ended', () => !world.rebuild.isUnderWay);
    expect(world.place.swaps).toBe(1);
    await world.pipeline.reached(await filled(world), patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
  });

  it('asked for anew in place, what was filled beside it is gone; asked for anew beside it, what was begun in place is replaced', async () => {
    await using world = await RebuildWorld.create({ way: 'either', wholeTransactions: false });
    await world.start();
    await world.pipeline.reached(await filled(world), patience());
    world.fault = (step) => (step === 'finish' ? 'fail-before' : 'none');
    await world.begin();
    await world.until('it is filled', () => world.place.shadow !== null);
    world.place.unfit = 'somebody else is there';
    world.fault = (step) => (step === 'finish' || step === 'sweep' ? 'fail-before' : 'none');
    await world.begin({ fromScratch: true });
    expect(world.place.shadow).toBeNull();
    await world.until('it is replayed', () => world.place.stale !== null);
    world.place.unfit = null;
    world.fault = (step) => (step === 'sweep' ? 'fail-before' : 'none');
    await world.begin({ fromScratch: true });
    await world.until('it has ended', () => !world.rebuild.isUnderWay);
    expect(world.rebuild.status()).toMatchObject({ state: 'done' });
    expect(world.place.swaps).toBe(1);
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(world.log.leases().filter((lease) => lease.startsWith('rebuild:'))).toEqual([]);
  });
});
