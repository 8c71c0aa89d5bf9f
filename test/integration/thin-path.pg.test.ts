import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource } from '../fixtures/test-hub.ts';

describe('from a Postgres source through the log to a Postgres replica', () => {
  let server: PostgresServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    server = await startPostgres({ databases: ['source', 'replica'] });
    directory = await temporaryDirectory('thin-path');
    await createShop(server.url('source'));
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  function config() {
    return testConfig(directory.path, testSource(server.url('source')), [testSink('replica', 'postgres', server.url('replica'))]);
  }

  async function expectEqual(): Promise<void> {
    const tables = await compareDatabases(server.url('source'), server.url('replica'));
    expect(tables.length).toBe(5);
    for (const table of tables) expect(table).toMatchObject({ equal: true, differences: [] });
    expect(tables.every((table) => table.rows > 0)).toBe(true);
  }

  it('copies what is there and follows what comes, a schema change on the way, until the replica equals the source', async () => {
    await using test = await startTestHub(config());
    await using workload = startShopWorkload({ url: server.url('source'), transactionsPerSecond: 300 });
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    await workload.alter();
    const committed = workload.counts.transactions;
    while (workload.counts.transactions < committed + 300) await Promise.race([workload.failed, test.runtime.clock.sleep(50)]);
    await workload.stop();
    await test.hub.untilCaughtUp(AbortSignal.timeout(20_000));
    await expectEqual();
    const { sources, sinks } = await test.hub.status();
    expect(sources).toMatchObject([{ state: 'streaming', error: null }]);
    expect(sinks).toMatchObject([{ state: 'caught-up', error: null, degraded: false, offset: sources[0]?.highWatermark }]);
    expect(sources[0]?.tables.map((table) => table.state)).toEqual(Array.from({ length: 5 }, () => 'consistent'));
  });

  it('goes on after a restart, from the log\'s position and the replica\'s checkpoint', async () => {
    await server.query("UPDATE customers SET name = name || '!' WHERE id % 7 = 0", [], 'source');
    await using test = await startTestHub(config());
    await server.query('DELETE FROM order_lines WHERE line = 2 AND product_id % 5 = 0', [], 'source');
    await test.hub.untilCaughtUp(AbortSignal.timeout(20_000));
    await expectEqual();
  });

  it('answers a reader who waits for its own write', async () => {
    await using test = await startTestHub(config());
    await using session = await server.connect('source');
    await session.query("INSERT INTO customers (email, name, balance) VALUES ('own@example.com', 'Own', 1)");
    const { rows } = await session.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn');
    const offset = await test.hub.wait('replica', { position: `lsn:${rows[0]?.lsn}` }, AbortSignal.timeout(10_000));
    const found = await server.query("SELECT name FROM customers WHERE email = 'own@example.com'", [], 'replica');
    expect(found).toEqual([{ name: 'Own' }]);
    expect(offset).toBeGreaterThan(0);
    await expect(test.hub.wait('replica', { offset: offset + 1000 }, AbortSignal.timeout(200))).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  });
});
