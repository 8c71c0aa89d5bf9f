import { expect, test } from 'vitest';
import { MysqlStand } from '../fixtures/mysql-stand.ts';
import { Sysbench } from '../fixtures/sysbench.ts';

const SECONDS = Number(process.env['TIDEMARK_SYSBENCH_SECONDS'] ?? 60);
const TABLES = 4;
const ROWS = 20_000;
const COLUMNS = ['id', 'k', 'c', 'pad'].map((name) => ({ name }));
const MAX_RSS_MB = 400;

test.each(['mysql-9', 'mariadb-11.8'] as const)('%s: sysbench oltp_read_write beside a running hub, which is killed on the way: source = log = both replicas', async (version) => {
  await using stand = await MysqlStand.open({ purpose: 'sysbench', version, settings: { innodb_buffer_pool_size: '256M' } });
  const sysbench = await Sysbench.prepare({ port: stand.source.port, database: 'shop', tables: TABLES, rows: ROWS, threads: 4 });
  // The copy, too, comes under load.
  const ended = new AbortController();
  const running = sysbench.run(SECONDS, ended.signal);
  try {
    await stand.start();
    await stand.hub.until('the first table is copied', ({ sources }) => sources[0]?.tables.some(({ state }) => state === 'consistent') === true, 120_000);
    await stand.peakMb();
    await stand.hub.kill();
    await stand.start();
    const { transactions, writes } = await running;
    const behind = await stand.caughtUp({ tables: TABLES });
    console.log(`${version}: ${transactions} transactions, ${writes} writes in ${SECONDS} s (${Math.round(writes / SECONDS)}/s); both sinks have all of it ${behind.toFixed(1)} s later, peak ${(await stand.peakMb()).toFixed(0)} MB`);
    expect(transactions).toBeGreaterThan(SECONDS);
  } finally {
    ended.abort();
    await running.catch(() => undefined);
  }
  for (const sink of ['mirror', 'replica'] as const) expect(await stand.verified(sink)).toBe(TABLES * ROWS);
  for (let table = 1; table <= TABLES; table++) {
    const { source, mirror, replica } = await stand.sums(`sbtest${table}`, COLUMNS);
    expect({ mirror, replica }).toEqual({ mirror: source, replica: source });
    expect(source).toContain(`${ROWS} rows`);
  }
  expect(await stand.peakMb()).toBeLessThan(MAX_RSS_MB);
});
