import { describe, expect, test } from 'vitest';
import { bytesBehind, checkPlace, readBinlogEnd, readBinlogFiles, readIdentity } from '../../../connectors/mysql/identity.ts';
import { decodePlace, encodePlace, mysqlPositions, type BinlogPlace } from '../../../connectors/mysql/position.ts';
import { pickServerId, replicaIds } from '../../../connectors/mysql/server-id.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { TESTED_VERSIONS, startMysql, type MysqlServer } from '../../fixtures/mysql.ts';
import { replicaOf } from '../../fixtures/mysql-replica.ts';
import { endpointOf, never } from './mysql-source.ts';

async function endOf(server: MysqlServer): Promise<BinlogPlace> {
  await using session = await endpointOf(server.url()).open(never);
  return (await readBinlogEnd(session, await readIdentity(session))).place;
}

async function checkOn(server: MysqlServer, place: BinlogPlace): Promise<string> {
  await using session = await endpointOf(server.url()).open(never);
  try {
    await checkPlace(session, await readIdentity(session), place);
    return 'good';
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
}

/** MariaDB keeps a file until the engine has flushed what is in it. */
async function purgeTo(server: MysqlServer, file: string): Promise<void> {
  await using session = await endpointOf(server.url()).open(never);
  do await session.query(`PURGE BINARY LOGS TO '${file}'`);
  while ((await readBinlogFiles(session))[0]?.file !== file);
}

const compare = (a: BinlogPlace, b: BinlogPlace): number => Math.sign(mysqlPositions.compare(encodePlace(a), encodePlace(b)));

describe.each(TESTED_VERSIONS)('%s', (version) => {
  test('the end of the binlog moves on; what is purged or reset is found', async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await server.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
    const first = await endOf(server);
    expect(decodePlace(encodePlace(first))).toEqual(first);
    expect(first).toMatchObject({ flavor: server.flavor, isByGtid: true, file: expect.stringMatching(/^binlog\.00000[0-9]$/) as unknown });
    await server.query('INSERT INTO t VALUES (1)', 'shop');
    const second = await endOf(server);
    expect(compare(first, second)).toBe(-1);
    expect(await checkOn(server, first)).toBe('good');
    expect(await checkOn(server, second)).toBe('good');

    await server.query('FLUSH BINARY LOGS; INSERT INTO t VALUES (2)', 'shop');
    const third = await endOf(server);
    await using session = await endpointOf(server.url()).open(never);
    const files = await readBinlogFiles(session);
    expect(bytesBehind(files, third)).toBe(0);
    expect(bytesBehind(files, first)).toBe(files.filter(({ file }) => file >= first.file).reduce((sum, { bytes }) => sum + bytes, 0) - first.offset);
    expect(bytesBehind(files, { file: 'binlog.000099', offset: 4 })).toBeNull();

    await purgeTo(server, third.file);
    expect(await checkOn(server, third)).toBe('good');
    expect(await checkOn(server, second)).toBe('good');
    expect(await checkOn(server, first)).toBe('MYSQL_BINLOG_PURGED');

    const isNew = session.version.flavor === 'mysql' && session.version.major >= 9;
    await server.query(`${isNew ? 'RESET BINARY LOGS AND GTIDS' : 'RESET MASTER'}; INSERT INTO t VALUES (3)`, 'shop');
    expect(await checkOn(server, third)).toBe('MYSQL_DIVERGED');
    expect(await checkOn(server, await endOf(server))).toBe('good');
  });

  test('after a failover the replica has the place, unless it was behind', async () => {
    await using primary = await startMysql({ version, databases: ['shop'] });
    await primary.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
    await using replica = await replicaOf(primary);
    await replica.caughtUp();
    const place = await endOf(primary);
    expect(await checkOn(replica.server, place)).toBe('good');
    await replica.promote();
    await replica.server.query('INSERT INTO t VALUES (1)', 'shop');
    const after = await endOf(replica.server);
    expect(compare(place, after)).toBe(-1);
    expect(after.server).not.toBe(place.server);
    await primary.query('INSERT INTO t VALUES (2)', 'shop');
    const lost = await endOf(primary);
    expect(await checkOn(replica.server, lost)).toBe('MYSQL_DIVERGED');
    // MariaDB goes on with its primary's numbers: the two have one number for two transactions.
    expect(() => compare(lost, after)).toThrow(expect.objectContaining({ code: 'POSITION_FOREIGN' }));
  });

  test('the id to read under is another one than the server\'s and its replicas\'', async () => {
    await using primary = await startMysql({ version });
    await using session = await endpointOf(primary.url()).open(never);
    const identity = await readIdentity(session);
    const { random } = createTestRuntime();
    expect(identity.serverId).toBe(primary.serverId);
    expect(await pickServerId(session, identity, 77, random)).toBe(77);
    await expect(pickServerId(session, identity, primary.serverId, random)).rejects.toMatchObject({ code: 'MYSQL_SERVER_ID' });
    const picked = await pickServerId(session, identity, null, random);
    expect(picked).toBeGreaterThan(0);
    expect(picked).toBeLessThan(2 ** 32);
    expect(await replicaIds(session)).toEqual([]);
  });
});

describe.each(['mysql-8.0', 'mysql-9'] as const)('%s without GTIDs', (version) => {
  const settings = { gtid_mode: 'OFF', enforce_gtid_consistency: 'OFF' };

  test('file and offset are the place, of that server alone', async () => {
    await using one = await startMysql({ version, databases: ['shop'], settings });
    const place = await endOf(one);
    expect(place.isByGtid).toBe(false);
    await one.query('CREATE TABLE t (id INT PRIMARY KEY)', 'shop');
    expect(compare(place, await endOf(one))).toBe(-1);
    expect(await checkOn(one, place)).toBe('good');
    await using two = await startMysql({ version, databases: ['shop'], settings });
    expect(await checkOn(two, place)).toBe('MYSQL_SERVER_CHANGED');
    await one.query('FLUSH BINARY LOGS; FLUSH BINARY LOGS');
    expect(await checkOn(one, place)).toBe('good');
    await purgeTo(one, (await endOf(one)).file);
    expect(await checkOn(one, place)).toBe('MYSQL_BINLOG_PURGED');
    const last = await endOf(one);
    await one.query(version === 'mysql-9' ? 'RESET BINARY LOGS AND GTIDS' : 'RESET MASTER');
    expect(await checkOn(one, last)).toBe('MYSQL_DIVERGED');
  });
});

test('a log of the other flavor is of another server', async () => {
  await using mysql = await startMysql({ version: 'mysql-9' });
  await using mariadb = await startMysql({ version: 'mariadb-11.8', databases: ['shop'] });
  expect(await checkOn(mysql, await endOf(mariadb))).toBe('MYSQL_SERVER_CHANGED');
});

test('MariaDB that never rests tells its end all the same', async () => {
  await using server = await startMysql({ version: 'mariadb-11.8', databases: ['shop'] });
  await server.query('CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)', 'shop');
  let isRunning = true;
  const writers = Array.from({ length: 4 }, async () => {
    await using session = await server.connect('shop');
    while (isRunning) await session.query('INSERT INTO t VALUES (NULL)');
  });
  for (let count = 0; count < 20; count++) {
    const place = await endOf(server);
    const [row] = await server.query(`SELECT BINLOG_GTID_POS('${place.file}', ${place.offset}) AS gtids`);
    expect(place.executed.toString()).toBe(row?.['gtids']);
  }
  isRunning = false;
  await Promise.all(writers);
});
