import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { type PostgresServer, startPostgres } from '../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource, type TestHub } from '../fixtures/test-hub.ts';

describe('replicas that were away for longer than the history is kept', () => {
  let server: PostgresServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    server = await startPostgres({ databases: ['source', 'stops', 'rebuilds'] });
    directory = await temporaryDirectory('behind');
    await server.query('CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL); INSERT INTO items SELECT i, 0 FROM generate_series(1, 2000) AS i', [], 'source');
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const stops = () => testSink('stops', 'postgres', server.url('stops'));
  const rebuilds = () => testSink('rebuilds', 'postgres', server.url('rebuilds'), { whenBehind: 'rebuild' });

  function start(...sinks: ReturnType<typeof stops>[]): Promise<TestHub> {
    return startTestHub(testConfig(directory.path, testSource(server.url('source')), sinks));
  }

  async function differences(database: string): Promise<number> {
    const compared = await compareDatabases(server.url('source'), server.url(database));
    return compared.filter(({ equal }) => !equal).length;
  }

  it('stop and say so, or are rebuilt by themselves', async () => {
    {
      await using test = await start(stops(), rebuilds());
      await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    }
    {
      await using test = await start();
      await server.query('UPDATE items SET n = n + 1; DELETE FROM items WHERE id % 10 = 0', [], 'source');
      await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    }
    {
      // An opening seals what the one before has written.
      await using engine = await EmbeddedLogEngine.create(directory.path, createTestRuntime());
      const log = await engine.open('shop', { create: false });
      const { highWatermark } = log.state();
      expect(await log.compact(highWatermark, { memoryBytes: 8 << 20, share: 1 }, AbortSignal.timeout(20_000))).toBe(highWatermark);
    }
    await using test = await start(stops(), rebuilds());
    const sink = async (name: string) => (await test.hub.status()).sinks.find((one) => one.name === name);
    await expect.poll(async () => (await sink('rebuilds'))?.rebuild?.state, { timeout: 40_000 }).toBe('done');
    await expect.poll(async () => (await sink('rebuilds'))?.state, { timeout: 20_000 }).toBe('caught-up');
    expect(await differences('rebuilds')).toBe(0);
    expect(await sink('stops')).toMatchObject({ state: 'failed', rebuild: null, error: { code: 'SINK_BEHIND', remedy: expect.stringContaining('tidemark rebuild') as string } });
    // What it has is as it was.
    expect(await server.query('SELECT count(*)::int AS rows, sum(n)::int AS sum FROM items', [], 'stops')).toEqual([{ rows: 2000, sum: 0 }]);
  }, 120_000);
});
