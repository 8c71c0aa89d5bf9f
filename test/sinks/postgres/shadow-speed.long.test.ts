import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { columnsOf } from './replica-stand.ts';
import { ShadowStand } from './shadow-stand.ts';

const ROWS = 1_000_000;

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres({ settings: { shared_buffers: '512MB', max_wal_size: '4GB' } });
});

afterAll(() => server?.[Symbol.asyncDispose]());

/** A million rows in the live table and in the shadow, of which a share differs. @returns seconds of the swap */
async function swapOf(share: number, merged: boolean): Promise<{ seconds: number; exchanged: boolean }> {
  await using stand = await ShadowStand.open(server);
  stand.model.createTable('public', 'big', columnsOf({ id: 'integer', name: 'text', amount: 'numeric', note: 'text' }), ['id']);
  await stand.apply();
  if (merged) await stand.sql('CREATE VIEW v AS SELECT id FROM big');
  await stand.fill();
  const rows = `SELECT i, md5(i::text), i * 1.25, repeat('x', 60) FROM generate_series(1, ${ROWS}) AS i`;
  await stand.sql(`INSERT INTO tidemark_shadow_replica.rebuilt_1 ${rows}; INSERT INTO big ${rows}`);
  await stand.sql(`UPDATE big SET name = 'other' WHERE id % 100 < ${share * 100}`);
  await stand.sql('VACUUM ANALYZE big');
  const before = await stand.sql("SELECT 'big'::regclass::oid");
  await stand.sink.shadow.finish(stand.request().tables, () => undefined, stand.signal);
  const begun = performance.now();
  await stand.swap();
  const seconds = (performance.now() - begun) / 1000;
  const after = await stand.sql("SELECT 'big'::regclass::oid");
  expect(await stand.sql("SELECT count(*), sum(amount), count(*) FILTER (WHERE name = 'other') FROM big")).toEqual([[String(ROWS), '625000625000.00', '0']]);
  await stand.sql(`DROP TABLE big CASCADE`);
  return { seconds, exchanged: after[0]?.[0] !== before[0]?.[0] };
}

describe('a million rows', () => {
  test('merged and exchanged', async () => {
    for (const [share, merged] of [[0, false], [0.01, false], [0.1, false], [0.5, true], [0.5, false], [1, true], [1, false]] as const) {
      const { seconds, exchanged } = await swapOf(share, merged);
      console.log(`${share * 100} % of ${ROWS} rows differ: ${exchanged ? 'exchanged' : 'merged'} in ${seconds.toFixed(2)} s`);
      expect(exchanged).toBe(share > 0.05 && !merged);
    }
  });
});
