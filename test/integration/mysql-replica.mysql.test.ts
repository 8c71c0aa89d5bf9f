import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MysqlServer, startMysql } from '../fixtures/mysql.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { openPair, type ReplicaPair } from './mysql-replicas.ts';
import { comparison, verify, wrong } from './verifying.ts';

const THINGS = [
  `CREATE TABLE things (id bigint unsigned PRIMARY KEY, name varchar(200), amount decimal(20,4), f float, d double, doc json, data varbinary(100), b bit(9),
     e enum('a','b'), s set('x','y'), y year, t time(3), dt datetime(6), ts timestamp(6) NULL, code varchar(20) UNIQUE, g geometry) CHARACTER SET utf8mb4`,
  'CREATE TABLE numbers (n int)',
  `INSERT INTO numbers VALUES ${Array.from({ length: 1_000 }, (_, n) => `(${n + 1})`).join(', ')}`,
  `INSERT INTO things SELECT n + 18446744073709550000, CONCAT('name ', n), n / 7, n / 3, n / 3, CONCAT('{"n": ', n, ', "x": [1.50, "é"]}'), UNHEX(SHA2(n, 256)), n % 512, IF(n % 2, 'a', 'b'), IF(n % 3, 'x', 'x,y'),
     1950 + n % 100, SEC_TO_TIME(n * 37), '2026-01-01' + INTERVAL n SECOND, '2026-01-01' + INTERVAL n * 1000 MICROSECOND, CONCAT('code ', n), POINT(n, -n) FROM numbers`,
  'CREATE TABLE bag (a varchar(20), b int, f float) CHARACTER SET utf8mb4',
  `INSERT INTO bag SELECT CONCAT('a', n % 40), n % 7, n / 3 FROM numbers`,
  `INSERT INTO bag SELECT 'same', 1, 0.1 FROM numbers WHERE n <= 20`,
];

/** With the sink's rows damaged in every way. */
const DAMAGE = [
  "UPDATE things SET name = CONCAT(name, ' other') WHERE id = 18446744073709550002",
  'UPDATE things SET f = f + 1, doc = NULL WHERE id = 18446744073709550003',
  'DELETE FROM things WHERE id IN (18446744073709550004, 18446744073709550006)',
  "INSERT INTO things (id, name) VALUES (5000, 'nobody')",
  "UPDATE things SET code = CASE code WHEN 'code 20' THEN 'x' ELSE code END WHERE code IN ('code 20', 'code 21')",
  "UPDATE things SET code = 'code 20' WHERE code = 'code 21'",
  "UPDATE things SET code = 'code 21' WHERE code = 'x'",
  "DELETE FROM bag WHERE a = 'same' LIMIT 3",
  "INSERT INTO bag VALUES ('a1', 99, NULL), ('a1', 99, NULL)",
];

const ROWS_OF_DAMAGE = ['changed 18446744073709550002', 'changed 18446744073709550003', 'changed 18446744073709550020', 'changed 18446744073709550021', 'extra 5000', 'missing 18446744073709550004', 'missing 18446744073709550006'];

