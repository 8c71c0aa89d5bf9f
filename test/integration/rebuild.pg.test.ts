import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { join } from 'node:path';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import type { RebuildView } from '../../hub/service.ts';
import { openHubStand, type HubStand } from '../fixtures/hub-stand.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { tidemark } from '../hub/cli/run-cli.ts';
import { currentDigest, referenceState } from './reference-states.ts';
import { startShopReaders } from './shop-readers.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const LIMIT_MS = 60_000;

let stand: HubStand;

beforeAll(async () => {
  stand = await openHubStand({ purpose: 'rebuild' });
  await createShop(stand.source.url('source'));
  await stand.start();
  await stand.caughtUp();
  await stand.hub.stop();
  await fold();
  await stand.start();
});
afterAll(() => stand[Symbol.asyncDispose]());

/** With the hub stopped: all that has been sealed goes into the base. */
async function fold(): Promise<void> {
  await using engine = await EmbeddedLogEngine.create(join(stand.directory, 'data'), createTestRuntime({ seed: randomInt(2 ** 40) }));
  const log = await engine.open('shop', { create: false });
  expect(await log.compact(log.state().highWatermark, { memoryBytes: 8 << 20, share: 1 }, AbortSignal.timeout(20_000))).toBeGreaterThan(0);
}

async function rebuildOf(sink = 'replica'): Promise<RebuildView | null> {
  return (await stand.hub.sink(sink)).rebuild;
}

async function rebuilt(id: string | null): Promise<RebuildView> {
  await stand.hub.until('the rebuild has ended', ({ sinks }) => {
    const rebuild = sinks.find(({ name }) => name === 'replica')?.rebuild;
    if (rebuild?.state === 'failed') throw new Error(`the rebuild has failed: ${JSON.stringify(rebuild.error)}`);
    return rebuild?.id === id && rebuild.endedAt !== null;
  }, LIMIT_MS);
  const view = await rebuildOf();
  if (view === null) throw new Error('the rebuild is not known');
  return view;
}

/** What a rebuild must leave behind: one checkpoint, no schema or table of a shadow. */
async function leftOvers(): Promise<unknown[]> {
  return stand.replica.query(
    `SELECT 'checkpoint ' || sink AS what FROM tidemark.checkpoint WHERE sink <> 'replica'
     UNION ALL SELECT 'table ' || n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND n.nspname NOT IN ('public', 'pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'tidemark'`,
    [], 'replica',
  );
}

describe('a rebuild of a replica', () => {
  it('under load: the hub is killed at random moments, readers see no error and no half table, every row is the source\'s', async () => {
    await using workload = startShopWorkload({ url: stand.source.url('source'), transactionsPerSecond: 150 });
    await using readers = startShopReaders(stand.replica.url('replica'));
    const { id } = await stand.hub.api.rebuild('replica', { tables: null, to: null, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
    expect(id).not.toBeNull();
    for (let kills = 0; kills < 2; kills++) {
      await Promise.race([delay(randomInt(20, 900)), workload.failed]);
      await stand.hub.kill();
      await stand.start();
    }
    expect(await rebuilt(id)).toMatchObject({ state: 'done', error: null });
    await delay(500);
    await workload.stop();
    await readers.stop();
    expect(readers.counts.looks).toBeGreaterThan(10);
    await stand.caughtUp();
    expect(await stand.mustBeEqual()).toBeGreaterThan(1000);
    expect(await leftOvers()).toEqual([]);
  });

  it('puts the replica to a moment of the past, exactly, and leaves it there until it is resumed', async () => {
    await using workload = startShopWorkload({ url: stand.source.url('source'), transactionsPerSecond: 100 });
    await delay(500);
    const reference = await referenceState(stand.source.url('source'));
    await delay(500);
    await workload.stop();
    await stand.caughtUp();
    const told = await tidemark(['rebuild', 'replica', '--to', `lsn:${reference.lsn}`], { cwd: stand.directory });
    expect(told).toMatchObject({ code: 0, stdout: expect.stringMatching(/sink replica was rebuilt at offset \d+, and paused there: `tidemark sink resume replica` goes on/) as string });
    expect(await currentDigest(stand.replica.url('replica'))).toEqual(reference.digest);
    await stand.hub.kill();
    await stand.start();
    const status = await tidemark(['status'], { cwd: stand.directory });
    expect(status.stdout).toMatch(/replica +shop +paused at offset \d+ by a rebuild/);
    expect(await currentDigest(stand.replica.url('replica'))).toEqual(reference.digest);
    expect(await tidemark(['sink', 'resume', 'replica'], { cwd: stand.directory })).toMatchObject({ code: 0 });
    await stand.caughtUp();
    await stand.mustBeEqual();
  });

  it('mends single tables while writes go on, and cancelled leaves nothing behind', async () => {
    await stand.caughtUp();
    await stand.replica.query('SET session_replication_role = replica; DELETE FROM products WHERE id % 3 = 0; UPDATE customers SET name = name || $$ (wrong)$$ WHERE id % 5 = 0', [], 'replica');
    await using workload = startShopWorkload({ url: stand.source.url('source'), transactionsPerSecond: 100 });
    expect(await tidemark(['rebuild', 'replica', '--tables', 'public.products', 'public.customers'], { cwd: stand.directory })).toMatchObject({ code: 0 });
    await workload.stop();
    await stand.caughtUp();
    await stand.mustBeEqual();
    const { id } = await stand.hub.api.rebuild('replica', { tables: null, to: null, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
    await tidemark(['rebuild', 'replica', '--cancel'], { cwd: stand.directory });
    const ended = await rebuilt(id);
    expect(['cancelled', 'done']).toContain(ended.state);
    expect(await leftOvers()).toEqual([]);
    await stand.caughtUp();
    await stand.mustBeEqual();
  });

  it('needs no source', async () => {
    await stand.caughtUp();
    const before = await currentDigest(stand.source.url('source'));
    await stand.source.stop('fast');
    await stand.replica.query('SET session_replication_role = replica; TRUNCATE customers', [], 'replica');
    expect(await tidemark(['rebuild', 'replica'], { cwd: stand.directory })).toMatchObject({ code: 0 });
    expect(await currentDigest(stand.replica.url('replica'))).toEqual(before);
    await stand.source.start();
    await stand.caughtUp();
  });
});
