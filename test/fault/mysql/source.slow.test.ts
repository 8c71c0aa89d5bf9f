import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { seededRandom } from '../../fixtures/runtime.ts';
import { compareViews } from '../compare-views.ts';
import { MysqlSource } from './servers.ts';

test.each(['mysql', 'mariadb'] as const)('%s: writers go on while the source dies, fails over and changes its shape, and the standby has what the primary has', { timeout: 600_000 }, async (flavor) => {
  const random = seededRandom(Date.now());
  await using source = await MysqlSource.start(flavor);
  await source.prepare(300, random);
  const [shop, hard] = [source.startShop({ seed: 1, transactionsPerSecond: 200 }), source.startHard(1)];
  const writes = async (): Promise<void> => {
    const before = hard.transactions();
    while (hard.transactions() < before + 30) await delay(20);
  };
  await writes();
  await source.changeShape(random);
  await source.restart('crash');
  await writes();
  await Promise.all([source.changeShape(random), source.failOver('order')]);
  await writes();
  await source.rotate();
  await source.failOver('crash');
  await writes();
  await source.changeShape(random);
  await Promise.all([shop.stop(), hard.stop()]);
  expect(shop.counts.reconnects).toBeGreaterThan(0);

  await source.standbyCaughtUp();
  await using primary = await source.view();
  await using standby = await source.viewStandby();
  expect(await primary.torn()).toEqual([]);
  expect((await primary.tables()).length).toBeGreaterThanOrEqual(9);
  expect(await compareViews(primary, standby, true)).toEqual([]);
  expect(await source.preparedXa()).toEqual([]);
});
