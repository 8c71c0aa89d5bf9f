import { rm } from 'node:fs/promises';
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

describe('a hub that is restored from a backup', () => {
  it('goes on where the slot still has what follows, without copying anything again', async () => {
    await using stand = await begin();
    await stand.change();
    await stand.expectEqual();
    const before = await stand.hub.source('shop');
    await stand.hub.stop();
    await stand.slotFree();
    expect(await stand.command('backup', './backups')).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^backup \d{8}T\d{6}Z: .* new/m) as string });
    await rm(join(stand.directory, 'data'), { recursive: true });
    await stand.change();
    await stand.atSource('DELETE FROM items WHERE id % 3 = 0');
    expect(await stand.command('restore', './backups', '--to', './data')).toMatchObject({ code: 0, stderr: '' });
    expect(await stand.command('log', 'verify')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^calm .*as it was written\nshop .*as it was written/) as string });
    await stand.startHub();
    await stand.expectEqual();
    const after = await stand.hub.source('shop');
    expect(after.tables.map(({ table, since }) => [table, since])).toEqual(before.tables.map(({ table, since }) => [table, since]));
    expect(after.highWatermark).toBeGreaterThan(before.highWatermark);
  });

  it('says so where the slot has moved on, recognizes the sink that is ahead, and begins again on request', async () => {
    await using stand = await begin();
    // Backed up and checked while it runs and is written to.
    const writing = (async () => {
      for (let round = 0; round < 30; round++) await stand.change();
    })();
    expect(await stand.command('backup', './backups', '--json')).toMatchObject({ code: 0, stderr: '' });
    expect(await stand.command('log', 'verify', '--json')).toMatchObject({ code: 0, stderr: '' });
    await writing;
    await stand.expectEqual();
    const second = await stand.command('backup', './backups', '--json');
    expect(second).toMatchObject({ code: 0, stderr: '' });
    await stand.change();
    await stand.expectEqual();
    await stand.hub.stop();
    await stand.slotFree();
    await rm(join(stand.directory, 'data'), { recursive: true });
    const listed = await stand.command('restore', './backups', '--list', '--json');
    const names = listed.stdout.trim().split('\n').map((line) => (JSON.parse(line) as { name: string }).name);
    expect(names).toHaveLength(2);
    expect(await stand.command('restore', './backups', '--backup', names[0] ?? '', '--to', './data')).toMatchObject({ code: 0, stderr: '' });
    expect(await stand.command('log', 'verify')).toMatchObject({ code: 0, stderr: '' });
    await stand.startHub();
    await stand.hub.until('both have failed', ({ sources, sinks }) => [...sources, ...sinks].filter(({ state }) => state === 'failed').length >= 2, 30_000);
    const { sources, sinks } = await stand.status();
    expect(sources.find(({ name }) => name === 'shop')?.error).toMatchObject({ code: 'POSTGRES_SLOT_AHEAD', remedy: expect.stringContaining('resync') as string });
    expect(sinks.find(({ name }) => name === 'replica')?.error).toMatchObject({ code: 'SINK_DIVERGED', remedy: expect.stringContaining('tidemark rebuild') as string });
    await stand.change();
    await stand.resync();
    expect(await stand.command('source', 'resync', 'calm')).toMatchObject({ code: 0 });
    expect(await stand.command('rebuild', 'replica')).toMatchObject({ code: 0 });
    expect(await stand.command('rebuild', 'calm-copy')).toMatchObject({ code: 0 });
    await stand.expectEqual();
    expect(await stand.command('log', 'verify')).toMatchObject({ code: 0, stderr: '' });
    expect(await stand.command('restore', './backups', '--to', './data')).toMatchObject({ code: 1, stderr: expect.stringContaining('RESTORE_NOT_EMPTY') as string });
  });
});
