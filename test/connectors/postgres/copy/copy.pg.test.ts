import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTidRange } from '../../../../connectors/postgres/copy/ranges.ts';
import { startPostgres, type PostgresServer, type Session } from '../../../fixtures/embedded-postgres.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import { CopyRig, type CopyHooks } from './copy-rig.ts';

/** Larger than a page, so that it is kept out of line, and different in every place, so that it does not compress away. */
const LARGE = `(SELECT string_agg(md5(i::text || g::text), '') FROM generate_series(1, 200) AS i)`;

let server: PostgresServer;
let directory: TemporaryDirectory;
let databases = 0;

beforeAll(async () => {
  server = await startPostgres({ settings: { synchronous_commit: 'on' } });
  directory = await temporaryDirectory('copy');
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await directory?.[Symbol.asyncDispose]();
});

async function database(...statements: string[]): Promise<string> {
  const name = `copy${++databases}`;
  await server.query(`CREATE DATABASE ${name}`);
  for (const statement of statements) await server.query(statement, [], name);
  return name;
}

function start(name: string, hooks: CopyHooks = {}): Promise<CopyRig> {
  return CopyRig.start(server, name, `${directory.path}/${name}`, hooks);
}

const COLUMNS = ['id', 'note', 'large'];
const ROWS = [
  'CREATE TABLE rows (id int PRIMARY KEY, note text NOT NULL, large text)',
  'ALTER TABLE rows ALTER large SET STORAGE EXTERNAL',
  `INSERT INTO rows SELECT g, 'note ' || g, CASE WHEN g % 4 = 0 THEN ${LARGE} END FROM generate_series(1, 3000) AS g`,
];

async function expectSame(rig: CopyRig, table: string, columns: readonly string[] = COLUMNS): Promise<void> {
  await rig.caughtUp();
  const [folded, atServer] = [await rig.fold(`public.${table}`), await rig.atServer(table, columns)];
  expect(folded.length).toBe(atServer.length);
  expect(folded).toEqual(atServer);
}

/** Updates of every kind, as fast as they go, until told to stop. */
async function writing(session: Session, signal: AbortSignal): Promise<number> {
  let count = 0;
  for (; !signal.aborted; count++) {
    const id = 1 + ((count * 7919) % 3000);
    await session.query('UPDATE rows SET note = $2 WHERE id = $1', [id, `changed ${count}`]);
    if (count % 5 === 0) await session.query(`UPDATE rows SET large = (SELECT string_agg(md5($2 || i::text), '') FROM generate_series(1, 150) AS i) WHERE id = $1`, [id, `${count}`]);
    if (count % 7 === 0) await session.query('UPDATE rows SET id = id + 100000 WHERE id = $1', [1 + ((count * 31) % 3000)]);
    if (count % 11 === 0) await session.query('DELETE FROM rows WHERE id = $1', [1 + ((count * 17) % 3000)]);
    if (count % 13 === 0) await session.query(`INSERT INTO rows SELECT 200000 + $1, 'new', CASE WHEN $1 % 2 = 0 THEN ${LARGE.replaceAll('g::text', `'x'`)} END`, [count]);
  }
  return count;
}

