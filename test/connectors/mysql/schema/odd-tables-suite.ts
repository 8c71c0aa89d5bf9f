import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Op } from '../../../../contracts/op.ts';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { mysqlSource } from '../mysql-source.ts';
import { Following } from './following.ts';

const text = (rows: readonly (readonly (string | null)[])[]): string[] => rows.map((row) => row.map((cell) => cell ?? 'NULL').join('|')).sort();

/** Tables, columns and settings that are not the usual ones. */
export function oddTablesSuite(version: MysqlVersion): void {
  describe(version, () => {
    const isMariadb = version.startsWith('mariadb');
    let server: MysqlServer;
    beforeAll(async () => {
      server = await startMysql({ version });
    });
    afterAll(() => server[Symbol.asyncDispose]());
    beforeEach(async () => {
      await server.query('DROP DATABASE IF EXISTS shop; CREATE DATABASE shop CHARACTER SET utf8mb4');
    });

    /** What the server shows of the table's columns that the log has. */
    const shown = async (following: Following, name: string): Promise<string[]> => {
      const columns = following.schema(name).columns.map((column) => `IFNULL(${column.type.kind === 'bytes' ? `LOWER(HEX(\`${column.name}\`))` : `\`${column.name}\``}, 'NULL')`);
      const rows = await following.session.query(`SELECT CONCAT_WS('|', ${columns.join(', ')}) AS line FROM shop.${name}`);
      return rows.map((row) => row['line'] ?? '').sort();
    };

    test('generated, invisible and functional columns, keys over expressions and beginnings, text in other characters', async () => {
      await using following = await Following.begin(server);
      const invisible = version === 'mysql-8.0.15' ? '' : 'INVISIBLE';
      const expression = isMariadb ? 'KEY f (v)' : 'KEY f ((UPPER(n))), UNIQUE KEY ff (id, (id + 1))';
      await following.settled(
        `CREATE TABLE g (id int PRIMARY KEY, v int AS (id + 1) VIRTUAL, s int AS (id * 2) STORED, h int ${invisible} DEFAULT 4, n varchar(20) CHARACTER SET latin1, ${expression})`,
        'CREATE TABLE p (t varchar(200) CHARACTER SET ucs2 NOT NULL, b binary(4), u bigint unsigned, j json, PRIMARY KEY (t(10)), UNIQUE KEY u (u))',
        'CREATE TABLE k (a int, b text)',
      );
      await following.run("INSERT INTO g (id, n) VALUES (1, 'größe'), (2, NULL)", 'UPDATE g SET id = 3, h = 5 WHERE id = 2', "ALTER TABLE g ADD x text AS (concat(n, 'x')) STORED", "INSERT INTO g (id, n) VALUES (7, 'y')");
      expect(following.schema('g').columns.map(({ name }) => name)).toEqual(isMariadb ? ['id', 's', 'h', 'n', 'x'] : ['id', 'v', 's', 'h', 'n', 'x']);
      expect(following.table('g')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_TABLE_REWRITTEN', recopy: true });
      expect(text(following.rows('g')).filter((row) => row.startsWith('7'))).toEqual((await shown(following, 'g')).filter((row) => row.startsWith('7')));
      await following.run("INSERT INTO p VALUES ('Ω', 'ab', 18446744073709551615, '{\"a\": 1}')", "INSERT INTO k VALUES (1, 'x'), (1, 'x'), (2, NULL)", 'DELETE FROM k WHERE a = 1 LIMIT 1');
      expect(following.schema('p')).toMatchObject({ keyKind: 'none', key: [] });
      expect(following.schema('k')).toMatchObject({ keyKind: 'none', key: [] });
      const keyless = (name: string) => [...following.log.fold(following.schema(name).tableId).values()];
      expect([keyless('p'), keyless('k')]).toEqual([['1'], ['1', '1']]);
    });

    test('columns that are left out or hashed, through DDL and restarts', async () => {
      const config = mysqlSource(server.url(), { columns: new Map([['shop.a', { exclude: ['secret'], hash: ['mail'] }]]), hashKey: 'k' });
      await using following = await Following.begin(server, { config });
      await following.settled('CREATE TABLE a (id int PRIMARY KEY, secret text, mail varchar(30), n int)');
      const hashOf = (value: string): string => following.source.hash?.text(value) ?? '';
      await following.run("INSERT INTO a VALUES (1, 'hidden', 'x@y', 1)", 'ALTER TABLE a CHANGE secret open text, CHANGE mail post varchar(40)', "INSERT INTO a VALUES (2, 'hidden', 'z', 2)");
      expect(following.schema('a')).toMatchObject({ unseen: [2], columns: [{ name: 'id' }, { name: 'post', hashed: expect.any(String) as unknown }, { name: 'n' }] });
      await following.run('RENAME TABLE a TO b', "INSERT INTO b VALUES (3, 'hidden', NULL, 3)", "ALTER TABLE b ADD mail varchar(5) NOT NULL DEFAULT 'd' FIRST, RENAME COLUMN n TO m");
      expect(text(following.rows('b'))).toEqual([`d|1|${hashOf('x@y')}|1`, `d|2|${hashOf('z')}|2`, 'd|3|NULL|3']);
      expect(JSON.stringify(following.log.records.map(({ after }) => Buffer.from(after, 'hex').toString()))).not.toContain('hidden');
      await following.run('DELETE FROM b WHERE id = 3', 'ALTER TABLE b DROP PRIMARY KEY, ADD PRIMARY KEY (id, post)');
      expect(following.table('b')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_COLUMN_RULE', recopy: false });
      await following.settle();
      expect(following.tracker.table(following.schema('b').sourceTableId)).toMatchObject({ isKnown: false, fault: { code: 'MYSQL_COLUMN_RULE' } });
    });

    test('another configuration at the next start: newly left out at once, newly let in by a copy, no longer selected: removed', async () => {
      const rules = new Map([['shop.a', { exclude: ['x'], hash: [] as string[] }]]);
      await using following = await Following.begin(server, { config: { columns: rules, tables: ({ name }) => name !== 'c' || rules.size === 1 } });
      await following.settled('CREATE TABLE a (id int PRIMARY KEY, x int, y int)', 'CREATE TABLE b (id int PRIMARY KEY, x int, y int)', 'CREATE TABLE c (id int PRIMARY KEY)');
      rules.clear();
      rules.set('shop.a', { exclude: ['y'], hash: [] });
      rules.set('shop.b', { exclude: ['x'], hash: [] });
      following.restart();
      await following.settle();
      expect(following.schema('a').columns.map(({ name }) => name)).toEqual(['id', 'x']);
      expect(following.table('a')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_TABLE_REWRITTEN', why: 'column x was left out', recopy: true });
      expect(following.schema('b').columns.map(({ name }) => name)).toEqual(['id', 'y']);
      expect(following.table('b')?.state).toEqual({ state: 'new' });
      expect(following.table('c')).toBeNull();
      const { highWatermark } = following.log;
      following.restart();
      await following.settle();
      expect(following.log.highWatermark).toBe(highWatermark);
    });

    test('row images that leave columns out', async () => {
      await using following = await Following.begin(server, { isWide: true });
      await following.settled("CREATE TABLE m (id int PRIMARY KEY, n int, d int DEFAULT 7, r int NOT NULL, t varchar(9) NOT NULL DEFAULT 'x', b varbinary(4) DEFAULT 'ab', e enum('p','q') NOT NULL, z text)");
      await following.run("SET SESSION sql_mode = '', binlog_row_image = MINIMAL", 'INSERT INTO m (id) VALUES (1)', 'INSERT INTO m (id, n, z) VALUES (2, 5, \'z\')', 'UPDATE m SET n = 6 WHERE id = 2');
      if (isMariadb) {
        expect(following.table('m')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_PARTIAL_ROW', recopy: false });
        expect(following.records().filter((record) => record.startsWith('stopped')).length).toBe(3);
        return;
      }
      expect(text(following.rows('m'))).toEqual(['1|NULL|7|0|x|6162|p|NULL', '2|6|(left out)|(left out)|(left out)|(left out)|(left out)|(left out)']);
      expect(text(following.rows('m'))[0]).toBe((await shown(following, 'm'))[0]);
      expect(following.table('m')?.state).toEqual({ state: 'new' });
    });

    if (isMariadb) test('of a session that leaves columns out by itself have the table copied again', async () => {
      await using following = await Following.begin(server);
      await following.settled('CREATE TABLE own (id int PRIMARY KEY, n int, z text)');
      await following.run("INSERT INTO own VALUES (1, 1, 'z')", 'SET SESSION binlog_row_image = MINIMAL', 'UPDATE own SET n = 2');
      expect(following.table('own')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_LOSSY_ROW', recopy: true });
    });

    test('a table that is named in a statement which is not understood is read and copied again', async () => {
      await using following = await Following.begin(server);
      await following.settled('CREATE TABLE a (id int PRIMARY KEY, v int)', 'CREATE TABLE b (id int PRIMARY KEY, v int)');
      const { tableId } = following.schema('a');
      // Servers write no statement that is not understood: one that is, of another table, with the name of this one made into it.
      following.garble('CREATE TABLE zzz (a int)', 'FROBNICATE a SET x = 1;;');
      await following.run('CREATE TABLE zzz (a int)', 'INSERT INTO a VALUES (1, 1)', 'INSERT INTO b VALUES (1, 1)');
      expect(following.table('a')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_STATEMENT', recopy: false });
      expect([following.rows('a'), following.rows('b').length]).toEqual([[], 1]);
      await following.settled();
      expect(following.table('a')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_STATEMENT', recopy: true });
      await following.run('INSERT INTO a VALUES (2, 2)');
      expect(following.rows('a')).toEqual([['2', '2']]);
      expect(following.schema('a')).toMatchObject({ tableId, version: 1 });
    });

    test('after a gap every table is read again before its rows count', async () => {
      await using following = await Following.begin(server);
      await following.settled('CREATE TABLE a (id int PRIMARY KEY, v int)', 'CREATE TABLE b (id int PRIMARY KEY)');
      await following.miss('ALTER TABLE a DROP v, ADD w int', 'INSERT INTO a VALUES (1, 1)', 'DROP TABLE b');
      following.restart({ isAfterGap: true });
      await following.settle();
      expect(following.table('a')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_SHAPE', recopy: true });
      expect(following.schema('a').columns.map(({ number, name }) => `${number}:${name}`)).toEqual(['1:id', '3:w']);
      expect(following.table('b')).toBeNull();
    });

    if (isMariadb) test('versions of rows, temporal types of old, values that are too long for an index', async () => {
      await using following = await Following.begin(server);
      await following.settled(
        'CREATE TABLE w (id int PRIMARY KEY, x int) WITH SYSTEM VERSIONING',
        'CREATE TABLE e (id int PRIMARY KEY, x int, s timestamp(6) GENERATED ALWAYS AS ROW START INVISIBLE, u timestamp(6) GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (s, u), l text, UNIQUE (l)) WITH SYSTEM VERSIONING',
        'SET GLOBAL mysql56_temporal_format = OFF', 'CREATE TABLE o (id int PRIMARY KEY, a datetime(3), b timestamp(2) NULL, c time(5), d datetime, z int)', 'SET GLOBAL mysql56_temporal_format = ON',
        'CREATE TABLE l (a text NOT NULL, b blob, UNIQUE (a), UNIQUE (b))', 'CREATE SEQUENCE q',
      );
      for (const table of ['w', 'e']) {
        await following.run(`INSERT INTO ${table} (id, x) VALUES (1, 1), (2, 2)`, `UPDATE ${table} SET x = 10 WHERE id = 1`, `UPDATE ${table} SET id = 5 WHERE id = 1`, `DELETE FROM ${table} WHERE id = 2`);
        expect(following.rows(table).map((row) => row.slice(0, 2))).toEqual([['5', '10']]);
      }
      expect(following.schema('e').key).toEqual([0]);
      await following.run("SET time_zone = '+00:00'", "INSERT INTO o VALUES (1, '2026-11-21 01:02:03.25', '2026-11-21 01:02:03.5', '-10:00:00.00007', '2026-11-21 01:02:03', 77)");
      expect(following.rows('o')).toEqual([['1', '2026-11-21 01:02:03.25', '2026-11-21 01:02:03.5+00', '-10:00:00.00007', '2026-11-21 01:02:03', '77']]);
      await following.run("INSERT INTO l VALUES ('x', 'y')", "UPDATE l SET b = 'z'", 'SELECT NEXTVAL(q)', 'SET SESSION system_versioning_alter_history = KEEP', 'ALTER TABLE w ADD y int DEFAULT 3', 'UPDATE w SET x = 11');
      expect(following.rows('l')).toEqual([['x', '7a']]);
      expect(following.rows('w')).toEqual([['5', '11', '3']]);
      expect(following.table('q')).toBeNull();
      await following.run('ALTER TABLE w DROP SYSTEM VERSIONING', 'UPDATE w SET x = 12', 'ALTER TABLE l ADD SYSTEM VERSIONING', "UPDATE l SET b = 'zz'");
      expect([following.rows('w'), following.rows('l')]).toEqual([[['5', '12', '3']], [['x', '7a7a']]]);
      expect(following.records().filter((record) => record.startsWith('stopped'))).toEqual([]);
    });

    test('what cannot be captured is left out, and said once; rows above the limit stop their table', async () => {
      const config = mysqlSource(server.url(), { columns: new Map([['shop.r', { exclude: ['id'], hash: [] }]]) });
      await using following = await Following.begin(server, { config });
      await following.settled('CREATE TABLE r (id int PRIMARY KEY)', 'INSERT INTO r VALUES (1)', 'CREATE TABLE big (id int PRIMARY KEY, t longtext)');
      await following.run('INSERT INTO r VALUES (2)', 'FLUSH TABLES', 'INSERT INTO r VALUES (3)');
      await following.settle();
      expect(following.table('r')).toBeNull();
      expect(following.runtime.lines.filter(({ event }) => event === 'table.refused').map(({ fields }) => [fields['table'], fields['code']])).toEqual([['shop.r', 'MYSQL_COLUMN_RULE']]);
      await following.run("INSERT INTO big VALUES (1, 'small'), (2, REPEAT('x', 2000000)), (3, REPEAT('x', 2000000)), (4, 'small')");
      const { tableId } = following.schema('big');
      expect(following.log.read(0).filter((record) => record.tableId === tableId).map(({ op }) => op)).toEqual([Op.schema, Op.create, Op.control, Op.create]);
      expect(following.table('big')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_ROW_TOO_LARGE', recopy: false });
    });
  });
}
