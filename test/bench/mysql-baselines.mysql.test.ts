import { expect, test } from 'vitest';
import { changesIn, createBacklogTable, createNumbers, makeBacklog, rowsAfter } from '../../bench/mysql-backlog.ts';
import { catchUp, dumpInto, prepareNativeReplica } from '../../bench/mysql-native.ts';
import { executedGtids, fingerprint, mustBeEqual, startBenchMysql } from '../../bench/mysql-servers.ts';
import { countByZongji } from '../../bench/zongji.ts';

test('the baselines of the MySQL benches read, copy and replicate the whole backlog', { timeout: 120_000 }, async () => {
  await using source = await startBenchMysql({ databases: ['shop'] });
  await createNumbers(source);
  await createBacklogTable(source, 'shop');
  const before = await executedGtids(source);
  await using native = await prepareNativeReplica(source);
  const backlog = { transactions: 40 };
  await makeBacklog(source, 'shop', backlog);
  expect(await fingerprint(source, 'shop')).toMatch(new RegExp(`^${rowsAfter(backlog)} rows, `));
  // Counts row by row: ends only when exactly as many have come.
  expect(await countByZongji(source, before, changesIn(backlog))).toBeGreaterThan(0);
  expect(await catchUp(native.server, await executedGtids(source))).toBeGreaterThan(0);
  await mustBeEqual(source, 'shop', native.server, 'shop');

  await using replica = await startBenchMysql({ databases: ['shop'] });
  expect(await dumpInto(source, replica)).toBeGreaterThan(0);
  await mustBeEqual(source, 'shop', replica, 'shop');
  await replica.query('UPDATE bench SET note = NULL WHERE id = 1', 'shop');
  await expect(mustBeEqual(source, 'shop', replica, 'shop')).rejects.toThrow('differs');
});
