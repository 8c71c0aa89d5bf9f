import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { NEVER } from '../../../../contracts/kit/connector-kit-common.ts';
import { recordsOf, type ReferenceTransaction } from '../../../../contracts/kit/reference-log.ts';
import { sumsAreOfRows } from '../../../../contracts/kit/row-sums.ts';
import { readImage } from '../../../../contracts/row-image.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';
import type { SourceSnapshot } from '../../../../contracts/verify.ts';
import { startPostgres, type PostgresServer } from '../../../fixtures/embedded-postgres.ts';
import { untilCommitsWait } from '../../../fixtures/standby-wait.ts';
import { Captured } from '../captured.ts';
import type { SourceSettings } from '../source-fixture.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

function begin(setup: string, settings: SourceSettings = {}): Promise<Captured> {
  return Captured.begin(server, setup, settings);
}

function snapshotOf(it: Captured, signal = NEVER): Promise<SourceSnapshot> {
  const { connector } = it.test;
  if (connector.snapshot === undefined) throw new Error('the connector has no snapshots');
  return connector.snapshot([], signal);
}

/** Images by key; of a keyless table how often each is there. */
async function images(batches: AsyncIterable<ChangeBatch>): Promise<Map<string, string>> {
  const rows = new Map<string, string>();
  for await (const batch of batches) {
    for (const { key, after } of recordsOf(batch)) {
      if (key === '') rows.set(after, String(Number(rows.get(after) ?? '0') + 1));
      else rows.set(key, after);
    }
  }
  return rows;
}

/** The snapshot has just what the log has. */
async function expectSame(it: Captured, table: string, isSummed = true): Promise<void> {
  await it.test.caughtUp();
  await using snapshot = await snapshotOf(it);
  const schema = it.schema(table);
  const rows = await images(snapshot.rows(schema, NEVER));
  expect(rows).toEqual(it.test.log.fold(schema.tableId));
  expect(rows.size).toBeGreaterThan(0);
  expect(await sumsAreOfRows(snapshot, schema, NEVER)).toBe(isSummed);
}

function entry({ kind, xid, commitTime, origin, position }: ReferenceTransaction): TransactionEntry {
  return { kind, xid, commitTime, origin, position: Buffer.from(position, 'hex'), first: 0, count: 0, begins: true, commits: true };
}

function refused(snapshot: SourceSnapshot, schema: TableSchema): Promise<unknown> {
  return images(snapshot.rows(schema, NEVER)).then(() => null, (error: unknown) => error);
}

describe('rows have the bytes of the log', () => {
  it('with columns left out, hashed, generated, and raw bytes', async () => {
    await using it = await begin(
      `CREATE TABLE people (id int PRIMARY KEY, name text, secret text, photo bytea, upper_name text GENERATED ALWAYS AS (upper(name)) STORED, note text)`,
      { columns: new Map([['public.people', { exclude: ['note'], hash: ['secret', 'photo'] }]]), hashKey: 'a key' },
    );
    await it.run(`INSERT INTO people (id, name, secret, photo, note) SELECT g, E'tab\\t\\\\' || g, 's' || g, decode(to_hex(g + 4096), 'hex'), 'n' FROM generate_series(1, 500) AS g`);
    // What is hashed with the hub's key the server cannot print.
    await expectSame(it, 'people', false);
    expect(it.schema('people').columns.map(({ name }) => name)).toEqual(['id', 'name', 'secret', 'photo', 'upper_name']);
  });

  it('of a partitioned table, from all its leaves, and without what inherits from a plain one', async () => {
    await using it = await begin(`
      CREATE TABLE orders (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
      CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (10);
      CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (10) TO (20) PARTITION BY LIST (day);
      CREATE TABLE orders_2a (day int, v text, id int, PRIMARY KEY (id, day));
      ALTER TABLE orders_2 ATTACH PARTITION orders_2a FOR VALUES IN (11, 12);
      CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (extra int, PRIMARY KEY (id)) INHERITS (parent)`);
    await it.run(`INSERT INTO orders SELECT g, g % 10, 'v' || g FROM generate_series(1, 300) AS g; INSERT INTO orders SELECT g, 11 + g % 2, 'w' FROM generate_series(1, 300) AS g;
      INSERT INTO parent VALUES (1, 'own'); INSERT INTO child VALUES (2, 'of the child', 3)`);
    await expectSame(it, 'orders');
    await expectSame(it, 'parent');
    await expectSame(it, 'child');
  });

  it('of a table without a key, equal rows counted', async () => {
    await using it = await begin('CREATE TABLE bag (word text, amount int); ALTER TABLE bag REPLICA IDENTITY FULL');
    await it.run(`INSERT INTO bag SELECT 'word ' || g % 7, g % 3 FROM generate_series(1, 1000) AS g; DELETE FROM bag WHERE amount = 1`);
    await expectSame(it, 'bag');
  });

  it('finds rows by keys of several columns and types', async () => {
    await using it = await begin(`CREATE TABLE t (b bytea, a numeric, c text, v int, PRIMARY KEY (c, b, a))`);
    await it.run(`INSERT INTO t SELECT decode(to_hex(g + 4096), 'hex'), g / 2.0, E'it''s \\\\ ' || g, g FROM generate_series(1, 3000) AS g`);
    await using snapshot = await snapshotOf(it);
    const schema = it.schema('t');
    const all = it.test.log.fold(schema.tableId);
    const keys = [...all.keys()].map((key) => Buffer.from(key, 'hex'));
    expect(await images(snapshot.find(schema, keys, NEVER))).toEqual(all);
    expect((await images(snapshot.find(schema, keys.slice(0, 3), NEVER))).size).toBe(3);
  });
});

