import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Finding } from '../../../contracts/finding.ts';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { MysqlSink } from '../../../sinks/mysql/sink.ts';
import { type MysqlServer, type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { freePort } from '../../fixtures/ports.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { type ReplicaPlace, replicaPlace, sinkConfig } from './replica-place.ts';

const { signal } = new AbortController();

const THINGS: TableSchema = new SinkModel().createTable('kit', 'things', [
  { name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false },
  { name: 'a', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text' },
], ['id']).schema;

/** What the docs ask for, and nothing else. */
const RIGHTS = 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, CREATE TEMPORARY TABLES';

let users = 0;

interface Place {
  readonly place: ReplicaPlace;
  readonly check: (tables?: readonly TableSchema[], options?: Readonly<Record<string, unknown>>) => Promise<Finding[]>;
}

/** Databases of their own with what `statements` make there, and a user with the rights that are asked for. */
async function placeWith(server: MysqlServer, statements: readonly string[] = [], databases: readonly string[] = ['shop', 'own', 'shadow']): Promise<Place & AsyncDisposable> {
  const place = await replicaPlace(server);
  const user = `mirror_${++users}`;
  await place.reader.query(`CREATE DATABASE ${place.database}; CREATE USER ${user}`);
  const names: Readonly<Record<string, string>> = { shop: `\`${place.database}\``, own: `\`${place.ownDatabase}\``, shadow: '`tidemark_shadow_%`' };
  for (const database of databases) await place.reader.query(`GRANT ${RIGHTS}${database === 'shop' ? ', TRIGGER' : ''} ON ${names[database]}.* TO ${user}`);
  await place.reader.query(`USE ${place.database}`);
  for (const sql of statements) await place.reader.query(sql);
  return {
    place,
    check: async (tables = [THINGS], options = {}) => {
      const config = sinkConfig(server.url('', user), { options: { own_database: place.ownDatabase, schemas: { kit: place.database }, ...options } });
      await using sink = new MysqlSink(config, createTestRuntime());
      return await sink.check(tables, signal);
    },
    [Symbol.asyncDispose]: async () => {
      await place.reader.query(`DROP USER ${user}`);
      await place[Symbol.asyncDispose]();
    },
  };
}

const KEY = 'id int PRIMARY KEY';
const MADE = `CREATE TABLE things (${KEY}, a longtext)`;

/** What is made, what is found, and whether the remedy is a statement that mends it. */
const FAULTS: readonly [code: string, severity: Finding['severity'], statements: readonly string[], mends?: false][] = [
  ['replica-rows', 'error', [MADE, "INSERT INTO things VALUES (1, 'x')"]],
  ['replica-column', 'warning', [`CREATE TABLE things (${KEY})`]],
  ['replica-column-type', 'warning', [`CREATE TABLE things (${KEY}, a int)`]],
  ['replica-extra-column', 'error', [`CREATE TABLE things (${KEY}, a longtext, mine text NOT NULL)`]],
  ['replica-key', 'warning', ['CREATE TABLE things (id int NOT NULL, a longtext)']],
  ['replica-engine', 'error', [`CREATE TABLE things (${KEY}, a longtext) ENGINE=MyISAM`]],
  ['replica-kind', 'error', ["CREATE VIEW things AS SELECT 1 AS id, 'x' AS a"], false],
  ['replica-trigger', 'warning', [MADE, 'CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW SET NEW.a = NEW.a']],
  ['replica-foreign-key', 'warning', ['CREATE TABLE others (id int PRIMARY KEY)', `CREATE TABLE things (${KEY}, a longtext, CONSTRAINT f FOREIGN KEY (id) REFERENCES others (id))`]],
];

/** Settings of the server, made for the test and mended by what is printed. */
const SETTINGS: readonly [code: string, severity: Finding['severity'], statement: string, options?: Readonly<Record<string, unknown>>][] = [
  ['replica-local-infile', 'warning', 'SET GLOBAL local_infile = OFF'],
  ['replica-local-infile', 'error', 'SET GLOBAL local_infile = OFF', { load: 'load-data' }],
  ['replica-flush', 'warning', 'SET GLOBAL innodb_flush_log_at_trx_commit = 2'],
  ['replica-max-packet', 'warning', 'SET GLOBAL max_allowed_packet = 1048576'],
  ['replica-binlog-format', 'error', 'SET GLOBAL binlog_format = STATEMENT'],
  ['replica-require-key', 'warning', 'SET GLOBAL sql_require_primary_key = ON'],
  ['replica-read-only', 'error', 'SET GLOBAL read_only = ON'],
];

const UNKNOWN_TO_MARIADB: ReadonlySet<string> = new Set(['replica-require-key']);

describe.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('check of a replica on %s', (version) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version, settings: { innodb_flush_log_at_trx_commit: 1 } });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test('a server that the user may fill has no fault, and is as it was', async () => {
    await using at = await placeWith(server);
    expect(await at.check()).toEqual([expect.objectContaining({ severity: 'ok', code: 'replica' })]);
    const [made] = await at.place.reader.query(`SELECT COUNT(*) AS n FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '${at.place.ownDatabase}'`);
    expect(made?.['n'], 'nothing is made').toBe('0');
  });

  test.each(FAULTS)('%s (%s): %s', async (code, severity, statements, mends) => {
    await using at = await placeWith(server, statements);
    const found = (await at.check()).find((finding) => finding.code === code);
    expect(found).toMatchObject({ severity, table: 'kit.things' });
    if (mends === false) return;
    await at.place.reader.query(statementOf(found));
    expect((await at.check()).map((finding) => finding.code)).not.toContain(code);
  });

  test.each(SETTINGS.filter(([code]) => !(version.startsWith('mariadb') && UNKNOWN_TO_MARIADB.has(code))))('%s (%s): %s', async (code, severity, statement, options) => {
    await using at = await placeWith(server);
    const name = /GLOBAL (\w+)/.exec(statement)?.[1] ?? '';
    const [before] = await at.place.reader.query(`SELECT @@GLOBAL.${name} AS value`);
    await at.place.reader.query(statement);
    try {
      const found = (await at.check([THINGS], options)).find((finding) => finding.code === code);
      expect(found?.severity).toBe(severity);
      await at.place.reader.query(statementOf(found));
      expect((await at.check([THINGS], options)).map((finding) => finding.code)).not.toContain(code);
    } finally {
      const value = before?.['value'] ?? '';
      await at.place.reader.query(`SET GLOBAL ${name} = ${/^\d+$/.test(value) ? value : `'${value}'`}`);
    }
  });

  test.each(['shop', 'own', 'shadow'])('rights that are missing on the database %s', async (missing) => {
    await using at = await placeWith(server, [], ['shop', 'own', 'shadow'].filter((one) => one !== missing));
    const found = await at.check();
    expect(found.filter(({ severity }) => severity !== 'ok')).toEqual([expect.objectContaining({ severity: 'warning', code: 'replica-rights' })]);
    await at.place.reader.query(statementOf(found.find(({ code }) => code === 'replica-rights')));
    expect(await at.check()).toEqual([expect.objectContaining({ severity: 'ok' })]);
  });

  test('two tables that would be written to one, a table of another sink, a key that the collation makes one, a server that is not there', async () => {
    await using at = await placeWith(server);
    await using same = new MysqlSink(sinkConfig(server.url(), { optionsOf: () => ({ as: `${at.place.database}.same` }), options: { own_database: at.place.ownDatabase } }), createTestRuntime());
    expect(await same.check([THINGS, { ...THINGS, tableId: 99, name: 'others' }], signal)).toContainEqual(expect.objectContaining({ code: 'replica-name', severity: 'error' }));

    const model = new SinkModel();
    const kept = model.createTable('kit', 'things', THINGS.columns, ['id']).schema;
    await using owner = at.place.sink({ name: 'owner' });
    await owner.open(model.start(), signal);
    await owner.apply(model.batch(), signal).durable;
    expect(await at.check([kept])).toContainEqual(expect.objectContaining({ code: 'replica-taken', severity: 'error' }));

    const named = new SinkModel().createTable('kit', 'named', [{ name: 'id', type: { kind: 'text', length: 40, fixed: false }, nativeType: 'varchar(40)', nullable: false }], ['id']).schema;
    await at.place.reader.query(`CREATE TABLE ${at.place.database}.named (id varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY)`);
    expect(await at.check([named])).toContainEqual(expect.objectContaining({ code: 'replica-shape', severity: 'error', remedy: expect.stringContaining('utf8mb4') as string }));

    await using lost = new MysqlSink(sinkConfig('mysql://nobody@127.0.0.1:1/'), createTestRuntime());
    expect(await lost.check([], signal)).toEqual([expect.objectContaining({ code: 'replica-reach', severity: 'error' })]);
  });

  test('a user with just the rights that are asked for fills, verifies and rebuilds', async () => {
    await using at = await placeWith(server);
    const model = new SinkModel();
    const table = model.createTable('kit', 'things', THINGS.columns, ['id']);
    for (let id = 0; id < 30; id++) model.insert(table, [String(id), `row ${id}`]);
    const user = `mirror_${users}`;
    const sink = () => new MysqlSink(sinkConfig(server.url('', user), { options: { own_database: at.place.ownDatabase, schemas: { kit: at.place.database } } }), createTestRuntime({ seed: users }));
    const batch = model.batch();
    await using served = sink();
    for (const one of [served, served.shadow.open(() => true)]) {
      await using open = one;
      await open.open(model.start(), signal);
      await open.apply(batch, signal).durable;
    }
    const { logId, epoch } = model;
    const to = { logId, epoch, offset: batch.to, position: batch.position, cursor: null, fence: 1 };
    await served.shadow.swap({ from: to, to, tables: [table.schema], whole: true }, signal);
    await using snapshot = await served.snapshot(model.start(), signal);
    let rows = 0;
    for await (const { count } of snapshot.rows(table.schema, signal)) rows += count;
    expect(rows).toBe(30);
  });
});

