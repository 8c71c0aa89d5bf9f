import { expect, test } from 'vitest';
import { startRedis } from '../fixtures/redis.ts';
import { openHubStand } from '../fixtures/hub-stand.ts';

const ROUNDS = 20;

test('a sink that is paused holds back neither the source nor the others, and is equal once it is resumed', async () => {
  await using redis = await startRedis();
  const sinks = { cache: { type: 'redis', url: redis.url, tables: { 'public.items': { key: 'item:{id}' } } } };
  await using stand = await openHubStand({ purpose: 'stopped', sinks });
  const write = (sql: string) => stand.source.query(sql, [], 'source');
  await write(`CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL, v text); INSERT INTO items SELECT i, 0, 'first' FROM generate_series(1, 500) AS i`);
  await stand.start();
  await stand.caughtUp();
  await stand.hub.api.sinkAction('replica', 'pause', AbortSignal.timeout(10_000));
  const { offset: stoppedAt } = await stand.hub.sink('replica');

  for (let round = 1; round <= ROUNDS; round++) {
    await write(`INSERT INTO items SELECT i, ${round}, repeat(md5(i::text), 20) FROM generate_series(${round * 1000}, ${round * 1000 + 499}) AS i;
      UPDATE items SET n = n + 1, v = v || '.' WHERE id % 20 = ${round % 20}; DELETE FROM items WHERE id % 50 = ${round}`);
    if (round === ROUNDS / 2) await write("ALTER TABLE items ADD COLUMN extra int; UPDATE items SET extra = n WHERE id < 100");
  }
  await stand.caughtUp({ sink: 'cache' });
  const [count] = await stand.source.query<{ rows: number }>('SELECT count(*)::int AS rows FROM items', [], 'source');
  await using client = redis.client();
  expect((await client.keys('item:*')).length).toBe(count?.rows);
  expect(await stand.hub.sink('replica')).toMatchObject({ state: 'paused', offset: stoppedAt });
  // The slot follows the log, not the slowest sink: a status is sent within a third of wal_sender_timeout, mostly at once.
  const slot = (): Promise<{ behind: string }[]> =>
    stand.source.query<{ behind: string }>('SELECT pg_current_wal_lsn() - confirmed_flush_lsn AS behind FROM pg_replication_slots', [], 'source');
  await expect.poll(async () => Number((await slot())[0]?.behind), { timeout: 30_000 }).toBeLessThan(64 << 10);

  await stand.hub.api.sinkAction('replica', 'resume', AbortSignal.timeout(10_000));
  await stand.caughtUp();
  expect(await stand.mustBeEqual()).toBe(count?.rows);
});
