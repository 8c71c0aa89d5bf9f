import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { plainShape } from '../ddl/server-shape.ts';
import { Following } from './following.ts';

const text = (rows: readonly (readonly (string | null)[])[]): string[] => rows.map((row) => row.join('|')).sort();

/** What the tracker makes of one server's statements and rows. */
export function trackerSuite(version: MysqlVersion): void {
  describe(version, () => {
    let server: MysqlServer;
    beforeAll(async () => {
      server = await startMysql({ version });
    });
    afterAll(() => server[Symbol.asyncDispose]());
    beforeEach(async () => {
      await server.query('DROP DATABASE IF EXISTS shop; CREATE DATABASE shop');
    });

    test('a table comes in once the stream has passed its reading, and its rows from then on', async () => {
      await using following = await Following.begin(server);
      await following.run('CREATE TABLE a (id int PRIMARY KEY, v varchar(20))', "INSERT INTO a VALUES (1, 'early')");
      expect(following.table('a')).toBeNull();
      await following.settle();
      expect(following.table('a')?.state).toEqual({ state: 'new' });
      await following.run("INSERT INTO a VALUES (2, 'two')", "UPDATE a SET v = 'zwei' WHERE id = 2", "INSERT INTO a VALUES (3, 'x')", 'DELETE FROM a WHERE id = 3');
      expect(text(following.rows('a'))).toEqual(['2|zwei']);
      expect(following.schema('a').sourceTableId).toMatch(/^[0-9a-f]{16}$/);
      expect(plainShape(following.shape('a'))).toEqual(plainShape(await following.serverShape('a')));
    });

    test('DDL is followed in order: names, columns, fills, keys, truncation', async () => {
      await using following = await Following.begin(server);
      await following.settled('CREATE TABLE a (id int PRIMARY KEY, v varchar(20))');
      const { sourceTableId } = following.schema('a');
      await following.run(
        "INSERT INTO a VALUES (1, 'one')", "ALTER TABLE a ADD COLUMN n int NOT NULL DEFAULT 7 FIRST", "INSERT INTO a VALUES (8, 2, 'two')", 'ALTER TABLE a CHANGE v w varchar(30)',
        "UPDATE a SET w = 'eins' WHERE id = 1", 'ALTER TABLE a ADD gone text', 'ALTER TABLE a DROP gone', 'ALTER TABLE a ADD back text', 'RENAME TABLE a TO b',
        "INSERT INTO b (n, id, w) VALUES (9, 3, 'three')",
      );
      expect(following.table('a')).toBeNull();
      expect(following.schema('b').sourceTableId).toBe(sourceTableId);
      expect(following.schema('b').columns.map(({ number, name }) => `${number}:${name}`)).toEqual(['3:n', '1:id', '2:w', '5:back']);
      expect(text(following.rows('b'))).toEqual(['7|1|eins|', '8|2|two|', '9|3|three|']);
      expect(plainShape(following.shape('b'))).toEqual(plainShape(await following.serverShape('b')));
      expect(following.table('b')?.state).toEqual({ state: 'new' });
      await following.run('TRUNCATE TABLE b', "INSERT INTO b (n, id, w) VALUES (1, 1, 'x')");
      expect(text(following.rows('b'))).toEqual(['1|1|x|']);
      const { tableId } = following.schema('b');
      await following.run('ALTER TABLE b DROP PRIMARY KEY, ADD PRIMARY KEY (n)', "INSERT INTO b (n, id, w) VALUES (2, 2, 'y')");
      expect(following.schema('b')).toMatchObject({ sourceTableId, tableId: tableId + 1, version: 1, keyKind: 'primary' });
      expect(text(following.rows('b'))).toEqual(['2|2|y|']);
      expect(following.records().filter((record) => record.startsWith('removed'))).toEqual([`removed ${tableId}`]);
    });

    test('tables that swap their names keep what they are; one made anew under a name is another', async () => {
      await using following = await Following.begin(server);
      await following.settled('CREATE TABLE a (id int PRIMARY KEY, x int)', 'CREATE TABLE b (id int PRIMARY KEY, y text)');
      const [a, b] = [following.schema('a').sourceTableId, following.schema('b').sourceTableId];
      await following.run('INSERT INTO a VALUES (1, 1)', 'RENAME TABLE a TO swap, b TO a, swap TO b', "INSERT INTO a VALUES (1, 'y')", 'INSERT INTO b VALUES (2, 2)');
      expect([following.schema('a').sourceTableId, following.schema('b').sourceTableId]).toEqual([b, a]);
      expect([text(following.rows('a')), text(following.rows('b'))]).toEqual([['1|y'], ['1|1', '2|2']]);
      await following.settled('DROP TABLE a', 'CREATE TABLE a (id int PRIMARY KEY)');
      expect(following.schema('a').sourceTableId).not.toBe(b);
      await following.run('DROP DATABASE shop');
      expect(following.catalog().tables().every(({ state }) => state.state === 'removed')).toBe(true);
    });

    test('what changes values or rows without events stops the table, and asks for a copy', async () => {
      await using following = await Following.begin(server);
      await following.settled(
        'CREATE TABLE a (id int PRIMARY KEY, x decimal(6,3), d datetime(3)) PARTITION BY HASH (id) PARTITIONS 2', 'CREATE TABLE e (id int PRIMARY KEY, x decimal(6,3), d datetime(3))',
        'CREATE TABLE k (id int PRIMARY KEY)',
      );
      const stops = async (...statements: string[]): Promise<string[]> => {
        const before = following.log.highWatermark;
        await following.run(...statements);
        return following.records(before).filter((record) => !record.startsWith('s '));
      };
      const [a, e, k] = [following.schema('a').tableId, following.schema('e').tableId, following.schema('k').tableId];
      expect(await stops('ALTER TABLE a MODIFY x decimal(6,1)')).toEqual([`stopped ${a} MYSQL_TABLE_REWRITTEN recopy`]);
      expect(await stops('ALTER TABLE a MODIFY d datetime')).toEqual([`stopped ${a} MYSQL_TABLE_REWRITTEN recopy`]);
      expect(await stops('ALTER TABLE a ADD c datetime DEFAULT CURRENT_TIMESTAMP, ALGORITHM=COPY')).toEqual([`stopped ${a} MYSQL_TABLE_REWRITTEN recopy`]);
      expect(await stops('ALTER TABLE a DROP c, ALGORITHM=COPY')).toEqual([]);
      expect(await stops('ALTER TABLE a TRUNCATE PARTITION p0')).toEqual([`stopped ${a} MYSQL_TABLE_REWRITTEN recopy`]);
      await following.run('ALTER TABLE e MODIFY x decimal(6,1), MODIFY d datetime');
      expect(await stops('ALTER TABLE a EXCHANGE PARTITION p0 WITH TABLE e')).toEqual([`stopped ${e} MYSQL_TABLE_REWRITTEN recopy`, `stopped ${a} MYSQL_TABLE_REWRITTEN recopy`]);
      expect(await stops('ALTER TABLE k ADD v varchar(5)', 'ALTER TABLE k MODIFY v varchar(50)', 'ALTER TABLE k MODIFY id bigint', 'ALTER TABLE k ADD KEY (v)', 'OPTIMIZE TABLE k')).toEqual([]);
      expect(await stops('SET SESSION binlog_format = STATEMENT', "INSERT INTO k VALUES (1, 'x')", "SET SESSION binlog_format = 'ROW'")).toEqual([`stopped ${k} MYSQL_STATEMENT_ROWS recopy`]);
      for (const name of ['a', 'e', 'k']) expect(plainShape(following.shape(name)), name).toEqual(plainShape(await following.serverShape(name)));
    });

    test('after a restart the shape is that of the stream, whatever the server has by now', async () => {
      await using following = await Following.begin(server);
      await following.settled("CREATE TABLE a (id int PRIMARY KEY, x int DEFAULT 3, e enum('p','q'), UNIQUE KEY u (x, e), KEY i (e))");
      await following.writer.query('INSERT INTO a (id) VALUES (1)');
      await following.writer.query('ALTER TABLE a DROP KEY u, DROP x, ADD y text FIRST, RENAME KEY i TO j');
      await following.writer.query("INSERT INTO a VALUES ('why', 2, 'q')");
      following.restart();
      await following.advance();
      expect(following.schema('a').columns.map(({ number, name }) => `${number}:${name}`)).toEqual(['4:y', '1:id', '3:e']);
      expect(text(following.rows('a'))).toEqual(['why|2|q', '|1|']);
      following.restart();
      await following.run('ALTER TABLE a DROP KEY j, ADD UNIQUE (e)', 'ALTER TABLE a ADD z int');
      expect(following.schema('a').columns.at(-1)).toMatchObject({ number: 5, name: 'z' });
      expect(plainShape(following.shape('a'))).toEqual(plainShape(await following.serverShape('a')));
      expect(following.table('a')?.state).toEqual({ state: 'new' });
    });

    test('DDL that is not in the binlog is found by the rows, and the table read and copied again', async () => {
      await using following = await Following.begin(server);
      await following.settled('CREATE TABLE a (id int PRIMARY KEY, x int)', 'CREATE TABLE b (id int PRIMARY KEY, x int)');
      await following.run('INSERT INTO a VALUES (1, 1)', 'SET SESSION sql_log_bin = 0', 'ALTER TABLE a ADD y int', 'DROP TABLE b', 'SET SESSION sql_log_bin = 1', 'INSERT INTO a VALUES (2, 2, 2)');
      const { tableId } = following.schema('a');
      expect(following.table('a')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_SHAPE', recopy: false });
      expect(following.tracker.table(following.schema('a').sourceTableId)?.isKnown).toBe(false);
      following.restart();
      await following.settle();
      expect(following.table('a')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_SHAPE', recopy: true });
      expect(following.schema('a')).toMatchObject({ tableId, version: 2 });
      await following.run('INSERT INTO a VALUES (3, 3, 3)');
      expect(text(following.rows('a'))).toEqual(['1|1|', '3|3|3']);
      expect(following.tracker.unknown([{ namespace: 'shop', name: 'a' }])).toEqual([]);
      await following.settle();
      expect(following.table('b')).toBeNull();
    });
  });
}