describe('check of a replica whose server keeps names without their case', () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version: 'mysql-9', initialSettings: { lower_case_table_names: 1 } });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test('names two tables that would be one there', async () => {
    await using at = await placeWith(server);
    expect(await at.check([THINGS, { ...THINGS, tableId: 99, name: 'Things' }])).toContainEqual(
      expect.objectContaining({ code: 'replica-name', severity: 'error', what: expect.stringContaining('kit.things and kit.Things would both be written to') as string }),
    );
  });
});

/** What is printed besides a statement stands behind it. */
function statementOf(found: Finding | undefined): string {
  return (found?.remedy ?? '').replace(/, (unless|or) .*$/, '');
}

test('of several hosts the first that takes writes is the replica; the others are looked at', async () => {
  await using standby = await startMysql({ version: 'mariadb-11.8' });
  await using server = await startMysql({ version: 'mariadb-11.8', settings: { innodb_flush_log_at_trx_commit: 1, local_infile: true } });
  await using third = await startMysql({ version: 'mariadb-11.8', settings: { innodb_flush_log_at_trx_commit: 1, local_infile: false } });
  for (const one of [standby, server, third]) await one.query(`CREATE USER writer; GRANT ${RIGHTS} ON *.* TO writer`);
  await standby.query('SET GLOBAL read_only = ON');
  await using place = await replicaPlace(server);
  const away = await freePort();
  const hosts = [away, standby.port, server.port, third.port].map((port) => `127.0.0.1:${port}`);
  const config = (names: readonly string[]) => sinkConfig(`mysql://writer@${names.join()}/`, { options: { own_database: place.ownDatabase, schemas: { kit: place.database } } });
  await using sink = new MysqlSink(config(hosts), createTestRuntime());
  const model = new SinkModel();
  await sink.open(model.start(), signal);
  const table = model.createTable('kit', 'things', [{ name: 'id', type: { kind: 'int32' }, nativeType: 'int', nullable: false }], ['id']);
  model.insert(table, ['1']);
  await sink.apply(model.batch(), signal).durable;
  expect(await place.rows(table.schema)).toEqual([['1']]);
  const found = (await sink.check([table.schema], signal)).filter(({ severity }) => severity !== 'ok');
  expect(found.map(({ severity, code, what }) => `${severity} ${code} ${what.split(',')[0] ?? ''}`).filter((line) => !line.includes('replica-flush'))).toEqual([
    `warning replica-host ${hosts[0] ?? ''}`, `warning replica-local-infile ${hosts[3] ?? ''}`,
  ]);
  // Where none takes writes, the first that answers says so.
  await using alone = new MysqlSink(config(hosts.slice(0, 2)), createTestRuntime());
  expect((await alone.check([table.schema], signal)).map(({ code }) => code)).toContain('replica-read-only');
});
