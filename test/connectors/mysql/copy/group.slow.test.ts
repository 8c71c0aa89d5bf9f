import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CopyPlan } from '../../../../contracts/connector.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { never } from '../mysql-source.ts';
import { benchOf, rowsOf, type CopyBench } from './copying.ts';

describe.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('small tables of %s', (version) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    await server.query('DROP DATABASE IF EXISTS shop; CREATE DATABASE shop CHARACTER SET utf8mb4');
  });

  /** Tables t1, t2, … of up to five rows, planned. */
  async function plansOf(bench: CopyBench, tables: number): Promise<CopyPlan[]> {
    const names = Array.from({ length: tables }, (_, index) => `t${index + 1}`);
    for (const [index, name] of names.entries()) {
      await bench.session.query(`CREATE TABLE ${name} (id int PRIMARY KEY, v int); INSERT INTO ${name} VALUES ${idsOf(index + 1).map((id) => `(${id}, 1)`).join(', ')}`);
    }
    const schemas = [];
    for (const name of names) schemas.push(await bench.follow(name));
    return Promise.all(schemas.map((schema) => bench.copier.plan(schema, null, never)));
  }

  function idsOf(table: number): number[] {
    return Array.from({ length: 1 + (table % 5) }, (_, index) => index + 1);
  }

  /** What each table's chunk holds, or the code of why there is none. All are asked for in one breath. */
  function copied({ copier }: CopyBench, plans: readonly CopyPlan[]): Promise<(number[] | string)[]> {
    return Promise.all(plans.map(async (plan) => {
      try {
        await using chunk = await copier.chunk(plan, plan.ranges[0] ?? '', never);
        return (await rowsOf(chunk)).map(({ cells }) => Number(cells[0]));
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        return error.code;
      }
    }));
  }

  async function transactions(): Promise<number> {
    const [row] = await server.query("SHOW GLOBAL STATUS LIKE 'Com_begin'");
    return Number(row?.['Value']);
  }

  it('are copied many in one transaction', async () => {
    await using bench = await benchOf(server);
    const plans = await plansOf(bench, 300);
    const before = await transactions();
    expect(await copied(bench, plans)).toEqual(plans.map((_, index) => idsOf(index + 1)));
    // Five groups, of which each may have had to try again.
    expect((await transactions()) - before).toBeLessThan(60);
  });

  it('do not wait for one that is locked: the others are copied, and it says so', async () => {
    await using bench = await benchOf(server);
    const plans = await plansOf(bench, 5);
    await using other = await server.connect('shop');
    await other.query('LOCK TABLES t2 WRITE');
    expect(await copied(bench, plans)).toEqual([idsOf(1), 'MYSQL_COPY_LOCKED', idsOf(3), idsOf(4), idsOf(5)]);
    await other.query('UNLOCK TABLES');
    expect(await copied(bench, plans.slice(1, 2))).toEqual([idsOf(2)]);
  });

  it('are copied without one that may not be read any more', async () => {
    await server.query('CREATE USER IF NOT EXISTS reader');
    const client = server.flavor === 'mysql' ? 'REPLICATION CLIENT' : 'BINLOG MONITOR';
    await using bench = await benchOf(server, {}, 'reader');
    await server.query(`GRANT REPLICATION SLAVE, ${client} ON *.* TO reader`);
    for (const name of ['t1', 't2', 't3']) await server.query(`CREATE TABLE ${name} (id int PRIMARY KEY, v int); GRANT SELECT ON shop.${name} TO reader; DROP TABLE ${name}`, 'shop');
    const plans = await plansOf(bench, 3);
    await server.query('REVOKE SELECT ON shop.t2 FROM reader');
    const [one, two, three] = await copied(bench, plans);
    expect([one, three]).toEqual([idsOf(1), idsOf(3)]);
    expect(two).toEqual(expect.stringMatching(/^(?:MYSQL_|COPY_)/));
  });

  it('are copied as they have become meanwhile, and without one that is gone', async () => {
    await using bench = await benchOf(server);
    const plans = await plansOf(bench, 5);
    await bench.session.query('DROP TABLE t2; ALTER TABLE t3 ADD COLUMN w int DEFAULT 7; TRUNCATE TABLE t4; RENAME TABLE t5 TO t6');
    bench.followed.delete('t2');
    await bench.follow('t3');
    await bench.follow('t6', 't5');
    const found = await copied(bench, plans);
    expect(found[1]).toEqual(expect.stringMatching(/^(?:MYSQL_|COPY_)/));
    expect(found.filter((_, index) => index !== 1)).toEqual([idsOf(1), idsOf(3), [], idsOf(5)]);
    await using chunk = await bench.copier.chunk(plans[2] as CopyPlan, plans[2]?.ranges[0] ?? '', never);
    expect(chunk.schema.columns.map(({ name }) => name)).toEqual(['id', 'v', 'w']);
  });
});
