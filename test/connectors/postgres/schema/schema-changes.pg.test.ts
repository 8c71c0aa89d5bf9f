import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { NEVER } from '../../../../contracts/kit/connector-kit-common.ts';
import { Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { readImage } from '../../../../contracts/row-image.ts';
import { encodeSchema, type TableSchema } from '../../../../contracts/schema.ts';
import { startPostgres, type PostgresServer } from '../../../fixtures/embedded-postgres.ts';
import { Captured } from '../captured.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const SETUP = `CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, a int, v varchar(10), m mood, gone text)`;

/** What a change brings, noticed by the next row and, separately, without any row by polling. */
interface Expected {
  readonly stopped: boolean;
  readonly columns?: readonly string[];
  readonly fill?: readonly [string, string | null];
}

const CHANGES: readonly [string, string, Expected][] = [
  ['a nullable column', 'ALTER TABLE t ADD n int', { stopped: false, columns: ['id', 'a', 'v', 'm', 'gone', 'n'], fill: ['n', null] }],
  ['a column with a constant default', `ALTER TABLE t ADD n text NOT NULL DEFAULT 'x''y'`, { stopped: false, fill: ['n', "x'y"] }],
  ['a column with a default that is fixed for the statement', 'ALTER TABLE t ADD n timestamptz DEFAULT to_timestamp(0)', { stopped: false, fill: ['n', '1970-01-01 00:00:00+00'] }],
  ['a column with a computed default', 'ALTER TABLE t ADD n float8 DEFAULT random()', { stopped: true }],
  ['an identity column', 'ALTER TABLE t ADD n int GENERATED ALWAYS AS IDENTITY', { stopped: true }],
  ['a serial column', 'ALTER TABLE t ADD n serial', { stopped: true }],
  ['a stored generated column', 'ALTER TABLE t ADD n int GENERATED ALWAYS AS (id + 1) STORED', { stopped: true }],
  ['a virtual generated column', 'ALTER TABLE t ADD n int GENERATED ALWAYS AS (id + 1) VIRTUAL', { stopped: false, columns: ['id', 'a', 'v', 'm', 'gone'] }],
  ['a dropped column', 'ALTER TABLE t DROP gone', { stopped: false, columns: ['id', 'a', 'v', 'm'] }],
  ['a column dropped and added again', 'ALTER TABLE t DROP gone; ALTER TABLE t ADD gone text', { stopped: true }],
  ['a renamed column', 'ALTER TABLE t RENAME gone TO still', { stopped: false, columns: ['id', 'a', 'v', 'm', 'still'] }],
  ['a renamed table', 'ALTER TABLE t RENAME TO t2; ALTER TABLE t2 RENAME TO t3', { stopped: false, columns: ['id', 'a', 'v', 'm', 'gone'] }],
  ['a wider integer', 'ALTER TABLE t ALTER a TYPE bigint', { stopped: false }],
  ['a longer varchar', 'ALTER TABLE t ALTER v TYPE varchar(20)', { stopped: false }],
  ['varchar to text', 'ALTER TABLE t ALTER v TYPE text', { stopped: false }],
  ['an integer to a float', 'ALTER TABLE t ALTER a TYPE float8', { stopped: true }],
  ['a shorter varchar', 'ALTER TABLE t ALTER v TYPE varchar(5)', { stopped: true }],
  ['an enum label', `ALTER TYPE mood ADD VALUE 'happy' BEFORE 'ok'`, { stopped: false }],
  ['a renamed enum label', `ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'`, { stopped: true }],
  ['not null', 'ALTER TABLE t ALTER a SET NOT NULL', { stopped: false }],
  ['a default', 'ALTER TABLE t ALTER a SET DEFAULT 5', { stopped: false }],
  ['a rewrite without any change', 'VACUUM FULL t', { stopped: false, columns: ['id', 'a', 'v', 'm', 'gone'] }],
];

describe.each(CHANGES)('%s', (_name, change, expected) => {
  async function altered(withRow: boolean): Promise<void> {
    await using it = await Captured.begin(server, SETUP, { options: { catalog_poll: withRow ? '1h' : '100ms' } });
    await it.run(`INSERT INTO t VALUES (1, 1, 'v', 'sad', 'g')`);
    const [found] = await it.source.query<{ oid: string }>(`SELECT 't'::regclass::oid::text AS oid`);
    const oid = found?.oid ?? '';
    const mark = it.mark;
    for (const statement of change.split('; ')) await it.source.query(statement);
    if (withRow) {
      const [named] = await it.source.query<{ name: string }>(`SELECT ${oid}::regclass::text AS name`);
      await it.run(`INSERT INTO ${named?.name} (id, a) VALUES (2, 1)`);
      expect(it.rows(mark)).toHaveLength(1);
    } else if (expected.stopped) await it.until((catalog) => catalog.bySourceId(oid)?.state.state === 'stopped', 'the stop');
    else if (JSON.stringify(expected.columns) !== JSON.stringify(['id', 'a', 'v', 'm', 'gone']) || change.includes('RENAME TO')) {
      await it.until((catalog) => (catalog.bySourceId(oid)?.versions.length ?? 0) > 1, 'the new schema');
    }
    const table = it.test.log.catalog().bySourceId(oid);
    expect(table?.state.state).toBe(expected.stopped ? 'stopped' : 'new');
    if (expected.stopped) expect(table?.state).toMatchObject({ code: 'POSTGRES_TABLE_REWRITTEN', recopy: true });
    const schema = table?.versions.at(-1)?.schema;
    if (expected.columns !== undefined) expect(schema?.columns.map((column) => column.name)).toEqual(expected.columns);
    if (expected.fill !== undefined) expect(schema?.columns.find((column) => column.name === expected.fill?.[0])?.fill).toBe(expected.fill[1]);
    expect(it.schemas(mark).length).toBeLessThanOrEqual(change.includes('ADD gone') ? 2 : 1);
  }

  // The server says nothing of a type's labels with the rows: that is for polling.
  if (!change.startsWith('ALTER TYPE')) it('is told before the next row', () => altered(true));
  it('is found without one', () => altered(false));
});

describe('labels of an enum', () => {
  const ENUMS = `CREATE TYPE mood AS ENUM ('sad', 'o"k'); CREATE DOMAIN feeling AS mood;
    CREATE TABLE t (id int PRIMARY KEY, m mood, list mood[], f feeling)`;
  const never = { options: { catalog_poll: '1h' } };

  it.each([
    ['a column', `INSERT INTO t (id, m) VALUES (1, 'new')`],
    ['an array', `INSERT INTO t (id, list) VALUES (1, '{sad,NULL,"o\\"k",new}')`],
    ['a domain', `INSERT INTO t (id, f) VALUES (1, 'new')`],
  ])('stand in the log before the first row that shows them in %s', async (_what, insert) => {
    await using it = await Captured.begin(server, ENUMS, never);
    await it.run(`INSERT INTO t VALUES (0, 'sad', '{o\\"k}', 'o"k')`);
    const mark = it.mark;
    await it.source.query(`ALTER TYPE mood ADD VALUE 'new'`);
    await it.run(`${insert}; UPDATE t SET m = 'sad' WHERE id = 1`);
    expect(it.raw(mark).map((record) => String.fromCharCode(record.op)).join('')).toBe('scu');
    expect(it.schemas(mark)[0]?.columns[1]?.type).toMatchObject({ kind: 'enum', labels: ['sad', 'o"k', 'new'] });
    expect(it.controls(mark)).toEqual([]);
  });

  it('that were renamed stop the table with the first row that shows one', async () => {
    await using it = await Captured.begin(server, ENUMS, never);
    await it.run(`INSERT INTO t VALUES (0, 'sad')`);
    const mark = it.mark;
    await it.source.query(`ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'`);
    await it.run(`INSERT INTO t VALUES (1, 'blue')`);
    expect(it.raw(mark).map((record) => String.fromCharCode(record.op)).join('')).toBe('hsc');
  });
});

describe('identity', () => {
  it('a new key is a new generation', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL)', { options: { catalog_poll: '1h' } });
    await it.run('INSERT INTO t VALUES (1, 10)');
    const before = it.test.tableId('t');
    const mark = it.mark;
    await it.source.query('ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (k)');
    await it.run('INSERT INTO t VALUES (1, 11)');
    expect(it.controls(mark)).toEqual([{ type: 'removed' }]);
    expect(it.test.tableId('t')).toBeGreaterThan(before);
    expect(it.schema('t')).toMatchObject({ version: 1, key: [1] });
    expect(it.rows(mark)).toMatchObject([{ op: 'c', key: ['11'] }]);
  });

  it('an identity that is gone stops the table, and the rest goes on', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)', { options: { catalog_poll: '1h' } });
    await it.run('INSERT INTO t VALUES (1)');
    const mark = it.mark;
    await it.source.query('ALTER TABLE t DROP CONSTRAINT t_pkey');
    await it.run('INSERT INTO t VALUES (2); INSERT INTO other VALUES (1)');
    expect(it.controls(mark)).toMatchObject([{ type: 'stopped', code: 'POSTGRES_IDENTITY', recopy: false }]);
    expect(it.rows(mark)).toMatchObject([{ table: 'other' }]);
  });

  it('another replica identity with the same key changes nothing', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, v text)', { options: { catalog_poll: '1h' } });
    await it.run('INSERT INTO t VALUES (1)');
    const mark = it.mark;
    await it.source.query('ALTER TABLE t REPLICA IDENTITY FULL');
    await it.run(`UPDATE t SET v = 'x'`);
    expect(it.schemas(mark)).toEqual([]);
    expect(it.rows(mark)).toMatchObject([{ op: 'u', key: ['1'], before: { id: '1', v: null } }]);
  });
});

