import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { startHubProcess } from '../fixtures/hub-process.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { DisasterStand } from './disaster-stand.ts';

// Processes start and servers restart: on a busy machine that takes its time.
vi.setConfig({ testTimeout: 120_000 });

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

const begin = (): Promise<DisasterStand> => DisasterStand.begin({ source: server, replica: server, calm: server });
const EMPTY_IT = "TRUNCATE items, notes; DELETE FROM tidemark.checkpoint WHERE sink = 'replica'";

describe('the folder of the hub', () => {
  it('was restored from an older copy: the slot and the sink are ahead of the log', async () => {
    await using stand = await begin();
    await stand.hub.stop();
    await stand.backUp();
    await stand.startHub();
    await stand.change();
    await stand.expectEqual();
    await stand.hub.stop();
    await stand.restore();
    await stand.slotFree();
    await stand.startHub();
    await stand.hub.until('both have failed', ({ sources, sinks }) => [...sources, ...sinks].filter(({ state }) => state === 'failed').length >= 2, 30_000);
    const { sources, sinks } = await stand.status();
    expect(sources.find(({ name }) => name === 'shop')?.error).toMatchObject({ code: 'POSTGRES_SLOT_AHEAD', remedy: expect.stringContaining('resync') as string });
    expect(sinks.find(({ name }) => name === 'replica')?.error).toMatchObject({ code: 'SINK_DIVERGED', remedy: expect.stringContaining('tidemark rebuild') as string });
    await stand.change();
    await stand.resync();
    expect(await stand.command('rebuild', 'replica')).toMatchObject({ code: 0, stdout: expect.stringContaining('sink replica was rebuilt at offset') as string });
    expect(await stand.command('source', 'resync', 'calm')).toMatchObject({ code: 0 });
    await stand.emptyCalm();
    expect(await stand.command('sink', 'retry', 'calm-copy')).toMatchObject({ code: 0 });
    await stand.expectEqual();
  });

  it('is used by one hub at a time', async () => {
    await using stand = await begin();
    const second = await stand.runJob();
    expect(second).toMatchObject({ code: 1, stderr: expect.stringMatching(/LOG_LOCKED[^]*to do: Stop the other hub/) as string });
    await stand.change();
    await stand.expectEqual();
  });
});

