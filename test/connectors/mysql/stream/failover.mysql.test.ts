import { expect, test } from 'vitest';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { replicaOf } from '../../../fixtures/mysql-replica.ts';
import { serverRows, StreamRig } from './stream-rig.ts';

const VERSIONS: readonly MysqlVersion[] = ['mysql-9', 'mariadb-11.8'];

const SETTINGS = { innodb_lock_wait_timeout: 3, transaction_isolation: 'READ-COMMITTED' } as const;

function bothOf(primary: MysqlServer, replica: MysqlServer): string {
  return `mysql://root@127.0.0.1:${primary.port},127.0.0.1:${replica.port}/`;
}

test.each(VERSIONS)('%s: goes on at a replica by GTIDs, with what is prepared there', async (version) => {
  await using primary = await startMysql({ version, databases: ['shop'], settings: SETTINGS });
  await primary.query('CREATE TABLE t (id int PRIMARY KEY, v text)', 'shop');
  await using replica = await replicaOf(primary, { settings: SETTINGS });
  await replica.caughtUp();
  await using rig = new StreamRig(bothOf(primary, replica.server));
  rig.run();
  await rig.until(() => rig.position !== null, 'the first position');
  await primary.query(`INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'b')`, 'shop');
  await primary.query(`XA START 'x'; INSERT INTO t VALUES (3, 'c'); XA END 'x'; XA PREPARE 'x'`, 'shop');
  await primary.query(`INSERT INTO t VALUES (4, 'd')`, 'shop');
  await rig.caughtUp(primary);
  // The replica has more files, and is further than the log.
  await replica.server.query('FLUSH BINARY LOGS');
  await rig.stop();
  await primary.query(`INSERT INTO t VALUES (5, 'e')`, 'shop');
  await replica.caughtUp();
  await primary.stop('kill');
  await replica.promote();
  await replica.server.query('SET GLOBAL read_only = OFF');
  await replica.server.query(`UPDATE t SET v = 'at the replica' WHERE id = 1`, 'shop');
  rig.run();
  await rig.caughtUp(replica.server);
  expect(rig.rows('t')).toEqual(await serverRows(replica.server, 't'));
  expect([...rig.rows('t').keys()]).toEqual(['1', '2', '4', '5']);
  await replica.server.query(`XA COMMIT 'x'; INSERT INTO t VALUES (6, 'f')`, 'shop');
  await rig.caughtUp(replica.server);
  expect(rig.rows('t')).toEqual(await serverRows(replica.server, 't'));
  expect(rig.records('t')).toHaveLength(7);
  expect(rig.place?.server).toBe(version.startsWith('mysql') ? (await replica.server.query('SELECT @@server_uuid AS id'))[0]?.['id'] : String(replica.server.serverId));
  expect(rig.failures.filter(({ retry }) => retry !== 'auto')).toEqual([]);
});

test('a replica that was behind when it took over, one without GTIDs, a binlog that was reset: refused, with what to do', async () => {
  await using primary = await startMysql({ version: 'mysql-9', databases: ['shop'] });
  await primary.query('CREATE TABLE t (id int PRIMARY KEY, v text)', 'shop');
  await using replica = await replicaOf(primary);
  await replica.caughtUp();
  await using rig = new StreamRig(primary.url());
  rig.run();
  await rig.until(() => rig.position !== null, 'the first position');
  await replica.promote();
  await primary.query(`INSERT INTO t VALUES (1, 'a')`, 'shop');
  await rig.caughtUp(primary);
  await rig.stop();
  rig.url = replica.server.url();
  rig.run();
  expect(await rig.failure()).toMatchObject({ code: 'MYSQL_DIVERGED', retry: 'operator' });
  await rig.stop();
  await primary.query('RESET BINARY LOGS AND GTIDS');
  rig.url = primary.url();
  rig.run();
  expect(await rig.failure()).toMatchObject({ code: 'MYSQL_DIVERGED', retry: 'operator' });
  await rig.stop();
  const other = await startMysql({ version: 'mysql-9', databases: ['shop'], settings: { gtid_mode: 'OFF', enforce_gtid_consistency: 'OFF' } });
  await using _other = other;
  rig.url = other.url();
  rig.run();
  expect(await rig.failure()).toMatchObject({ code: 'MYSQL_SERVER_CHANGED', retry: 'operator' });
});

