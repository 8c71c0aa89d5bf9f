import { afterAll, describe, expect, it } from 'vitest';
import type { VerifyReport } from '../../hub/verify/report.ts';
import { compareDatabases } from '../fixtures/compare-databases.ts';
import { startPostgres, type PostgresMajor } from '../fixtures/embedded-postgres.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { startTestHub, testConfig, testSink, testSource } from '../fixtures/test-hub.ts';
import { comparison, verify } from './verifying.ts';

const MAJORS: readonly PostgresMajor[] = [13, 14, 15, 16, 17];

const SETUP = `
  CREATE TYPE mood AS ENUM ('sad', 'happy');
  CREATE DOMAIN amount AS numeric(12,2) CHECK (value >= 0);
  CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, price amount, feeling mood, tags text[], body bytea, made timestamptz DEFAULT '2026-01-01', span int4range);
  CREATE TABLE parts (id int, region text, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
  CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a'); CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
  CREATE TABLE bag (word text); ALTER TABLE bag REPLICA IDENTITY FULL;
  CREATE TABLE wide (id int PRIMARY KEY, n int, large text); ALTER TABLE wide ALTER large SET STORAGE EXTERNAL;
  INSERT INTO items SELECT g, 'item ' || g, g / 3.0, 'sad', ARRAY['a', NULL], decode('00ff', 'hex'), now(), int4range(g, g + 2) FROM generate_series(1, 500) AS g;
  INSERT INTO parts SELECT g, CASE WHEN g % 2 = 0 THEN 'a' ELSE 'b' END, 'note' FROM generate_series(1, 500) AS g;
  INSERT INTO bag SELECT 'word ' || g % 7 FROM generate_series(1, 100) AS g;
  INSERT INTO wide SELECT g, 0, repeat(md5(g::text), 200) FROM generate_series(1, 50) AS g`;

const CHANGES = [
  `UPDATE items SET price = price + 1, feeling = 'happy' WHERE id % 3 = 0; DELETE FROM items WHERE id % 10 = 0; UPDATE items SET id = id + 10000 WHERE id % 11 = 1`,
  `UPDATE parts SET region = CASE region WHEN 'a' THEN 'b' ELSE 'a' END WHERE id % 5 = 0`,
  `UPDATE wide SET n = n + 1; UPDATE wide SET id = id + 1000 WHERE id < 10`,
  `DELETE FROM bag WHERE word = 'word 3'; INSERT INTO bag VALUES ('twice'), ('twice')`,
  `ALTER TABLE items ADD added text DEFAULT 'filled'; UPDATE items SET added = 'changed' WHERE id % 7 = 0`,
  `ALTER TYPE mood ADD VALUE 'so-so'`,
  `INSERT INTO items (id, name, feeling) VALUES (99999, 'last', 'so-so')`,
  `BEGIN; INSERT INTO wide VALUES (5000, 1, 'prepared'); PREPARE TRANSACTION 'p'`,
  `COMMIT PREPARED 'p'`,
  `TRUNCATE bag; INSERT INTO bag VALUES ('after')`,
];

/** From 14 on a server sums its rows by itself, all of a table at once; an older one's are read, for many buckets. */
function expectEqualBy(version: PostgresMajor, report: VerifyReport): void {
  const compared = report.tables.flatMap(({ comparisons }) => comparisons.map(({ skipped, differences, buckets }) => ({ skipped, differences, buckets })));
  expect(compared).toEqual(new Array(8).fill({ skipped: null, differences: 0, buckets: version < 14 ? 256 : 1 }));
}

describe('source and replica on an older server', () => {
  const started: AsyncDisposable[] = [];

  afterAll(async () => {
    for (const one of started) await one[Symbol.asyncDispose]();
  });

  it.each(MAJORS)('Postgres %i', { timeout: 180_000 }, async (version) => {
    const server = await startPostgres({ version, databases: ['source', 'replica'] });
    const directory = await temporaryDirectory(`version-${version}`);
    started.push(server, directory);
    await server.query(SETUP, [], 'source');
    await using test = await startTestHub(testConfig(directory.path,
      testSource(server.url('source'), { options: { catalog_poll: '200ms' } }), [testSink('replica', 'postgres', server.url('replica'))]));
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    await using session = await server.connect('source');
    for (const change of CHANGES) await session.query(change);
    await test.hub.untilCaughtUp(AbortSignal.timeout(40_000));
    const tables = await compareDatabases(server.url('source'), server.url('replica'));
    expect(tables.map(({ table }) => table)).toEqual(['public.bag', 'public.items', 'public.parts', 'public.wide']);
    expect(tables.filter(({ equal, rows }) => !equal || rows === 0)).toEqual([]);
    const { sources, sinks } = await test.hub.status();
    expect([sources[0]?.error, sinks[0]?.error]).toEqual([null, null]);
    expectEqualBy(version, await verify(test.hub));
    await server.query("UPDATE items SET price = price + 0.01 WHERE id = 7; DELETE FROM parts WHERE id = 8; INSERT INTO bag VALUES ('after'); UPDATE wide SET large = large || '.' WHERE id = 20", [], 'replica');
    const spoiled = await verify(test.hub, { repair: true });
    const found = (table: string): string[] => comparison(spoiled, `public.${table}`, 'log-sink').first.map(({ kind, key, columns }) => `${key} ${kind} ${columns.map(({ column }) => column).join()}`);
    expect(['items', 'parts', 'bag', 'wide'].map(found)).toEqual([['id=7 changed price'], [expect.stringMatching(/^id=8, region=. missing $/)], ['word=after count '], ['id=20 changed large']]);
    expectEqualBy(version, await verify(test.hub));
  });
});