describe('while the stream was behind', () => {
  it('rows of each shape go under it, and the log never goes back', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, a text, b text)', { options: { catalog_poll: '1h' } });
    await it.run(`INSERT INTO t VALUES (1, 'a1', 'b1')`);
    await it.test.stop();
    for (const sql of [
      `INSERT INTO t VALUES (2, 'a2', 'b2')`, 'ALTER TABLE t ADD c text', `INSERT INTO t VALUES (3, 'a3', 'b3', 'c3')`, 'ALTER TABLE t RENAME a TO x',
      `INSERT INTO t VALUES (4, 'a4', 'b4', 'c4')`, 'ALTER TABLE t DROP b', `INSERT INTO t VALUES (5, 'a5', 'c5')`, `ALTER TABLE t ADD d int DEFAULT 9`,
      `INSERT INTO t VALUES (6, 'a6', 'c6', 7)`,
    ]) await it.source.query(sql);
    await it.test.run();
    await it.test.caughtUp();
    // Each value under its own column, by number, whatever the column's name was.
    const catalog = it.test.log.catalog();
    const values = it.raw().filter((record) => record.op === Op.create).map((record) => {
      const { columns } = catalog.schemaOf(record.tableId, record.schemaVersion);
      return readImage(Buffer.from(record.after, 'hex')).map((value, index) => `${columns[index]?.number}=${String(value)}`).join(' ');
    });
    expect(values).toEqual([
      '1=1 2=a1 3=b1', '1=2 2=a2 3=b2', '1=3 2=a3 3=b3 4=c3', '1=4 2=a4 3=b4 4=c4', '1=5 2=a5 4=c5', '1=6 2=a6 4=c6 5=7',
    ]);
    const last = it.schema('t');
    expect(last.columns.map((column) => [column.number, column.name, column.fill])).toEqual([[1, 'id', null], [2, 'x', null], [4, 'c', null], [5, 'd', '9']]);
    expect(it.rows().at(-1)?.after).toEqual({ id: '6', x: 'a6', c: 'c6', d: '7' });
    expect(it.controls()).toEqual([]);
  });

  it('a table announced with its newest shape takes older rows into it', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, a text)', { options: { catalog_poll: '1h' } });
    await it.test.stop();
    await it.source.query(`INSERT INTO t VALUES (1, 'old')`);
    await it.source.query(`ALTER TABLE t ADD n text DEFAULT 'fill', ADD b bytea DEFAULT '\\x00ff'`);
    // The log is given the newest shape first, as by a copy that runs ahead of the stream.
    const [now] = await it.test.connector.tables(new AbortController().signal);
    if (now === undefined) throw new Error('no table');
    appendSchema(it, { ...now, tableId: it.test.tableId('t'), version: 2 });
    const mark = it.mark;
    await it.test.run();
    await it.test.caughtUp();
    expect(it.rows(mark).map((row) => row.after)).toEqual([{ id: '1', a: 'old', n: 'fill', b: Buffer.from([0, 255]) }]);
    expect(it.schemas(mark)).toEqual([]);
  });
});