/** Whether a native replica carries out what it gets from its primary. */
async function setApplying(replica: MysqlServer, isApplying: boolean): Promise<void> {
  const word = replica.flavor === 'mysql' ? 'REPLICA' : 'SLAVE';
  await replica.query(`${isApplying ? 'START' : 'STOP'} ${word} SQL_THREAD`);
}

test.each(VERSIONS)('%s: a replica that is behind is passed over, and is no reason to stop while its primary is away', async (version) => {
  await using primary = await startMysql({ version, databases: ['shop'] });
  await primary.query('CREATE TABLE t (id int PRIMARY KEY, v text)', 'shop');
  await using replica = await replicaOf(primary);
  await replica.caughtUp();
  await using rig = new StreamRig(bothOf(primary, replica.server));
  rig.run();
  await rig.until(() => rig.position !== null, 'the first position');
  await setApplying(replica.server, false);
  await primary.query(`INSERT INTO t VALUES (1, 'not at the replica')`, 'shop');
  await rig.caughtUp(primary);
  // The replica comes first, and the primary has what it lacks.
  await rig.stop();
  rig.url = bothOf(replica.server, primary);
  rig.run();
  await primary.query(`INSERT INTO t VALUES (2, 'b')`, 'shop');
  await rig.caughtUp(primary);
  expect(rig.failures).toEqual([]);
  await primary.stop('kill');
  await rig.until(() => rig.failures.some(({ code }) => code === 'MYSQL_DIVERGED'), 'only the replica to answer');
  const behind = rig.failures.find(({ code }) => code === 'MYSQL_DIVERGED');
  expect(behind?.retry).toBe('auto');
  expect(behind?.message).toContain(`127.0.0.1:${primary.port}`);
  await primary.start();
  await primary.query(`INSERT INTO t VALUES (3, 'c')`, 'shop');
  await rig.caughtUp(primary);
  // With both there, and the replica no longer behind, the replica does.
  await setApplying(replica.server, true);
  await replica.caughtUp();
  await primary.stop('kill');
  await replica.promote();
  await replica.server.query(`SET GLOBAL read_only = OFF; INSERT INTO t VALUES (4, 'd')`, 'shop');
  await rig.caughtUp(replica.server);
  expect(rig.rows('t')).toEqual(await serverRows(replica.server, 't'));
  expect([...rig.rows('t').keys()]).toEqual(['1', '2', '3', '4']);
  expect(rig.records('t')).toHaveLength(4);
});

/** Names of what a server that waits for semi-synchronous replicas says of itself. */
const SEMI_SYNC = {
  mysql: { install: "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so';", name: 'rpl_semi_sync_source' },
  mariadb: { install: '', name: 'rpl_semi_sync_master' },
} as const;

test.each(VERSIONS)('%s: the stream is no semi-synchronous replica: nobody waits for it', async (version) => {
  await using server = await startMysql({ version, databases: ['shop'] });
  const { install, name } = SEMI_SYNC[server.flavor];
  await server.query(`${install} SET GLOBAL ${name}_timeout = 100, GLOBAL ${name}_enabled = ON; CREATE TABLE shop.t (id int PRIMARY KEY, v text)`);
  await using rig = new StreamRig(server.url());
  rig.run();
  await rig.until(() => rig.position !== null, 'the first position');
  await server.query(`INSERT INTO t VALUES (1, 'a')`, 'shop');
  await rig.caughtUp(server);
  expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
  const status = await server.query(`SHOW GLOBAL STATUS LIKE '${name}_clients'`);
  expect(status.map((row) => row['Value'])).toEqual(['0']);
});
