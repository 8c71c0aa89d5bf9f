import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgres } from '../fixtures/embedded-postgres.ts';
import { type HubProcess, startHubProcess } from '../fixtures/hub-process.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';

const ROWS = Number(process.env['LOAD_ROWS'] ?? 300_000);
const DEATHS = 2;
/** Of one step, on a machine that does much else. */
const LIMIT_MS = 300_000;
/** Rows of one batch at most. */
const BATCH = 50_000;
/** While the hub is to die, so that a load lasts some seconds on any machine; a row is about 50 bytes. */
const BYTES_PER_SECOND = (ROWS * 50) / 6;

describe('a hub that is killed while it fills a replica from the base', () => {
  it('goes on with the rows that the replica has not got, each time, and writes no other again', async () => {
    await using folder = await temporaryDirectory('load-kill');
    const settings = { max_wal_size: '8GB', shared_buffers: '256MB' };
    await using source = await startPostgres({ databases: ['source'], settings });
    await using replica = await startPostgres({ databases: ['replica'], settings });
    await using network = await startTcpProxy(replica.port);
    await source.query(
      `CREATE TABLE rows (id int PRIMARY KEY, code text NOT NULL UNIQUE, body text NOT NULL);
       INSERT INTO rows SELECT i, 'code ' || i, md5(i::text) FROM generate_series(1, ${ROWS}) AS i;
       CREATE TABLE bag (n int); ALTER TABLE bag REPLICA IDENTITY FULL; INSERT INTO bag SELECT i % 10 FROM generate_series(1, 1000) AS i`,
      [], 'source',
    );
    const sources = { shop: { type: 'postgres', url: source.url('source'), tables: ['public.*'] } };
    const sinks = { replica: { type: 'postgres', from: 'shop', url: `postgres://postgres@127.0.0.1:${network.port}/replica`, tables: ['public.*'] } };
    const start = (withSink: boolean): Promise<HubProcess> => startHubProcess({ directory: folder.path, config: { sources, ...(withSink ? { sinks } : { sinks: {} }) } });
    {
      await using hub = await start(false);
      const copied = (state: string): boolean => state === 'consistent';
      await hub.until('both tables are copied', ({ sources: [shop] }) => shop?.tables.length === 2 && shop.tables.every(({ state }) => copied(state)), LIMIT_MS);
      await hub.stop();
    }
    const end = await fold(join(folder.path, 'data'));
    await source.stop();

    const there = async (): Promise<{ rows: number; offset: string; cursor: boolean }> => {
      const [row] = await replica.query<{ rows: number; offset: string; cursor: boolean }>(
        `SELECT (SELECT count(*)::int FROM rows) AS rows, c."offset"::text, c.load_cursor IS NOT NULL AS cursor FROM tidemark.checkpoint AS c`, [], 'replica');
      if (row === undefined) throw new Error('the replica has no checkpoint');
      return row;
    };
    let before = 0;
    network.slow(BYTES_PER_SECOND);
    for (let death = 1; death <= DEATHS; death++) {
      await using hub = await start(true);
      const { sinks: [sink] } = await hub.until('some more rows are there', ({ sinks: [one] }) => (one?.load?.rows ?? 0) > before, LIMIT_MS);
      expect(sink).toMatchObject({ state: 'loading', offset: 0, load: { estimatedRows: expect.any(Number) as number } });
      await expect(hub.api.wait('replica', '1', 50, AbortSignal.timeout(LIMIT_MS))).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
      await hub.kill();
      // What had been sent may still be committed.
      await expect.poll(() => replica.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tidemark %'"), { timeout: LIMIT_MS }).toEqual([]);
      const { rows, ...checkpoint } = await there();
      expect(checkpoint).toEqual({ offset: '0', cursor: true });
      expect(rows).toBeGreaterThan(before);
      expect(rows).toBeLessThan(ROWS);
      before = rows;
    }
    network.resume();
    await using hub = await start(true);
    expect(await hub.api.wait('replica', String(end), LIMIT_MS, AbortSignal.timeout(2 * LIMIT_MS))).toBe(end);
    expect(await there()).toEqual({ rows: ROWS, offset: String(end), cursor: false });
    // What is noted as done is what was there: rows of the first table are loaded first.
    const loads = (await hub.output()).split('\n').flatMap((line) => (line.includes('"event":"sink.loading"') ? [JSON.parse(line) as { rows: number }] : []));
    expect(loads.length).toBe(DEATHS + 1);
    expect(loads.at(-1)?.rows).toBe(before);
    await hub.stop();
    const [written] = await replica.query<{ rows: number }>("SELECT n_tup_ins::int AS rows FROM pg_stat_user_tables WHERE relname = 'rows'", [], 'replica');
    expect(written?.rows).toBeGreaterThanOrEqual(ROWS);
    expect(written?.rows).toBeLessThanOrEqual(ROWS + DEATHS * 3 * BATCH);
    await source.start();
    const compared = await compareDatabases(source.url('source'), replica.url('replica'));
    expect(compared.filter(({ equal }) => !equal)).toEqual([]);
    expect(compared.map(({ rows }) => rows).toSorted((a, b) => a - b)).toEqual([1000, ROWS]);
  }, 4 * LIMIT_MS);
});

/** Folds all of a stopped hub's log. Answers where it ends. */
async function fold(data: string): Promise<number> {
  await using engine = await EmbeddedLogEngine.create(data, createTestRuntime());
  const log = await engine.open('shop', { create: false });
  const { highWatermark } = log.state();
  expect(await log.compact(highWatermark, { memoryBytes: 64 << 20, share: 1 }, AbortSignal.timeout(LIMIT_MS))).toBeGreaterThan(0);
  return highWatermark;
}