describe('partitions', () => {
  const PARTITIONED = `CREATE TABLE p (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
    CREATE TABLE loose (id int NOT NULL, day int NOT NULL, v text, PRIMARY KEY (id, day)); INSERT INTO loose VALUES (1, 25, 'x')`;
  const leave = { tables: ({ name }: { name: string }) => name !== 'loose', options: { catalog_poll: '100ms' } };

  it('rows come under the root, also when they move', async () => {
    await using it = await Captured.begin(server, PARTITIONED, leave);
    await it.run(`INSERT INTO p VALUES (1, 1, 'a'); UPDATE p SET v = 'b'; UPDATE p SET day = 15; INSERT INTO p2 VALUES (2, 12, 'c'); DELETE FROM p; TRUNCATE p`);
    expect(it.rows().map((row) => [row.op, row.table, row.key])).toEqual([
      ['c', 'p', ['1', '1']], ['u', 'p', ['1', '1']], ['d', 'p', ['1', '1']], ['c', 'p', ['1', '15']], ['c', 'p', ['2', '12']],
      ['d', 'p', ['1', '15']], ['d', 'p', ['2', '12']], ['t', 'p', []],
    ]);
    expect(it.test.log.fold(it.test.tableId('p')).size).toBe(0);
  });

  it('a new empty partition changes nothing', async () => {
    await using it = await Captured.begin(server, PARTITIONED, leave);
    await it.run(`CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30)`);
    await it.run(`INSERT INTO p VALUES (3, 25, 'd')`);
    await it.until((catalog) => (catalog.byName('public.p')?.versions.length ?? 0) > 1, 'the new storage');
    expect(it.controls()).toEqual([]);
    expect(it.rows()).toMatchObject([{ op: 'c', key: ['3', '25'] }]);
  });

  it.each([
    ['attached', 'ALTER TABLE p ATTACH PARTITION loose FOR VALUES FROM (20) TO (30)'],
    ['filled, then attached, at once', `BEGIN; CREATE TABLE n (LIKE p); INSERT INTO n VALUES (1, 31, 'y'); ALTER TABLE p ATTACH PARTITION n FOR VALUES FROM (30) TO (40); COMMIT`],
    ['detached', 'ALTER TABLE p DETACH PARTITION p2'],
    ['dropped', 'DROP TABLE p2'],
    ['truncated alone', 'TRUNCATE p2'],
  ])('one that is %s starts a re-copy', async (_what, sql) => {
    await using it = await Captured.begin(server, PARTITIONED, leave);
    await it.run(sql);
    await it.until((catalog) => catalog.byName('public.p')?.state.state === 'stopped', 'the stop');
    expect(it.controls()).toMatchObject([{ type: 'stopped', code: 'POSTGRES_TABLE_REWRITTEN', recopy: true }]);
  });

  it('one that was detached while nobody looked is found at the next start', async () => {
    await using it = await Captured.begin(server, PARTITIONED, leave);
    await it.test.stop();
    it.test.restart();
    await it.source.query('ALTER TABLE p DETACH PARTITION p2');
    await it.test.run();
    await it.until((catalog) => catalog.byName('public.p')?.state.state === 'stopped', 'the stop');
  });
});