describe('what a snapshot sees', () => {
  it('is not what waits for a synchronous standby, though the log has it and later ones are seen', async () => {
    await using it = await begin('CREATE TABLE t (id int PRIMARY KEY, v text)');
    await it.run(`INSERT INTO t VALUES (1, 'one')`);
    const waiting = await server.connect(it.source.database);
    await server.set({ synchronous_standby_names: 'nobody' });
    try {
      await untilCommitsWait(server, waiting);
      const [backend] = (await waiting.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows;
      const commit = waiting.query(`INSERT INTO t VALUES (2, 'waits')`);
      await expect.poll(() => server.query(`SELECT wait_event FROM pg_stat_activity WHERE pid = $1`, [backend?.pid])).toEqual([{ wait_event: 'SyncRep' }]);
      await it.source.query(`SET synchronous_commit = off; INSERT INTO t VALUES (3, 'later')`);
      await it.test.until(() => it.test.rows('t').size === 3, 'all three in the log');
      await using snapshot = await snapshotOf(it);
      const schema = it.schema('t');
      const keys = (await images(snapshot.rows(schema, NEVER))).values();
      expect([...keys].map((image) => readImage(Buffer.from(image, 'hex'))[1])).toEqual(['one', 'later']);
      const rows = it.test.log.transactions.filter(({ kind, after, last }) => kind === 'source' && last > after);
      expect(rows.map((transaction) => snapshot.sees(entry(transaction)))).toEqual([true, false, true]);
      await server.query('SELECT pg_cancel_backend($1)', [backend?.pid]);
      await commit;
      await using after = await snapshotOf(it);
      expect((await images(after.rows(schema, NEVER))).size).toBe(3);
    } finally {
      await server.set({ synchronous_standby_names: '' });
      await waiting.end();
    }
  });

  it('is not a prepared transaction, nor one with subtransactions, until it has committed', async () => {
    await using it = await begin('CREATE TABLE t (id int PRIMARY KEY, v text)');
    await it.run(`INSERT INTO t VALUES (1, 'one')`);
    await it.source.query(`BEGIN; INSERT INTO t VALUES (2, 'prepared'); PREPARE TRANSACTION 'p ${it.source.database}'`);
    await using open = await server.connect(it.source.database);
    await open.query(`BEGIN; INSERT INTO t VALUES (3, 'top'); SAVEPOINT s; INSERT INTO t VALUES (4, 'below'); RELEASE s; SAVEPOINT r; INSERT INTO t VALUES (5, 'undone'); ROLLBACK TO r`);
    await using before = await snapshotOf(it);
    await open.query('COMMIT');
    await it.run(`COMMIT PREPARED 'p ${it.source.database}'`);
    await using after = await snapshotOf(it);
    const schema = it.schema('t');
    expect((await images(before.rows(schema, NEVER))).size).toBe(1);
    expect(await images(after.rows(schema, NEVER))).toEqual(it.test.log.fold(schema.tableId));
    const rows = it.test.log.transactions.filter(({ kind, after: first, last }) => kind === 'source' && last > first);
    expect(rows.map((transaction) => before.sees(entry(transaction)))).toEqual([true, false, false]);
    expect(rows.map((transaction) => after.sees(entry(transaction)))).toEqual([true, true, true]);
  });
});

describe('a table that is changed after the snapshot', () => {
  it('is read in the shape of the log where only names and columns to come differ', async () => {
    await using it = await begin(`CREATE TABLE t (id int PRIMARY KEY, a text, b text, c varchar(5))`);
    await it.run(`INSERT INTO t VALUES (1, 'a', 'b', 'c'), (2, NULL, 'b', 'c')`);
    const schema = it.schema('t');
    const rows = it.test.log.fold(schema.tableId);
    await using snapshot = await snapshotOf(it);
    await it.source.query(`ALTER TABLE t RENAME TO renamed; ALTER TABLE renamed RENAME a TO x; ALTER TABLE renamed RENAME b TO a; ALTER TABLE renamed RENAME x TO b;
      ALTER TABLE renamed ADD d int DEFAULT 7; ALTER TABLE renamed ALTER c TYPE text`);
    expect(await images(snapshot.rows(schema, NEVER))).toEqual(rows);
  });

  const CHANGES: readonly (readonly [string, string])[] = [
    ['a column dropped', 'ALTER TABLE t DROP a'],
    ['a column dropped and added again', 'ALTER TABLE t DROP a; ALTER TABLE t ADD a text'],
    ['a type changed', 'ALTER TABLE t ALTER b TYPE numeric(9,2)'],
    ['rewritten', 'VACUUM FULL t'],
    ['emptied', 'TRUNCATE t'],
    ['emptied and filled again', `BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, 'x', 1, 'sad'); COMMIT`],
    ['made anew under its name', `DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, a text, b int, m mood)`],
    ['another key', 'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, b)'],
    ['a label of an enum renamed', `ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'`],
  ];
  it.each(CHANGES)('%s: refused, to be tried again', async (_name, change) => {
    await using it = await begin(`CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE t (id int PRIMARY KEY, a text, b int, m mood)`);
    await it.run(`INSERT INTO t VALUES (1, 'x', 1, 'sad')`);
    const schema = it.schema('t');
    await using snapshot = await snapshotOf(it);
    for (const statement of change.startsWith('BEGIN') ? [change] : change.split('; ')) await it.source.query(statement);
    expect(await refused(snapshot, schema)).toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto', where: { table: 'public.t' } });
  });

  it('partitions attached, detached, emptied alone: refused, to be tried again', async () => {
    await using it = await begin(`CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10);
      CREATE TABLE t_2 (id int PRIMARY KEY)`);
    await it.run('INSERT INTO t VALUES (1); INSERT INTO t_2 VALUES (11)');
    const schema = it.schema('t');
    for (const change of ['ALTER TABLE t ATTACH PARTITION t_2 FOR VALUES FROM (10) TO (20)', 'TRUNCATE t_2', 'ALTER TABLE t DETACH PARTITION t_1']) {
      await using snapshot = await snapshotOf(it);
      await it.source.query(change);
      expect(await refused(snapshot, schema), change).toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
    }
  });

  it('locked by somebody: refused within the lock timeout, and nobody is kept waiting by an open snapshot', async () => {
    await using it = await begin('CREATE TABLE t (id int PRIMARY KEY, v text)');
    await it.run(`INSERT INTO t VALUES (1, 'one')`);
    const schema = it.schema('t');
    await using snapshot = await snapshotOf(it);
    await using holder = await server.connect(it.source.database);
    await holder.query('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
    expect(await refused(snapshot, schema)).toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto', message: expect.stringContaining('lock') as string });
    await holder.query('COMMIT');
    expect((await images(snapshot.rows(schema, NEVER))).size).toBe(1);
    await holder.query(`SET lock_timeout = '500ms'; ALTER TABLE t ADD w int`);
  });
});

describe('the sessions', () => {
  it('hold the server back while nobody takes rows, read side by side, and are given back', async () => {
    await using it = await begin('CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)');
    await it.run(`INSERT INTO t SELECT g, repeat('x', 4000) FROM generate_series(1, 10000) AS g; INSERT INTO u SELECT generate_series(1, 100)`);
    const waits = async (): Promise<unknown> => (await it.source.query(
      `SELECT wait_event FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^COPY' AND state = 'active'`))[0]?.['wait_event'];
    {
      await using snapshot = await snapshotOf(it);
      const reading = snapshot.rows(it.schema('t'), NEVER)[Symbol.asyncIterator]();
      await reading.next();
      await expect.poll(waits).toBe('ClientWrite');
      expect((await images(snapshot.rows(it.schema('u'), NEVER))).size).toBe(100);
      expect(await waits()).toBe('ClientWrite');
      let rows = 0;
      for (let next = await reading.next(); next.done !== true; next = await reading.next()) rows += next.value.count;
      expect(rows).toBeGreaterThan(9_000);
    }
    const open = (): Promise<unknown[]> => it.source.query(`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()`);
    await expect.poll(open).toEqual([]);
  });

  it('give way to somebody who waits for an exclusive lock, and to all behind him', async () => {
    await using it = await begin('CREATE TABLE t (id int PRIMARY KEY, v text)');
    await it.run(`INSERT INTO t SELECT g, repeat('x', 4000) FROM generate_series(1, 10000) AS g`);
    await using snapshot = await snapshotOf(it);
    const schema = it.schema('t');
    const reading = snapshot.rows(schema, NEVER)[Symbol.asyncIterator]();
    await reading.next();
    await using other = await server.connect(it.source.database);
    const altered = other.query('ALTER TABLE t ADD w int');
    await expect.poll(() => reading.next().then(() => null, (error: unknown) => error), { interval: 200 }).toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
    await altered;
    expect((await images(snapshot.rows(schema, NEVER))).size).toBe(10_000);
  });

  it('are not subject to limits of the role', async () => {
    await using it = await begin('CREATE TABLE t (id int PRIMARY KEY, v text)');
    for (const limit of ['statement_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout']) {
      await it.source.query(`ALTER DATABASE ${it.source.database} SET ${limit} = '300ms'`);
    }
    await it.run(`INSERT INTO t SELECT g, repeat('x', 4000) FROM generate_series(1, 8000) AS g`);
    await using snapshot = await snapshotOf(it);
    const reading = snapshot.rows(it.schema('t'), NEVER)[Symbol.asyncIterator]();
    let rows = 0;
    for (let next = await reading.next(); next.done !== true; next = await reading.next()) {
      if (rows === 0) await server.query('SELECT pg_sleep(1)');
      rows += next.value.count;
    }
    expect(rows).toBe(8_000);
  });

  it('lost: the snapshot is lost, and worth another try', async () => {
    await using it = await begin('CREATE TABLE t (id int PRIMARY KEY)');
    await it.run('INSERT INTO t VALUES (1)');
    await using snapshot = await snapshotOf(it);
    const ended = await it.source.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`);
    expect(ended).toHaveLength(1);
    const schema = it.schema('t');
    await expect.poll(() => refused(snapshot, schema)).toMatchObject({ code: 'POSTGRES_UNREACHABLE', retry: 'auto' });
  });

  it('end with the signal', async () => {
    await using it = await begin('CREATE TABLE t (id int PRIMARY KEY)');
    await it.run('INSERT INTO t VALUES (1)');
    const abort = new AbortController();
    await using snapshot = await snapshotOf(it, abort.signal);
    abort.abort();
    const schema = it.schema('t');
    await expect.poll(() => refused(snapshot, schema)).toMatchObject({ retry: 'auto' });
  });
});
