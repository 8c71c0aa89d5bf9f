import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Flag } from '../../../contracts/op.ts';
import { decodeMessage } from '../../../contracts/message.ts';
import { Op } from '../../../contracts/op.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { Captured, LEFT_OUT } from './captured.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const WIDE = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 200) AS n)";

describe('replica identities', () => {
  it('default: the old row is its key, an unchanged large value is left out', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, big text, n int)');
    await it.run(`INSERT INTO t VALUES (1, ${WIDE}, 0), (2, 'small', 0); UPDATE t SET n = 1 WHERE id = 1; UPDATE t SET n = 1 WHERE id = 2;
      UPDATE t SET id = 3 WHERE id = 1; DELETE FROM t WHERE id = 3`);
    const [wide, narrow, updated, other, gone, come, deleted] = it.rows();
    expect(wide).toMatchObject({ op: 'c', flags: Flag.wide, before: null });
    expect(narrow).toMatchObject({ op: 'c', flags: 0 });
    expect(updated).toMatchObject({ op: 'u', key: ['1'], flags: Flag.incomplete | Flag.wide, before: null, after: { id: '1', big: LEFT_OUT, n: '1' } });
    expect(other).toMatchObject({ op: 'u', key: ['2'], flags: 0, after: { id: '2', big: 'small', n: '1' } });
    expect(gone).toMatchObject({ op: 'd', key: ['1'], flags: Flag.keyChange, before: null, after: null });
    expect(come).toMatchObject({ op: 'c', key: ['3'], flags: Flag.keyChange | Flag.incomplete | Flag.wide, after: { id: '3', big: LEFT_OUT, n: '1' } });
    expect(deleted).toMatchObject({ op: 'd', key: ['3'], before: null, after: null });
  });

  it('full: rows are whole, before and after, and need no remembering', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, big text, n int); ALTER TABLE t REPLICA IDENTITY FULL');
    await it.run(`INSERT INTO t VALUES (1, ${WIDE}, 0); UPDATE t SET n = 1; UPDATE t SET id = 2; DELETE FROM t`);
    const [created, updated, gone, come, deleted] = it.rows();
    const big = created?.after?.['big'];
    expect(String(big)).toHaveLength(6400);
    expect(created).toMatchObject({ flags: 0 });
    expect(updated).toMatchObject({ op: 'u', key: ['1'], flags: 0, before: { id: '1', big, n: '0' }, after: { id: '1', big, n: '1' } });
    expect(gone).toMatchObject({ op: 'd', key: ['1'], flags: Flag.keyChange, before: { id: '1', big, n: '1' } });
    expect(come).toMatchObject({ op: 'c', key: ['2'], flags: Flag.keyChange, after: { id: '2', big, n: '1' } });
    expect(deleted).toMatchObject({ op: 'd', key: ['2'], before: { id: '2', big, n: '1' } });
    expect(it.schema('t')).toMatchObject({ keyKind: 'primary', key: [0] });
  });

  it('index: the columns of the index are the key, in its order', async () => {
    await using it = await Captured.begin(server, `CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b int NOT NULL, v text);
      CREATE UNIQUE INDEX t_ba ON t (b, a); ALTER TABLE t REPLICA IDENTITY USING INDEX t_ba`);
    await it.run(`INSERT INTO t VALUES (1, 'x', 7, 'v'); UPDATE t SET v = 'w'; UPDATE t SET a = 'y'; DELETE FROM t`);
    expect(it.schema('t')).toMatchObject({ keyKind: 'identity', key: [2, 1] });
    expect(it.rows().map((row) => [row.op, row.key, row.flags])).toEqual([
      ['c', ['7', 'x'], 0], ['u', ['7', 'x'], 0], ['d', ['7', 'x'], Flag.keyChange], ['c', ['7', 'y'], Flag.keyChange], ['d', ['7', 'y'], 0],
    ]);
  });

  it('none but full: a bag of rows', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (a int, b text); ALTER TABLE t REPLICA IDENTITY FULL');
    await it.run(`INSERT INTO t VALUES (1, 'x'), (1, 'x'), (NULL, NULL); UPDATE t SET b = 'y' WHERE a = 1; DELETE FROM t WHERE a IS NULL`);
    expect(it.schema('t')).toMatchObject({ keyKind: 'none', key: [] });
    expect(it.rows().map((row) => [row.op, row.key.length, row.before, row.after])).toEqual([
      ['c', 0, null, { a: '1', b: 'x' }], ['c', 0, null, { a: '1', b: 'x' }], ['c', 0, null, { a: null, b: null }],
      ['d', 0, { a: '1', b: 'x' }, null], ['c', 0, null, { a: '1', b: 'y' }],
      ['d', 0, { a: '1', b: 'x' }, null], ['c', 0, null, { a: '1', b: 'y' }],
      ['d', 0, { a: null, b: null }, null],
    ]);
    expect([...it.test.log.fold(it.test.tableId('t')).values()]).toEqual(['2']);
  });

  it('a key that is checked at commit only identifies nothing: keyless under FULL', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, v text); ALTER TABLE t REPLICA IDENTITY FULL');
    await it.run(`INSERT INTO t VALUES (1, 'a'), (2, 'b'); UPDATE t SET id = 3 - id`);
    expect(it.schema('t').keyKind).toBe('none');
    const rows = [...it.test.log.fold(it.test.tableId('t')).keys()].map((image) => Buffer.from(image, 'hex').toString('latin1').replaceAll(/[^ab12]/g, ''));
    expect(rows.toSorted()).toEqual(['1b', '2a']);
  });

  it('a large key column that did not change is filled from the old key', async () => {
    await using it = await Captured.begin(server, `CREATE TABLE t (a text, b int, v text, PRIMARY KEY (a, b)); ALTER TABLE t ALTER a SET STORAGE EXTERNAL`);
    await it.run(`INSERT INTO t VALUES (repeat('k', 2300), 1, 'v'); UPDATE t SET v = 'w'; UPDATE t SET b = 2`);
    const key = 'k'.repeat(2300);
    expect(it.rows().map((row) => [row.op, row.key, row.after?.['a'] ?? null, row.flags & Flag.incomplete])).toEqual([
      ['c', [key, '1'], key, 0], ['u', [key, '1'], key, 0], ['d', [key, '1'], null, 0], ['c', [key, '2'], key, 0],
    ]);
  });
});

