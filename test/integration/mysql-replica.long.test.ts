import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MysqlServer, type MysqlVersion, startMysql } from '../fixtures/mysql.ts';
import { createMysqlShop } from '../fixtures/shop/mysql-schema.ts';
import { startMysqlShopWorkload } from '../fixtures/shop/mysql-workload.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { openPair } from './mysql-replicas.ts';
import { verify, wrong } from './verifying.ts';

describe.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('a replica at work, of %s', (version) => {
  let server: MysqlServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    server = await startMysql({ version });
    directory = await temporaryDirectory('mysql-replica');
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  it('finds no difference while the shop is at full work and a shape changes; a rebuild of the whole and of single tables goes on beside it', { timeout: 600_000 }, async () => {
    await using pair = await openPair({ directory: directory.path, from: server, to: server, tables: [] });
    {
      await using session = await server.connect(pair.source.database);
      await createMysqlShop(session, { customers: 100, products: 40, orders: 150 });
    }
    await pair.caughtUp();
    await using workload = startMysqlShopWorkload({ connect: () => server.connect(pair.source.database), transactionsPerSecond: 40 });
    for (let round = 0; round < 3; round++) {
      if (round === 1) await workload.alter();
      const report = await verify(pair.running.hub);
      expect(wrong(report)).toEqual([]);
      expect(report.outcome).toBe('equal');
    }
    await pair.replica.query("UPDATE customers SET name = 'wrong' WHERE id % 5 = 0; DELETE FROM orders WHERE version = 1 LIMIT 20; CREATE INDEX own ON customers (name(20))");
    expect(await pair.rebuilt([`${pair.source.database}.customers`])).toMatchObject({ state: 'done', error: null });
    const [left] = await pair.replica.query("SELECT COUNT(*) AS n FROM customers WHERE name = 'wrong'");
    expect(left?.['n']).toBe('0');
    expect(wrong(await verify(pair.running.hub, { against: 'log', tables: [`${pair.source.database}.orders`] })).length).toBe(1);
    expect(await pair.rebuilt(null)).toMatchObject({ state: 'done', error: null });
    await workload.stop();
    await pair.caughtUp();
    const last = await verify(pair.running.hub);
    expect(wrong(last)).toEqual([]);
    expect(last.outcome).toBe('equal');
    expect((await pair.replica.query("SHOW INDEX FROM customers WHERE Key_name = 'own'")).length).toBe(1);
    expect(await pair.replica.query("SHOW DATABASES LIKE 'tidemark\\_shadow\\_%'")).toEqual([]);
  });
});
