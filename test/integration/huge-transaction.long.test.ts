import { expect, test } from 'vitest';
import { type HubStand, openHubStand } from '../fixtures/hub-stand.ts';

const MB = 1e6;
const MAX_RSS_MB = 400;
const BYTES = Number(process.env['TIDEMARK_HUGE_MB'] ?? 2_000) * MB;
/** Of `body`, `extra` and `raw` together, about. */
const ROW_BYTES = 3750;
const ROWS = Math.ceil(BYTES / ROW_BYTES);
const LIMIT_MS = 30 * 60_000;

const TABLE = `
  CREATE EXTENSION pgcrypto;
  CREATE TABLE big (id bigint PRIMARY KEY, n integer NOT NULL, body text, extra text, raw bytea);
  CREATE TABLE other (id bigint PRIMARY KEY, v text);
  INSERT INTO other SELECT i, 'v' || i FROM generate_series(1, 1000) AS i`;

/** Values that no compression makes smaller: about 1,366 + 1,366 + 1,024 bytes. */
const RANDOM_TEXT = `translate(encode(gen_random_bytes(1024), 'base64'), E'\\n', '')`;

/** One transaction: rows, then updates that leave the large values as they are, then some that change one of them, then deletes. */
async function commitHuge(stand: HubStand, rows: number): Promise<void> {
  await using session = await stand.source.connect('source');
  await session.query('BEGIN');
  await session.query(`INSERT INTO big SELECT i, 0, ${RANDOM_TEXT}, ${RANDOM_TEXT}, gen_random_bytes(1024) FROM generate_series(1, ${rows}) AS i`);
  await session.query('UPDATE big SET n = n + 1 WHERE id % 11 = 0');
  await session.query(`UPDATE big SET extra = ${RANDOM_TEXT} WHERE id % 97 = 0`);
  await session.query('UPDATE big SET id = -id WHERE id % 1009 = 0');
  await session.query('DELETE FROM big WHERE id % 1013 = 0');
  await session.query("UPDATE other SET v = v || '!'");
  await session.query('COMMIT');
}

test(`a transaction of ${BYTES / MB} MB is streamed to the replica in bounded memory, also when the hub is killed in the middle of it`, async () => {
  await using stand = await openHubStand({ purpose: 'huge' });
  await stand.source.query(TABLE, [], 'source');
  await stand.start();
  await stand.caughtUp({ tables: 2 });
  const idleMb = await stand.peakMb();

  const made = performance.now();
  await commitHuge(stand, ROWS);
  const madeSeconds = (performance.now() - made) / 1000;

  const began = performance.now();
  const seconds = (): string => ((performance.now() - began) / 1000).toFixed(0);
  await stand.hub.until('half of it is in the log', ({ sources }) => (sources[0]?.logBytes ?? 0) > BYTES / 2, LIMIT_MS);
  const captureMb = await stand.peakMb();
  await stand.hub.kill();
  console.log(`killed in the middle of capturing after ${seconds()} s, peak ${captureMb.toFixed(0)} MB`);
  await stand.start();
  const { highWatermark } = await stand.hub.source('shop');
  await stand.hub.until('all of it is in the log', ({ sources }) => (sources[0]?.highWatermark ?? 0) >= highWatermark + ROWS, LIMIT_MS);
  console.log(`in the log after ${seconds()} s, peak ${(await stand.peakMb()).toFixed(0)} MB`);
  await applying(stand);
  const applyMb = await stand.peakMb();
  await stand.hub.kill();
  console.log(`killed while the replica applied after ${seconds()} s, peak ${applyMb.toFixed(0)} MB`);
  const restarted = performance.now();
  await stand.start();
  console.log(`answers again ${((performance.now() - restarted) / 1000).toFixed(1)} s after the start`);
  await stand.caughtUp({ limitMs: LIMIT_MS, tables: 2 });
  console.log(`replica has it after ${seconds()} s (the source needed ${madeSeconds.toFixed(0)} s), peak ${(await stand.peakMb()).toFixed(0)} MB, ${idleMb.toFixed(0)} MB before it`);

  expect(await stand.mustBeEqual()).toBeGreaterThan(ROWS - ROWS / 1000);
  expect(await stand.peakMb()).toBeLessThan(MAX_RSS_MB);
});

/** Until the replica's session has written a good part of the transaction, which nobody sees yet. */
async function applying(stand: HubStand): Promise<void> {
  await using session = await stand.replica.connect('replica');
  for (;;) {
    const { rows } = await session.query<{ bytes: string }>("SELECT pg_table_size('big') AS bytes");
    if (Number(rows[0]?.bytes) > BYTES / 10) return;
    await stand.hub.status();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
