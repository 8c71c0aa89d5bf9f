import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startMysql, type MysqlServer, type MysqlSettings, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { serverRows, StreamRig } from './stream-rig.ts';

const CASES: readonly (readonly [string, MysqlVersion, MysqlSettings])[] = [
  ['MySQL 8.0 by GTID', 'mysql-8.0', {}],
  ['MySQL 9 by file, compressed', 'mysql-9', { gtid_mode: 'OFF', enforce_gtid_consistency: 'OFF', binlog_transaction_compression: true }],
  ['MariaDB 11.8', 'mariadb-11.8', {}],
];

describe.each(CASES)('%s', (_name, version, settings) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version, databases: ['shop', 'other'], settings: { innodb_lock_wait_timeout: 3, transaction_isolation: 'READ-COMMITTED', ...settings } });
    await server.query('CREATE TABLE t (id int PRIMARY KEY, v longtext); CREATE TABLE u (id int PRIMARY KEY, v text)', 'shop');
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const prepare = (xid: string, sql: string): Promise<unknown> => server.query(`XA START '${xid}'; ${sql}; XA END '${xid}'; XA PREPARE '${xid}'`, 'shop');

  async function begun(): Promise<StreamRig> {
    await server.query('DELETE FROM t; DELETE FROM u', 'shop');
    const rig = new StreamRig(server.url());
    rig.run();
    await rig.until(() => rig.position !== null, 'the first position');
    return rig;
  }

  test('a stream that begins anew, and a server that does, still has the rows of what was prepared', async () => {
    await using rig = await begun();
    await prepare('one', `INSERT INTO t VALUES (1, 'a')`);
    await prepare('two', `INSERT INTO t VALUES (2, 'a'); SAVEPOINT s; INSERT INTO t VALUES (20, 'a'); ROLLBACK TO s; INSERT INTO u VALUES (2, 'b')`);
    await server.query(`INSERT INTO t VALUES (3, 'plain')`, 'shop');
    await prepare('three', `INSERT INTO t VALUES (4, 'a')`);
    await rig.caughtUp(server);
    await rig.stop();
    await server.restart();
    await server.query('FLUSH BINARY LOGS');
    rig.run();
    await server.query(`INSERT INTO t VALUES (5, 'plain')`, 'shop');
    await rig.caughtUp(server);
    expect([...rig.rows('t').keys()]).toEqual(['3', '5']);
    await server.query(`XA COMMIT 'two'`);
    await rig.caughtUp(server);
    await rig.stop();
    rig.run();
    await server.query(`XA COMMIT 'three'; XA COMMIT 'one'`);
    await rig.caughtUp(server);
    for (const table of ['t', 'u']) expect(rig.rows(table)).toEqual(await serverRows(server, table));
    expect(rig.transactionSizes()).toEqual([1, 1, 2, 1, 1]);
    expect(rig.place?.prepared ?? []).toEqual([]);
    expect(rig.failures).toEqual([]);
  });

  test('rows that are too many to be kept are read again at the commit', async () => {
    await using rig = await begun();
    await prepare('large', Array.from({ length: 40 }, (_, id) => `INSERT INTO t VALUES (${id}, REPEAT('${id % 10}', 300000))`).join(';'));
    await server.query(`INSERT INTO u VALUES (1, 'x')`, 'shop');
    await rig.caughtUp(server);
    expect(rig.rows('t').size).toBe(0);
    await server.query(`XA COMMIT 'large'; INSERT INTO u VALUES (2, 'y')`, 'shop');
    await rig.caughtUp(server);
    for (const table of ['t', 'u']) expect(rig.rows(table)).toEqual(await serverRows(server, table));
    expect(rig.transactionSizes()).toEqual([1, 40, 1]);
    await server.query(`XA START 'whole'; UPDATE t SET v = CONCAT(v, '!'); XA END 'whole'; XA COMMIT 'whole' ONE PHASE`, 'shop');
    await rig.caughtUp(server);
    expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
    expect(rig.failures).toEqual([]);
  });

  test('a commit of what nobody has the rows of stops the tables, to be copied again; its rollback does not', async () => {
    await server.query('DELETE FROM t; DELETE FROM u', 'shop');
    await prepare('before', `INSERT INTO t VALUES (1, 'a')`);
    await prepare('never', `INSERT INTO t VALUES (2, 'a')`);
    await using rig = new StreamRig(server.url());
    rig.run();
    await rig.until(() => rig.position !== null, 'the first position');
    await server.query(`INSERT INTO u VALUES (1, 'x'); XA ROLLBACK 'never'`, 'shop');
    await rig.caughtUp(server);
    expect(rig.tracking?.stopped.size).toBe(0);
    await server.query(`XA COMMIT 'before'`);
    await rig.caughtUp(server);
    expect([...(rig.tracking?.stopped ?? [])]).toEqual([['u', 'MYSQL_XA_UNKNOWN']]);
  });

  test('rows whose binlog is purged are lost: known from the next stream on', async () => {
    await using rig = await begun();
    await prepare('lost', `INSERT INTO t VALUES (1, 'a')`);
    await server.query(`FLUSH BINARY LOGS; INSERT INTO u VALUES (1, 'x')`, 'shop');
    await rig.caughtUp(server);
    await rig.stop();
    const file = (await server.query('SHOW BINARY LOGS')).at(-1)?.['Log_name'] ?? '';
    // A file that the stream which has ended still holds is left where it is.
    await expect.poll(async () => {
      await server.query(`PURGE BINARY LOGS TO '${file}'`);
      return (await server.query('SHOW BINARY LOGS')).at(0)?.['Log_name'];
    }, { timeout: 10_000 }).toBe(file);
    rig.run();
    await server.query(`INSERT INTO u VALUES (2, 'x')`, 'shop');
    await rig.caughtUp(server);
    expect(rig.place?.prepared ?? []).toEqual([]);
    await server.query(`XA COMMIT 'lost'`);
    await rig.caughtUp(server);
    expect(rig.tracking?.stopped.get('u')).toBe('MYSQL_XA_UNKNOWN');
  });
});
