import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeControl } from '../../../../contracts/control.ts';
import { Op } from '../../../../contracts/op.ts';
import { startPostgres, type PostgresServer } from '../../../fixtures/embedded-postgres.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import { CopyRig, type CopyHooks } from './copy-rig.ts';

let server: PostgresServer;
let directory: TemporaryDirectory;
let databases = 0;

beforeAll(async () => {
  server = await startPostgres({ settings: { synchronous_commit: 'on' } });
  directory = await temporaryDirectory('copy-kinds');
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

async function database(...statements: string[]): Promise<string> {
  const name = `kinds${++databases}`;
  await server.query(`CREATE DATABASE ${name}`);
  for (const statement of statements) await server.query(statement, [], name);
  return name;
}

function start(name: string, hooks: CopyHooks = {}): Promise<CopyRig> {
  return CopyRig.start(server, name, `${directory.path}/${name}`, hooks);
}

async function expectSame(rig: CopyRig, table: string, columns: readonly string[]): Promise<void> {
  await rig.caughtUp();
  const [folded, atServer] = [await rig.fold(`public.${table}`), await rig.atServer(table, columns)];
  expect(folded.length).toBe(atServer.length);
  expect(folded).toEqual(atServer);
}

describe('a copy of a keyless table', () => {
  it('has every one of its rows, equal ones too, under writers', async () => {
    const name = await database(
      'CREATE TABLE bag (word text, amount int)',
      'ALTER TABLE bag REPLICA IDENTITY FULL',
      `INSERT INTO bag SELECT 'word ' || g % 50, g % 3 FROM generate_series(1, 20000) AS g`,
    );
    const stop = new AbortController();
    await using writer = await server.connect(name);
    const writing = (async () => {
      let count = 0;
      for (; !stop.signal.aborted; count++) {
        await writer.query(`INSERT INTO bag VALUES ('word ' || $1::int % 50, 7), ('word ' || $1::int % 50, 7)`, [count]);
        await writer.query(`DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE word = 'word ' || $1::int % 50 LIMIT 2)`, [count]);
        await writer.query(`UPDATE bag SET amount = amount + 1 WHERE ctid IN (SELECT ctid FROM bag WHERE word = 'word ' || $1::int % 50 LIMIT 3)`, [count + 7]);
      }
      return count;
    })();
    await using rig = await start(name);
    await rig.consistent('public.bag');
    stop.abort();
    expect(await writing).toBeGreaterThan(3);
    await expectSame(rig, 'bag', ['word', 'amount']);
    expect(await rig.query(`SELECT slot_name FROM pg_replication_slots WHERE temporary`)).toEqual([]);
  });

  it('that is empty, or truncated before the rows are read', async () => {
    const name = await database(
      'CREATE TABLE none (word text); ALTER TABLE none REPLICA IDENTITY FULL',
      `CREATE TABLE gone (word text); ALTER TABLE gone REPLICA IDENTITY FULL; INSERT INTO gone SELECT 'x' FROM generate_series(1, 10)`,
    );
    await using session = await server.connect(name);
    let truncated = false;
    await using rig = await start(name, {
      async beforeChunk(_count, plan) {
        if (plan.table.name !== 'gone' || truncated) return;
        truncated = true;
        await session.query(`TRUNCATE gone; INSERT INTO gone VALUES ('later'), ('later')`);
      },
    });
    await rig.consistent('public.none', 'public.gone');
    await expectSame(rig, 'none', ['word']);
    await expectSame(rig, 'gone', ['word']);
    expect(truncated).toBe(true);
  });
});

describe('a copy of a partitioned table', () => {
  const statements = [
    'CREATE TABLE parts (id int, region text NOT NULL, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)',
    `CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a')`,
    // Its columns stand in another order.
    'CREATE TABLE parts_b (note text, gone int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region))',
    'ALTER TABLE parts_b DROP gone',
    `ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b')`,
    `INSERT INTO parts SELECT g, CASE WHEN g % 2 = 0 THEN 'a' ELSE 'b' END, 'note ' || g FROM generate_series(1, 2000) AS g`,
  ];

  it('has the rows of every leaf, also those that move between leaves', async () => {
    const name = await database(...statements);
    await using session = await server.connect(name);
    await using rig = await start(name, {
      pages: 2,
      async beforeChunk(count) {
        if (count % 3 === 0) await session.query(`UPDATE parts SET region = CASE region WHEN 'a' THEN 'b' ELSE 'a' END WHERE id % 10 = $1`, [count % 10]);
      },
    });
    await rig.consistent('public.parts');
    await expectSame(rig, 'parts', ['id', 'region', 'note']);
    // The server describes its leaves, too; they are no tables of the log.
    expect(rig.log.catalog().tables().length).toBe(1);
  });

  it('begins anew when a partition is attached', async () => {
    const name = await database(...statements);
    await using session = await server.connect(name);
    await using rig = await start(name, {
      pages: 2,
      async beforeChunk(count) {
        if (count !== 4) return;
        await session.query(`CREATE TABLE parts_c (id int NOT NULL, region text NOT NULL, note text, PRIMARY KEY (id, region))`);
        await session.query(`INSERT INTO parts_c SELECT g, 'c', 'attached' FROM generate_series(1, 500) AS g`);
        await session.query(`ALTER TABLE parts ATTACH PARTITION parts_c FOR VALUES IN ('c')`);
      },
    });
    await rig.until('the attached rows are there', async () => {
      if (rig.state('public.parts') !== 'consistent') return false;
      return (await rig.fold('public.parts')).some((row) => row[2] === 'attached');
    });
    await rig.consistent('public.parts');
    await expectSame(rig, 'parts', ['id', 'region', 'note']);
  });
});

describe('a table that was dropped while the stream is behind', () => {
  it.each([
    ['for good', []],
    ['and made anew under its name', ['CREATE TABLE shapes (id int PRIMARY KEY)', 'INSERT INTO shapes VALUES (1), (7)']],
  ])('%s leaves the log behind its last row, and for good', async (_how, anew) => {
    const name = await database('CREATE TABLE shapes (id int PRIMARY KEY, v text)', "INSERT INTO shapes SELECT g, 'old' FROM generate_series(1, 100) AS g", 'CREATE TABLE other (id int PRIMARY KEY)');
    {
      await using rig = await start(name);
      await rig.consistent('public.shapes', 'public.other');
    }
    for (let n = 0; n < 200; n++) await server.query(`UPDATE shapes SET v = 'more' WHERE id = ${1 + (n % 100)}`, [], name);
    await server.query('ALTER TABLE shapes ADD COLUMN w int DEFAULT 3; UPDATE shapes SET w = 4 WHERE id < 10', [], name);
    for (const statement of ['DROP TABLE shapes', ...anew]) await server.query(statement, [], name);
    for (let n = 0; n < 20; n++) await server.query(`INSERT INTO other VALUES (${n})`, [], name);
    await using rig = await start(name);
    await rig.until('the stream has begun', () => rig.log.state().position !== null);
    await rig.caughtUp();
    if (anew.length > 0) await rig.consistent('public.shapes');
    const old = rig.log.catalog().tables().find(({ versions }) => versions[0]?.schema.columns.length === 2);
    await rig.until('the table has left the log', () => rig.log.catalog().table(old?.tableId ?? 0)?.state.state === 'removed');
    await rig.caughtUp();
    let removed = 0;
    for await (const view of rig.records()) {
      if (view.tableId !== old?.tableId) continue;
      expect(removed, 'records after the removal').toBe(0);
      if (view.op === Op.control && decodeControl(view.after()).type === 'removed') removed++;
    }
    expect(removed).toBe(1);
  });
});

describe('a repeated copy', () => {
  it('deletes what is gone and finds what is new', async () => {
    const name = await database(
      'CREATE TABLE items (id int PRIMARY KEY, note text)',
      `INSERT INTO items SELECT g, 'note ' || g FROM generate_series(1, 3000) AS g`,
    );
    await using session = await server.connect(name);
    await using rig = await start(name, { pages: 2 });
    await rig.consistent('public.items');
    // Changes that the stream cannot have.
    await session.query(`ALTER PUBLICATION publication_${name} DROP TABLE items`);
    await session.query('DELETE FROM items WHERE id % 3 = 0');
    await session.query(`UPDATE items SET note = 'lost' WHERE id % 3 = 1`);
    await session.query(`INSERT INTO items SELECT g, 'lost' FROM generate_series(5000, 5100) AS g`);
    await session.query(`ALTER PUBLICATION publication_${name} ADD TABLE items`);
    expect(await rig.fold('public.items')).not.toEqual(await rig.atServer('items', ['id', 'note']));
    await rig.hub.recopy('shop', 'public.items');
    await rig.until('a second copy is complete', async () => (await rig.controls('public.items')).filter((control) => control.type === 'copied').length === 2);
    await expectSame(rig, 'items', ['id', 'note']);
  });
});

describe('a copy of a table whose shape changes meanwhile', () => {
  it('has every row in the newest shape', async () => {
    const name = await database(
      'CREATE TABLE shapes (id int PRIMARY KEY, old text, kept text)',
      `INSERT INTO shapes SELECT g, 'old ' || g, 'kept ' || g FROM generate_series(1, 3000) AS g`,
    );
    await using session = await server.connect(name);
    await using rig = await start(name, {
      pages: 2,
      async beforeChunk(count) {
        if (count === 3) await session.query(`ALTER TABLE shapes ADD added text DEFAULT 'filled'`);
        if (count === 4) await session.query(`UPDATE shapes SET added = 'changed' WHERE id % 5 = 0`);
        if (count === 6) await session.query('ALTER TABLE shapes DROP old');
        if (count === 7) await session.query('ALTER TABLE shapes RENAME kept TO renamed');
      },
    });
    await rig.consistent('public.shapes');
    await expectSame(rig, 'shapes', ['id', 'renamed', 'added']);
  });
});

describe('the rows of a copy', () => {
  it('have the bytes that the stream gives them, whatever their type; left-out and hashed columns as configured', async () => {
    const columns = {
      a: 'bool', b: 'int2', c: 'int8', d: 'numeric', e: 'float4', f: 'float8', g: 'text', h: 'varchar(20)', i: 'char(5)', j: 'bytea',
      k: 'bit(5)', l: 'varbit', m: 'uuid', n: 'date', o: 'time(3)', p: 'timetz', q: 'timestamp', r: 'timestamptz', s: 'interval',
      t: 'json', u: 'jsonb', v: 'inet', w: 'cidr', x: 'macaddr', y: 'money', z: 'text[]', aa: 'int4[]', ab: 'int4range', ac: 'xml',
      ad: 'tsvector', ae: 'point', af: 'bytea[]', ag: 'mood', ah: 'pair', ai: 'small', aj: 'bytea', ak: 'text',
    };
    const values = [
      `true, -32768, 9223372036854775807, 'NaN', 'Infinity', 0.1, E'tab\\t line\\n back\\\\ é', 'v', 'c', '\\x00ff5c0a', B'10101', B'', gen_random_uuid(),
       '0044-03-15 BC', '12:30:00.5', '12:30:00+02', 'infinity', '2026-03-29 02:30:00.000001+00', '1 mon -3 days 04:05:06.7', '{"a": 1.10,  "b":null}',
       '{"b": [1,2.50]}', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', 12.34, ARRAY['a,b', NULL, 'c"d', E'\\t'], '{{1,2},{3,NULL}}', '[1,5)', '<a>&amp;</a>',
       'fat:1 cat:2', '(1,2)', ARRAY['\\x00'::bytea], 'happy', '(1,"x, y")', 5, '\\xdead', 'secret'`,
      Object.keys(columns).map(() => 'NULL').join(', '),
    ];
    const list = Object.keys(columns).join(', ');
    const name = await database(
      `CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (one int, two text); CREATE DOMAIN small AS int CHECK (VALUE < 10)`,
      `CREATE TABLE types (id int PRIMARY KEY, left_out text DEFAULT 'never', hashed text DEFAULT 'somebody', hashed_bytes bytea DEFAULT '\\x0102', ${Object.entries(columns).map(([column, type]) => `${column} ${type}`).join(', ')})`,
      ...values.map((row, index) => `INSERT INTO types (id, ${list}) VALUES (${index + 1}, ${row})`),
    );
    await using rig = await CopyRig.start(server, name, `${directory.path}/${name}`, {}, {
      columns: new Map([['public.types', { exclude: ['left_out'], hash: ['hashed', 'hashed_bytes'] }]]),
      hashKey: 'a key',
    });
    await rig.consistent('public.types');
    await rig.query(`INSERT INTO types (id, ${list}) SELECT id + 100, ${list} FROM types`);
    await rig.caughtUp();
    const rows = new Map((await rig.fold('public.types')).map(([id, ...cells]) => [Number(id), cells]));
    expect(rows.size).toBe(4);
    for (const id of [1, 2]) expect(rows.get(id)).toEqual(rows.get(id + 100));
    expect(rows.get(1)?.length).toBe(Object.keys(columns).length + 2);
    expect(rows.get(1)?.slice(0, 2).every((cell) => /^[0-9a-f]{64}$/.test(cell ?? ''))).toBe(true);
  });
});