describe('transactions', () => {
  it('messages: in a transaction with it, outside as one of their own', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY)');
    await it.run(`BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(true, 'audit', 'héllo'); COMMIT;
      SELECT pg_logical_emit_message(false, 'ping', E'\\\\x00ff'::bytea); BEGIN; SELECT pg_logical_emit_message(true, 'lost', 'x'); ROLLBACK;
      INSERT INTO t VALUES (2)`);
    const messages = it.raw().filter((record) => record.op === Op.message).map((record) => decodeMessage(Buffer.from(record.after, 'hex')));
    expect(messages.map((one) => [one.prefix, one.content.toString('hex')])).toEqual([['audit', Buffer.from('héllo').toString('hex')], ['ping', '00ff']]);
    const source = it.test.log.transactions.filter((one) => one.kind === 'source');
    expect(source.map((one) => one.last - one.after)).toEqual([2, 1, 1]);
    await it.test.stop();
    await it.test.run();
    await it.test.caughtUp();
    expect(it.raw().filter((record) => record.op === Op.message)).toHaveLength(2);
  });

  it('prepared ones come when they are committed', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY)');
    await it.run(`BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'p1'`);
    await it.run(`BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'p2'`);
    expect(it.rows()).toEqual([]);
    await it.run(`ROLLBACK PREPARED 'p1'`);
    await it.run(`COMMIT PREPARED 'p2'`);
    expect(it.rows().map((row) => row.key)).toEqual([['2']]);
  });

  it('rolled back work and savepoints leave nothing', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY)');
    await it.run(`BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s; INSERT INTO t VALUES (3); COMMIT; BEGIN; INSERT INTO t VALUES (4); ROLLBACK`);
    expect(it.rows().map((row) => row.key)).toEqual([['1'], ['3']]);
  });

  it('an origin is told', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY)');
    const origin = `o_${it.source.database}`;
    await it.run(`SELECT pg_replication_origin_create('${origin}'); SELECT pg_replication_origin_session_setup('${origin}')`);
    await it.run('INSERT INTO t VALUES (1)');
    await it.run(`SELECT pg_replication_origin_session_reset(); SELECT pg_replication_origin_drop('${origin}')`);
    await it.run('INSERT INTO t VALUES (2)');
    const origins = it.test.log.transactions.filter((one) => one.kind === 'source').map((one) => one.origin);
    expect(origins).toEqual([origin, '']);
  });

  it('carry the id of the server, 64 bits', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY)');
    await it.source.query('BEGIN; INSERT INTO t VALUES (1)');
    const [row] = await it.source.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
    await it.run('COMMIT');
    expect(it.test.log.transactions.at(-1)?.xid).toBe(Number(row?.xid));
  });
});

describe('names and shapes', () => {
  it('quotes, blanks and unicode', async () => {
    await using it = await Captured.begin(server, `CREATE SCHEMA "we""ird Ü"; CREATE TABLE "we""ird Ü"."ta ble" ("i d" int PRIMARY KEY, "ü'""\\" text)`);
    await it.run(`INSERT INTO "we""ird Ü"."ta ble" VALUES (1, 'ä')`);
    expect(it.rows()).toMatchObject([{ table: 'ta ble', key: ['1'], after: { 'i d': '1', 'ü\'"\\': 'ä' } }]);
  });

  it('1,600 columns', async () => {
    const columns = Array.from({ length: 1599 }, (_, index) => `c${index} int`).join(', ');
    await using it = await Captured.begin(server, `CREATE TABLE t (id int PRIMARY KEY, ${columns})`);
    await it.run('INSERT INTO t (id, c0, c1598) VALUES (1, 5, 6)');
    expect(it.rows()).toMatchObject([{ op: 'c', key: ['1'], after: { c0: '5', c1: null, c1598: '6' } }]);
  });

  it('a table without columns to speak of, truncation with others', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)');
    await it.run('INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1); TRUNCATE a CASCADE');
    expect(it.rows().map((row) => [row.op, row.table])).toEqual([['c', 'a'], ['c', 'b'], ['t', 'a'], ['t', 'b']]);
  });

  it('inheriting tables are tables of their own', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE p (id int PRIMARY KEY, v text); CREATE TABLE c (PRIMARY KEY (id)) INHERITS (p)');
    await it.run(`INSERT INTO p VALUES (1, 'p'); INSERT INTO c VALUES (1, 'c'); UPDATE p SET v = 'x'`);
    expect(it.rows().map((row) => [row.op, row.table, row.key])).toEqual([['c', 'p', ['1']], ['c', 'c', ['1']], ['u', 'p', ['1']], ['u', 'c', ['1']]]);
  });

  it('generated columns as the stream has them', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, s int GENERATED ALWAYS AS (id * 2) STORED, v int GENERATED ALWAYS AS (id * 3) VIRTUAL)');
    await it.run('INSERT INTO t VALUES (2)');
    expect(it.rows()).toMatchObject([{ after: { id: '2', s: '4' } }]);
    expect(it.schema('t').columns.map((column) => [column.name, column.generated])).toEqual([['id', 'no'], ['s', 'stored']]);
  });
});