describe('a copy of a table', () => {
  it('is exact while a transaction hangs between its commit record and its visibility', async () => {
    const name = await database(...ROWS);
    const committing = Promise.withResolvers<unknown>();
    let held = false;
    const started = Promise.withResolvers<CopyRig>();
    await using writer = await server.connect(name);
    await using rig = await start(name, {
      pages: 2,
      async beforeChunk(count) {
        if (count !== 3) return;
        const rig = await started.promise;
        // Nobody confirms the commit: its record is in the WAL and streamed, and no snapshot sees it.
        await server.set({ synchronous_standby_names: 'nobody' });
        await writer.query(`BEGIN; UPDATE rows SET note = 'invisible' WHERE id % 3 = 0; UPDATE rows SET id = -id WHERE id % 50 = 0; DELETE FROM rows WHERE id % 7 = 0`);
        const before = rig.log.state().highWatermark;
        held = true;
        writer.query('COMMIT').then(committing.resolve, committing.reject);
        await rig.until('the invisible transaction is in the log', async () => {
          for await (const view of rig.records()) if (view.offset > before && view.after().includes('invisible')) return true;
          return false;
        });
        const [seen] = await rig.query<{ count: string }>(`SELECT count(*) FROM rows WHERE note = 'invisible'`);
        expect(seen?.count).toBe('0');
      },
    });
    started.resolve(rig);
    await rig.consistent('public.rows');
    expect(held).toBe(true);
    const [hidden] = await rig.query<{ count: string }>(`SELECT count(*) FROM rows WHERE note = 'invisible'`);
    expect(hidden?.count).toBe('0');
    await server.set({ synchronous_standby_names: '' });
    await committing.promise;
    await expectSame(rig, 'rows');
    expect((await rig.controls('public.rows')).filter((control) => control.type === 'chunk').length).toBeGreaterThan(3);
  });

  it('is exact under writers that change wide columns, keys and places, one chunk beside the other', async () => {
    const name = await database(...ROWS);
    const stop = new AbortController();
    await using writer = await server.connect(name);
    const writes = writing(writer, stop.signal);
    await using rig = await start(name, { pages: 2 });
    await rig.consistent('public.rows');
    stop.abort();
    expect(await writes).toBeGreaterThan(20);
    await expectSame(rig, 'rows');
  });

  it('reads rows again that moved behind it with a large value that the stream left out', async () => {
    const name = await database(...ROWS);
    const started = Promise.withResolvers<CopyRig>();
    await using session = await server.connect(name);
    let keys = 0;
    let moving: Promise<void> | null = null;
    // Every later range waits until the rows have moved: read before that, they would be completed from their old place.
    const move = async (): Promise<void> => {
      const rig = await started.promise;
      await rig.until('the first range is copied', async () => (await rig.controls('public.rows')).some((control) => control.type === 'chunk'));
      const copied = (await rig.controls('public.rows')).filter((control) => control.type === 'chunk').map((control) => parseTidRange(control.range));
      expect(copied.map((range) => range?.from.page)).toEqual([0]);
      await session.query('DELETE FROM rows WHERE id <= 100');
      await rig.until('nobody sees the deleted rows any more', async () => {
        const holders = await rig.query('SELECT 1 FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()');
        return holders.length === 0;
      });
      await session.query('VACUUM rows');
      await session.query(`UPDATE rows SET note = 'moved' WHERE id % 4 = 0 AND id > 2500`);
      const [moved] = await rig.query<{ count: string }>(`SELECT count(*) FROM rows WHERE note = 'moved' AND ctid < '(${copied[0]?.to?.page ?? 0},0)'`);
      expect(Number(moved?.count)).toBeGreaterThan(0);
    };
    await using rig = await start(name, {
      pages: 2,
      beforeRows: (count) => void (keys += count),
      beforeChunk: (count) => (count === 1 ? Promise.resolve() : (moving ??= move())),
    });
    started.resolve(rig);
    await rig.consistent('public.rows');
    await expectSame(rig, 'rows');
    expect(keys).toBeGreaterThan(0);
  });

  it.each([
    ['VACUUM FULL rows', 'rewritten'],
    ['CLUSTER rows USING rows_pkey', 'rewritten'],
    ['TRUNCATE rows', 'truncated'],
  ])('begins anew after %s', async (statement) => {
    const name = await database(...ROWS);
    await using session = await server.connect(name);
    await using rig = await start(name, {
      pages: 2,
      async beforeChunk(count) {
        if (count !== 4) return;
        await session.query(statement);
        await session.query(`INSERT INTO rows SELECT g, 'later', NULL FROM generate_series(5000, 5100) AS g`);
      },
    });
    await rig.consistent('public.rows');
    await expectSame(rig, 'rows');
    expect((await rig.controls('public.rows')).filter((control) => control.type === 'chunks-void').length).toBe(1);
  });

  it('goes on where it was when the hub was stopped', async () => {
    const name = await database(...ROWS);
    let stopped = 0;
    {
      const reached = Promise.withResolvers<void>();
      await using rig = await start(name, {
        pages: 2,
        async beforeChunk(count, _plan, signal) {
          if (count <= 4) return;
          reached.resolve();
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        },
      });
      await reached.promise;
      await rig.until('chunks are in the log', async () => (await rig.controls('public.rows')).some((control) => control.type === 'chunk'));
      stopped = (await rig.controls('public.rows')).filter((control) => control.type === 'chunk').length;
    }
    await server.query(`UPDATE rows SET note = 'while the hub was away' WHERE id % 2 = 0`, [], name);
    await using rig = await start(name, { pages: 2 });
    await rig.consistent('public.rows');
    await expectSame(rig, 'rows');
    const controls = await rig.controls('public.rows');
    const ranges = controls.filter((control) => control.type === 'chunk').map((control) => control.range);
    expect(controls.some((control) => control.type === 'chunks-void')).toBe(false);
    expect(new Set(ranges).size).toBe(ranges.length);
    expect(ranges.length).toBeGreaterThan(stopped);
  });

  it('waits for transactions that began before it, and names the oldest', async () => {
    const name = await database(...ROWS);
    await using rig = await start(name, {}).then(async (first) => {
      await first.consistent('public.rows');
      return first;
    });
    await rig.query('CREATE TABLE late (id int PRIMARY KEY, note text)');
    await using writer = await server.connect(name);
    await writer.query(`BEGIN; INSERT INTO late VALUES (1, 'before the publication names the table')`);
    await rig.hub.addTable('shop', 'public.late');
    await rig.until('the copy says what it waits for', async () => {
      const tables = (await rig.hub.status()).sources[0]?.tables ?? [];
      return tables.some((table) => table.table === 'public.late' && /pid \d+.*open for \d+ s/.test(table.copy?.waitingFor ?? ''));
    });
    expect(rig.state('public.late')).toBe('new');
    await writer.query('COMMIT');
    await rig.consistent('public.late');
    await expectSame(rig, 'late', ['id', 'note']);
  });
});
