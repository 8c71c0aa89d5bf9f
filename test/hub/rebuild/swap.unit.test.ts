import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { ended, filled, leftOvers, patience } from './rebuild-steps.ts';
import { RebuildWorld } from './rebuild-world.ts';

describe('the swap of a rebuild, and what comes after it', () => {
  it('keeps the sink held while it is not known whether the swap was made', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    let left = 5;
    const between: string[] = [];
    world.fault = (step) => {
      if (step === 'swap') return left-- > 0 ? 'fail-before' : 'none';
      if (left < 5 && left >= 0 && (step === 'open' || step === 'apply')) between.push(step);
      return 'none';
    };
    await world.begin();
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ state: 'done' });
    expect(between).toEqual([]);
    expect(world.place.swaps).toBe(1);
    await world.pipeline.reached(await filled(world), patience());
    expect(world.wrong).toEqual([]);
  });

  it('has the sink rest where it was put, wherever the hub is killed from the swap on, and swaps once', async () => {
    for (let after = 0; after < 8; after++) {
      await using world = await RebuildWorld.create();
      await filled(world, 8);
      await world.start();
      await world.pipeline.reached(world.log.state().highWatermark, patience());
      const to = world.ends().at(4) ?? 0;
      let steps = -1;
      world.fault = (step) => {
        if (steps < 0 && step !== 'swap') return 'none';
        return ++steps === after ? 'kill-after' : 'none';
      };
      await world.begin({ to });
      await world.until('it is killed, or has ended', ended(world));
      world.fault = () => 'none';
      if (world.isDead) await world.start();
      await world.until('it has ended', ended(world));
      await filled(world, 3);
      expect(world.pipeline.status(), `killed ${after} steps after the swap`).toMatchObject({ state: 'paused', offset: to, pause: { by: 'rebuild', offset: to } });
      expect(world.place.live.checkpoint?.offset).toBe(to);
      expect(world.place.live.rows).toEqual(world.rowsAt(to));
      expect(world.place.swaps).toBe(1);
      expect(world.wrong).toEqual([]);
      expect(await leftOvers(world)).toEqual([]);
    }
  }, 60_000);

  it('lets the sink go on while what was replaced is removed, also over a kill, a failure and a change of configuration', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    let stuck = true;
    world.fault = (step) => (step === 'clear' && stuck ? 'fail-before' : 'none');
    const { id } = await world.begin();
    await world.until('it is clearing', () => world.rebuild.status()?.phase === 'clearing' && world.rebuild.status()?.state === 'retrying');
    await world.pipeline.reached(await filled(world), patience());
    expect(world.rebuild.status()).toMatchObject({ id, error: { code: 'SINK_UNREACHABLE' }, endedAt: null });
    expect(world.log.leases()).not.toContain('rebuild:copy');
    await expect(world.rebuild.cancel('', patience())).rejects.toMatchObject({ code: 'REBUILD_UNDER_WAY', message: expect.stringContaining('is in place') as string });
    world.kill();
    world.patterns = ['public.t1', 'public.t2'];
    await world.start();
    await world.pipeline.reached(await filled(world), patience());
    expect(world.rebuild.status()).toMatchObject({ id, state: expect.stringMatching(/running|retrying/) as string });
    expect(world.place.replaced).toBeGreaterThan(0);
    stuck = false;
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ id, state: 'done', endedAt: expect.any(String) as string });
    expect(world.place.swaps).toBe(1);
    expect(await leftOvers(world)).toEqual([]);
    expect(world.wrong).toEqual([]);
  });

  it('begins another one while what was replaced is still there: that goes first', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    world.fault = (step) => (step === 'clear' ? 'fail-before' : 'none');
    const first = await world.begin();
    await world.until('it is clearing', () => world.rebuild.status()?.phase === 'clearing');
    const second = await world.begin();
    expect(second.id).not.toBe(first.id);
    await world.until('it is clearing again', () => world.place.swaps === 2 && world.rebuild.status()?.phase === 'clearing');
    world.fault = () => 'none';
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ id: second.id, state: 'done' });
    await world.pipeline.reached(await filled(world), patience());
    expect(await leftOvers(world)).toEqual([]);
    expect(world.wrong).toEqual([]);
  });

  it('that cannot be cleared stops and says so; cancelled, it is done, and the next one clears', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    world.fault = (step) => {
      if (step === 'clear') throw new TidemarkError('REBUILD_MOVED', 'scripted');
      return 'none';
    };
    await world.begin();
    await world.until('it has failed', () => world.rebuild.status()?.state === 'failed');
    await world.pipeline.reached(await filled(world), patience());
    expect(await world.rebuild.cancel('', patience())).toContain('was rebuilt; what was replaced is not all removed');
    expect(world.rebuild.status()).toMatchObject({ state: 'done', error: null });
    world.fault = () => 'none';
    await world.begin();
    await world.until('it has ended', ended(world));
    expect(world.place.swaps).toBe(2);
    expect(await leftOvers(world)).toEqual([]);
  });
});

describe('a dead letter', () => {
  it('is closed when its row was deleted, also when the hub is killed before that is noted', async () => {
    await using world = await RebuildWorld.create();
    world.place.live.refused.add('public.t1/1');
    await world.start();
    await world.pipeline.reached(await world.commit([{ table: 1, key: 1, value: 1 }, { table: 1, key: 2, value: 2 }]), patience());
    expect(world.letters.count).toBe(1);
    let end = Number.POSITIVE_INFINITY;
    world.fault = (step) => (step === 'file' && (world.place.live.checkpoint?.offset ?? 0) >= end ? 'kill-before' : 'none');
    end = world.log.state().highWatermark + 1;
    await world.commit([{ table: 1, key: 1, value: null }]);
    await world.until('it is killed', () => world.isDead);
    world.fault = () => 'none';
    await world.start();
    await world.pipeline.reached(end, patience());
    expect(world.letters.list()).toEqual([]);
  });
});
