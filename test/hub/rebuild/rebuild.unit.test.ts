import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { seededRandom } from '../../fixtures/runtime.ts';
import { ended, filled, leftOvers, patience } from './rebuild-steps.ts';
import { RebuildWorld } from './rebuild-world.ts';

describe('a rebuild beside the sink', () => {
  it('fills a shadow from the base and the history, and swaps it in where the sink stands, which goes on', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    expect(await world.compact(patience())).toBeGreaterThan(0);
    const end = await filled(world);
    world.place.live.rows.set('public.t1/ghost', 'left by an earlier fault');
    world.wrong.length = 0;
    const { id, findings } = await world.begin();
    expect(id).not.toBeNull();
    expect(findings).toEqual([]);
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ id, state: 'done', error: null });
    expect(world.place.swaps).toBe(1);
    expect(world.place.finished).toBe(3);
    await world.pipeline.reached(end, patience());
    const last = await filled(world);
    await world.pipeline.reached(last, patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(await leftOvers(world)).toEqual([]);
    expect(world.pipeline.status().state).toBe('caught-up');
  });

  it('puts the sink to any offset, and leaves it there over a restart until it is resumed', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    await world.compact(patience());
    await filled(world);
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    const to = world.ends().at(3) ?? 0;
    await world.begin({ to: to + 1 });
    await world.until('it has ended', ended(world));
    // Inside a transaction: to the end of the one before.
    expect(world.rebuild.status()).toMatchObject({ state: 'done', to, offset: to });
    expect(world.pipeline.status()).toMatchObject({ state: 'paused', offset: to, pause: { by: 'rebuild', offset: to } });
    expect(world.place.live.rows).toEqual(world.rowsAt(to));
    world.kill();
    await world.start();
    const end = await filled(world);
    expect(world.pipeline.status()).toMatchObject({ state: 'paused', offset: to, pause: { by: 'rebuild', offset: to } });
    expect(world.place.live.checkpoint?.offset).toBe(to);
    await world.pipeline.resume();
    await world.pipeline.reached(end, patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(world.pipeline.status().pause).toBeNull();
    expect(world.wrong).toEqual([]);
    expect(await leftOvers(world)).toEqual([]);
  });

  it('rebuilds single tables at the very offset where the sink stands, while writes go on', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    await world.compact(patience());
    await world.pipeline.reached(await filled(world), patience());
    world.place.live.rows.set('public.t2/ghost', 'left by an earlier fault');
    world.place.onChange = () => undefined;
    await world.begin({ tables: ['public.t2'] });
    const end = await filled(world);
    await world.until('it has ended', ended(world));
    await world.pipeline.reached(end, patience());
    expect(world.place.swaps).toBe(1);
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(await leftOvers(world)).toEqual([]);
  });

  it('brings back a sink that has failed: below the horizon, or of a log that there never was', async () => {
    for (const spoil of ['behind', 'diverged'] as const) {
      await using world = await RebuildWorld.create();
      await filled(world, 5);
      await world.start();
      await world.pipeline.reached(world.log.state().highWatermark, patience());
      await world.pipeline.pause();
      await filled(world);
      if (spoil === 'behind') expect(await world.compact(patience())).toBeGreaterThan(world.place.live.checkpoint?.offset ?? 0);
      else if (world.place.live.checkpoint !== null) world.place.live.checkpoint = { ...world.place.live.checkpoint, epoch: 'f'.repeat(32) };
      world.place.onChange = () => undefined;
      await world.pipeline.resume();
      await world.until('the sink has failed', () => world.pipeline.status().state === 'failed');
      expect(world.pipeline.status().error?.code).toBe(spoil === 'behind' ? 'SINK_BEHIND' : 'SINK_DIVERGED');
      await expect(world.begin({ tables: ['public.t1'] })).rejects.toMatchObject({ code: 'REBUILD_TABLES' });
      const end = await filled(world);
      await world.begin();
      await world.until('it has ended', ended(world));
      await world.pipeline.reached(end, patience());
      expect(world.place.live.rows).toEqual(world.source.rows);
      expect(await leftOvers(world)).toEqual([]);
    }
  });

  it('leaves a paused sink paused, at its own checkpoint', async () => {
    await using world = await RebuildWorld.create();
    const at = await filled(world);
    await world.start();
    await world.pipeline.reached(at, patience());
    await world.pipeline.pause();
    await filled(world);
    await world.begin();
    await world.until('it has ended', ended(world));
    expect(world.place.swaps).toBe(1);
    expect(world.place.live.checkpoint?.offset).toBe(at);
    expect(world.pipeline.status()).toMatchObject({ state: 'paused', offset: at, pause: { by: 'operator' } });
    expect(world.wrong).toEqual([]);
  });

  it('rebuilds single tables of a sink that was paused before the hub had opened it', async () => {
    await using world = await RebuildWorld.create();
    const stands = await filled(world, 5);
    await world.start();
    await world.pipeline.reached(stands, patience());
    world.fault = (step) => (step === 'open' ? 'fail-before' : 'none');
    await world.start();
    await world.pipeline.pause();
    world.fault = () => 'none';
    await filled(world, 5);
    await world.begin({ tables: ['public.t1'] });
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ state: 'done', offset: stands });
    await world.pipeline.resume();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
  });

  it('fills a sink that was paused before it had anything to the end of the log', async () => {
    await using world = await RebuildWorld.create();
    const end = await filled(world);
    world.fault = (step) => (step === 'apply' ? 'fail-before' : 'none');
    await world.start();
    await world.pipeline.pause();
    world.fault = () => 'none';
    expect(world.place.live.checkpoint).toBeNull();
    await world.begin();
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ state: 'done', offset: end });
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(world.pipeline.status()).toMatchObject({ state: 'paused', offset: end });
    await expect(world.begin({ to: 0 })).rejects.toMatchObject({ code: 'OFFSET_RANGE' });
  });

  it('begins nothing that could not end: what the sink finds, unknown tables, one after the other', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    world.place.findings = [{ severity: 'error', code: 'view', what: 'a view is in the way', remedy: 'DROP VIEW v' }];
    expect(await world.begin()).toEqual({ id: null, to: null, findings: world.place.findings });
    expect(world.rebuild.status()).toBeNull();
    world.place.findings = [];
    await expect(world.begin({ tables: ['public.t1', 'public.nothing'] })).rejects.toMatchObject({ code: 'TABLE_UNKNOWN', where: { table: 'public.nothing' } });
    await expect(world.begin({ tables: ['public.t1'], to: 3 })).rejects.toMatchObject({ code: 'REBUILD_TABLES' });
    await expect(world.rebuild.cancel('', patience())).rejects.toMatchObject({ code: 'REBUILD_NONE' });
    expect(await leftOvers(world)).toEqual([]);
    world.fault = (step) => (step === 'finish' ? 'fail-before' : 'none');
    const first = await world.begin();
    await world.until('it is tried again', () => world.rebuild.status()?.state === 'retrying');
    await expect(world.begin({ to: world.ends().at(1) ?? 0 })).rejects.toMatchObject({ code: 'REBUILD_UNDER_WAY' });
    // The same again is the same.
    expect((await world.begin()).id).toBe(first.id);
    const second = await world.begin({ to: world.ends().at(1) ?? 0, fromScratch: true });
    expect(second.id).not.toBe(first.id);
    world.fault = () => 'none';
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ id: second.id, state: 'done', offset: world.ends().at(1) });
  });

  it('stops on what cannot be mended by itself, and the sink goes on; the same command tries again, cancelling removes it', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    const inTheWay = new TidemarkError('REBUILD_IN_THE_WAY', 'a view is in the way');
    let broken = true;
    world.fault = (step) => {
      if (step === 'swap' && broken) throw inTheWay;
      return 'none';
    };
    await world.begin();
    await world.until('it has failed', () => world.rebuild.status()?.state === 'failed');
    expect(world.rebuild.status()?.error).toMatchObject({ code: 'REBUILD_IN_THE_WAY' });
    await world.pipeline.reached(await filled(world), patience());
    expect(world.place.shadow).not.toBeNull();
    expect(world.log.leases()).toContain('rebuild:copy');
    // What was filled stays, and is gone on with.
    const stood = world.place.shadow?.checkpoint?.offset ?? 0;
    expect(stood).toBeGreaterThan(0);
    await world.begin();
    await world.until('it has failed again', () => world.rebuild.status()?.state === 'failed');
    expect(world.place.shadow?.checkpoint?.offset).toBeGreaterThan(stood);
    expect(await world.rebuild.cancel('', patience())).toContain('was cancelled; nothing of it is left');
    expect(world.rebuild.status()).toMatchObject({ state: 'cancelled', error: null });
    expect(await leftOvers(world)).toEqual([]);
    broken = false;
    await world.begin();
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()?.state).toBe('done');
    expect(world.wrong).toEqual([]);
  });

  it('waits longer and longer for a swap that readers are in the way of, and the sink goes on in between', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    let busy = 4;
    world.fault = (step) => {
      if (step === 'swap' && busy-- > 0) throw new TidemarkError('REPLICA_BUSY', 'readers are in the way');
      return 'none';
    };
    await world.begin();
    await world.until('it has ended', ended(world));
    const retries = world.runtime.lines.filter(({ event }) => event === 'rebuild.retrying');
    expect(retries.map(({ fields }) => fields.attempt)).toEqual([1, 2, 3, 4]);
    expect(world.rebuild.status()).toMatchObject({ state: 'done' });
    await world.pipeline.reached(await filled(world), patience());
    expect(world.wrong).toEqual([]);
  });

  it('takes the dead letters of the shadow over with its rows', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    await world.pipeline.pause();
    world.place.onChange = () => undefined;
    world.place.live.refused.add('public.t1/1');
    await world.pipeline.resume();
    await world.pipeline.reached(await filled(world), patience());
    expect(world.letters.list().map(({ table }) => table)).toEqual(['public.t1']);
    // The shadow takes that row.
    await world.begin();
    await world.until('it has ended', ended(world));
    expect(world.letters.count).toBe(0);
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(await leftOvers(world)).toEqual([]);
  });

  it('is cancelled when the sink is configured otherwise, also while the hub was down', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    world.fault = (step) => (step === 'finish' ? 'fail-before' : 'none');
    await world.begin();
    await world.until('it is tried again', () => world.rebuild.status()?.state === 'retrying');
    world.kill();
    world.fault = () => 'none';
    world.patterns = ['public.t1'];
    world.place.onChange = () => undefined;
    await world.start();
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ state: 'cancelled', why: 'the configuration of the sink has changed' });
    // What the sink itself notes of its tables is written by then.
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    expect(world.place.swaps).toBe(0);
    expect(await leftOvers(world)).toEqual([]);
  });
});