describe('tables', () => {
  it('a new one that is selected is published and told', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY)');
    await it.source.query('CREATE TABLE fresh (id int PRIMARY KEY, v text)');
    await it.until((catalog) => catalog.byName('public.fresh') !== undefined, 'the new table');
    await it.run(`INSERT INTO fresh VALUES (1, 'x')`);
    expect(it.rows()).toMatchObject([{ table: 'fresh', key: ['1'] }]);
  });

  it('a new one without identity is left alone, and its application goes on', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY)');
    await it.source.query('CREATE TABLE bare (id int); CREATE TABLE fresh (id int PRIMARY KEY)');
    await it.until((catalog) => catalog.byName('public.fresh') !== undefined, 'the new table');
    await it.run('INSERT INTO bare VALUES (1); UPDATE bare SET id = 2; DELETE FROM bare');
    expect(it.rows()).toEqual([]);
    expect(it.source.runtime.lines.filter((line) => line.event === 'table.refused')).toHaveLength(1);
  });

  it('two that swap their names keep their rows', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text)', { options: { catalog_poll: '1h' } });
    await it.run(`INSERT INTO a VALUES (1, 'a'); INSERT INTO b VALUES (1, 'b')`);
    const [a, b] = [it.test.tableId('a'), it.test.tableId('b')];
    await it.source.query('BEGIN; ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; COMMIT');
    const mark = it.mark;
    await it.run(`INSERT INTO a VALUES (2, 'now a'); INSERT INTO b VALUES (2, 'now b')`);
    expect(it.raw(mark).filter((record) => record.op === 0x63).map((record) => record.tableId)).toEqual([b, a]);
    expect([it.test.tableId('a'), it.test.tableId('b')]).toEqual([b, a]);
    expect(it.controls(mark)).toEqual([]);
  });

  it('one that leaves the selection by its new name is removed', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY)', { tables: ({ name }) => !name.startsWith('old_') });
    await it.run('INSERT INTO t VALUES (1)');
    const id = it.test.tableId('t');
    await it.run('ALTER TABLE t RENAME TO old_t; INSERT INTO old_t VALUES (2)');
    await it.until((catalog) => catalog.table(id)?.state.state === 'removed', 'the removal');
    expect(it.rows()).toHaveLength(1);
  });
});

