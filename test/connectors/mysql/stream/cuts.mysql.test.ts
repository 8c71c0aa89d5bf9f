import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { startMysql, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { startTcpProxy } from '../../../fixtures/tcp-proxy.ts';
import { serverRows, StreamRig } from './stream-rig.ts';

const CASES: readonly (readonly [MysqlVersion, boolean])[] = [['mysql-9', true], ['mysql-8.0', false], ['mariadb-11.8', false]];

/** Sizes of values, so that packets, events and rows are cut at many places. */
const SIZES = [97, 3_001, 20_011, 60_013] as const;
/** A login takes some thousands of bytes: less would never let it pass. */
const LOGIN_BYTES = 6_000;

test.each(CASES)('%s, compressed %s: cut again and again, and restarted, each change once', { timeout: 180_000 }, async (version, compresses) => {
  await using server = await startMysql({ version, databases: ['shop'], settings: compresses ? { binlog_transaction_compression: true } : {} });
  await server.query('CREATE TABLE t (id int PRIMARY KEY, v longtext); CREATE TABLE u (id int PRIMARY KEY, v text)', 'shop');
  await using proxy = await startTcpProxy(server.port);
  await using rig = new StreamRig(`mysql://root@127.0.0.1:${proxy.port}/?ssl-mode=disabled&get-server-public-key=true`);
  rig.run();
  await rig.until(() => rig.position !== null, 'the first position');
  let id = 0;
  for (const [round, size] of SIZES.entries()) {
    const failures = rig.failures.length;
    proxy.cutAfter(LOGIN_BYTES + size);
    // More than one connection is let have, also where it is compressed by half.
    const rows = Math.ceil((LOGIN_BYTES + size) / size);
    for (let transaction = 0; transaction < 3; transaction++) {
      const values = Array.from({ length: rows }, () => `(${++id}, '${randomBytes(size).toString('hex').slice(0, size)}')`);
      await server.query(`BEGIN; INSERT INTO t VALUES ${values.join(', ')}; INSERT INTO u VALUES (${id}, 'u'); UPDATE t SET v = 'short' WHERE id = ${id}; COMMIT`, 'shop');
    }
    await rig.until(() => rig.failures.length > failures, 'a cut');
    proxy.resume();
    if (round === 2) await server.restart('kill');
    await rig.caughtUp(server);
  }
  for (const table of ['t', 'u']) expect(rig.rows(table)).toEqual(await serverRows(server, table));
  expect(rig.records('u')).toHaveLength(SIZES.length * 3);
  expect(rig.failures.filter(({ retry }) => retry !== 'auto')).toEqual([]);
});
