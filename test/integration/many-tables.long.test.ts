import { expect, test } from 'vitest';
import { type HubStand, openHubStand } from '../fixtures/hub-stand.ts';

const TABLES = 10_000;
const MAX_RSS_MB = 400;
const LIMIT_MS = 60 * 60_000;

const name = (index: number): string => `t${String(index).padStart(5, '0')}`;

/** Runs a statement for every table, many in one transaction. */
async function forEachTable(stand: HubStand, statement: (table: string, index: number) => string, tables = TABLES): Promise<void> {
  await using session = await stand.source.connect('source');
  for (let from = 0; from < tables; from += 200) {
    const statements = Array.from({ length: Math.min(200, tables - from) }, (_, at) => statement(name(from + at), from + at));
    await session.query(statements.join(';'));
  }
}

async function timed(what: string, work: () => Promise<unknown>): Promise<void> {
  const began = performance.now();
  await work();
  console.log(`${what}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

test('10,000 tables are copied, followed and found again after a restart in bounded memory', async () => {
  await using stand = await openHubStand({ purpose: 'tables' });
  await timed('tables made', () =>
    forEachTable(stand, (table, index) => `CREATE TABLE ${table} (id int PRIMARY KEY, v text, at timestamptz); INSERT INTO ${table} SELECT i, 'v' || i, now() FROM generate_series(1, ${1 + (index % 5)}) AS i`));
  await timed('started', () => stand.start());
  await timed('streaming', () => stand.hub.until('streaming', ({ sources }) => sources[0]?.state === 'streaming', LIMIT_MS));
  await timed('copied, and at the replica', () => stand.caughtUp({ tables: TABLES, limitMs: LIMIT_MS }));
  console.log(`peak ${(await stand.peakMb()).toFixed(0)} MB after the copy`);
  await timed('status', () => stand.hub.status());
  await timed('changes made in each table', () => forEachTable(stand, (table) => `INSERT INTO ${table} VALUES (100, 'streamed', now()); UPDATE ${table} SET v = v || '!' WHERE id = 1`));
  await timed('changes at the replica', () => stand.caughtUp({ tables: TABLES, limitMs: LIMIT_MS }));
  console.log(`peak ${(await stand.peakMb()).toFixed(0)} MB after the changes`);

  await timed('stopped', () => stand.hub.stop());
  await forEachTable(stand, (table) => `DELETE FROM ${table} WHERE id = 1`, TABLES / 10);
  await timed('started again', () => stand.start());
  await timed('caught up again', () => stand.caughtUp({ tables: TABLES, limitMs: LIMIT_MS }));
  await forEachTable(stand, (table) => `ALTER TABLE ${table} ADD COLUMN extra int; INSERT INTO ${table} (id, extra) VALUES (200, 7)`, TABLES / 10);
  await timed('1,000 tables changed their shape', () => stand.caughtUp({ tables: TABLES, limitMs: LIMIT_MS }));
  console.log(`peak ${(await stand.peakMb()).toFixed(0)} MB`);

  let rows = 0;
  await timed('compared', async () => (rows = await stand.mustBeEqual()));
  expect(rows).toBeGreaterThan(3 * TABLES);
  expect(await stand.peakMb()).toBeLessThan(MAX_RSS_MB);
});
