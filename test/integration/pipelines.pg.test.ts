import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { selectTables } from '../../hub/config/table-patterns.ts';
import type { SinkStatusView } from '../../hub/service.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { createShop, tornTransactions } from '../fixtures/shop/schema.ts';
import { startShopWorkload } from '../fixtures/shop/workload.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource, type TestHub } from '../fixtures/test-hub.ts';

/** Each test has databases of its own in one server, and a data folder of its own. */
describe('the hub between real servers', () => {
  let server: PostgresServer;
  let directory: TemporaryDirectory;
  let test = 0;
  let source = '';
  let replica = '';

  beforeAll(async () => {
    server = await startPostgres();
    directory = await temporaryDirectory('pipelines');
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    test++;
    source = `source${test}`;
    replica = `replica${test}`;
    for (const database of [source, replica]) await server.query(`CREATE DATABASE ${database}`);
    await createShop(server.url(source), { customers: 50, products: 20, orders: 50 });
  });

  function sourceConfig(url = server.url(source)) {
    return testSource(url, { options: { slot: `slot${test}` } });
  }

  function sink(url = server.url(replica), patterns: readonly string[] = ['public.*'], name = 'replica') {
    return testSink(name, 'postgres', url, { tablePatterns: patterns, tables: selectTables(patterns) });
  }

  function config(...sinks: ReturnType<typeof sink>[]) {
    return testConfig(`${directory.path}/${test}`, sourceConfig(), sinks);
  }

  async function expectEqual(database = replica, tables?: readonly string[]): Promise<void> {
    const compared = await compareDatabases(server.url(source), server.url(database), tables === undefined ? {} : { tables });
    expect(compared.filter((table) => !table.equal)).toEqual([]);
    expect(compared.length).toBe(tables?.length ?? 5);
  }

  async function sinkStatus({ hub }: TestHub, name = 'replica'): Promise<SinkStatusView> {
    const found = (await hub.status()).sinks.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no sink ${name}`);
    return found;
  }

  const retries = (running: TestHub): number => running.runtime.lines.filter((line) => line.event === 'sink.retrying').length;

  async function until(state: () => Promise<boolean>, running: TestHub): Promise<void> {
    const deadline = Date.now() + 30_000;
    while (!(await state())) {
      if (Date.now() > deadline) throw new Error(`it did not come to that; the log ends with ${JSON.stringify(running.runtime.lines.slice(-5))}`);
      await running.runtime.clock.sleep(20);
    }
  }

  it('survives cuts of the network to both sides, without a torn transaction', async () => {
    await using toSource = await startTcpProxy(server.port);
    await using toReplica = await startTcpProxy(server.port);
    const through = (database: string, port: number) => server.url(database).replace(`:${server.port}/`, `:${port}/`);
    const whole = { ...config(sink(through(replica, toReplica.port))), sources: new Map([['shop', sourceConfig(through(source, toSource.port))]]) };
    await using running = await startTestHub(whole);
    await using workload = startShopWorkload({ url: server.url(source), transactionsPerSecond: 200 });
    await running.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    await using reader = await server.connect(replica);
    for (let cut = 0; cut < 6; cut++) {
      const at = workload.counts.transactions;
      while (workload.counts.transactions < at + 40) await running.runtime.clock.sleep(20);
      const before = retries(running);
      (cut % 2 === 0 ? toSource : toReplica).cut();
      // The next cut comes once this one has been noticed: several may fall into the pause before one attempt.
      if (cut % 2 === 1) await until(async () => retries(running) > before, running);
      expect(await tornTransactions(reader)).toEqual([]);
    }
    await workload.stop();
    await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    await expectEqual();
    expect(retries(running)).toBeGreaterThan(1);
  });

  it('lets a sink that is down hold back nobody else', async () => {
    const down = sink('postgres://postgres@127.0.0.1:1/nowhere', ['public.*'], 'down');
    await using running = await startTestHub(config(sink(), down));
    await server.query('UPDATE customers SET balance = balance + 1', [], source);
    await until(async () => (await sinkStatus(running)).state === 'caught-up' && (await sinkStatus(running)).offset > 0, running);
    const { rows } = await (async () => ({ rows: await server.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn', [], source) }))();
    await running.hub.wait('replica', { position: `lsn:${rows[0]?.lsn}` }, AbortSignal.timeout(20_000));
    await until(async () => (await running.hub.status()).sources[0]?.tables.every((table) => table.state === 'consistent') ?? false, running);
    await expectEqual();
    expect(await sinkStatus(running, 'down')).toMatchObject({ state: 'retrying', offset: 0, error: { code: 'SINK_UNREACHABLE' } });
  });

  it('pauses and resumes a sink', async () => {
    await using running = await startTestHub(config(sink()));
    await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    await running.hub.pauseSink('replica');
    const { offset } = await sinkStatus(running);
    await server.query("UPDATE customers SET name = 'paused'", [], source);
    await running.hub.engine.open('shop', { create: false }).then((log) => log.reached(offset + 50, AbortSignal.timeout(10_000)));
    expect(await sinkStatus(running)).toMatchObject({ state: 'paused', offset });
    // The first transaction that it lacks has waited since its commit.
    await expect.poll(async () => (await sinkStatus(running)).lag.seconds).toBeGreaterThan(0);
    await running.hub.resumeSink('replica');
    await running.hub.untilCaughtUp(AbortSignal.timeout(10_000));
    await expectEqual();
  });

  it('applies a changed configuration: another sink, more tables of a sink, a sink that goes', async () => {
    const second = `second${test}`;
    await server.query(`CREATE DATABASE ${second}`);
    const narrow = sink(server.url(second), ['public.customers'], 'second');
    await using running = await startTestHub(config(sink()));
    await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    expect(await running.hub.reload(config(sink(), narrow))).toEqual(['sink second added']);
    await server.query("UPDATE customers SET name = 'x' WHERE id < 10", [], source);
    await server.query('UPDATE stock SET sold = sold + 1, quantity = quantity - 1', [], source);
    await running.hub.untilCaughtUp(AbortSignal.timeout(10_000));
    await expectEqual(second, ['customers']);
    const wide = sink(server.url(second), ['public.customers', 'public.stock'], 'second');
    expect(await running.hub.reload(config(sink(), wide))).toEqual(['sink second changed']);
    await server.query('UPDATE stock SET sold = sold + 1, quantity = quantity - 1 WHERE product_id % 2 = 0', [], source);
    await running.hub.untilCaughtUp(AbortSignal.timeout(10_000));
    await expectEqual(second, ['customers', 'stock']);
    expect(await running.hub.reload(config(wide))).toEqual(['sink replica removed']);
    expect((await running.hub.status()).sinks.map((each) => each.name)).toEqual(['second']);
  });

  it('captures tables that are made later, and copies a table again on demand', async () => {
    await using running = await startTestHub(config(sink()));
    await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    await server.query('CREATE TABLE later (id int PRIMARY KEY, v text); INSERT INTO later SELECT n, n::text FROM generate_series(1, 500) AS n', [], source);
    await running.hub.addTable('shop', 'public.later');
    await running.hub.untilCaughtUp(AbortSignal.timeout(20_000));
    await expectEqual(replica, ['later', 'customers']);
    await running.hub.recopy('shop', 'public.later');
    await server.query('DELETE FROM later WHERE id % 3 = 0', [], source);
    await until(async () => {
      const table = (await running.hub.status()).sources[0]?.tables.find((each) => each.table === 'public.later');
      return table?.state === 'consistent' && table.consistent.length === 2;
    }, running);
    await running.hub.untilCaughtUp(AbortSignal.timeout(20_000));
    await expectEqual(replica, ['later']);
  });

  it('ends within its time although the network to both sides stands still', async () => {
    await using toSource = await startTcpProxy(server.port);
    await using toReplica = await startTcpProxy(server.port);
    const through = (database: string, port: number) => server.url(database).replace(`:${server.port}/`, `:${port}/`);
    const whole = { ...config(sink(through(replica, toReplica.port))), sources: new Map([['shop', sourceConfig(through(source, toSource.port))]]) };
    const running = await startTestHub(whole);
    await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    toReplica.hold();
    await server.query('UPDATE customers SET balance = balance + 1', [], source);
    await until(async () => (await sinkStatus(running)).lag.records > 0, running);
    toSource.hold();
    const begun = running.runtime.clock.monotonic();
    await running.hub[Symbol.asyncDispose]();
    expect(running.runtime.clock.monotonic() - begun).toBeLessThan(10_000);
  });

  it('goes on with the other sources when the log of one is corrupt', async () => {
    {
      await using running = await startTestHub(config(sink()));
      await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    }
    const manifest = join(directory.path, String(test), 'log', 'shop', 'manifest');
    await writeFile(manifest, 'not a manifest');
    const second = `second${test}`;
    await server.query(`CREATE DATABASE ${second}`);
    const both = config(sink(), { ...sink(server.url(second), ['public.*'], 'second'), from: 'other' });
    const other = { ...testSource(server.url(source), { options: { slot: `other${test}`, publication: 'other' } }), name: 'other' };
    await using running = await startTestHub({ ...both, sources: new Map([...both.sources, ['other', other]]) });
    await until(async () => (await sinkStatus(running, 'second')).state === 'caught-up' && (await sinkStatus(running, 'second')).offset > 0, running);
    await until(async () => {
      const found = (await running.hub.status()).sources.find((each) => each.name === 'other');
      return found?.tables.length === 5 && found.tables.every((table) => table.state === 'consistent');
    }, running);
    const { sources, sinks } = await running.hub.status();
    expect(sources.find((each) => each.name === 'shop')).toMatchObject({ state: 'failed', error: { code: 'LOG_CORRUPT' } });
    expect(sinks.find((each) => each.name === 'replica')).toMatchObject({ state: 'failed', error: { code: 'LOG_CORRUPT' } });
    await expect(running.hub.untilCaughtUp(AbortSignal.timeout(5000))).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
  });

  it('stops when its slot is gone, and begins again after a gap on demand', async () => {
    {
      await using running = await startTestHub(config(sink()));
      await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    }
    await server.query('SELECT pg_drop_replication_slot($1)', [`slot${test}`], source);
    await server.query('DELETE FROM order_lines WHERE line = 1', [], source);
    await using running = await startTestHub(config(sink()));
    await expect(running.hub.untilCaughtUp(AbortSignal.timeout(20_000))).rejects.toMatchObject({ code: 'POSTGRES_SLOT_MISSING' });
    expect((await running.hub.status()).sources).toMatchObject([{ state: 'failed', error: { code: 'POSTGRES_SLOT_MISSING' } }]);
    await running.hub.resync('shop');
    await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    await expectEqual();
  });

  it('stops on a row that the replica refuses, and names it: table, key, column, offset, position', async () => {
    await using running = await startTestHub(config(sink()));
    await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    await server.query('ALTER TABLE customers ADD CONSTRAINT no_bad CHECK (name <> \'bad\')', [], replica);
    await server.query("UPDATE customers SET name = CASE WHEN id = 7 THEN 'bad' ELSE 'good' END WHERE id < 20", [], source);
    await until(async () => (await sinkStatus(running)).state === 'failed', running);
    const failed = await sinkStatus(running);
    expect(failed.error).toMatchObject({ code: 'SINK_DATA', where: { sink: 'replica', source: 'shop', table: 'public.customers', key: 'id=7', position: expect.stringMatching(/^0\/[0-9A-F]+$/) as string } });
    expect(failed.error?.where['offset']).toBeGreaterThan(failed.offset);
    // Nothing of the refused transaction is to be seen.
    expect(await server.query("SELECT count(*)::int AS n FROM customers WHERE name IN ('good', 'bad')", [], replica)).toEqual([{ n: 0 }]);
    expect(failed.position).toMatch(/^0\/[0-9A-F]+$/);
    const status = (await running.hub.status()).sources[0];
    expect(status?.lag).toMatchObject({ bytes: expect.any(Number) as number, seconds: expect.any(Number) as number });
    await server.query('ALTER TABLE customers DROP CONSTRAINT no_bad', [], replica);
    await running.hub.retrySink('replica');
    await running.hub.untilCaughtUp(AbortSignal.timeout(20_000));
    await expectEqual();
  });

  it('puts aside rows that the replica refuses, says degraded, and heals when they fit', async () => {
    const lenient = { ...sink(), onError: 'dead-letter' as const };
    await using running = await startTestHub(config(lenient));
    await running.hub.untilCaughtUp(AbortSignal.timeout(30_000));
    await server.query("ALTER TABLE customers ADD CONSTRAINT no_bad CHECK (name <> 'bad')", [], replica);
    await server.query("UPDATE customers SET name = CASE WHEN id = 7 THEN 'bad' ELSE 'good' END WHERE id < 20", [], source);
    await running.hub.untilCaughtUp(AbortSignal.timeout(10_000));
    expect(await sinkStatus(running)).toMatchObject({ degraded: true, deadLetters: 1 });
    const names = await server.query('SELECT count(*)::int AS n FROM customers WHERE name = $1', ['good'], replica);
    expect(names).toEqual([{ n: 18 }]);
    await server.query('ALTER TABLE customers DROP CONSTRAINT no_bad', [], replica);
    await running.hub.retrySink('replica');
    await until(async () => (await sinkStatus(running)).deadLetters === 0, running);
    await running.hub.untilCaughtUp(AbortSignal.timeout(10_000));
    await expectEqual();
  });
});
