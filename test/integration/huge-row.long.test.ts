import { expect, test } from 'vitest';
import { openHubStand } from '../fixtures/hub-stand.ts';

const LIMIT_MS = 30 * 60_000;
const MB = 1_000_000;
/** A row of 100 MB is held whole: as it comes, as it is completed, as it is written to the log and sent to the replica. */
const MAX_RSS_MB = 1_500;

/** 40 MB of text and 60 MB of bytes, different for each seed. */
const values = (seed: string): string => `repeat(md5('${seed}'), ${(40 * MB) / 32}), decode(repeat(md5('${seed}' || 'raw'), ${(60 * MB) / 16}), 'hex')`;

test('a row of 100 MB is copied, streamed, and completed when an update leaves it as it is', async () => {
  await using stand = await openHubStand({ purpose: 'huge-row' });
  const write = (sql: string) => stand.source.query(sql, [], 'source');
  await write(`CREATE TABLE documents (id int PRIMARY KEY, n int NOT NULL, body text, raw bytea); INSERT INTO documents SELECT 1, 0, ${values('one')}`);
  await stand.start();
  const idleMb = await stand.peakMb();
  const caughtUp = async (what: string): Promise<void> => {
    const seconds = await stand.caughtUp({ limitMs: LIMIT_MS });
    console.log(`${what}: ${seconds.toFixed(1)} s, peak ${(await stand.peakMb()).toFixed(0)} MB, ${idleMb.toFixed(0)} MB at the start`);
    expect(await stand.mustBeEqual()).toBeGreaterThan(0);
  };
  await caughtUp('copied');
  await write(`INSERT INTO documents SELECT 2, 0, ${values('two')}`);
  await caughtUp('streamed');
  await write('UPDATE documents SET n = n + 1 WHERE id = 2');
  await caughtUp('changed beside the large values');
  await write('UPDATE documents SET id = 3, n = n + 1 WHERE id = 1');
  await caughtUp('moved to another key');
  await write(`UPDATE documents SET raw = '\\x00', n = 7 WHERE id = 2; UPDATE documents SET n = 8; DELETE FROM documents WHERE id = 3`);
  await caughtUp('one large value left');
  expect(await stand.peakMb()).toBeLessThan(MAX_RSS_MB);
});

test('a row above the limit stops its table with what to do; the others go on; a larger limit and a copy bring it back', async () => {
  await using stand = await openHubStand({ purpose: 'row-limit', source: { max_row_size: '1MiB' } });
  const write = (sql: string) => stand.source.query(sql, [], 'source');
  await write(`CREATE TABLE big (id int PRIMARY KEY, body text); CREATE TABLE small (id int PRIMARY KEY, body text); INSERT INTO big VALUES (1, 'x')`);
  await stand.start();
  await stand.caughtUp({ tables: 2 });
  await write(`INSERT INTO big SELECT 2, repeat('y', ${2 * MB}); INSERT INTO small VALUES (1, 'goes on')`);
  await stand.caughtUp({ tables: 2 });
  const { tables } = await stand.hub.source('shop');
  const stopped = tables.find(({ table }) => table === 'public.big');
  expect(stopped).toMatchObject({ state: 'stopped' });
  expect(stopped?.stoppedBecause).toMatch(/^POSTGRES_ROW_TOO_LARGE: .*max_row_size/);
  await stand.mustBeEqual({ tables: ['small'] });

  await stand.configure({ source: { max_row_size: '8MiB' } });
  await stand.hub.api.reload(AbortSignal.timeout(LIMIT_MS));
  await stand.hub.api.tableAction('shop', 'recopy', 'public.big', AbortSignal.timeout(LIMIT_MS));
  await stand.hub.until('the table is back', ({ sources }) => sources[0]?.tables.every(({ state }) => state === 'consistent') === true, LIMIT_MS);
  await write(`UPDATE big SET body = body || 'z' WHERE id = 2`);
  await stand.caughtUp({ tables: 2 });
  await stand.mustBeEqual();
});
