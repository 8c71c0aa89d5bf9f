import { expect, test } from 'vitest';
import { startMysql, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { startTcpProxy } from '../../../fixtures/tcp-proxy.ts';
import { serverRows, StreamRig } from './stream-rig.ts';

const CASES: readonly (readonly [MysqlVersion, boolean])[] = [['mysql-9', true], ['mysql-8.0', false], ['mariadb-11.8', false]];

/** Prime numbers of bytes, so that packets, events and rows are cut at every place. */
const STEPS = [97, 1_009, 10_007, 30_011, 70_001, 150_001] as const;

test.each(CASES)('%s, compressed %s: cut again and again, and restarted, each change once', async (version, compresses) => {
  await using server = await startMysql({ version, databases: ['shop'], settings: compresses ? { binlog_transaction_compression: true } : {} });
  await server.query('CREATE TABLE t (id int PRIMARY KEY, v longtext); CREATE TABLE u (id int PRIMARY KEY, v text)', 'shop');
  await using proxy = await startTcpProxy(server.port);
  await using rig = new StreamRig(`mysql://root@127.0.0.1:${proxy.port}/?ssl-mode=disabled&get-server-public-key=true`);
  rig.run();
  await rig.until(() => rig.position !== null, 'the first position');
  let id = 0;
  for (const [round, step] of STEPS.entries()) {
    for (let transaction = 0; transaction < 5; transaction++) {
      const rows = Array.from({ length: 1 + round }, () => `(${++id}, REPEAT('${String(id % 10)}x', ${step}))`);
      await server.query(`BEGIN; INSERT INTO t VALUES ${rows.join(', ')}; INSERT INTO u VALUES (${id}, 'u'); UPDATE t SET v = 'short' WHERE id = ${id} AND id % 2 = 0; COMMIT`, 'shop');
    }
    // A login takes some thousands of bytes: less would never let it pass.
    proxy.cutAfter(6_000 + step);
    await rig.until(() => proxy.connections === 0 || rig.rows('t').size === id, 'a cut');
    proxy.resume();
    if (round === 3) await server.restart('kill');
    await rig.caughtUp(server);
  }
  for (const table of ['t', 'u']) expect(rig.rows(table)).toEqual(await serverRows(server, table));
  expect(rig.records('u')).toHaveLength(STEPS.length * 5);
  expect(rig.failures.length).toBeGreaterThan(0);
  expect(rig.failures.filter(({ retry }) => retry !== 'auto')).toEqual([]);
});
