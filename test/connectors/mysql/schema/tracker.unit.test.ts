import { describe, expect, test } from 'vitest';
import type { ServerFacts } from '../../../../connectors/mysql/catalog/server-facts.ts';
import { readQuery } from '../../../../connectors/mysql/schema/statement-reading.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { mysqlSource } from '../mysql-source.ts';
import { FACTS, MARIADB_FORMAT, MYSQL_FORMAT, queryEvent, readingOf, Tracking } from './tracking.ts';

const ID = 'id int NOT NULL, v varchar(10), PRIMARY KEY (id)';

describe('entering', () => {
  test('a table comes in when the stream has passed its reading, not before', () => {
    const tracking = new Tracking();
    expect(tracking.run(`CREATE TABLE a (${ID})`)).toEqual([]);
    tracking.answer([readingOf('a', ID)], 100);
    expect([tracking.tracker.isWaiting, tracking.boundary(99), tracking.boundary(100), tracking.tracker.isWaiting]).toEqual([true, [], [['s 1.1']], false]);
  });

  test.each([
    ['ALTER TABLE a ADD x int'], ['RENAME TABLE a TO b'], ['DROP TABLE a'], ['DROP DATABASE shop'], ['CREATE TABLE b LIKE a; FROBNICATE a'], ['RENAME TABLE z TO a'],
  ])('%s between asking and passing: it is read again', (sql) => {
    for (const isAnswered of [false, true]) {
      const tracking = new Tracking();
      tracking.run(`CREATE TABLE a (${ID})`);
      const request = tracking.request();
      if (isAnswered) tracking.answer([readingOf('a', ID)], 100, {}, request);
      tracking.run(sql);
      if (!isAnswered) tracking.answer([readingOf('a', ID)], 100, {}, request);
      expect(tracking.boundary(100).flat().filter((record) => record.startsWith('s'))).toEqual([]);
      expect(tracking.ask()).toContain('a');
    }
  });

  test('what concerns other tables, or none, does not matter', () => {
    const tracking = new Tracking();
    tracking.run(`CREATE TABLE a (${ID})`);
    const request = tracking.request();
    tracking.run('ALTER TABLE other.a ADD x int');
    tracking.run('BEGIN');
    tracking.run("GRANT SELECT ON shop.a TO someone@'%'");
    tracking.answer([readingOf('a', ID)], 100, {}, request);
    expect(tracking.boundary(100)).toEqual([['s 1.1']]);
  });

  test('what is not clear is read three times, then refused and said; a statement that concerns it begins anew', () => {
    const tracking = new Tracking();
    tracking.run(`CREATE TABLE a (${ID})`);
    const unclear = [{ table: { namespace: 'shop', name: 'a' }, error: new TidemarkError('MYSQL_SHAPE', 'odd') }];
    for (let attempt = 1; attempt <= 3; attempt++) {
      tracking.answer([], attempt, { unclear });
      expect(tracking.boundary(attempt)).toEqual([]);
    }
    expect([tracking.ask(), tracking.runtime.lines.map(({ event }) => event)]).toEqual([null, ['table.refused']]);
    tracking.run('ALTER TABLE a ADD x int');
    expect(tracking.ask()).toBeNull();
    tracking.run('RENAME TABLE b TO a');
    expect(tracking.ask()).toEqual(['a']);
  });

  test('tables that are not selected, the server\'s own and those that are gone are left alone', () => {
    const tracking = new Tracking({ tables: ({ namespace, name }) => namespace !== 'shop' || name !== 'skip' });
    tracking.run('CREATE TABLE skip (a int)');
    tracking.run('CREATE TABLE mysql.thing (a int)');
    tracking.tracker.announce([{ namespace: 'shop', name: 'skip' }, { namespace: 'shop', name: 'gone' }]);
    expect(tracking.ask()).toEqual(['gone']);
    tracking.answer([], 1, {}, { tables: [] });
    const request = tracking.request();
    tracking.answer([], 5, {}, request);
    expect([tracking.boundary(5), tracking.ask()]).toEqual([[], null]);
  });

  test('an answer to a request that was asked anew is void', () => {
    const tracking = new Tracking();
    tracking.run(`CREATE TABLE a (${ID})`);
    const old = tracking.request();
    const request = tracking.request();
    tracking.answer([readingOf('a', 'x int')], 1, {}, old);
    tracking.answer([readingOf('a', ID)], 1, {}, request);
    expect([tracking.boundary(1), tracking.columns('a')]).toEqual([[['s 1.1']], '1:id 2:v']);
  });

  test('many tables come in few at a time, under the identities that they were told by', () => {
    const tracking = new Tracking();
    const names = Array.from({ length: 250 }, (_, index) => `t${index}`);
    const told = tracking.tracker.present({ tables: names.map((name) => readingOf(name, ID)), cascades: [] }).map(({ sourceTableId }) => sourceTableId);
    tracking.tracker.announce(names.map((name) => ({ namespace: 'shop', name })));
    tracking.answer(names.map((name) => readingOf(name, ID)), 1);
    expect([tracking.boundary(1), tracking.boundary(1)].map((transactions) => transactions.map(({ length }) => length))).toEqual([[100, 100], [50]]);
    expect(tracking.tracker.isWaiting).toBe(false);
    const catalog = tracking.log.catalog();
    expect(names.map((name) => catalog.byName(`shop.${name}`)?.versions[0]?.schema.sourceTableId)).toEqual(told);
    expect(new Set(told).size).toBe(250);
    expect(tracking.tracker.present({ tables: [], cascades: [] }).length).toBe(250);
  });

  test('tables that cannot be captured are not told of', () => {
    const config = mysqlSource('mysql://u@h', { columns: new Map([['shop.r', { exclude: ['id'], hash: [] }]]) });
    const { tracker } = new Tracking(config);
    const tables = [readingOf('r', ID), readingOf('p', ID, { unreadable: ['v'] }), readingOf('c', ID), readingOf('hole', ID, { engine: 'BLACKHOLE' }), readingOf('m', ID, { engine: 'MEMORY' }), readingOf('fine', ID)];
    const cascades = [{ namespace: 'shop', name: 'c', constraint: 'fk', parent: 'shop.fine', actions: ['ON DELETE CASCADE'] }];
    expect(tracker.present({ tables, cascades }).map(({ name }) => name)).toEqual(['fine']);
  });
});

