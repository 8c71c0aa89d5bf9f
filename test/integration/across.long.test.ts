import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { type MysqlServer, startMysql } from '../fixtures/mysql.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { openPair } from './mysql-replicas.ts';
import { comparison, verify, wrong } from './verifying.ts';

const FROM_POSTGRES = [
  `CREATE TABLE things (id uuid PRIMARY KEY, n integer, big bigint, amount numeric, money numeric(12,2), f real, d double precision, ok boolean, doc jsonb, raw bytea, at timestamptz, day date, span interval,
     tags text[], name text, letter char(4), bits bit(7))`,
  `INSERT INTO things SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, i, i * 1000000007::bigint, i / 7::numeric, i / 7::numeric, i / 3.0, i / 3.0, i % 2 = 0, jsonb_build_object('n', i, 'x', 'é'),
     decode(md5(i::text), 'hex'), timestamptz '2026-01-01' + i * interval '1 second 3 microseconds', date '1999-12-31' + i, i * interval '1 hour', ARRAY['a', i::text], 'name ' || i, 'ab', i::bit(7) FROM generate_series(1, 400) AS i`,
  'CREATE TABLE bag (a text, b integer)',
  'ALTER TABLE bag REPLICA IDENTITY FULL',
  "INSERT INTO bag SELECT 'a' || i % 10, i % 3 FROM generate_series(1, 300) AS i",
];

const FROM_MYSQL = [
  'CREATE TABLE numbers (n int PRIMARY KEY)',
  `INSERT INTO numbers VALUES ${Array.from({ length: 400 }, (_, n) => `(${n + 1})`).join(', ')}`,
  `CREATE TABLE things (id bigint unsigned PRIMARY KEY, name varchar(200), amount decimal(20,4), f float, d double, doc json, raw varbinary(100), b bit(9), e enum('a','b'), s set('x','y'), y year, t time(3), dt datetime(6),
     ts timestamp(6) NULL) CHARACTER SET utf8mb4`,
  `INSERT INTO things SELECT n + 18446744073709550000, CONCAT('name ', n), n / 7, n / 3, n / 3, CONCAT('{"n": ', n, '}'), UNHEX(SHA2(n, 256)), n % 512, IF(n % 2, 'a', 'b'), IF(n % 3, 'x', 'x,y'), 1950 + n % 100, SEC_TO_TIME(n * 37),
     '2026-01-01' + INTERVAL n SECOND, '2026-01-01' + INTERVAL n * 1000 MICROSECOND FROM numbers`,
  'CREATE TABLE bag (a varchar(20), b int) CHARACTER SET utf8mb4',
  "INSERT INTO bag SELECT CONCAT('a', n % 10), n % 3 FROM numbers",
];

describe('a replica of the other kind, through a whole hub', () => {
  let postgres: PostgresServer;
  let mysql: MysqlServer;
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    [postgres, mysql] = await Promise.all([startPostgres(), startMysql({ version: 'mariadb-11.8' })]);
    directory = await temporaryDirectory('across');
  });

  afterAll(async () => {
    await postgres?.[Symbol.asyncDispose]();
    await mysql?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  it('Postgres to MariaDB: verify finds what is wrong and nothing else, repairs it, and a rebuild brings the same', { timeout: 180_000 }, async () => {
    await using pair = await openPair({ directory: directory.path, from: postgres, to: mysql, tables: FROM_POSTGRES });
    await pair.caughtUp();
    expect(wrong(await verify(pair.running.hub))).toEqual([]);
    await pair.replica.query("UPDATE things SET name = 'wrong', doc = NULL WHERE n = 5; DELETE FROM things WHERE n = 6; INSERT INTO bag VALUES ('a1', 77), ('A1', 1); DELETE FROM bag WHERE a = 'a2' AND b = 2 LIMIT 2");
    const report = await verify(pair.running.hub);
    const things = comparison(report, 'public.things', 'log-sink');
    expect(things.first.map(({ kind, columns }) => `${kind} ${columns.map(({ column }) => column).join(', ')}`).toSorted()).toEqual(['changed doc, name', 'missing ']);
    expect(comparison(report, 'public.bag', 'log-sink').first.map(({ kind, key, counts }) => `${kind} ${key} ${counts.expected} ${counts.found}`).toSorted()).toEqual([
      'count a=a2, b=2 10 8', 'extra a=A1, b=1 0 1', 'extra a=a1, b=77 0 1',
    ]);
    expect((await verify(pair.running.hub, { repair: true })).outcome).toBe('equal');
    await pair.replica.query('DELETE FROM things WHERE n % 3 = 0');
    expect(await pair.rebuilt(['public.things'])).toMatchObject({ state: 'done', error: null });
    await pair.source.query("UPDATE things SET amount = amount + 1 WHERE n % 10 = 0; DELETE FROM bag WHERE a = 'a3'");
    await pair.caughtUp();
    const last = await verify(pair.running.hub);
    expect(wrong(last)).toEqual([]);
    expect(last.outcome).toBe('equal');
  });

  it('MariaDB to Postgres: the same', { timeout: 180_000 }, async () => {
    await using pair = await openPair({ directory: directory.path, from: mysql, to: postgres, tables: FROM_MYSQL });
    await pair.caughtUp();
    const { database } = pair.source;
    expect(wrong(await verify(pair.running.hub))).toEqual([]);
    await pair.replica.query("UPDATE things SET name = 'wrong' WHERE name = 'name 5'; DELETE FROM things WHERE name = 'name 6'; INSERT INTO bag VALUES ('a1', 77)");
    const report = await verify(pair.running.hub);
    expect(comparison(report, `${database}.things`, 'log-sink').first.map(({ kind }) => kind).toSorted()).toEqual(['changed', 'missing']);
    expect(comparison(report, `${database}.bag`, 'log-sink').first.map(({ kind, key }) => `${kind} ${key}`)).toEqual(['extra a=a1, b=77']);
    expect((await verify(pair.running.hub, { repair: true })).outcome).toBe('equal');
    await pair.source.query("UPDATE things SET amount = amount + 1 WHERE id % 10 = 0; DELETE FROM bag WHERE a = 'a3'");
    expect(await pair.rebuilt(null)).toMatchObject({ state: 'done', error: null });
    await pair.caughtUp();
    const last = await verify(pair.running.hub);
    expect(wrong(last)).toEqual([]);
    expect(last.outcome).toBe('equal');
  });
});
