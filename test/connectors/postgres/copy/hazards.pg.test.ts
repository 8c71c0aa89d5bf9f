import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../../../fixtures/embedded-postgres.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import { CopyRig, type CopyHooks } from './copy-rig.ts';

let server: PostgresServer;
let directory: TemporaryDirectory;
let databases = 0;

beforeAll(async () => {
  server = await startPostgres();
  directory = await temporaryDirectory('copy-hazards');
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

async function database(...statements: string[]): Promise<string> {
  const name = `hazards${++databases}`;
  await server.query(`CREATE DATABASE ${name}`);
  for (const statement of statements) await server.query(statement, [], name);
  return name;
}

function start(name: string, hooks: CopyHooks = {}): Promise<CopyRig> {
  return CopyRig.start(server, name, `${directory.path}/${name}`, hooks, { options: { catalog_poll: '100ms' } });
}

async function expectSame(rig: CopyRig, table: string, columns: readonly string[], from = `public.${table}`): Promise<void> {
  await rig.caughtUp();
  expect(await rig.fold(`public.${table}`)).toEqual(await rig.atServer(from, columns));
}

const ROWS = ['CREATE TABLE rows (id int PRIMARY KEY, note text NOT NULL)', `INSERT INTO rows SELECT g, 'note ' || g FROM generate_series(1, 3000) AS g`];
const COLUMNS = ['id', 'note'];
const PREPARED = `BEGIN; UPDATE rows SET note = 'prepared' WHERE id % 3 = 0; DELETE FROM rows WHERE id % 7 = 0; UPDATE rows SET id = -id WHERE id % 50 = 0`;

describe('a prepared transaction', () => {
  it('of before the slot is waited for, and named', async () => {
    const name = await database(...ROWS);
    await server.query(`${PREPARED}; PREPARE TRANSACTION '${name}'`, [], name);
    const starting = start(name);
    await using rig = await starting;
    await rig.until('the source says what it waits for', async () => /transaction/.test((await rig.hub.status()).sources[0]?.waitingFor ?? ''));
    await server.query(`COMMIT PREPARED '${name}'`, [], name);
    await rig.consistent('public.rows');
    await expectSame(rig, 'rows', COLUMNS);
  });

  it('of before the publication names its table is waited for, and named', async () => {
    const name = await database('CREATE TABLE first (id int PRIMARY KEY)');
    await using rig = await start(name);
    await rig.consistent('public.first');
    for (const statement of ROWS) await rig.query(statement);
    await rig.query(`${PREPARED}; PREPARE TRANSACTION '${name}'`);
    await rig.hub.addTable('shop', 'public.rows');
    await rig.until('the copy says what it waits for', async () => {
      const tables = (await rig.hub.status()).sources[0]?.tables ?? [];
      return tables.some(({ table, copy }) => table === 'public.rows' && (copy?.waitingFor ?? '').includes(name));
    });
    await rig.query(`COMMIT PREPARED '${name}'`);
    await rig.consistent('public.rows');
    await expectSame(rig, 'rows', COLUMNS);
  });

  it('that begins in mid-copy holds nothing up, and comes with its commit, after a restart of hub and server', async () => {
    const name = await database(...ROWS);
    {
      await using rig = await start(name, {
        pages: 2,
        async beforeChunk(count) {
          if (count === 3) await server.query(`${PREPARED}; PREPARE TRANSACTION '${name}'`, [], name);
        },
      });
      await rig.consistent('public.rows');
      await expectSame(rig, 'rows', COLUMNS);
    }
    await server.restart('fast');
    await using rig = await start(name);
    await expectSame(rig, 'rows', COLUMNS);
    await rig.query(`COMMIT PREPARED '${name}'`);
    await expectSame(rig, 'rows', COLUMNS);
    expect((await rig.fold('public.rows')).filter(([, note]) => note === 'prepared').length).toBeGreaterThan(500);
  });

  it('of before a restart in mid-copy is waited for, and named', async () => {
    const name = await database(...ROWS);
    {
      const prepared = Promise.withResolvers<void>();
      await using rig = await start(name, {
        pages: 2,
        async beforeChunk(count, _plan, signal) {
          if (count === 3) await server.query(`${PREPARED}; PREPARE TRANSACTION '${name}'`, [], name).then(() => prepared.resolve());
          if (count > 3) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        },
      });
      await prepared.promise;
      await rig.until('chunks are in the log', async () => (await rig.controls('public.rows')).some((control) => control.type === 'chunk'));
    }
    await using rig = await start(name, { pages: 2 });
    await rig.until('the copy says what it waits for', async () => {
      const tables = (await rig.hub.status()).sources[0]?.tables ?? [];
      return tables.some(({ copy }) => (copy?.waitingFor ?? '').includes(name));
    });
    await rig.query(`COMMIT PREPARED '${name}'`);
    await rig.consistent('public.rows');
    await expectSame(rig, 'rows', COLUMNS);
    expect((await rig.controls('public.rows')).some((control) => control.type === 'chunks-void')).toBe(false);
  });
});

describe('inheriting tables', () => {
  it('are copied and followed each for itself', async () => {
    const name = await database(
      'CREATE TABLE parent (id int PRIMARY KEY, note text)',
      'CREATE TABLE child (extra int, PRIMARY KEY (id)) INHERITS (parent)',
      'CREATE TABLE grandchild (PRIMARY KEY (id)) INHERITS (child)',
      `INSERT INTO parent SELECT g, 'parent' FROM generate_series(1, 1500) AS g`,
      `INSERT INTO child SELECT g, 'child', g FROM generate_series(1, 1500) AS g`,
      `INSERT INTO grandchild SELECT g, 'grandchild', g FROM generate_series(1, 500) AS g`,
    );
    await using session = await server.connect(name);
    await using rig = await start(name, {
      pages: 2,
      async beforeChunk(count) {
        // Through the parent to all of them; and to one alone.
        await session.query(`UPDATE parent SET note = note || ' ${count}' WHERE id % 10 = $1`, [count % 10]);
        await session.query(`UPDATE ONLY parent SET note = 'only ${count}' WHERE id % 13 = $1`, [count % 13]);
        await session.query(`DELETE FROM child WHERE id % 101 = $1`, [count]);
      },
    });
    await rig.consistent('public.parent', 'public.child', 'public.grandchild');
    await session.query(`UPDATE parent SET note = 'after'  WHERE id % 4 = 0; DELETE FROM ONLY child WHERE id % 9 = 0; TRUNCATE ONLY parent; INSERT INTO parent VALUES (1, 'again')`);
    await expectSame(rig, 'parent', ['id', 'note'], 'ONLY parent');
    await expectSame(rig, 'child', ['id', 'note', 'extra'], 'ONLY child');
    await expectSame(rig, 'grandchild', ['id', 'note', 'extra'], 'ONLY grandchild');
    await session.query('ALTER TABLE parent ADD added int DEFAULT 5; UPDATE parent SET added = 6 WHERE id % 2 = 0');
    await expectSame(rig, 'child', ['id', 'note', 'extra', 'added'], 'ONLY child');
    await session.query('TRUNCATE parent');
    await rig.caughtUp();
    for (const table of ['parent', 'child', 'grandchild']) expect(await rig.fold(`public.${table}`)).toEqual([]);
  });
});

describe('a table whose replica identity changes while it is copied', () => {
  it('to full, an index and back stays exact', async () => {
    const name = await database(...ROWS, 'CREATE UNIQUE INDEX by_id ON rows (id)', 'CREATE UNIQUE INDEX by_note ON rows (note)');
    await using session = await server.connect(name);
    const changes = ['FULL', 'USING INDEX by_id', 'DEFAULT', 'USING INDEX by_note', 'DEFAULT'];
    await using rig = await start(name, {
      pages: 1,
      async beforeChunk(count) {
        const change = changes[count - 2];
        if (change !== undefined) await session.query(`ALTER TABLE rows REPLICA IDENTITY ${change}`);
        await session.query(`UPDATE rows SET note = note || ' ${count}' WHERE id % 20 = $1`, [count % 20]);
        await session.query(`UPDATE rows SET id = id + 10000 WHERE id % 100 = $1 AND id < 10000`, [count % 100]);
        await session.query(`DELETE FROM rows WHERE id % 97 = $1`, [count]);
      },
    });
    await rig.consistent('public.rows');
    await rig.until('the last key is copied', async () => {
      await rig.caughtUp();
      const [row] = await rig.query<{ identity: string }>(`SELECT relreplident AS identity FROM pg_class WHERE relname = 'rows'`);
      const newest = rig.log.catalog().byName('public.rows')?.versions.at(-1)?.schema;
      return rig.state('public.rows') === 'consistent' && row?.identity === 'd' && newest?.keyKind === 'primary';
    });
    await expectSame(rig, 'rows', COLUMNS);
  });
});
