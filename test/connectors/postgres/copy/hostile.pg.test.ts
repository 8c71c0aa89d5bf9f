import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../../../fixtures/embedded-postgres.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import { CopyRig, type CopyHooks } from './copy-rig.ts';

let server: PostgresServer;
let directory: TemporaryDirectory;
let databases = 0;

beforeAll(async () => {
  server = await startPostgres();
  directory = await temporaryDirectory('hostile-copy');
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

async function database(...statements: string[]): Promise<string> {
  const name = `hostile${++databases}`;
  await server.query(`CREATE DATABASE ${name}`);
  for (const statement of statements) await server.query(statement, [], name);
  return name;
}

function start(name: string, hooks: CopyHooks = {}): Promise<CopyRig> {
  return CopyRig.start(server, name, `${directory.path}/${name}`, hooks, { options: { catalog_poll: '100ms' } });
}

async function expectSame(rig: CopyRig, table: string, columns: readonly string[]): Promise<void> {
  await rig.caughtUp();
  expect(await rig.fold(`public.${table}`)).toEqual(await rig.atServer(`public.${table}`, columns));
}

/** Text that cannot be compressed. */
const TEXT = (from: string): string => `(SELECT string_agg(md5(${from} || ' ' || n), '') FROM generate_series(1, 32) AS n)`;

describe('a value that went out of line', () => {
  it('is known of although its row became short before it was copied', async () => {
    const name = await database(
      'CREATE TABLE rows (id int PRIMARY KEY, a text, b text, c text, n int)',
      `INSERT INTO rows SELECT g, ${TEXT(`'a' || g`)}, ${TEXT(`'b' || g`)}, ${TEXT(`'c' || g`)}, 0 FROM generate_series(1, 50) AS g`,
      `UPDATE rows SET b = '', c = ''`,
    );
    await using rig = await start(name);
    await rig.consistent('public.rows');
    await rig.query('UPDATE rows SET n = n + 1');
    await expectSame(rig, 'rows', ['id', 'a', 'b', 'c', 'n']);
    expect(rig.state('public.rows')).toBe('consistent');
  });

  it('while old rows came whole is found by another copy once they do not', async () => {
    const name = await database('CREATE TABLE rows (id int PRIMARY KEY, a text, n int)', 'ALTER TABLE rows REPLICA IDENTITY FULL');
    await using rig = await start(name);
    await rig.consistent('public.rows');
    await rig.query(`INSERT INTO rows SELECT g, ${TEXT(`'a' || g`)} || ${TEXT(`'b' || g`)} || ${TEXT(`'c' || g`)}, 0 FROM generate_series(1, 20) AS g`);
    await rig.caughtUp();
    await rig.query('ALTER TABLE rows REPLICA IDENTITY DEFAULT');
    await rig.query('UPDATE rows SET n = n + 1');
    await rig.until('the table is whole again', async () => {
      await rig.caughtUp();
      return rig.state('public.rows') === 'consistent' && (await rig.fold('public.rows')).every((row) => row[2] === '1');
    });
    await rig.query('UPDATE rows SET n = n + 1');
    await expectSame(rig, 'rows', ['id', 'a', 'n']);
    expect(rig.state('public.rows')).toBe('consistent');
  });
});

describe('a copy', () => {
  it('does not wait for transactions of other databases, running or prepared', async () => {
    const other = await database('CREATE TABLE o (id int)');
    const name = await database('CREATE TABLE first (id int PRIMARY KEY)');
    await using rig = await start(name);
    await rig.consistent('public.first');
    await using session = await server.connect(other);
    await session.query('BEGIN');
    await session.query('INSERT INTO o VALUES (1)');
    await server.query(`BEGIN; INSERT INTO o VALUES (2); PREPARE TRANSACTION 'of ${other}'`, [], other);
    try {
      await rig.query('CREATE TABLE late (id int PRIMARY KEY)');
      await rig.query('INSERT INTO late VALUES (1)');
      await rig.consistent('public.late');
      await expectSame(rig, 'late', ['id']);
    } finally {
      await server.query(`ROLLBACK PREPARED 'of ${other}'`, [], other);
    }
  });

  it('says which lock it waits for, and who holds it', async () => {
    const name = await database('CREATE TABLE rows (id int PRIMARY KEY)', 'INSERT INTO rows SELECT generate_series(1, 3000)');
    await using session = await server.connect(name);
    await session.query(`SET application_name = 'the holder'`);
    await using rig = await start(name, {
      pages: 1,
      async beforeChunk(count) {
        if (count === 3) await session.query('BEGIN').then(() => session.query('LOCK TABLE rows IN ACCESS EXCLUSIVE MODE'));
      },
    });
    await rig.until('the status names the holder', async () => {
      const tables = (await rig.hub.status()).sources[0]?.tables ?? [];
      return tables.some((table) => table.table === 'public.rows' && /held by pid \d+ \(the holder\), open for \d+ s/.test(JSON.stringify(table)));
    });
    await session.query('COMMIT');
    await rig.consistent('public.rows');
    await expectSame(rig, 'rows', ['id']);
  });
});

describe('a partitioned table in mid-copy', () => {
  const PARTS = [
    'CREATE TABLE parts (id int, region text, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)',
    `CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a')`,
    `CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b')`,
    `INSERT INTO parts SELECT g, CASE WHEN g % 2 = 0 THEN 'a' ELSE 'b' END, 'note ' || g FROM generate_series(1, 2000) AS g`,
  ];

  it.each([2, 4, 8])('that loses a partition loses its rows (before chunk %i)', async (when) => {
    const name = await database(...PARTS);
    await using session = await server.connect(name);
    await using rig = await start(name, {
      pages: 2,
      async beforeChunk(count) {
        if (count === when) await session.query('ALTER TABLE parts DETACH PARTITION parts_b');
      },
    });
    await rig.until('the rows of the partition are gone', async () =>
      rig.state('public.parts') === 'consistent' && (await rig.fold('public.parts')).every((row) => row[1] === 'a'));
    await expectSame(rig, 'parts', ['id', 'region', 'note']);
  });

  it('whose partitions are published under their own names for a while stops the source, and is copied again afterwards', async () => {
    const name = await database(...PARTS);
    await using session = await server.connect(name);
    const publication = `publication_${name}`;
    const first = await start(name, {
      pages: 2,
      async beforeChunk(count) {
        if (count !== 3) return;
        await session.query(`ALTER PUBLICATION ${publication} SET (publish_via_partition_root = false)`);
        await session.query(`UPDATE parts SET note = 'unseen' WHERE id % 3 = 0`);
      },
    });
    await first.until('the source says what is wrong', async () => (await first.hub.status()).sources[0]?.error?.code === 'POSTGRES_PUBLICATION');
    await session.query(`DELETE FROM parts WHERE id % 7 = 0`);
    await session.query(`ALTER PUBLICATION ${publication} SET (publish_via_partition_root = true)`);
    await first[Symbol.asyncDispose]();
    await using rig = await start(name);
    await rig.until('the table is copied again', async () => {
      const copies = (await rig.controls('public.parts')).filter((control) => control.type === 'stopped');
      return copies.length > 0 && rig.state('public.parts') === 'consistent';
    });
    await expectSame(rig, 'parts', ['id', 'region', 'note']);
  });
});
