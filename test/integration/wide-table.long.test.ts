import { expect, test } from 'vitest';
import { openHubStand } from '../fixtures/hub-stand.ts';

test('a table of 1,600 columns is copied, followed, and changes its shape', async () => {
  await using stand = await openHubStand({ purpose: 'wide' });
  const write = (sql: string) => stand.source.query(sql, [], 'source');
  const types = ['int', 'text', 'boolean', 'smallint'] as const;
  const names = Array.from({ length: 1_595 }, (_, index) => `c${index}`);
  const value = (index: number, row: string): string =>
    ({ int: `(${row} * ${index})::int`, text: `chr(97 + (${row} % 26)::int)`, boolean: `(${row} + ${index}) % 2 = 0`, smallint: `(${index})::smallint` })[types[index % 4] ?? 'int'];
  await write(`CREATE TABLE wide (id int PRIMARY KEY, ${names.map((name, index) => `${name} ${types[index % 4]}`).join(', ')})`);
  const insert = (from: number, to: number) => write(`INSERT INTO wide SELECT i, ${names.map((_, index) => value(index, 'i')).join(', ')} FROM generate_series(${from}, ${to}) AS i`);
  await insert(1, 200);
  await stand.start();
  await stand.caughtUp({ limitMs: 60_000 });
  await insert(201, 300);
  await write(`UPDATE wide SET c1 = NULL, c0 = 7, c1593 = 'z' WHERE id % 3 = 0; DELETE FROM wide WHERE id % 50 = 0; UPDATE wide SET id = id + 1000 WHERE id % 49 = 0`);
  await stand.caughtUp({ limitMs: 60_000 });
  expect(await stand.mustBeEqual()).toBe(294);
  await write(`ALTER TABLE wide ADD COLUMN x1 int DEFAULT 5, ADD COLUMN x2 text, ADD COLUMN x3 int, ADD COLUMN x4 text; UPDATE wide SET x2 = 'x' WHERE id < 20`);
  await stand.caughtUp({ limitMs: 60_000 });
  expect(await stand.mustBeEqual()).toBe(294);
  await write(`ALTER TABLE wide DROP COLUMN c17, DROP COLUMN c500; UPDATE wide SET x3 = id; ALTER TABLE wide RENAME COLUMN c2 TO "C 2"; INSERT INTO wide (id, "C 2") VALUES (5000, true)`);
  await stand.caughtUp({ limitMs: 60_000 });
  expect(await stand.mustBeEqual()).toBe(295);
});
