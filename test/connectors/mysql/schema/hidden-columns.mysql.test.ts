import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startMysql, type MysqlServer } from '../../../fixtures/mysql.ts';
import { Following } from './following.ts';

/** This version writes the hidden columns of indexes over expressions into its rows, where they stand in the table. */
let server: MysqlServer;
beforeAll(async () => {
  server = await startMysql({ version: 'mysql-8.0.15' });
});
afterAll(() => server?.[Symbol.asyncDispose]());
beforeEach(async () => {
  await server.query('DROP DATABASE IF EXISTS shop; CREATE DATABASE shop CHARACTER SET utf8mb4');
});

/** The last column looks like the hidden one before it. */
const ALIKE = 'CREATE TABLE g (id int, n varchar(20), PRIMARY KEY (id), KEY f ((UPPER(n))), KEY ff ((id + 1)))';

test('columns that are added behind an index over an expression have their own values', async () => {
  await server.query('SET GLOBAL binlog_row_metadata = FULL');
  await using following = await Following.begin(server);
  await following.settled(ALIKE);
  await following.run("INSERT INTO g VALUES (1, 'a')", 'ALTER TABLE g ADD x varchar(20)', "INSERT INTO g VALUES (2, 'b', 'xx')");
  expect(following.rows('g').map((row) => row.slice(0, 3))).toEqual([['1', 'a', null], ['2', 'b', 'xx']]);
  await following.run('ALTER TABLE g ADD y int FIRST, ADD z date AFTER n, ADD KEY fff ((id * 2))', "INSERT INTO g VALUES (5, 3, 'c', '2026-11-22', 'yy')");
  await following.run('ALTER TABLE g DROP KEY f, ADD w int', "INSERT INTO g VALUES (6, 4, 'd', NULL, 'zz', 7)", 'UPDATE g SET w = 8 WHERE id = 4');
  expect(following.rows('g').slice(2)).toEqual([['5', '3', 'c', '2026-11-22', 'yy', null], ['6', '4', 'd', null, 'zz', '8']]);
  await following.settled('CREATE TABLE h LIKE g');
  await following.run("INSERT INTO h VALUES (6, 5, 'e', NULL, 'zz', 7)");
  expect(following.rows('h')).toEqual([['6', '5', 'e', null, 'zz', '7']]);
  expect(following.table('g')?.state).toEqual({ state: 'new' });
});

test('where their names are not told they are told by their types, and otherwise the table stops', async () => {
  await server.query('SET GLOBAL binlog_row_metadata = MINIMAL');
  await using following = await Following.begin(server);
  await following.settled(ALIKE, 'CREATE TABLE k LIKE g');
  await following.run("INSERT INTO g VALUES (1, 'a')", 'ALTER TABLE k DROP KEY f, ADD x date', "INSERT INTO k VALUES (2, 'b', '2026-11-22')");
  expect(following.rows('g')).toEqual([['1', 'a']]);
  expect(following.rows('k')).toEqual([['2', 'b', '2026-11-22']]);
  await following.run('ALTER TABLE g ADD x varchar(20)', "INSERT INTO g VALUES (2, 'b', 'xx')");
  expect(following.table('g')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_SHAPE' });
  expect(JSON.stringify(following.table('g')?.state)).toContain('binlog_row_metadata');
});

test('a table that is met when it has been altered is read with its hidden columns', async () => {
  await server.query(`SET GLOBAL binlog_row_metadata = MINIMAL; USE shop; ${ALIKE}; ALTER TABLE g ADD x varchar(20); CREATE TABLE k (id int PRIMARY KEY, KEY f ((id + 1))); ALTER TABLE k ADD d date`);
  await using following = await Following.begin(server);
  following.announce('g', 'k');
  await following.settle();
  await following.run("INSERT INTO k VALUES (1, '2026-11-22')", "INSERT INTO g VALUES (2, 'b', 'xx')");
  expect(following.rows('k')).toEqual([['1', '2026-11-22']]);
  expect(following.table('g')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_SHAPE' });
});
