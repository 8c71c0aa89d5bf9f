import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { serverRows, StreamRig } from './stream-rig.ts';

const VERSIONS: readonly MysqlVersion[] = ['mysql-8.0', 'mysql-9', 'mariadb-11.8'];

describe.each(VERSIONS)('%s', (version) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version, databases: ['shop', 'other'] });
    await server.query('CREATE TABLE t (id int PRIMARY KEY, v longtext); CREATE TABLE m (id int PRIMARY KEY, v text) ENGINE=MyISAM; CREATE TABLE other.o (id int PRIMARY KEY)', 'shop');
  });
  afterAll(() => server[Symbol.asyncDispose]());

  async function begun(): Promise<StreamRig> {
    await server.query('DELETE FROM t; DELETE FROM m', 'shop');
    const rig = new StreamRig(server.url());
    rig.run();
    await rig.until(() => rig.position !== null, 'the first position');
    return rig;
  }

  test('whole transactions in their order, with the position of each', async () => {
    await using rig = await begun();
    for (let id = 1; id <= 10; id++) await server.query(`BEGIN; INSERT INTO t VALUES (${id}, 'v'), (${id + 100}, 'w'); UPDATE t SET v = 'x' WHERE id = ${id}; COMMIT`, 'shop');
    await rig.caughtUp(server);
    expect(rig.transactionSizes()).toEqual(Array.from({ length: 10 }, () => 3));
    expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
    expect(rig.log.transactions.every(({ origin }) => origin === '')).toBe(true);
  });

  test('what a savepoint or the end of a transaction rolls back is not in the log', async () => {
    await using rig = await begun();
    await server.query(`BEGIN; INSERT INTO t VALUES (1, 'a'); SAVEPOINT s; INSERT INTO t VALUES (2, 'b'); ROLLBACK TO s; INSERT INTO t VALUES (3, 'c'); COMMIT`, 'shop');
    await server.query(`BEGIN; CREATE TEMPORARY TABLE x (i int); SAVEPOINT s; INSERT INTO t VALUES (4, 'a'); ROLLBACK TO s; INSERT INTO t VALUES (5, 'c'); COMMIT`, 'shop');
    await server.query(`BEGIN; INSERT INTO t VALUES (6, 'a'); CREATE TEMPORARY TABLE y (i int); DROP TEMPORARY TABLE y; ROLLBACK`, 'shop');
    await rig.caughtUp(server);
    expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
    expect([...rig.rows('t').keys()]).toEqual(['1', '3', '5']);
    expect(rig.records('t')).toHaveLength(3);
  });

  test('XA: prepared and committed later, rolled back, in one phase', async () => {
    await using rig = await begun();
    await server.query(`XA START 'a','b',7; INSERT INTO t VALUES (1, 'a'); UPDATE t SET v = 'b' WHERE id = 1; XA END 'a','b',7; XA PREPARE 'a','b',7`, 'shop');
    await server.query(`XA START 'c'; INSERT INTO t VALUES (2, 'a'); XA END 'c'; XA PREPARE 'c'`, 'shop');
    await server.query(`XA START 'd'; INSERT INTO t VALUES (3, 'a'); XA END 'd'; XA COMMIT 'd' ONE PHASE`, 'shop');
    await rig.caughtUp(server);
    expect([...rig.rows('t').keys()]).toEqual(['3']);
    expect(rig.place?.prepared).toHaveLength(2);
    await server.query(`XA COMMIT 'a','b',7; XA ROLLBACK 'c'`, 'shop');
    await rig.caughtUp(server);
    expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
    expect(rig.rows('t').get('1')).toBe('b');
    expect(rig.place?.prepared ?? []).toEqual([]);
    expect(rig.transactionSizes()).toEqual([1, 2]);
  });

  test('more than a batch that is rolled back within the binlog is read again without it', async () => {
    await using rig = await begun();
    const large = (first: number): string => Array.from({ length: 5 }, (_, at) => `INSERT INTO t VALUES (${first + at}, REPEAT('x', 600000))`).join('; ');
    await server.query(`BEGIN; CREATE TEMPORARY TABLE p (i int); ${large(10)}; SAVEPOINT s; ${large(20)}; ROLLBACK TO s; INSERT INTO t VALUES (30, 'a'); COMMIT`, 'shop');
    await server.query(`BEGIN; ${large(40)}; CREATE TEMPORARY TABLE q (i int); DROP TEMPORARY TABLE q; ROLLBACK`, 'shop');
    await server.query(`INSERT INTO t VALUES (50, 'b')`, 'shop');
    await rig.caughtUp(server);
    expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
    expect([...rig.rows('t').keys()]).toEqual(['10', '11', '12', '13', '14', '30', '50']);
    expect(rig.records('t')).toHaveLength(7);
    // MySQL leaves out what is rolled back before it writes; MariaDB writes all of it, and the rollback.
    const again = server.flavor === 'mysql' ? [] : ['MYSQL_ROLLED_BACK', 'MYSQL_ROLLED_BACK'];
    expect(rig.failures.map(({ code }) => code)).toEqual(again);
  });

  test('a transaction larger than memory may hold is handed on in parts, while nobody asks for more', async () => {
    await using rig = await begun();
    await server.query(`BEGIN; ${Array.from({ length: 60 }, (_, id) => `INSERT INTO t VALUES (${id}, REPEAT('y', 200000))`).join('; ')}; COMMIT`, 'shop');
    await rig.caughtUp(server);
    expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
    expect(rig.transactionSizes()).toEqual([60]);
    expect(rig.batches.filter(({ endsOpen }) => endsOpen).length).toBeGreaterThan(5);
  });
});