describe('a MySQL replica of MySQL, through a whole hub', () => {
  let server: MysqlServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    server = await startMysql();
    directory = await temporaryDirectory('mysql-replica');
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const pairOf = (tables: readonly string[], options: Partial<Parameters<typeof openPair>[0]> = {}): Promise<ReplicaPair> => openPair({ directory: directory.path, from: server, to: server, tables, ...options });

  it('verify finds what is wrong, row by row, and repairs it while the source is written to', async () => {
    await using pair = await pairOf(THINGS);
    await pair.caughtUp();
    const first = await verify(pair.running.hub);
    expect(wrong(first)).toEqual([]);
    expect(first.tables.flatMap(({ comparisons }) => comparisons.map(({ skipped }) => skipped))).toEqual(new Array(6).fill(null));
    const { database } = pair.source;
    for (const sql of DAMAGE) await pair.replica.query(`SET foreign_key_checks = 0; ${sql}`);
    const report = await verify(pair.running.hub);
    expect(report.outcome).toBe('different');
    expect(report.tables.map(({ table }) => comparison(report, table, 'source-log').differences)).toEqual([0, 0, 0]);
    const things = comparison(report, `${database}.things`, 'log-sink');
    expect(things.first.map(({ kind, key, seen }) => `${kind} ${key} ${seen}`).toSorted()).toEqual(ROWS_OF_DAMAGE.map((line) => `${line.replace(' ', ' id=')} still`));
    expect(things.first.find(({ key }) => key.endsWith('0003'))?.columns.map(({ column }) => column)).toEqual(['f', 'doc']);
    const bag = comparison(report, `${database}.bag`, 'log-sink');
    expect(bag.first.map(({ kind, key, counts }) => `${kind} ${key} ${counts.expected} ${counts.found}`).toSorted()).toEqual(['count a=same, b=1, f=0.1 20 17', 'extra a=a1, b=99, f=NULL 0 2']);
    let writes = true;
    const writing = (async () => {
      for (let n = 0; writes; n++) await pair.source.query(`UPDATE things SET name = 'busy ${n}' WHERE id % 50 = ${n % 50}; DELETE FROM bag WHERE a = 'a3' LIMIT 1`);
    })();
    const repaired = await verify(pair.running.hub, { repair: true });
    writes = false;
    await writing;
    expect(wrong(repaired).length).toBe(2);
    expect(repaired.outcome).toBe('equal');
    await pair.caughtUp();
    expect((await verify(pair.running.hub)).outcome).toBe('equal');
  });

  it('has a table copied again whose log lacks what the source has', async () => {
    await using pair = await pairOf(['CREATE TABLE ledger (id int PRIMARY KEY, amount decimal(10,2))', 'INSERT INTO ledger VALUES (1, 1), (2, 2), (3, 3)']);
    await pair.caughtUp();
    await pair.source.query('SET sql_log_bin = 0; DELETE FROM ledger WHERE id = 3; UPDATE ledger SET amount = 7 WHERE id = 2');
    const report = await verify(pair.running.hub);
    const table = `${pair.source.database}.ledger`;
    expect(comparison(report, table, 'source-log').first.map(({ kind, key, seen }) => `${kind} ${key} ${seen}`).toSorted()).toEqual(['changed id=2 still', 'extra id=3 still']);
    expect(comparison(report, table, 'log-sink').differences).toBe(0);
    const mended = await verify(pair.running.hub, { repair: true });
    expect(mended.outcome).toBe('equal');
    expect(mended.tables[0]?.recopied).toBe(true);
    expect(await pair.replica.query('SELECT id, amount FROM ledger ORDER BY id')).toEqual([{ id: '1', amount: '1.00' }, { id: '2', amount: '7.00' }]);
  });

  it('puts aside rows that the replica refuses, tells of them, and heals when they fit', async () => {
    const tables = ['CREATE TABLE parcels (id int PRIMARY KEY, weight int, code varchar(20))', "INSERT INTO parcels VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd')"];
    await using pair = await pairOf(tables, { sink: { onError: 'dead-letter' } });
    await pair.caughtUp();
    await pair.replica.query('ALTER TABLE parcels ADD CONSTRAINT light CHECK (weight < 1000)');
    await pair.source.query("BEGIN; UPDATE parcels SET weight = 5000 WHERE id = 2; UPDATE parcels SET code = 'good' WHERE id <> 2; INSERT INTO parcels VALUES (5, 7000, 'e'); COMMIT");
    await pair.caughtUp();
    expect(await pair.sink()).toMatchObject({ degraded: true, deadLetters: 2 });
    const report = await verify(pair.running.hub, { repair: true });
    expect(report.outcome).toBe('equal');
    expect(comparison(report, `${pair.source.database}.parcels`, 'log-sink')).toMatchObject({ differences: 0, deadLetters: 2 });
    expect((await pair.replica.query("SELECT id FROM parcels WHERE code = 'good' ORDER BY id")).map(({ id }) => id)).toEqual(['1', '3', '4']);
    // One fits by a later change of its row, the other by the way of the replica.
    await pair.source.query('UPDATE parcels SET weight = 20 WHERE id = 2');
    await pair.until('one letter is closed', ({ deadLetters }) => deadLetters === 1);
    await pair.replica.query('ALTER TABLE parcels DROP CONSTRAINT light');
    await pair.running.hub.retrySink('replica');
    await pair.until('no letter is open', ({ deadLetters }) => deadLetters === 0);
    await pair.caughtUp();
    expect((await verify(pair.running.hub)).outcome).toBe('equal');
    expect(await pair.replica.query('SELECT id, weight FROM parcels WHERE id IN (2, 5) ORDER BY id')).toEqual([{ id: '2', weight: '20' }, { id: '5', weight: '7000' }]);
  });
});
