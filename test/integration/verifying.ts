/** What the tests of verifications between real servers share. */
import { expect } from 'vitest';
import type { Hub } from '../../hub/hub.ts';
import type { Comparison, VerifyReport, VerifyRequest } from '../../hub/verify/report.ts';
import type { PostgresServer } from '../fixtures/embedded-postgres.ts';
import { createShop } from '../fixtures/shop/schema.ts';
import { startShopWorkload, type ShopWorkload } from '../fixtures/shop/workload.ts';
import type { TestHub } from '../fixtures/test-hub.ts';

export const ALL: VerifyRequest = { tables: [], against: 'source', repair: false, rate: null };

export async function verify(hub: Hub, request: Partial<VerifyRequest> = {}): Promise<VerifyReport> {
  let report: VerifyReport | null = null;
  for await (const event of hub.verify('replica', { ...ALL, ...request }, AbortSignal.timeout(60_000))) if ('report' in event) report = event.report;
  if (report === null) throw new Error('there was no report');
  return report;
}

export function comparison(report: VerifyReport, table: string, sides: Comparison['sides']): Comparison {
  const found = report.tables.find((one) => one.table === table)?.comparisons.find((one) => one.sides === sides);
  if (found === undefined) throw new Error(`${table} was not compared`);
  return found;
}

/** What a report says of differences, for a message. */
export function wrong(report: VerifyReport): unknown[] {
  return report.tables.flatMap(({ table, comparisons }) => comparisons.filter(({ differences }) => differences > 0).map(({ sides, offset, first }) => ({ table, sides, offset, first: first.slice(0, 3) })));
}

async function moreTransactions(workload: ShopWorkload, transactions: number, running: TestHub): Promise<void> {
  const at = workload.counts.transactions;
  while (workload.counts.transactions < at + transactions) await Promise.race([workload.failed, running.runtime.clock.sleep(10)]);
}

export interface Load {
  readonly server: PostgresServer;
  readonly source: string;
  readonly started: () => Promise<TestHub>;
  readonly rounds: number;
}

/**
 * Verifies again and again while the shop is at full work, a transaction stays open, others are prepared, a table is
 * truncated, another one changes its shape, history is folded. The caller disposes of the hub.
 */
export async function underLoad({ server, source, started, rounds }: Load): Promise<TestHub> {
  await createShop(server.url(source), { customers: 200, products: 50, orders: 300 });
  await server.query('CREATE TABLE visits (page text, seen integer)', [], source);
  await server.query('ALTER TABLE visits REPLICA IDENTITY FULL', [], source);
  await server.query('CREATE TABLE sessions (id integer PRIMARY KEY, at timestamptz DEFAULT now())', [], source);
  await using opened = new AsyncDisposableStack();
  const running = opened.use(await started());
  await running.hub.untilCaughtUp(AbortSignal.timeout(40_000));
  await using workload = startShopWorkload({ url: server.url(source), transactionsPerSecond: null });
  await using idle = await server.connect(source);
  await idle.query('BEGIN');
  await idle.query('INSERT INTO visits SELECT $1, i FROM generate_series(1, 1000) AS i', ['held back']);
  await using preparing = await server.connect(source);
  let compared = 0;
  for (let round = 0; round < rounds; round++) {
    const prepared = `round ${source} ${round}`;
    await preparing.query('BEGIN');
    await preparing.query(`INSERT INTO visits SELECT 'page ' || i % 3, i % 5 FROM generate_series(1, 50) AS i`);
    await preparing.query(`DELETE FROM visits WHERE ctid = (SELECT min(ctid) FROM visits WHERE page = 'page 1' AND seen = 1)`);
    await preparing.query(`PREPARE TRANSACTION '${prepared}'`);
    const verifying = verify(running.hub);
    await preparing.query(`COMMIT PREPARED '${prepared}'`);
    if (round % 3 === 1) await preparing.query('TRUNCATE sessions');
    await preparing.query(`INSERT INTO sessions SELECT i FROM generate_series(1, 200) AS i ON CONFLICT (id) DO UPDATE SET at = now()`);
    if (round === 2) await workload.alter();
    if (round === 2) await idle.query('COMMIT');
    if (round % 5 === 3) await running.hub.compactSource('shop', null, AbortSignal.timeout(30_000));
    const report = await verifying;
    expect(wrong(report)).toEqual([]);
    expect(report.outcome).toBe('equal');
    compared += report.tables.flatMap(({ comparisons }) => comparisons).filter(({ skipped }) => skipped === null).length;
    await moreTransactions(workload, 20, running);
  }
  // Of 7 tables, at both sides; one or the other may have been in the middle of a change of shape.
  expect(compared).toBeGreaterThan(12 * rounds);
  await workload.stop();
  opened.move();
  return running;
}
