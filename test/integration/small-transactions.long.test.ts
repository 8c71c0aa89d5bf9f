import { expect, test } from 'vitest';
import { disableSubscription, enableSubscription, prepareSubscription } from '../../bench/native-subscription.ts';
import { confirmed, mustBeEqual } from '../../bench/servers.ts';
import { openHubStand } from '../fixtures/hub-stand.ts';

const TRANSACTIONS = 1_000_000;
const MAX_RSS_MB = 400;
const LIMIT_MS = 30 * 60_000;

/** One row each: half insert, others update one of the last thousand rows, some delete. */
const MAKE = `
CREATE PROCEDURE make(total bigint) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. total LOOP
    IF i % 2 = 1 THEN INSERT INTO events VALUES (i, i, 'event ' || i);
    ELSIF i % 10 = 0 THEN DELETE FROM events WHERE id = i - 9;
    ELSE UPDATE events SET n = n + 1 WHERE id = i - 1;
    END IF;
    COMMIT;
  END LOOP;
END $$`;

test('a backlog of a million transactions of one row is caught up with in bounded memory', async () => {
  await using stand = await openHubStand({ purpose: 'small' });
  const { source, replica } = stand;
  await source.query('CREATE TABLE events (id bigint PRIMARY KEY, n bigint, v text); CREATE PUBLICATION native FOR TABLE events', [], 'source');
  await source.query(MAKE, [], 'source');
  await replica.query('CREATE DATABASE native');
  await replica.query('CREATE TABLE events (id bigint PRIMARY KEY, n bigint, v text)', [], 'native');
  await prepareSubscription(source, 'source', replica, 'native');
  await stand.start();
  await stand.caughtUp();
  await stand.hub.stop();
  await source.query(`CALL make(${TRANSACTIONS})`, [], 'source');
  const [end] = await source.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], 'source');
  await source.query("UPDATE events SET v = 'last' WHERE id = 3", [], 'source');

  await stand.start();
  const seconds = await stand.caughtUp({ limitMs: LIMIT_MS });
  const peakMb = await stand.peakMb();
  await stand.hub.stop();

  await using watch = await source.connect('source');
  const began = performance.now();
  await enableSubscription(replica, 'native');
  await confirmed(watch, 'native', end?.lsn ?? '');
  const native = (performance.now() - began) / 1000;
  await disableSubscription(replica, 'native');
  await replica.query('ALTER SUBSCRIPTION native SET (slot_name = NONE)', [], 'native');
  await replica.query('DROP SUBSCRIPTION native', [], 'native');
  console.log(`${TRANSACTIONS} transactions: ${(TRANSACTIONS / seconds).toFixed(0)}/s, native subscription ${(TRANSACTIONS / native).toFixed(0)}/s, ratio ${(native / seconds).toFixed(2)}, peak ${peakMb.toFixed(0)} MB`);
  await mustBeEqual(source, 'source', replica, 'native', 'events');
  expect(await stand.mustBeEqual()).toBe(TRANSACTIONS * 0.4);
  expect(peakMb).toBeLessThan(MAX_RSS_MB);
});
