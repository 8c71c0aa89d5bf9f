import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { openHubStand, type HubStand } from '../fixtures/hub-stand.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { tidemark } from '../hub/cli/run-cli.ts';
import { currentDigest, type Digest } from './reference-states.ts';

const LIMIT_MS = 300_000;
const NEW = Array.from({ length: 10 }, (_, index) => `copy${index}`);

describe('a source that is down', () => {
  let stand: HubStand;
  let state: Digest;

  beforeAll(async () => {
    stand = await openHubStand({ purpose: 'source-down' });
    await createShop(stand.source.url('source'));
    await stand.start();
    await stand.caughtUp();
    await stand.hub.stop();
    {
      await using engine = await EmbeddedLogEngine.create(join(stand.directory, 'data'), createTestRuntime({ seed: randomInt(2 ** 40) }));
      const log = await engine.open('shop', { create: false });
      expect(await log.compact(log.state().highWatermark, { memoryBytes: 8 << 20, share: 1 }, AbortSignal.timeout(20_000))).toBeGreaterThan(0);
    }
    await stand.start();
    await using workload = startShopWorkload({ url: stand.source.url('source'), transactionsPerSecond: 200 });
    while (workload.counts.transactions < 500) await Promise.race([workload.failed, new Promise((resolve) => setTimeout(resolve, 50))]);
    await workload.stop();
    await stand.caughtUp();
    state = await currentDigest(stand.source.url('source'));
    await stand.source.stop('fast');
  });
  afterAll(() => stand?.[Symbol.asyncDispose]());

  it('is not missed while ten sinks are built from the log, and all of them are rebuilt', async () => {
    for (const name of NEW) await stand.replica.query(`CREATE DATABASE ${name}`);
    const sinks = Object.fromEntries(NEW.map((name) => [name, { type: 'postgres', url: stand.replica.url(name), tables: ['public.*'] }]));
    await stand.configure({ sinks });
    await stand.hub.api.reload(AbortSignal.timeout(LIMIT_MS));
    await stand.hub.until('ten sinks are filled', (status) => status.sinks.length === 11 && status.sinks.every(({ state: of }) => of === 'caught-up'), LIMIT_MS);
    for (const name of NEW) expect(await currentDigest(stand.replica.url(name)), name).toEqual(state);
    for (const name of NEW) await stand.replica.query('SET session_replication_role = replica; DELETE FROM customers WHERE id % 2 = 0; UPDATE products SET price = 0', [], name);
    const commands = await Promise.all(['replica', ...NEW].map((name) => tidemark(['rebuild', name], { cwd: stand.directory })));
    expect(commands.map(({ code, stderr }) => ({ code, failed: /[A-Z]+_[A-Z]+:/.test(stderr) }))).toEqual(commands.map(() => ({ code: 0, failed: false })));
    for (const name of ['replica', ...NEW]) expect(await currentDigest(stand.replica.url(name)), name).toEqual(state);
    await stand.source.start();
    await stand.caughtUp();
    await stand.mustBeEqual();
  });
});
