import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { DisasterStand } from './disaster-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe('history that is folded on demand', () => {
  it('moves the horizon, keeps what is to be kept, and nobody else notices', { timeout: 120_000 }, async () => {
    const log = { tables: { 'public.notes': { keep: 'all' } } };
    await using stand = await DisasterStand.begin({ source: server, replica: server, calm: server, hub: { log } });
    for (let round = 0; round < 3; round++) await stand.change();
    await stand.expectEqual();
    const before = await stand.hub.source('shop');
    expect(before).toMatchObject({ horizon: 0, baseBytes: 0, archiveBytes: 0, compaction: { state: 'idle', last: null } });
    expect((await linesOf(stand, 'public.items')).length).toBeGreaterThan(1000);
    const notes = await linesOf(stand, 'public.notes');

    expect(await stand.command('compact', 'shop')).toMatchObject({ code: 0, stdout: expect.stringMatching(/the horizon of shop has moved from 0 to [1-9]/) as string, stderr: '' });
    const folded = await stand.hub.source('shop');
    expect(folded.horizon).toBe(folded.highWatermark);
    expect(folded.horizonTime).toBeGreaterThan(Date.parse('2025-01-01') * 1000);
    expect(folded.archiveBytes).toBeGreaterThan(0);
    expect(folded.compaction).toMatchObject({ state: 'idle', target: null, hold: null, last: { horizon: folded.horizon } });
    const kept = new Map(folded.tables.map((table) => [table.table, table.kept]));
    expect(kept.get('public.notes')).toEqual({ how: 'all', recordsAfter: 0, rowsAfter: 0 });
    expect(kept.get('public.items')).toEqual({ how: 'compact', recordsAfter: folded.horizon, rowsAfter: 0 });
    expect((await stand.command('status')).stdout).toMatch(/LOG OF\s+HORIZON\s+AS OF.*\nshop\s+[0-9]+\s+20/);

    expect(await linesOf(stand, 'public.notes')).toEqual(notes);
    expect(await linesOf(stand, 'public.items')).toEqual([]);
    await expect(stand.hub.api.read('shop', { table: 'public.items', from: '1' }, AbortSignal.timeout(30_000)).next()).rejects.toMatchObject({ code: 'LOG_BELOW_HORIZON' });

    await stand.change();
    await stand.expectEqual();
    expect((await linesOf(stand, 'public.notes')).length).toBeGreaterThan(notes.length);
    expect((await linesOf(stand, 'public.items')).length).toBe(300);
    // Over a restart too.
    await stand.hub.stop();
    await stand.startHub();
    await stand.expectEqual();
    expect((await linesOf(stand, 'public.notes')).slice(0, notes.length)).toEqual(notes);
    const refused = stand.hub.api.compact('shop', '1', AbortSignal.timeout(30_000));
    await expect(refused.next()).rejects.toMatchObject({ code: 'LOG_BELOW_HORIZON' });
  });
});

/** The changelog of a table, from as far back as the log has it. */
async function linesOf(stand: DisasterStand, table: string): Promise<unknown[]> {
  let text = '';
  for await (const piece of stand.hub.api.read('shop', { table }, AbortSignal.timeout(30_000))) text += piece;
  return text.split('\n').slice(0, -1).map((line): unknown => JSON.parse(line));
}
