import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Op } from '../../../contracts/op.ts';
import type { ConnectorUnderTest } from '../../../contracts/kit/connector-kit-common.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { Captured } from './captured.ts';
import type { SourceSettings } from './source-fixture.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, v text)';

/** Goes on from a position that the log had when so many source transactions were in it, as after a kill. */
async function againFrom(test: ConnectorUnderTest, position: string): Promise<void> {
  await test.stop();
  test.log.position = position;
  test.restart();
  await test.run();
  await test.caughtUp();
}

describe('a message outside of transactions', () => {
  it.each([14, 18] as const)('does not take along the commit whose record follows it (version %i)', async (version) => {
    await using old = version === 18 ? null : await startPostgres({ version });
    await using captured = await Captured.begin(old ?? server, TABLE);
    captured.test.acknowledging = false;
    // The message's record stands directly before that of the commit.
    await captured.run(`BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(false, 'ping', 'x'); COMMIT`);
    const source = captured.test.log.transactions.filter((one) => one.kind === 'source');
    expect(source).toHaveLength(2);
    expect(captured.raw().filter((record) => record.op === Op.message)).toHaveLength(1);
    const [message] = source;
    await againFrom(captured.test, message?.position ?? '');
    expect(captured.rows().map((row) => row.key)).toEqual([['1'], ['1']]);
    expect(captured.raw().filter((record) => record.op === Op.message)).toHaveLength(1);
  });
});

const REWRITTEN = { type: 'stopped', code: 'POSTGRES_TABLE_REWRITTEN', recopy: true };

describe('a publication that somebody else changed', () => {
  const TWO = `${TABLE}; CREATE TABLE other (id int PRIMARY KEY)`;

  it('so that it left a table out for a while: the table is copied again, the others are not', async () => {
    await using captured = await Captured.begin(server, TWO);
    await captured.run('INSERT INTO t VALUES (1)');
    const { slot: publication } = captured.source;
    await captured.source.query(`ALTER PUBLICATION ${publication} DROP TABLE t`);
    await captured.source.query('INSERT INTO t VALUES (2)');
    await captured.until((catalog) => catalog.byName('public.t')?.state.state === 'stopped', 'the table to be stopped');
    expect(captured.controls()).toMatchObject([REWRITTEN]);
    await captured.run('INSERT INTO t VALUES (3); INSERT INTO other VALUES (1)');
    expect(captured.rows().map((row) => [row.table, row.key])).toEqual([['t', ['1']], ['t', ['3']], ['other', ['1']]]);
    expect(captured.test.log.catalog().byName('public.other')?.state.state).toBe('new');
  });

  it.each(['DROP TABLE t', `SET (publish = 'insert')`, 'SET (publish_via_partition_root = false)'])('and changed back, while the hub was away: %s', async (change) => {
    await using captured = await Captured.begin(server, TABLE);
    await captured.run('INSERT INTO t VALUES (1)');
    await captured.test.stop();
    const { slot: publication } = captured.source;
    await captured.source.query(`ALTER PUBLICATION ${publication} ${change}`);
    await captured.source.query(`INSERT INTO t VALUES (2); UPDATE t SET v = 'x'`);
    const back = change.startsWith('DROP') ? 'ADD TABLE t' : `SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`;
    await captured.source.query(`ALTER PUBLICATION ${publication} ${back}`);
    captured.test.restart();
    await captured.test.run();
    await captured.until((catalog) => catalog.byName('public.t')?.state.state === 'stopped', 'the table to be stopped');
    expect(captured.controls()).toMatchObject([REWRITTEN]);
  });

  it('by adding tables: nothing is copied again for that', async () => {
    await using captured = await Captured.begin(server, TABLE);
    await captured.run('INSERT INTO t VALUES (1)');
    await captured.source.query('CREATE TABLE late (id int PRIMARY KEY)');
    await captured.until((catalog) => catalog.byName('public.late') !== undefined, 'the new table');
    await captured.run('INSERT INTO late VALUES (1)');
    await captured.test.stop();
    captured.test.restart();
    await captured.test.run();
    await captured.run('INSERT INTO late VALUES (2)');
    expect(captured.controls()).toEqual([]);
    expect(captured.schemas().map((schema) => [schema.name, schema.version])).toEqual([['t', 1], ['late', 1]]);
  });
});

