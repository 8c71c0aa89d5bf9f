import { describe, expect, it } from 'vitest';
import { MysqlSnapshot } from '../../../../connectors/mysql/snapshot/mysql-snapshot.ts';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { never } from '../mysql-source.ts';
import { benchOf, copyAll, rowsOf } from './copying.ts';

/** What managed services give. */
async function plainUser(server: MysqlServer): Promise<void> {
  const client = server.flavor === 'mysql' ? 'REPLICATION CLIENT' : 'BINLOG MONITOR';
  await server.query(`CREATE USER plain; GRANT SELECT ON shop.* TO plain; GRANT REPLICATION SLAVE, ${client} ON *.* TO plain`);
  await server.query(`CREATE TABLE keyed (id int PRIMARY KEY, v int); CREATE TABLE bag (v int); CREATE TABLE old (id int PRIMARY KEY, v int) ENGINE=MyISAM; CREATE TABLE old_bag (v int) ENGINE=MyISAM;
    INSERT INTO keyed VALUES (1, 1), (2, 2); INSERT INTO bag VALUES (1), (1); INSERT INTO old VALUES (1, 1), (2, 2)`, 'shop');
}

describe.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('a user with the rights of a replica at %s', (version) => {
  it('copies and verifies', async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await plainUser(server);
    await using bench = await benchOf(server, {}, 'plain');
    const { copier, deps } = bench;
    for (const name of ['keyed', 'bag', 'old']) {
      const schema = await bench.follow(name);
      const { rows } = await copyAll(copier, await copier.plan(schema, null, never), never);
      expect(rows.length, name).toBe(2);
      await using snapshot = await MysqlSnapshot.open(deps, never);
      let count = 0;
      for await (const batch of snapshot.rows(schema, never)) count += batch.count;
      expect(count, name).toBe(2);
    }
    const schema = await bench.follow('old_bag');
    const plan = await copier.plan(schema, null, never);
    await expect(copier.chunk(plan, 'whole', never)).rejects.toMatchObject({ code: 'MYSQL_COPY_UNVERSIONED' });
  });
});

describe('without GTIDs', () => {
  it('a lock for a moment is needed, and the refusal says so', async () => {
    await using server = await startMysql({ version: 'mysql-9', databases: ['shop'], settings: { gtid_mode: 'OFF', enforce_gtid_consistency: 'OFF' } });
    await plainUser(server);
    await using bench = await benchOf(server, {}, 'plain');
    const { copier, deps } = bench;
    const schema = await bench.follow('keyed');
    const plan = await copier.plan(schema, null, never);
    await expect(copier.chunk(plan, plan.ranges[0] ?? '', never)).rejects.toMatchObject({ code: 'MYSQL_COPY_PRIVILEGE', retry: 'operator' });
    // Verifying locks nothing, and says that it is not exact.
    await using snapshot = await MysqlSnapshot.open(deps, never);
    expect(snapshot.isExact).toBe(false);
    await server.query('GRANT LOCK TABLES ON shop.* TO plain');
    await using writer = await server.connect('shop');
    await writer.query('BEGIN; UPDATE keyed SET v = 5 WHERE id = 1');
    await expect(copier.chunk(plan, plan.ranges[0] ?? '', never)).rejects.toMatchObject({ code: 'MYSQL_COPY_LOCKED', retry: 'auto' });
    await writer.query('COMMIT');
    await using chunk = await copier.chunk(plan, plan.ranges[0] ?? '', never);
    expect((await rowsOf(chunk)).map(({ cells }) => cells)).toEqual([['1', '5'], ['2', '2']]);
    // The lock is given back at once.
    await writer.query('SET lock_wait_timeout = 1; UPDATE keyed SET v = 6');
  });
});

describe('prepared XA transactions', () => {
  it.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('are waited for by a plan, which names them: %s', async (version) => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await plainUser(server);
    await using bench = await benchOf(server);
    const { copier, session } = bench;
    const schema = await bench.follow('keyed');
    await session.query(`XA START 'held'; UPDATE keyed SET v = 9; XA END 'held'; XA PREPARE 'held'`);
    let isPlanned = false;
    const planned = copier.plan(schema, null, never).finally(() => (isPlanned = true));
    while (!copier.waitingFor.includes("XA transaction 'held'")) await bench.deps.clock.sleep(5);
    expect(isPlanned).toBe(false);
    await session.query(`XA COMMIT 'held'`);
    const { rows } = await copyAll(copier, await planned, never);
    expect(rows.map(({ cells }) => cells[1])).toEqual(['9', '9']);
  });
});
