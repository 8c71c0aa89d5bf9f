import { expect, it } from 'vitest';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgres } from '../fixtures/embedded-postgres.ts';
import { startHubProcess } from '../fixtures/hub-process.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { follow } from './disaster-stand.ts';

const LIMIT_MS = 60_000;

it('a standby is a source: copied and followed, while its primary is written to', async () => {
  await using primary = await startPostgres({ databases: ['shop'] });
  await using standby = await startPostgres();
  await using replica = await startPostgres({ databases: ['shop'] });
  await using folder = await temporaryDirectory('standby');
  await follow(standby, primary);
  await primary.query(
    `CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL, body text);
     INSERT INTO items SELECT i, 0, repeat(md5(i::text), 100) FROM generate_series(1, 2000) AS i;
     CREATE PUBLICATION mirrored FOR ALL TABLES`, [], 'shop');

  await using hub = await startHubProcess({
    directory: folder.path,
    config: {
      sources: { shop: { type: 'postgres', url: standby.url('shop'), tables: ['public.*'], publication: 'mirrored' } },
      sinks: { replica: { type: 'postgres', from: 'shop', url: replica.url('shop'), tables: ['public.*'] } },
    },
  });
  // A slot on a standby begins where the primary next says which transactions run.
  const change = async (): Promise<void> => {
    await primary.query('UPDATE items SET n = n + 1; INSERT INTO items SELECT max(id) + 1, 0, NULL FROM items', [], 'shop');
    await primary.query('SELECT pg_log_standby_snapshot()');
  };
  await expect.poll(async () => {
    await change();
    const { sources, sinks } = await hub.status();
    return { source: sources[0]?.state, error: sources[0]?.error ?? null, tables: sources[0]?.tables.map(({ state }) => state), sink: sinks[0]?.error ?? null };
  }, { timeout: LIMIT_MS, interval: 200 }).toEqual({ source: 'streaming', error: null, tables: ['consistent'], sink: null });

  await primary.query('DELETE FROM items WHERE id % 3 = 0', [], 'shop');
  const [end] = await primary.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  await primary.query('SELECT pg_log_standby_snapshot()');
  await hub.api.wait('replica', `lsn:${end?.lsn}`, LIMIT_MS, AbortSignal.timeout(LIMIT_MS));
  const compared = await compareDatabases(primary.url('shop'), replica.url('shop'));
  expect(compared).toMatchObject([{ equal: true }]);
}, 180_000);