describe('following', () => {
  const begun = () => new Tracking().begin({ a: ID, b: ID, c: ID });

  test.each([
    ['mysql', 'ALTER TABLE a ADD FOREIGN KEY (v) REFERENCES b (v) ON DELETE CASCADE'],
    ['mysql', 'ALTER TABLE a ADD x int, ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES b (id) ON UPDATE SET NULL'],
    ['mysql', 'ALTER TABLE a ADD x int REFERENCES b (id) ON DELETE CASCADE'],
    ['mariadb', 'ALTER TABLE a ADD x int REFERENCES b (id) ON DELETE SET DEFAULT'],
  ] as const)('a foreign key that changes rows unseen (%s: %s): the table stops, until it has gone', (flavor, sql) => {
    const tracking = begun();
    const format = flavor === 'mysql' ? MYSQL_FORMAT : MARIADB_FORMAT;
    expect(tracking.run(sql, {}, format)).toEqual(['stopped 1 MYSQL_CASCADE']);
    const cascades = [{ namespace: 'shop', name: 'a', constraint: 'f', parent: 'shop.b', actions: ['ON DELETE CASCADE'] }];
    for (const at of [1, 2]) {
      tracking.answer([readingOf('a', ID)], at, { cascades });
      expect(tracking.boundary(at)).toEqual([]);
      expect(tracking.table('a')?.state).toMatchObject({ state: 'stopped', code: 'MYSQL_CASCADE', recopy: false });
      tracking.restart();
      tracking.boundary(at);
    }
    tracking.run('ALTER TABLE a DROP FOREIGN KEY f', {}, format);
    tracking.answer([readingOf('a', ID)], 3);
    expect(tracking.boundary(3)).toEqual([['stopped 1 MYSQL_SHAPE recopy']]);
  });

  test.each(['ALTER TABLE a ENGINE=BLACKHOLE', 'ALTER TABLE a ADD x int, ENGINE MEMORY'])('%s: the table stops, until it has an engine again', (sql) => {
    const tracking = begun();
    expect(tracking.run(sql)).toEqual(['stopped 1 MYSQL_ENGINE']);
    tracking.answer([readingOf('a', ID, { engine: 'BLACKHOLE' })], 1);
    expect(tracking.boundary(1)).toEqual([]);
    tracking.run('ALTER TABLE a ENGINE = InnoDB');
    tracking.answer([readingOf('a', ID)], 2);
    expect(tracking.boundary(2)).toEqual([['stopped 1 MYSQL_ENGINE recopy']]);
    expect(tracking.run('ALTER TABLE a ENGINE = MyISAM')).toEqual([]);
  });

  test('foreign keys that change no rows, or are no keys of the server, are of no matter', () => {
    const tracking = begun();
    tracking.run('ALTER TABLE a ADD FOREIGN KEY (v) REFERENCES b (v) ON DELETE RESTRICT ON UPDATE NO ACTION');
    const old = { ...MYSQL_FORMAT, serverVersion: '8.0.31' };
    tracking.run('ALTER TABLE a ADD x int REFERENCES b (id) ON DELETE CASCADE', {}, old);
    expect(tracking.table('a')?.state).toEqual({ state: 'new' });
  });

  test.each<[string, string[]]>([
    ['RENAME TABLE a TO z', ['s 1.2']],
    ['RENAME TABLE a TO z, z TO a', []],
    ['RENAME TABLE a TO t, b TO a, t TO b', ['s 2.2', 's 1.2']],
    ['RENAME TABLE a TO _a_del, _a_new TO a', ['s 1.2']],
    ['RENAME TABLE a TO other.a', ['removed 1']],
    ['RENAME TABLE other.a TO d', []],
    ['ALTER TABLE a RENAME TO z, ADD x int', ['s 1.2']],
    ['ALTER TABLE a RENAME TO other.z, ADD x int', ['removed 1']],
    ['ALTER TABLE unknown ADD x int', []],
    ['DROP TABLE a, b, unknown', ['removed 1', 'removed 2']],
    ['DROP DATABASE shop', ['removed 1', 'removed 2', 'removed 3']],
    ['CREATE TABLE a (x int)', ['removed 1']],
    ['CREATE TABLE IF NOT EXISTS a (x int)', []],
    ['TRUNCATE TABLE b', ['t 2.1']],
    ['ALTER TABLE a ADD KEY (v)', ['s 1.2']],
    ["ALTER TABLE a COMMENT 'x'", []],
    ['ALTER TABLE a DROP PRIMARY KEY, ADD PRIMARY KEY (id, v)', ['removed 1', 's 4.1']],
    ['ALTER TABLE a DROP PRIMARY KEY, ADD UNIQUE (id)', ['s 1.2']],
    ['ALTER TABLE a ADD x int NOT NULL AUTO_INCREMENT UNIQUE', ['stopped 1 MYSQL_TABLE_REWRITTEN recopy', 's 1.2']],
    ['ALTER TABLE a DROP PARTITION p', ['stopped 1 MYSQL_TABLE_REWRITTEN recopy']],
    ['ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b', ['stopped 2 MYSQL_TABLE_REWRITTEN recopy', 'stopped 1 MYSQL_TABLE_REWRITTEN recopy']],
    ['ALTER TABLE unknown EXCHANGE PARTITION p WITH TABLE b', ['stopped 2 MYSQL_TABLE_REWRITTEN recopy']],
    ['ALTER TABLE a DROP COLUMN nothing', ['stopped 1 MYSQL_SHAPE']],
    ['ALTER TABLE a CONVERT TO CHARACTER SET DEFAULT', ['stopped 1 MYSQL_SHAPE']],
    ['ALTER TABLE a FROBNICATE', ['stopped 1 MYSQL_STATEMENT']],
    ['ALTER TABLE a RENAME TO z, DROP COLUMN nothing', ['stopped 1 MYSQL_SHAPE', 's 1.2']],
    ['INSERT INTO a VALUES (1)', ['stopped 1 MYSQL_STATEMENT_ROWS recopy']],
    ['UPDATE a, b SET a.v = 1', ['stopped 1 MYSQL_STATEMENT_ROWS recopy', 'stopped 2 MYSQL_STATEMENT_ROWS recopy']],
    ['LOAD DATA INFILE \'x\' INTO TABLE c', ['stopped 3 MYSQL_STATEMENT_ROWS recopy']],
    ['CALL everything()', ['stopped 1 MYSQL_STATEMENT_ROWS recopy', 'stopped 2 MYSQL_STATEMENT_ROWS recopy', 'stopped 3 MYSQL_STATEMENT_ROWS recopy']],
  ])('%s', (sql, records) => {
    expect(begun().run(sql)).toEqual(records);
  });

  test('the order of a statement\'s renames decides who has which name', () => {
    const tracking = begun();
    const ids = ['a', 'b', 'c'].map((name) => tracking.table(name)?.tableId);
    tracking.run('RENAME TABLE a TO t, b TO a, c TO b, t TO c');
    expect(['b', 'c', 'a'].map((name) => tracking.table(name)?.tableId)).toEqual([ids[2], ids[0], ids[1]]);
  });

  test('a statement that ended with an error makes its tables unknown, and they are read again', () => {
    const tracking = begun();
    expect(tracking.run('DROP TABLE a, b', { error: 1051 })).toEqual(['stopped 1 MYSQL_STATEMENT', 'stopped 2 MYSQL_STATEMENT']);
    tracking.answer([readingOf('b', ID)], 10);
    expect(tracking.boundary(10)).toEqual([['removed 1', 'stopped 2 MYSQL_STATEMENT recopy']]);
  });

  test('a blind table stays so through statements and a restart, until it is read; then it is copied', () => {
    const tracking = begun();
    expect(tracking.run('ALTER TABLE a DROP COLUMN nothing')).toEqual(['stopped 1 MYSQL_SHAPE']);
    expect(tracking.run('ALTER TABLE a ADD x int')).toEqual([]);
    expect(tracking.run('INSERT INTO a VALUES (1)')).toEqual([]);
    expect(tracking.run('RENAME TABLE a TO z')).toEqual(['s 1.2']);
    tracking.restart();
    expect(tracking.boundary(10)).toEqual([]);
    expect(tracking.ask()).toEqual(['z']);
    tracking.answer([readingOf('z', 'new int, id int NOT NULL, v varchar(10), x int, PRIMARY KEY (id)')], 20);
    expect(tracking.boundary(20)).toEqual([['stopped 1 MYSQL_SHAPE recopy', 's 1.3']]);
    expect(tracking.columns('z')).toBe('3:new 1:id 2:v 4:x');
    expect(tracking.run('ALTER TABLE z ADD y int')).toEqual(['s 1.4']);
    expect(tracking.columns('z')).toBe('3:new 1:id 2:v 4:x 5:y');
    tracking.restart();
    expect([tracking.boundary(30), tracking.ask()]).toEqual([[], null]);
  });

  test('a blind table with another key is another generation', () => {
    const tracking = begun();
    tracking.run('ALTER TABLE a FROBNICATE');
    tracking.answer([readingOf('a', 'id int, v varchar(10) NOT NULL, PRIMARY KEY (v)')], 20);
    expect(tracking.boundary(20)).toEqual([['removed 1', 's 4.1']]);
  });

  test('all tables stop: where statements may be missing they are read again first', () => {
    const tracking = begun();
    expect(tracking.stopAll(new TidemarkError('MYSQL_XA_UNKNOWN', 'x'))).toEqual([1, 2, 3].map((id) => `stopped ${id} MYSQL_XA_UNKNOWN recopy`));
    expect(tracking.stopAll(new TidemarkError('MYSQL_INCIDENT', 'x'))).toEqual([1, 2, 3].map((id) => `stopped ${id} MYSQL_INCIDENT`));
    expect(tracking.stopAll(new TidemarkError('MYSQL_INCIDENT', 'x'))).toEqual([]);
    expect(tracking.ask()).toEqual(['a', 'b', 'c']);
  });

  test('stops name the last offset that is durable, or known to be good from the log', () => {
    const tracking = begun();
    tracking.tracker.acknowledge(7);
    tracking.run('INSERT INTO a VALUES (1)');
    expect(tracking.table('a')?.state).toMatchObject({ consistentUntil: 7 });
  });

  test('a table that the server lists no more, without a statement, leaves the log', () => {
    const tracking = begun();
    expect(tracking.tracker.unknown([{ namespace: 'shop', name: 'a' }, { namespace: 'shop', name: 'n' }])).toEqual([{ namespace: 'shop', name: 'n' }]);
    expect(tracking.ask()).toEqual(['b', 'c']);
    tracking.answer([readingOf('c', ID)], 10, {}, tracking.request());
    expect(tracking.boundary(10)).toEqual([['removed 2']]);
  });

  test('a table that differs from its statements is stopped and copied', () => {
    const tracking = begun();
    tracking.tracker.unknown([]);
    tracking.answer([readingOf('a', 'id int NOT NULL, w varchar(10), PRIMARY KEY (id)'), readingOf('b', ID), readingOf('c', ID)], 10);
    expect(tracking.boundary(10)).toEqual([['stopped 1 MYSQL_SHAPE recopy', 's 1.2']]);
    expect(tracking.columns('a')).toBe('1:id 3:w');
  });

  test('an identity is not given twice, also where the stream that gave it has failed', () => {
    const tracking = begun();
    const idOf = (name: string) => tracking.table(name)?.versions.at(-1)?.schema.sourceTableId;
    const ids = [idOf('a')];
    tracking.run('RENAME TABLE a TO z');
    tracking.run(`CREATE TABLE a (${ID})`);
    tracking.answer([readingOf('a', ID)], 10);
    tracking.boundary(10);
    expect(idOf('z')).toBe(ids[0]);
    ids.push(idOf('a'));
    tracking.run('DROP TABLE a');
    tracking.run(`CREATE TABLE a (${ID})`);
    tracking.answer([readingOf('a', ID)], 20);
    tracking.boundary(20);
    ids.push(idOf('a'));
    expect(new Set(ids).size).toBe(3);
  });
});

