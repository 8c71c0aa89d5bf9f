import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { DisasterStand } from './disaster-stand.ts';

// Processes start, and commands are processes, too.
vi.setConfig({ testTimeout: 300_000 });

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

const begin = (): Promise<DisasterStand> => DisasterStand.begin({ source: server, replica: server, calm: server });

/** Turns a byte in the middle of a file over. */
async function damage(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  await writeFile(path, bytes);
}

async function consistent(stand: DisasterStand): Promise<void> {
  await stand.hub.until('every table is copied', ({ sources }) => {
    const tables = sources.find(({ name }) => name === 'shop')?.tables.filter(({ state }) => state !== 'removed') ?? [];
    return tables.length === 2 && tables.every(({ state }) => state === 'consistent');
  }, 30_000);
}

describe('a log that is damaged, and of which there is no backup', () => {
  it('is led past the damage: its source is copied through it again from the same slot, and its sink filled anew', async () => {
    await using stand = await begin();
    await stand.change();
    await stand.expectEqual();
    const before = await stand.hub.source('shop');
    expect(await stand.command('source', 'recopy', 'shop', '--past-damage')).toMatchObject({ code: 1, stderr: expect.stringContaining('LOG_LOCKED') as string });
    await stand.hub.stop();
    await stand.slotFree();
    expect(await stand.command('source', 'recopy', 'shop', '--past-damage')).toMatchObject({ code: 1, stderr: expect.stringContaining('LOG_NOT_DAMAGED') as string });
    const folder = join(stand.directory, 'data/log/shop');
    const segment = (await readdir(folder)).toSorted().find((name) => name.endsWith('.segment')) ?? '';
    await damage(join(folder, segment));
    // What the log and the replica hear nothing of.
    await stand.atSource('DELETE FROM items WHERE id % 3 = 0');
    await stand.change();
    const found = await stand.command('log', 'verify');
    expect(found).toMatchObject({ code: 1, stdout: expect.stringContaining(`shop  ${segment}  damage`) as string });
    expect(found.stdout).toContain('`tidemark source recopy shop --past-damage`');
    expect(await stand.command('source', 'recopy', 'shop', '--past-damage')).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('rebuild SINK') as string });
    expect(await stand.command('log', 'verify')).toMatchObject({ code: 0 });
    await stand.startHub();
    await consistent(stand);
    await stand.expectSinkFailed('SINK_BEHIND', /tidemark rebuild/);
    await stand.change();
    expect(await stand.command('rebuild', 'replica')).toMatchObject({ code: 0 });
    await stand.expectEqual();
    const after = await stand.hub.source('shop');
    expect(after.horizon).toBeGreaterThan(before.highWatermark);
    expect(await stand.command('verify', 'replica')).toMatchObject({ code: 0 });
    expect((await readdir(folder)).includes(segment)).toBe(false);
    await stand.hub.stop();
    expect(await stand.command('log', 'verify')).toMatchObject({ code: 0 });
  });

  it('fills a sink that is rebuilt at once as the tables are copied', async () => {
    await using stand = await begin();
    await stand.hub.stop();
    await stand.slotFree();
    const folder = join(stand.directory, 'data/log/shop');
    await damage(join(folder, (await readdir(folder)).find((name) => name.endsWith('.segment')) ?? ''));
    expect(await stand.command('source', 'recopy', 'shop', '--past-damage')).toMatchObject({ code: 0, stderr: '' });
    await stand.atSource('DELETE FROM items WHERE id % 3 = 0');
    // Nothing can be copied yet.
    await using holder = await server.connect(stand.sourceDatabase);
    await holder.query('BEGIN; LOCK TABLE items, notes IN ACCESS EXCLUSIVE MODE');
    await stand.startHub();
    await stand.hub.until('the sink is behind', ({ sinks }) => sinks.some(({ name, error }) => name === 'replica' && error?.code === 'SINK_BEHIND'), 30_000);
    expect(await stand.command('rebuild', 'replica')).toMatchObject({ code: 0 });
    await holder.query('COMMIT');
    await stand.change();
    await stand.expectEqual();
    expect(await stand.command('verify', 'replica')).toMatchObject({ code: 0 });
  });

  it('whose manifest is lost: with its folder moved away all begins again from the same slot, and the sink, its checkpoint removed, is filled', async () => {
    await using stand = await begin();
    await stand.change();
    await stand.expectEqual();
    await stand.hub.stop();
    await stand.slotFree();
    const folder = join(stand.directory, 'data/log/shop');
    await damage(join(folder, 'manifest'));
    await stand.atSource('DELETE FROM items WHERE id % 3 = 0');
    const found = await stand.command('log', 'verify');
    expect(found).toMatchObject({ code: 1, stdout: expect.stringContaining("move the log's folder away") as string });
    expect(await stand.command('source', 'recopy', 'shop', '--past-damage')).toMatchObject({ code: 1, stderr: expect.stringContaining('LOG_CORRUPT') as string });
    await rename(folder, join(stand.directory, 'damaged'));
    await stand.startHub();
    await consistent(stand);
    await stand.expectSinkFailed('SINK_FOREIGN', /DELETE FROM tidemark.checkpoint/);
    await stand.atReplica("DELETE FROM tidemark.checkpoint WHERE sink = 'replica'");
    expect(await stand.command('sink', 'retry', 'replica')).toMatchObject({ code: 0, stderr: '' });
    await stand.change();
    await stand.expectEqual();
    expect(await stand.command('verify', 'replica')).toMatchObject({ code: 0 });
  });
});
