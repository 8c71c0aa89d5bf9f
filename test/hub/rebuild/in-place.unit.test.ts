import { join } from 'node:path';
import { expect, it } from 'vitest';
import { InPlaceWork } from '../../../hub/rebuild/in-place.ts';
import { RebuildFile, type RebuildRequest } from '../../../hub/rebuild/request.ts';
import { ended, filled, patience } from './rebuild-steps.ts';
import { RebuildWorld } from './rebuild-world.ts';

const REQUEST: RebuildRequest = {
  id: 'newer', way: 'shadow', tables: null, to: null, config: '', logId: null, stage: 'filling', fresh: false, rests: false, pausedAt: null, swap: null,
  startedAt: '2026-11-01T12:00:00.000Z', endedAt: null, offset: 0, why: '',
};

it('a rebuild in place that was replaced notes nothing, and does not wait for what replaces it, which may wait for the delivery to end', async () => {
  await using world = await RebuildWorld.create({ way: 'either', wholeTransactions: false });
  await world.start();
  const { clock, files, logger } = world.runtime;
  const file = await RebuildFile.load(files, join(world.directory, 'other.json'));
  await file.save(REQUEST);
  let asked = 0;
  const alone = (): Promise<never> => {
    asked++;
    return new Promise(() => undefined);
  };
  const work = new InPlaceWork({ pipeline: world.pipeline, file, clock, logger, alone, onEnd: () => undefined }, 'older');
  await work.onBegun();
  await work.onSwept(5);
  expect(asked).toBe(0);
  expect(file.request).toEqual(REQUEST);
});

it('a rebuild beside the sink that replaces one in place is cancelled while the sink is told to begin the one of before', async () => {
  for (let turns = 0; turns < 24; turns += 2) {
    await using world = await RebuildWorld.create({ way: 'either', wholeTransactions: false });
    await filled(world, 3);
    await world.start();
    await world.pipeline.reached(world.log.state().highWatermark, patience());
    world.place.unfit = 'somebody else is there';
    await world.begin();
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    world.place.unfit = null;
    if (world.rebuild.isUnderWay) await world.begin({ fromScratch: true, to: world.log.state().highWatermark });
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    // What is in place by then cannot be cancelled.
    if (world.rebuild.isAwaited) await world.rebuild.cancel('', patience()).catch((failure: unknown) => expect(failure).toMatchObject({ code: 'REBUILD_UNDER_WAY' }));
    await world.until('it has ended', ended(world));
    await world.pipeline.resume();
    const end = await filled(world, 2);
    await world.pipeline.reached(end, patience());
    expect(world.place.live.rows).toEqual(world.source.rows);
  }
}, 60_000);