describe('columns that are left out or hashed', () => {
  const settings = {
    hashKey: 'pepper',
    columns: new Map([['public.t', { exclude: ['secret', 'blob'], hash: ['email'] }]]),
    options: { catalog_poll: '100ms' },
  };
  const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, secret text, email text, blob bytea, v text)';

  it('never reach the log, in old rows neither', async () => {
    await using it = await Captured.begin(server, `${TABLE}; ALTER TABLE t REPLICA IDENTITY FULL`, settings);
    await it.run(`INSERT INTO t VALUES (1, 'hunter2', 'a@b.example', '\\x68756e74657232', 'v'), (2, 'hunter2', 'a@b.example', null, null);
      UPDATE t SET v = 'w', secret = 'hunter3'; DELETE FROM t WHERE id = 2`);
    const rows = it.rows();
    const email = rows[0]?.after?.['email'];
    expect(email).toMatch(/^[0-9a-f]{64}$/);
    expect(rows.map((row) => row.after)).toEqual([
      { id: '1', email, v: 'v' }, { id: '2', email, v: null }, { id: '1', email, v: 'w' }, { id: '2', email, v: 'w' }, null,
    ]);
    const bytes = it.raw().map((record) => Buffer.from(record.before + record.after, 'hex').toString('latin1')).join('');
    expect(bytes).not.toContain('hunter');
    expect(bytes).not.toContain('b.example');
    expect(it.schema('t').columns.map((column) => [column.name, column.nativeType])).toEqual([['id', 'integer'], ['email', 'text'], ['v', 'text']]);
  });

  it('stay so when they are renamed', async () => {
    await using it = await Captured.begin(server, TABLE, settings);
    await it.run(`INSERT INTO t VALUES (1, 'hunter2', 'a@b.example', null, 'v')`);
    await it.run(`ALTER TABLE t RENAME secret TO open; ALTER TABLE t RENAME email TO mail`);
    await it.run(`INSERT INTO t VALUES (2, 'hunter2', 'a@b.example', null, 'v')`);
    const last = it.rows().at(-1);
    expect(Object.keys(last?.after ?? {})).toEqual(['id', 'mail', 'v']);
    expect(last?.after?.['mail']).toMatch(/^[0-9a-f]{64}$/);
    await it.test.stop();
    await expect(it.test.connector.prepare(it.test.start, new AbortController().signal)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_COLUMN_RULE' }));
  });

  it('may not be part of the key', async () => {
    const rule = { ...settings, columns: new Map([['public.t', { exclude: ['id'], hash: [] }]]) };
    await expect(Captured.begin(server, TABLE, rule)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_COLUMN_RULE' }));
  });
});

function appendSchema(it: Captured, schema: TableSchema): void {
  const builder = new BatchBuilder(1 << 16);
  builder.begin('hub', 0, 0);
  builder.record(Op.schema, 0, schema.tableId, schema.version, Buffer.alloc(0), Buffer.alloc(0), encodeSchema(schema));
  builder.commit(Buffer.from(it.test.log.position ?? '', 'hex'));
  it.test.log.append(builder.take());
}

describe('a change that was seen and did not enter the log', () => {
  it('is judged again by the next stream', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)');
    await it.run('INSERT INTO t VALUES (2)');
    await it.test.stop();
    const { connector, start } = it.test;
    const lost = connector.stream(start, NEVER);
    await it.source.query('ALTER TABLE t ADD n float8 DEFAULT random(); INSERT INTO t VALUES (3)');
    const view = new RecordView();
    for await (const batch of lost) {
      view.reset(batch.records);
      while (view.next() && view.op !== Op.schema);
      if (view.op === Op.schema) break;
    }
    await lost[Symbol.asyncDispose]();
    await it.test.run();
    await it.test.caughtUp();
    expect(it.controls()).toMatchObject([{ type: 'stopped', code: 'POSTGRES_TABLE_REWRITTEN', recopy: true }]);
  });
});

describe('a column that came, was written, went and came again, at once', () => {
  it.each([
    ['unknown to the log before', ''],
    ['known to the log before', 'ALTER TABLE t ADD again text; '],
  ])('%s: the table is copied again, since its tuples do not tell which of the two they mean', async (_name, before) => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)');
    if (before !== '') await it.run(`${before}INSERT INTO t VALUES (2, 2, 'known')`);
    await it.run(`BEGIN; ALTER TABLE t ADD COLUMN IF NOT EXISTS again text; UPDATE t SET again = 'of the first'; ALTER TABLE t DROP COLUMN again; ALTER TABLE t ADD COLUMN again text; COMMIT`);
    expect(it.controls()).toMatchObject([{ type: 'stopped', code: 'POSTGRES_TABLE_REWRITTEN', recopy: true }]);
  });
});