describe('a rebuild in place', () => {
  it('writes everything anew over what is served, removes what the log does not have, and goes on', async () => {
    await using world = await RebuildWorld.create({ way: 'in-place', wholeTransactions: false });
    await filled(world);
    await world.start();
    await world.compact(patience());
    await world.pipeline.reached(await filled(world), patience());
    world.place.live.rows.set('public.t1/ghost', 'left by an earlier fault');
    await expect(world.begin({ tables: ['public.t1'] })).rejects.toMatchObject({ code: 'REBUILD_TABLES' });
    await world.begin();
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ state: 'done' });
    const end = await filled(world);
    await world.pipeline.reached(end, patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(await leftOvers(world)).toEqual([]);
  });

  it('stops exactly where it was asked to, whenever the hub is killed, and rests there', async () => {
    for (let seed = 1; seed <= 15; seed++) {
      const random = seededRandom(seed);
      await using world = await RebuildWorld.create({ way: 'in-place', wholeTransactions: false, maxKeys: 3 });
      await filled(world);
      await world.start();
      await world.pipeline.reached(world.log.state().highWatermark, patience());
      await world.compact(patience());
      await filled(world, 8);
      const ends = world.ends();
      const to = ends[Math.floor(random.unit() * ends.length)] ?? 0;
      await world.begin({ to });
      let kills = 4;
      world.fault = () => {
        if (kills === 0 || random.unit() < 0.85) return 'none';
        kills--;
        return random.unit() < 0.5 ? 'kill-before' : 'kill-after';
      };
      for (;;) {
        if (world.isDead) await world.start();
        await world.until('it has ended', () => !world.rebuild.isUnderWay && world.pipeline.status().state === 'paused');
        if (!world.isDead) break;
      }
      expect(world.place.live.rows, `seed ${seed}`).toEqual(world.rowsAt(to));
      expect(world.place.stale).toBeNull();
      expect(world.pipeline.status()).toMatchObject({ offset: to, pause: { by: 'rebuild', offset: to } });
      world.fault = () => 'none';
      const end = await filled(world, 3);
      await world.pipeline.resume();
      await world.pipeline.reached(end, patience());
      expect(world.place.live.rows, `seed ${seed}`).toEqual(world.source.rows);
      expect(await leftOvers(world)).toEqual([]);
    }
  }, 30_000);

  it('of a sink that was paused before it had anything goes to the end of the log, where it rests', async () => {
    await using world = await RebuildWorld.create({ way: 'in-place', wholeTransactions: false });
    const end = await filled(world);
    world.fault = (step) => (step === 'open' ? 'fail-before' : 'none');
    await world.start();
    await world.pipeline.pause();
    world.fault = () => 'none';
    await world.begin();
    await world.until('it has ended', () => !world.rebuild.isUnderWay && world.pipeline.status().state === 'paused');
    expect(world.rebuild.status()).toMatchObject({ state: 'done', offset: end });
    expect(world.place.live.rows).toEqual(world.source.rows);
    await filled(world, 3);
    expect(world.pipeline.status()).toMatchObject({ state: 'paused', offset: end });
  });

  it('cannot be taken back once it was begun: cancelled, it goes on to the end', async () => {
    await using world = await RebuildWorld.create({ way: 'in-place', wholeTransactions: false });
    const end = await filled(world);
    await world.start();
    await world.pipeline.reached(end, patience());
    world.fault = (step) => (step === 'sweep' ? 'fail-before' : 'none');
    await world.begin({ to: world.ends().at(2) ?? 0 });
    await world.until('it is tried again', () => world.rebuild.status()?.state === 'retrying');
    expect(await world.rebuild.cancel('', patience())).toContain('cannot be taken back');
    world.fault = () => 'none';
    await world.pipeline.reached(end, patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(world.rebuild.status()?.state).toBe('cancelled');
  });
});

describe('the pause of a sink', () => {
  it('outlives the hub, says where the sink stands, and ends when it is resumed', async () => {
    await using world = await RebuildWorld.create();
    const at = await filled(world);
    await world.start();
    await world.pipeline.reached(at, patience());
    await world.pipeline.pause();
    const end = await filled(world);
    world.kill();
    await world.start();
    expect(world.pipeline.status()).toMatchObject({ state: 'paused', offset: at, pause: { by: 'operator', offset: at } });
    expect(world.place.live.checkpoint?.offset).toBe(at);
    await world.pipeline.resume();
    await world.pipeline.reached(end, patience());
    world.kill();
    await world.start();
    await world.pipeline.reached(await filled(world), patience());
    await expect(access(join(world.directory, 'pause.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