describe('reading statements', () => {
  const effect = (sql: string | Buffer, session: Parameters<typeof queryEvent>[2] = {}, format = MYSQL_FORMAT, facts: ServerFacts = FACTS) =>
    readQuery(queryEvent(sql, {}, session), format, facts);

  test('in the character set of the client', () => {
    expect(effect(Buffer.from('DROP TABLE gr\xf6\xdfe', 'latin1'), { charset: { client: 8, connection: 8, server: 8 } }).effect).toMatchObject({ tables: [{ table: 'größe' }] });
    expect(effect(Buffer.from('ALTER TABLE a ADD gr\xf6\xdfe', 'latin1')).effect).toMatchObject({ kind: 'unknown', names: expect.any(Set) as unknown });
    expect(effect('DROP TABLE a', { charset: { client: 9999, connection: 45, server: 45 } }).effect).toMatchObject({ kind: 'unknown' });
  });

  test('MariaDB: an ALTER in two phases counts when it is committed; timestamps by the bit of the session', () => {
    const kind = (gtidFlags: number) => effect('ALTER TABLE a ADD b int', { gtidFlags }, MARIADB_FORMAT).effect.kind;
    expect([2, 8, 4, 0].map(kind)).toEqual(['nothing', 'nothing', 'alter-table', 'alter-table']);
    const explicit = (hasExplicitTimestampsBit: boolean) => effect('ALTER TABLE a ADD b timestamp', { hasExplicitTimestampsBit }, MARIADB_FORMAT).effect;
    expect([explicit(true), explicit(false)]).toMatchObject([{ context: { explicitTimestamps: true, version: 110_806 } }, { context: { explicitTimestamps: false } }]);
  });

  test('collations that the session chose, by the names of the server', () => {
    expect(effect('ALTER TABLE a ADD b int', { utf8mb4Collation: 45 }).defaults.collations?.get('utf8mb4')).toBe('utf8mb4_general_ci');
    expect(effect('ALTER TABLE a ADD b int', { utf8mb4Collation: 7777 }).isUnclear).toBe(true);
    const tracking = new Tracking().begin({ a: ID });
    expect(tracking.tracker.statement(queryEvent('ALTER TABLE a ADD b text CHARACTER SET utf8mb4', {}, { utf8mb4Collation: 7777 }), MYSQL_FORMAT).records.length).toBe(1);
    expect(tracking.table('a')?.state).toEqual({ state: 'new' });
  });

  test('names are folded where the server folds them', () => {
    const tracking = new Tracking({}, { ...FACTS, lowerCaseNames: true }).begin({ a: ID });
    expect(tracking.run('ALTER TABLE SHOP.A ADD x int')).toEqual(['s 1.2']);
    expect(tracking.tracker.unknown([{ namespace: 'Shop', name: 'A' }])).toEqual([]);
  });
});
