import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { DisasterStand } from './disaster-stand.ts';

const MIB = 2 ** 20;
const DISK = 256 * MIB;

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Bytes that can still be written to the disk of the data folder. */
async function free(stand: DisasterStand): Promise<number> {
  const { bavail, bsize } = await statfs(join(stand.directory, 'data'));
  return bavail * bsize;
}

/** Updates of few rows, of values that cannot be made much smaller: about so many bytes of log. */
async function update(stand: DisasterStand, megabytes: number): Promise<void> {
  for (let done = 0; done < megabytes; done += 2) {
    await stand.atSource("UPDATE items SET n = n + 1, body = (SELECT string_agg(md5(random()::text || g || items.id), '') FROM generate_series(1, 220) AS g)");
  }
}

describe('a data folder on a small disk', () => {
  it('takes more changes than the disk has room for, by folding them', async () => {
    await using stand = await DisasterStand.begin({ source: server, replica: server, calm: server, diskBytes: DISK });
    if (stand.disk === null) return;
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 8; round++) {
      await update(stand, 48);
      least = Math.min(least, await free(stand));
    }
    await stand.expectEqual();
    const { disk, sources } = await stand.hub.status();
    expect(least).toBeGreaterThan(0);
    expect(disk.limit).toBeLessThan(DISK);
    expect(sources.find(({ name }) => name === 'shop')?.horizon).toBeGreaterThan(0);
    expect(await stand.hub.output()).not.toContain('log.write-failed');
  });

  it('stops capture before it is full, and goes on by itself when there is room', async () => {
    await using stand = await DisasterStand.begin({ source: server, replica: server, calm: server, diskBytes: DISK });
    if (stand.disk === null) return;
    const ballast = join(stand.directory, 'data', 'other-files');
    await using file = await open(ballast, 'w');
    for (let written = 0; written < DISK - 60 * MIB; written += MIB) await file.write(Buffer.alloc(MIB));
    // Rows of their own: nothing is freed by folding them.
    for (let id = 1000; id < 17_000; id += 1000) {
      await stand.atSource(`INSERT INTO notes SELECT i, (SELECT string_agg(md5(random()::text || g || i), '') FROM generate_series(1, 200) AS g) FROM generate_series(${id}, ${id + 999}) AS i`);
    }
    const { disk } = await stand.hub.until('capture stops', ({ sources }) => sources.some(({ error }) => error?.code === 'LOG_DISK_LIMIT'), 180_000);
    expect(disk.level).toBe('full');
    const source = await stand.hub.source('shop');
    expect(source).toMatchObject({ state: 'retrying', error: { code: 'LOG_DISK_LIMIT' } });
    expect(source.waitingFor).toContain('nothing is captured');
    expect(await free(stand)).toBeGreaterThan(MIB);
    expect(await stand.hub.output()).not.toContain('log.write-failed');
    await rm(ballast);
    await file.close();
    await stand.expectEqual();
    expect((await stand.hub.status()).disk.level).toBe('ok');
  });
});
