import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../contracts/key.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { readImage } from '../../../../contracts/row-image.ts';
import { MysqlSnapshot } from '../../../../connectors/mysql/snapshot/mysql-snapshot.ts';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { benchOf } from '../copy/copying.ts';
import { never } from '../mysql-source.ts';

async function cellsOf(batches: AsyncIterable<ChangeBatch>): Promise<(string | null)[][]> {
  const rows: (string | null)[][] = [];
  const view = new RecordView();
  for await (const batch of batches) for (view.reset(batch.records); view.next(); ) rows.push(readImage(view.after()).map((cell) => (typeof cell === 'string' ? cell : null)));
  return rows;
}

describe.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('a snapshot of %s', (version) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version, databases: ['shop'] });
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  it('shows several tables as of one moment, side by side, in pieces', async () => {
    await using bench = await benchOf(server);
    const { session, deps } = bench;
    await session.query(`CREATE TABLE wide (id int PRIMARY KEY, v longtext); CREATE TABLE narrow (a varchar(10), b int, PRIMARY KEY (a, b)); CREATE TABLE bag (v int)`);
    await session.query(`INSERT INTO wide SELECT seq, REPEAT('x', 30000) FROM (WITH RECURSIVE s AS (SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM s WHERE seq < 700) SELECT seq FROM s) AS n`);
    await session.query(`INSERT INTO narrow SELECT CHAR(65 + id % 26), id FROM wide; INSERT INTO bag SELECT id % 10 FROM wide`);
    const [wide, narrow, bag] = [await bench.follow('wide'), await bench.follow('narrow'), await bench.follow('bag')];
    await using snapshot = await MysqlSnapshot.open(deps, never);
    expect(snapshot.isExact).toBe(true);
    await session.query(`DELETE FROM wide WHERE id % 2 = 0; UPDATE narrow SET b = b + 1000; INSERT INTO bag SELECT 1 FROM wide`);
    const all = await Promise.all([cellsOf(snapshot.rows(wide, never)), cellsOf(snapshot.rows(narrow, never)), cellsOf(snapshot.rows(bag, never)), cellsOf(snapshot.rows(wide, never))]);
    expect(all.map((rows) => rows.length)).toEqual([700, 700, 700, 700]);
    expect(new Set(all[0]?.map(([id]) => id)).size).toBe(700);
    expect(all[1]?.every(([, b]) => Number(b) <= 700)).toBe(true);
    // Nothing of it keeps anybody from changing a table between two readings: MariaDB keeps the locks, and the snapshot gives way.
    await session.query(`SET lock_wait_timeout = 10; ALTER TABLE narrow ADD COLUMN more int`);
    if (server.flavor === 'mariadb') await expect(cellsOf(snapshot.rows(wide, never))).rejects.toMatchObject({ code: 'VERIFY_TABLE', retry: 'auto' });
    else expect((await cellsOf(snapshot.rows(wide, never))).length).toBe(700);
    await session.query(`DROP TABLE wide, narrow, bag`);
  });

  it('survives when a table without a key is left in the middle', async () => {
    await using bench = await benchOf(server);
    const { session, deps } = bench;
    await session.query(`CREATE TABLE bag (v int, w longtext); INSERT INTO bag SELECT seq, REPEAT('x', 60000) FROM (WITH RECURSIVE s AS (SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM s WHERE seq < 900) SELECT seq FROM s) AS n`);
    const bag = await bench.follow('bag');
    await using snapshot = await MysqlSnapshot.open(deps, never);
    for (let round = 0; round < 3; round++) for await (const batch of snapshot.rows(bag, never)) if (batch.count > 0) break;
    expect((await cellsOf(snapshot.rows(bag, never))).length).toBe(900);
    await session.query('DROP TABLE bag');
  });

  it('finds keys by their bytes, not by what the collation takes for the same', async () => {
    await using bench = await benchOf(server);
    const { session, deps } = bench;
    await session.query(`CREATE TABLE words (w varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY); INSERT INTO words VALUES ('Abc'), ('ß'), ('z')`);
    const words = await bench.follow('words');
    await using snapshot = await MysqlSnapshot.open(deps, never);
    const keys = ['abc', 'Abc', 's', 'z', 'none'].map((key) => buildKey([key]));
    expect(await cellsOf(snapshot.find(words, keys, never))).toEqual([['Abc'], ['z']]);
    await session.query('DROP TABLE words');
  });

  it('refuses what is not the table of the log any more', async () => {
    await using bench = await benchOf(server);
    const { session, deps, followed } = bench;
    await session.query('CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b LIKE a; CREATE TABLE c LIKE a; CREATE TABLE d LIKE a; INSERT INTO a VALUES (1, 1); INSERT INTO b SELECT * FROM a; INSERT INTO c SELECT * FROM a; INSERT INTO d SELECT * FROM a');
    const [a, b, c, d] = [await bench.follow('a'), await bench.follow('b'), await bench.follow('c'), await bench.follow('d')];
    await using snapshot = await MysqlSnapshot.open(deps, never);
    const refused: unknown = expect.objectContaining({ code: 'VERIFY_TABLE', retry: 'auto' });
    await session.query('TRUNCATE TABLE a');
    await expect(cellsOf(snapshot.rows(a, never))).rejects.toEqual(refused);
    await session.query('DROP TABLE b');
    await expect(cellsOf(snapshot.rows(b, never))).rejects.toEqual(refused);
    // The stream comes to the swap of two tables only after the rows were read.
    await session.query('CREATE TABLE other LIKE c; RENAME TABLE c TO old_c, d TO c');
    const moved = bench.stream.moved.bind(bench.stream);
    bench.stream.moved = async (signal) => {
      followed.set('c', { schema: { ...c, name: 'old_c', version: 2 }, isKnown: true });
      await moved(signal);
    };
    await expect(cellsOf(snapshot.rows(c, never))).rejects.toEqual(refused);
    followed.delete('d');
    await expect(cellsOf(snapshot.rows(d, never))).rejects.toEqual(refused);
    await session.query('DROP TABLE a, c, old_c, other');
  });

  it('reads the columns that the log has, under the names of now', async () => {
    await using bench = await benchOf(server);
    const { session, deps, followed } = bench;
    await session.query('CREATE TABLE t (id int PRIMARY KEY, v varchar(10)); INSERT INTO t VALUES (1, \'one\')');
    const before = await bench.follow('t');
    await session.query('ALTER TABLE t ADD COLUMN extra int, RENAME COLUMN v TO w');
    const now = await bench.follow('t');
    await using snapshot = await MysqlSnapshot.open(deps, never);
    expect(await cellsOf(snapshot.rows(before, never))).toEqual([['1', 'one']]);
    expect(await cellsOf(snapshot.rows(now, never))).toEqual([['1', 'one', null]]);
    const unknown = { ...before, columns: [...before.columns, { ...(before.columns[1] as (typeof before.columns)[number]), number: 99 }] };
    await expect(cellsOf(snapshot.rows(unknown, never))).rejects.toMatchObject({ code: 'VERIFY_TABLE' });
    followed.delete('t');
    await session.query('DROP TABLE t');
  });
});