describe('column rules that change between two starts', () => {
  const PLAIN = 'CREATE TABLE t (id int PRIMARY KEY, v text, secret text)';

  /** Begins with the first rules, goes on with the second. */
  async function changed(first: SourceSettings, second: SourceSettings): Promise<Captured> {
    const captured = await Captured.begin(server, PLAIN, first);
    await captured.run(`INSERT INTO t VALUES (1, 'v', 'hunter2')`);
    await captured.test.stop();
    Object.assign(captured.source.config, { columns: second.columns ?? new Map(), hashKey: second.hashKey ?? null });
    captured.test.restart();
    await captured.test.run();
    await captured.run(`INSERT INTO t VALUES (2, 'v', 'hunter3')`);
    return captured;
  }

  const rule = (exclude: string[], hash: string[], hashKey?: string): SourceSettings =>
    ({ columns: new Map([['public.t', { exclude, hash }]]), ...(hashKey === undefined ? {} : { hashKey }) });

  it.each([
    ['a column is left out no more', rule(['secret'], []), {}],
    ['a column is hashed', {}, rule([], ['secret'], 'k1')],
    ['a column is hashed no more', rule([], ['secret'], 'k1'), {}],
    ['a column is hashed with another key', rule([], ['secret'], 'k1'), rule([], ['secret'], 'k2')],
  ] as const)('%s: the table is copied again', async (_what, first, second) => {
    await using captured = await changed(first, second);
    expect(captured.controls()).toMatchObject([REWRITTEN]);
    expect(Object.keys(captured.rows().at(-1)?.after ?? {})).toEqual(['id', 'v', 'secret']);
  });

  it('a column is left out: there is nothing to copy', async () => {
    await using captured = await changed({}, rule(['secret'], []));
    expect(captured.controls()).toEqual([]);
    expect(captured.rows().at(-1)?.after).toEqual({ id: '2', v: 'v' });
    await captured.test.stop();
    Object.assign(captured.source.config, { columns: new Map() });
    captured.test.restart();
    await captured.test.run();
    await captured.run(`INSERT INTO t VALUES (3, 'v', 'hunter4')`);
    expect(captured.controls()).toMatchObject([REWRITTEN]);
    expect(captured.rows().at(-1)?.after).toEqual({ id: '3', v: 'v', secret: 'hunter4' });
  });

  it('the same: nothing is copied', async () => {
    await using captured = await changed(rule(['v'], ['secret'], 'k'), rule(['v'], ['secret'], 'k'));
    expect(captured.controls()).toEqual([]);
  });
});

describe('a column rule', () => {
  const settings: SourceSettings = { columns: new Map([['public.t', { exclude: ['secret'], hash: [] }]]) };
  const RULED = `CREATE TABLE t (id int PRIMARY KEY, secret text, v text); CREATE TABLE other (id int PRIMARY KEY)`;

  it('that comes to name a key column stops its table, and the rest goes on', async () => {
    await using captured = await Captured.begin(server, RULED, settings);
    await captured.run(`ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (id, secret)`);
    await captured.run(`INSERT INTO t VALUES (1, 's', 'v'); INSERT INTO other VALUES (1)`);
    expect(captured.controls()).toMatchObject([{ type: 'stopped', code: 'POSTGRES_COLUMN_RULE', recopy: false }]);
    expect(captured.rows().map((row) => row.table)).toEqual(['other']);
    const names = (await captured.test.connector.tables(new AbortController().signal)).map((table) => table.name);
    expect(names).toEqual(['other']);
  });

  it('holds on to its column through a rename and a new key', async () => {
    await using captured = await Captured.begin(server, RULED, settings);
    await captured.run(`INSERT INTO t VALUES (1, 'hunter2', 'v')`);
    await captured.run('ALTER TABLE t RENAME secret TO open');
    await captured.run(`INSERT INTO t VALUES (2, 'hunter2', 'w')`);
    await captured.run(`ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (id, v)`);
    await captured.run(`INSERT INTO t VALUES (3, 'hunter2', 'x')`);
    await captured.run('ALTER TABLE t ADD COLUMN more int');
    await captured.run(`INSERT INTO t VALUES (4, 'hunter2', 'y', 1)`);
    expect(captured.rows().map((row) => Object.keys(row.after ?? {}))).toEqual([['id', 'v'], ['id', 'v'], ['id', 'v'], ['id', 'v', 'more']]);
  });

  it('of a table that was renamed while the hub was away is asked for under its new name', async () => {
    await using captured = await Captured.begin(server, RULED, settings);
    await captured.run(`INSERT INTO t VALUES (1, 'hunter2', 'v')`);
    await captured.test.stop();
    await captured.source.query('ALTER TABLE t RENAME TO t2');
    captured.test.restart();
    await expect(captured.test.run()).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_COLUMN_RULE' }));
  });
});

describe('a generated column', () => {
  it('that becomes a plain one while the hub was away has its values copied', async () => {
    await using old = await startPostgres({ version: 17 });
    await using captured = await Captured.begin(old, 'CREATE TABLE t (id int PRIMARY KEY, v text, n int GENERATED ALWAYS AS (id * 2) STORED)');
    await captured.run(`INSERT INTO t VALUES (1, 'v')`);
    await captured.test.stop();
    await captured.source.query('ALTER TABLE t ALTER COLUMN n DROP EXPRESSION');
    captured.test.restart();
    await captured.test.run();
    await captured.run(`INSERT INTO t VALUES (2, 'v', 7)`);
    expect(captured.controls()).toMatchObject([REWRITTEN]);
    expect(captured.rows().at(-1)?.after).toEqual({ id: '2', v: 'v', n: '7' });
  });
});
