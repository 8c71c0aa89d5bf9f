import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { writeFile } from 'node:fs/promises';
import { registry } from '../../hub/registry.ts';
import type { VerifyRequest } from '../../hub/verify/report.ts';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource, type TestHub } from '../fixtures/test-hub.ts';
import { untilCommitsWait } from '../fixtures/standby-wait.ts';
import { tidemark } from '../hub/cli/run-cli.ts';
import { ALL, comparison, underLoad, verify, wrong } from './verifying.ts';

/** Source, hub and replica; each test has databases of its own. */
describe('verify between real servers', () => {
  let server: PostgresServer;
  let directory: TemporaryDirectory;
  let test = 0;
  let source = '';
  let replica = '';

  beforeAll(async () => {
    server = await startPostgres({ settings: { max_prepared_transactions: 10 } });
    directory = await temporaryDirectory('verify');
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
  });

  function started(): Promise<TestHub> {
    const from = testSource(server.url(source), { options: { slot: `verify${test}` } });
    return startTestHub(testConfig(`${directory.path}/${test}`, from, [testSink('replica', 'postgres', server.url(replica))]));
  }

  async function caughtUp({ hub }: TestHub): Promise<void> {
    await hub.untilCaughtUp(AbortSignal.timeout(40_000));
  }

  it('finds no difference while the shop is at full work, rows are truncated, shapes change and history is folded', { timeout: 120_000 }, async () => {
    await using running = await underLoad({ server, source, started, rounds: 4 });
    await caughtUp(running);
    const last = await verify(running.hub);
    expect(last.tables.flatMap(({ comparisons }) => comparisons.map(({ skipped }) => skipped))).toEqual(new Array(14).fill(null));
    expect(last.outcome).toBe('equal');
  });

  it('finds no difference while commits wait for a standby that does not answer', { timeout: 120_000 }, async () => {
    await createShop(server.url(source), { customers: 50, products: 20, orders: 50 });
    await using running = await started();
    await caughtUp(running);
    const wait = async (names: string): Promise<void> => {
      await server.query(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`);
      await server.query('SELECT pg_reload_conf()');
    };
    await using waiting = await server.connect(source);
    await using other = await server.connect(source);
    try {
      await wait('nobody');
      const log = await running.hub.engine.open('shop', { create: false });
      await untilCommitsWait(server, waiting);
      const { highWatermark } = log.state();
      // It is in the log at once, and invisible until somebody lets it go.
      const stuck = waiting.query("UPDATE customers SET name = 'not visible yet' WHERE id = 7");
      await log.reached(highWatermark + 1, AbortSignal.timeout(10_000));
      await other.query('SET synchronous_commit = local');
      for (let time = 0; time < 3; time++) {
        await other.query("UPDATE customers SET name = name || '.' WHERE id <> 7");
        const [now] = await server.query<{ name: string }>('SELECT name FROM customers WHERE id = 7', [], source);
        expect(now?.name).not.toBe('not visible yet');
        const report = await verify(running.hub);
        expect(wrong(report)).toEqual([]);
        expect(comparison(report, 'public.customers', 'source-log').skipped).toBeNull();
        expect(comparison(report, 'public.customers', 'source-log').rows.expected).toBe(50);
      }
      await wait('');
      await stuck;
    } finally {
      await wait('');
    }
    expect((await verify(running.hub)).outcome).toBe('equal');
  });

  it('finds each kind of difference in the replica, with its column, and repairs it', { timeout: 120_000 }, async () => {
    await server.query('CREATE TABLE things (id integer PRIMARY KEY, name text, amount numeric, code text UNIQUE, bytes bytea)', [], source);
    await server.query(`INSERT INTO things SELECT i, CASE WHEN i % 2 = 0 THEN 'name ' || i END, i + 0.0, 'code ' || i, decode(md5(i::text), 'hex') FROM generate_series(1, 2000) AS i`, [], source);
    await server.query('CREATE TABLE bag (a text, b text)', [], source);
    await server.query('ALTER TABLE bag REPLICA IDENTITY FULL', [], source);
    await server.query(`INSERT INTO bag SELECT 'a' || i, 'b' || i FROM generate_series(1, 20) AS i, generate_series(1, 2)`, [], source);
    await using running = await started();
    await caughtUp(running);
    expect((await verify(running.hub)).outcome).toBe('equal');
    for (const spoil of [
      "UPDATE things SET name = 'other' WHERE id = 2",
      'DELETE FROM things WHERE id = 4',
      "INSERT INTO things VALUES (5000, 'more', 1, 'code 5000', NULL)",
      'UPDATE things SET id = 6006 WHERE id = 6',
      "UPDATE things SET name = '' WHERE id = 9",
      'UPDATE things SET amount = 10.00 WHERE id = 10',
      "UPDATE things SET bytes = '\\x00' WHERE id = 11",
      // Values that trade places, under a unique constraint.
      "UPDATE things SET code = 'between' WHERE id = 20",
      "UPDATE things SET code = 'code 20' WHERE id = 21",
      "UPDATE things SET code = 'code 21' WHERE id = 20",
      "UPDATE bag SET b = CASE b WHEN 'b1' THEN 'b2' ELSE 'b1' END WHERE a IN ('a1', 'a2')",
      "DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE a = 'a5')",
      "INSERT INTO bag VALUES ('a6', 'b6')",
    ]) {
      await server.query(spoil, [], replica);
    }
    const report = await verify(running.hub);
    expect(report.outcome).toBe('different');
    for (const table of ['public.things', 'public.bag']) expect(comparison(report, table, 'source-log').differences).toBe(0);
    const things = comparison(report, 'public.things', 'log-sink');
    const found = Object.fromEntries(things.first.map(({ key, kind, columns, seen }) => [key, [kind, seen, ...columns.map(({ column, expected, found: there }) => `${column}: ${expected} ${there}`)]]));
    expect(found).toEqual({
      'id=2': ['changed', 'still', 'name: name 2 other'],
      'id=4': ['missing', 'still'],
      'id=5000': ['extra', 'still'],
      'id=6': ['missing', 'still'],
      'id=6006': ['extra', 'still'],
      'id=9': ['changed', 'still', 'name: null '],
      'id=10': ['changed', 'still', 'amount: 10.0 10.00'],
      'id=11': ['changed', 'still', expect.stringMatching(/^bytes: .*6512bd43d9caa6e02c990b0a82652dca.* /)],
      'id=20': ['changed', 'still', 'code: code 20 code 21'],
      'id=21': ['changed', 'still', 'code: code 21 code 20'],
    });
    const bag = comparison(report, 'public.bag', 'log-sink');
    expect(bag.first.map(({ kind, key, seen }) => `${kind} ${key} ${seen}`).toSorted()).toEqual([
      'count a=a5, b=b5 still', 'count a=a6, b=b6 still', 'extra a=a1, b=b2 still', 'extra a=a2, b=b1 still', 'missing a=a1, b=b1 still', 'missing a=a2, b=b2 still',
    ]);
    // While the sink goes on.
    await using writer = await server.connect(source);
    let writes = true;
    const writing = (async () => {
      for (let n = 0; writes; n++) await writer.query("UPDATE things SET name = $1 WHERE id % 50 = $2 % 50", [`busy ${n}`, n]);
    })();
    const repaired = await verify(running.hub, { repair: true });
    writes = false;
    await writing;
    expect(wrong(repaired).length).toBe(2);
    expect(repaired.outcome).toBe('equal');
    expect(comparison(repaired, 'public.bag', 'log-sink').repaired).toBe(6);
    await caughtUp(running);
    expect((await verify(running.hub)).outcome).toBe('equal');
  });

  it('has a table copied again whose log lacks what the source has', { timeout: 120_000 }, async () => {
    await server.query('CREATE TABLE ledger (id integer PRIMARY KEY, amount numeric)', [], source);
    await server.query('INSERT INTO ledger SELECT i, i FROM generate_series(1, 500) AS i', [], source);
    await using running = await started();
    await caughtUp(running);
    // A row that is gone without a record, as after a damage of the file and its repair.
    await server.query('CREATE EXTENSION pg_surgery', [], source);
    const [row] = await server.query<{ ctid: string }>('SELECT ctid::text FROM ledger WHERE id = 3', [], source);
    await server.query(`SELECT heap_force_kill('ledger'::regclass, ARRAY['${row?.ctid}'::tid])`, [], source);
    const report = await verify(running.hub);
    const ledger = comparison(report, 'public.ledger', 'source-log');
    expect(ledger.first.map(({ kind, key, seen }) => `${kind} ${key} ${seen}`)).toEqual(['extra id=3 still']);
    expect(comparison(report, 'public.ledger', 'log-sink').differences).toBe(0);
    const mended = await verify(running.hub, { repair: true });
    expect(mended.outcome).toBe('equal');
    expect(mended.tables[0]?.recopied).toBe(true);
    expect(await server.query('SELECT id FROM ledger WHERE id = 3', [], replica)).toEqual([]);
  });

  it('runs once at a time for a sink, ends when nobody listens, and tells how far it is', { timeout: 60_000 }, async () => {
    await createShop(server.url(source), { customers: 2000, products: 20, orders: 50 });
    await using running = await started();
    await caughtUp(running);
    const slow: VerifyRequest = { ...ALL, tables: ['public.customers'], rate: { rowsPerSecond: 100 } };
    const events = running.hub.verify('replica', slow, AbortSignal.timeout(30_000));
    const phases = new Set<string>();
    for await (const event of events) {
      if (!('progress' in event)) throw new Error('it ended');
      phases.add(event.progress.phase);
      await expect(running.hub.verify('replica', ALL, AbortSignal.timeout(30_000)).next()).rejects.toMatchObject({ code: 'VERIFY_RUNNING' });
      if (event.progress.phase === 'rows' && event.progress.etaSeconds !== null) {
        expect(event.progress).toMatchObject({ table: 'public.customers', index: 1, tables: 1, ofRows: 4000 });
        break;
      }
    }
    expect([...phases]).toContain('rows');
    const log = await running.hub.engine.open('shop', { create: false });
    expect(log.leases()).toEqual([]);
    expect((await verify(running.hub)).outcome).toBe('equal');
  });

  it('tells of a row that is an open dead letter, and of no other', { timeout: 60_000 }, async () => {
    await server.query('CREATE TABLE parcels (id integer PRIMARY KEY, weight integer)', [], source);
    await server.query('INSERT INTO parcels SELECT i, i FROM generate_series(1, 100) AS i', [], source);
    const from = testSource(server.url(source), { options: { slot: `verify${test}` } });
    const to = testSink('replica', 'postgres', server.url(replica), { onError: 'dead-letter' });
    await using running = await startTestHub(testConfig(`${directory.path}/${test}`, from, [to]));
    await caughtUp(running);
    await server.query('ALTER TABLE parcels ADD CHECK (weight < 1000)', [], replica);
    await server.query('UPDATE parcels SET weight = 5000 WHERE id = 5', [], source);
    await caughtUp(running);
    const report = await verify(running.hub, { repair: true });
    expect(report.outcome).toBe('equal');
    expect(comparison(report, 'public.parcels', 'log-sink')).toMatchObject({ differences: 0, deadLetters: 1 });
  });

  it('expects rows that have left the window of the log in the replica, and looks at the others', { timeout: 60_000 }, async () => {
    await server.query('CREATE TABLE events (id integer PRIMARY KEY, what text)', [], source);
    await server.query("INSERT INTO events SELECT i, 'old' FROM generate_series(1, 200) AS i", [], source);
    const from = testSource(server.url(source), { options: { slot: `verify${test}` } });
    const config = testConfig(`${directory.path}/${test}`, from, [testSink('replica', 'postgres', server.url(replica))]);
    await using running = await startTestHub({ ...config, log: { ...config.log, keep: () => ({ kind: 'window', ageMs: 200 }) } });
    await caughtUp(running);
    await running.runtime.clock.sleep(300);
    await running.hub.compactSource('shop', null, AbortSignal.timeout(30_000));
    await server.query("INSERT INTO events SELECT i, 'new' FROM generate_series(1001, 1100) AS i", [], source);
    await caughtUp(running);
    expect(comparison(await verify(running.hub), 'public.events', 'log-sink')).toMatchObject({ differences: 0, outside: 200, rows: { expected: 100, found: 300 } });
    await server.query("UPDATE events SET what = 'wrong' WHERE id IN (5, 1005)", [], replica);
    const report = await verify(running.hub, { repair: true });
    expect(comparison(report, 'public.events', 'source-log')).toMatchObject({ differences: 0, outside: 200 });
    expect(comparison(report, 'public.events', 'log-sink').first.map(({ key, repaired }) => [key, repaired])).toEqual([['id=1005', true]]);
  });

  it('compares log and sink of a hub that does not run, from its folder', { timeout: 60_000 }, async () => {
    await server.query('CREATE TABLE quiet (id integer PRIMARY KEY, name text)', [], source);
    await server.query("INSERT INTO quiet SELECT i, 'name ' || i FROM generate_series(1, 300) AS i", [], source);
    {
      await using running = await started();
      await caughtUp(running);
    }
    const data = `${directory.path}/${test}`;
    const config = `${directory.path}/${test}.yaml`;
    await writeFile(config, JSON.stringify({
      hub: { data },
      sources: { shop: { type: 'postgres', url: server.url(source), tables: ['public.*'] } },
      sinks: { replica: { type: 'postgres', from: 'shop', url: server.url(replica), tables: ['public.*'] } },
    }));
    const run = (...args: string[]) => tidemark(['verify', 'replica', '--config', config, ...args], { cwd: directory.path, registry });
    expect(await run('--against', 'log')).toMatchObject({ code: 0, stdout: expect.stringMatching(/public\.quiet: log = sink: equal, 300 rows/) as string });
    expect(await run()).toMatchObject({ code: 1, stderr: expect.stringContaining('--against log') as string });
    expect(await run('--against', 'log', '--repair')).toMatchObject({ code: 1, stderr: expect.stringContaining('VERIFY_SINK') as string });
    await server.query('DELETE FROM quiet WHERE id = 5', [], replica);
    expect(await run('--against', 'log')).toMatchObject({ code: 1, stdout: expect.stringContaining('id=5: only in the log') as string });
  });
});
