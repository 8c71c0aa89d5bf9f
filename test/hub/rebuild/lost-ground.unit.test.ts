import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { ended, filled, patience } from './rebuild-steps.ts';
import { RebuildWorld } from './rebuild-world.ts';

describe('a rebuild whose ground is taken away', () => {
  it('begins anew when its lease was broken for the last room on the disk', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    world.fault = (step) => (step === 'finish' ? 'fail-before' : 'none');
    await world.begin();
    await world.until('it is tried again', () => world.rebuild.status()?.state === 'retrying');
    const stood = world.place.shadow?.checkpoint?.offset ?? 0;
    await world.pipeline.reached(await filled(world), patience());
    expect(await world.compact(patience(), true)).toBeGreaterThan(stood);
    world.fault = () => 'none';
    world.kill();
    await world.start();
    await world.until('it has ended or failed', () => !world.rebuild.isUnderWay || world.rebuild.status()?.state === 'failed');
    expect(world.rebuild.status()).toMatchObject({ state: 'done', error: null });
    await world.pipeline.reached(await filled(world), patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(world.wrong).toEqual([]);
  });

  it('begins anew when history is folded while it reads it', async () => {
    await using world = await RebuildWorld.create({ maxKeys: 1 });
    await filled(world);
    await world.start();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    const folded = Promise.withResolvers<unknown>();
    let applied = 0;
    world.fault = (step) => {
      if (step === 'apply' && world.place.shadow !== null && ++applied === 4) {
        // Beside the batch that is applied.
        folded.resolve(world.compact(patience(), true));
      }
      return 'none';
    };
    await world.begin();
    await folded.promise;
    await world.until('it has ended or failed', () => !world.rebuild.isUnderWay || world.rebuild.status()?.state === 'failed');
    expect(world.rebuild.status()).toMatchObject({ state: 'done', error: null });
    await world.pipeline.reached(await filled(world), patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
    expect(world.wrong).toEqual([]);
  });

  it('is given up when the log that it was asked of is gone, or has lost the offset', async () => {
    for (const lost of ['log', 'offset'] as const) {
      await using world = await RebuildWorld.create();
      await filled(world);
      await world.start();
      await world.pipeline.reached(world.log.state().highWatermark, patience());
      world.fault = (step) => (step === 'finish' ? 'fail-before' : 'none');
      await world.begin({ to: world.ends().at(3) ?? 0 });
      await world.until('it is tried again', () => world.rebuild.status()?.state === 'retrying');
      world.kill();
      // As in a folder whose log was moved away: the rebuild is of the one before.
      const path = join(world.directory, 'rebuild.json');
      const stored = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
      const change = lost === 'log' ? { logId: 'f'.repeat(32) } : { to: world.log.state().highWatermark + 1000 };
      world.fault = () => 'none';
      await world.stop();
      await writeFile(path, JSON.stringify({ ...stored, ...change }));
      await world.start();
      await world.until('it has ended', ended(world));
      expect(world.rebuild.status()).toMatchObject({ state: 'cancelled', why: 'the log that it was asked of is not there any more' });
      expect(world.place.shadow).toBeNull();
      await world.pipeline.reached(await filled(world), patience());
      expect(world.place.live.rows).toEqual(world.source.rows);
      expect(world.wrong).toEqual([]);
    }
  });

  it('keeps what the shadow has left out, when whether it was swapped in is never learned', async () => {
    await using world = await RebuildWorld.create();
    await filled(world);
    await world.start();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    world.place.refused.add('public.t1/1');
    world.place.onChange = () => undefined;
    // The swap is made, and the hub does not live to hear of it.
    world.fault = (step) => (step === 'swap' ? 'kill-after' : 'none');
    await world.begin();
    await world.until('the hub is dead', () => world.isDead);
    expect(world.place.live.rows.has('public.t1/1')).toBe(false);
    world.fault = () => 'none';
    world.place.live.refused.add('public.t1/1');
    world.patterns = ['public.t1', 'public.t2'];
    await world.start();
    await world.until('it has ended', ended(world));
    expect(world.letters.list().map(({ table }) => table)).toEqual(['public.t1']);
  });
});

describe('a pause', () => {
  it('of a sink that was to be rebuilt in place outlives the hub', async () => {
    await using world = await RebuildWorld.create({ way: 'in-place', wholeTransactions: false });
    await filled(world);
    await world.start();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    world.fault = (step) => (step === 'open' ? 'fail-before' : 'none');
    await world.begin();
    await world.pipeline.pause();
    world.kill();
    world.fault = () => 'none';
    await world.start();
    expect(world.pipeline.status()).toMatchObject({ state: 'paused', pause: { by: 'operator' } });
    await world.pipeline.resume();
    await world.until('it has ended', ended(world));
    expect(world.rebuild.status()).toMatchObject({ state: 'done' });
  });

  it('from before a rebuild in place is not taken for its end', async () => {
    await using world = await RebuildWorld.create({ way: 'in-place', wholeTransactions: false, maxKeys: 3 });
    await filled(world);
    await world.start();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    const [first = 0, last = 0] = [world.ends().at(3), world.ends().at(-2)];
    await world.begin({ to: first });
    await world.until('it has ended', () => !world.rebuild.isUnderWay && world.pipeline.status().state === 'paused');
    // The request is noted; that the sink goes on is not; then it is begun.
    let files = 0;
    let begun = false;
    world.fault = (step) => {
      if (step === 'begin') begun = true;
      if (step === 'apply' && begun) return 'kill-before';
      return step === 'file' && ++files === 2 ? 'fail-before' : 'none';
    };
    await world.begin({ to: last }).catch((failure: unknown) => {
      if (!(failure instanceof TidemarkError) || failure.code !== 'LOG_DISK_FULL') throw failure;
    });
    await world.until('the hub is dead', () => world.isDead);
    world.fault = () => 'none';
    await world.start();
    await world.until('it has ended', () => !world.rebuild.isUnderWay && world.pipeline.status().state === 'paused');
    expect(world.rebuild.status()).toMatchObject({ state: 'done', to: last, offset: last });
    expect(world.place.live.checkpoint?.offset).toBe(last);
    expect(world.place.live.rows).toEqual(world.rowsAt(last));
  });
});
