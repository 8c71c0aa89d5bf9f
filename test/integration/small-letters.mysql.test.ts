import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startMysql, type MysqlServer } from '../fixtures/mysql.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { openPair } from './mysql-replicas.ts';
import { verify, wrong } from './verifying.ts';

describe('a replica whose server keeps names without their case', () => {
  let source: MysqlServer;
  let replica: MysqlServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    [source, replica] = await Promise.all([startMysql(), startMysql({ initialSettings: { lower_case_table_names: 1 } })]);
    directory = await temporaryDirectory('small-letters');
  });

  afterAll(async () => {
    await source?.[Symbol.asyncDispose]();
    await replica?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  it('follows tables of any names, a change of case alone too, and refuses two that would be one', async () => {
    const tables = ['CREATE TABLE Orders (id int PRIMARY KEY, Name varchar(20))', "INSERT INTO Orders VALUES (1, 'a')", 'CREATE TABLE BAG (a int)', 'INSERT INTO BAG VALUES (1), (1)'];
    await using pair = await openPair({ directory: directory.path, from: source, to: replica, tables });
    await pair.caughtUp();
    const names = async (): Promise<string[]> => (await pair.replica.query('SHOW TABLES')).flatMap((row) => Object.values(row).map(String)).toSorted();
    expect(await names()).toEqual(['bag', 'orders']);
    await pair.source.query("RENAME TABLE Orders TO oRDERS; INSERT INTO oRDERS VALUES (2, 'b'); ALTER TABLE oRDERS ADD COLUMN more int DEFAULT 3");
    await pair.source.query("RENAME TABLE BAG TO Sack; INSERT INTO Sack VALUES (2); UPDATE oRDERS SET Name = 'c' WHERE id = 1");
    await pair.caughtUp();
    expect(await names()).toEqual(['orders', 'sack']);
    const report = await verify(pair.running.hub);
    expect(wrong(report)).toEqual([]);
    expect(report.outcome).toBe('equal');
    await pair.replica.query('DELETE FROM orders');
    expect(await pair.rebuilt(null)).toMatchObject({ state: 'done', error: null });
    expect((await verify(pair.running.hub)).outcome).toBe('equal');
    await pair.source.query('CREATE TABLE SACK (id int PRIMARY KEY); INSERT INTO SACK VALUES (1)');
    const { error } = await pair.until('the sink says which', (sink) => sink.error !== null);
    expect(error).toMatchObject({ code: 'REPLICA_NAMES', message: expect.stringMatching(/\.(Sack|SACK) and .*\.(Sack|SACK) would both be/) as string });
  });
});