describe('the replica', () => {
  it('was restored to an earlier backup: it goes on from there by itself', async () => {
    await using stand = await begin();
    await stand.hub.stop();
    await server.query(`CREATE DATABASE ${stand.name}_backup TEMPLATE ${stand.replicaDatabase}`);
    await stand.startHub();
    await stand.change();
    await stand.atSource('DELETE FROM items WHERE id % 3 = 0');
    await stand.expectEqual();
    await server.query(`DROP DATABASE ${stand.replicaDatabase} WITH (FORCE)`);
    await stand.change();
    await server.query(`CREATE DATABASE ${stand.replicaDatabase} TEMPLATE ${stand.name}_backup`);
    if ((await stand.hub.sink('replica')).state === 'failed') await stand.command('sink', 'retry', 'replica');
    await stand.change();
    await stand.expectEqual();
  });

  it('has a checkpoint that somebody set forward: refused, and filled anew by a rebuild, or when it is emptied', async () => {
    await using stand = await begin();
    await stand.atReplica("UPDATE tidemark.checkpoint SET \"offset\" = \"offset\" + 1000 WHERE sink = 'replica'");
    await stand.change();
    await stand.expectSinkFailed('SINK_DIVERGED', /tidemark rebuild/);
    expect(await stand.command('rebuild', 'replica')).toMatchObject({ code: 0 });
    await stand.expectEqual();
    await stand.atReplica("UPDATE tidemark.checkpoint SET \"offset\" = \"offset\" + 1000 WHERE sink = 'replica'");
    await stand.change();
    await stand.expectSinkFailed('SINK_DIVERGED', /tidemark rebuild/);
    await stand.atReplica(EMPTY_IT);
    expect(await stand.command('sink', 'retry', 'replica')).toMatchObject({ code: 0, stderr: '' });
    await stand.expectEqual();
  });

  it('lost its checkpoint while the hub runs: it is filled from the start of the log', async () => {
    await using stand = await begin();
    await stand.atSource('DELETE FROM items WHERE id % 3 = 0');
    await stand.expectEqual();
    await stand.atReplica("DELETE FROM tidemark.checkpoint WHERE sink = 'replica'");
    await stand.change();
    await stand.expectEqual();
  });

  it('is taken over by a second hub that has a copy of the folder: the first is fenced, the slot is not shared', async () => {
    await using stand = await begin();
    await stand.hub.stop();
    await using folder = await temporaryDirectory('second');
    await cp(join(stand.directory, 'data'), join(folder.path, 'data'), { recursive: true, filter: (path) => !path.endsWith('.sock') });
    await stand.startHub();
    await stand.expectEqual();
    const { calm: _calm, ...sources } = stand.config['sources'] as Readonly<Record<string, unknown>>;
    const { 'calm-copy': _copy, ...sinks } = stand.config['sinks'] as Readonly<Record<string, unknown>>;
    {
      await using second = await startHubProcess({ directory: folder.path, config: { sources, sinks } });
      // Read by the first at this moment, or moved on by it since the copy was made.
      await second.until('the slot is refused', (status) => /^POSTGRES_SLOT_(ACTIVE|AHEAD)$/.test(status.sources[0]?.error?.code ?? ''), 30_000);
      await stand.change();
      await stand.expectSinkFailed('SINK_FENCED', /Let one hub own the sink/);
      await second.stop();
    }
    expect(await stand.command('sink', 'retry', 'replica')).toMatchObject({ code: 0, stderr: '' });
    await stand.expectEqual();
  });

  it('of another hub with a log of its own is refused', async () => {
    await using stand = await begin();
    await using folder = await temporaryDirectory('foreign');
    const sources = { shop: { type: 'postgres', url: server.url(stand.sourceDatabase), tables: ['public.*'], slot: `${stand.slot}_second` } };
    const sinks = { replica: { type: 'postgres', from: 'shop', url: server.url(stand.replicaDatabase), tables: ['public.*'] } };
    await using second = await startHubProcess({ directory: folder.path, config: { sources, sinks } });
    await second.until('the sink is refused', (status) => status.sinks[0]?.error?.code === 'SINK_FOREIGN' && status.sinks[0].state === 'failed', 30_000);
    await stand.change();
    await stand.expectEqual();
  });

  it('has rows that the source lost without a word: a copy made again while writers run removes them', async () => {
    await using stand = await begin();
    const [publication] = await server.query<{ pubname: string }>('SELECT pubname FROM pg_publication', [], stand.sourceDatabase);
    const publish = (what: string): Promise<unknown> => stand.atSource(`ALTER PUBLICATION ${publication?.pubname} SET (publish = '${what}')`);
    await publish('insert, update, truncate');
    await stand.atSource('DELETE FROM items WHERE id BETWEEN 100 AND 199');
    await publish('insert, update, delete, truncate');
    await stand.change();
    await expect.poll(() => stand.atReplica('SELECT count(*)::int AS n FROM items'), { timeout: 20_000 }).toEqual([{ n: 300 }]);
    const writing = new AbortController();
    const writer = (async () => {
      for (let id = 1000; !writing.signal.aborted; id++) {
        await stand.atSource(`INSERT INTO items VALUES (${id}, 0); UPDATE items SET n = n + 1 WHERE id % 7 = ${id % 7}; DELETE FROM items WHERE id = ${id - 20}`);
        await delay(5);
      }
    })();
    expect(await stand.command('source', 'recopy', 'shop', 'public.items')).toMatchObject({ code: 0, stderr: '' });
    await expect.poll(() => stand.atReplica('SELECT count(*)::int AS n FROM items WHERE id BETWEEN 100 AND 199'), { timeout: 20_000 }).toEqual([{ n: 0 }]);
    writing.abort();
    await writer;
    await stand.expectEqual();
    expect((await stand.command('read', 'shop', 'public.items', '--json', '--limit', '100000')).stdout).toMatch(/"op":"d"[^\n]*"id":"150"/);
  });
});
