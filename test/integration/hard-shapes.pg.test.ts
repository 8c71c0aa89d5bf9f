import { expect, test } from 'vitest';
import { type HubStand, openHubStand } from '../fixtures/hub-stand.ts';

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const LONG = 'é'.repeat(31) + 'z';

/** Names as people and tools make them: quotes, blanks, signs of patterns, upper case, other alphabets, 63 bytes. */
const SCHEMAS = ['public', 'Sales "EU" 2026', 'схема.точка', LONG] as const;
const NAMES = ['Order Items', 'a"b', "it's", 'with.dot', '{curly}*?[x]', 'select', 'таблица', '表', '🐘', LONG, 'back\\slash', 'tab\there', '$1', '%s'] as const;

async function lines(stand: HubStand, table: string): Promise<string> {
  let text = '';
  for await (const part of stand.hub.api.read('shop', { table }, AbortSignal.timeout(20_000))) text += part;
  return text;
}

test('names of every kind are copied, followed, shown and read', async () => {
  await using stand = await openHubStand({ purpose: 'names', tables: ['*.*'] });
  const write = (sql: string) => stand.source.query(sql, [], 'source');
  for (const schema of SCHEMAS.slice(1)) await write(`CREATE SCHEMA ${quoted(schema)}`);
  const tables = SCHEMAS.flatMap((schema) => NAMES.map((name) => ({ schema, name, sql: `${quoted(schema)}.${quoted(name)}` })));
  const columns = NAMES.map((name) => `${quoted(name)} text`).join(', ');
  for (const { sql } of tables) {
    await write(`CREATE TABLE ${sql} (${quoted('Key "no" 1')} int, ${columns}, PRIMARY KEY (${quoted('Key "no" 1')}, ${quoted(LONG)}));
      INSERT INTO ${sql} VALUES (1${NAMES.map((_, index) => `, 'copied ${index}'`).join('')})`);
  }
  await stand.start();
  await stand.caughtUp({ tables: tables.length, limitMs: 60_000 });
  for (const { sql } of tables) {
    await write(`INSERT INTO ${sql} (${quoted('Key "no" 1')}, ${quoted(LONG)}, ${quoted('a"b')}) VALUES (2, 'k', 'streamed');
      UPDATE ${sql} SET ${quoted('表')} = 'changed', ${quoted(LONG)} = 'moved' WHERE ${quoted('Key "no" 1')} = 1`);
  }
  const [first] = tables;
  await write(`ALTER TABLE ${first?.sql} ADD COLUMN ${quoted('New "one"')} text; ALTER TABLE ${first?.sql} RENAME COLUMN ${quoted('表')} TO ${quoted('renamed to 表 "2"')};
    INSERT INTO ${first?.sql} (${quoted('Key "no" 1')}, ${quoted(LONG)}, ${quoted('New "one"')}) VALUES (3, 'k', 'new')`);
  await stand.caughtUp({ tables: tables.length, limitMs: 60_000 });
  for (const schema of SCHEMAS) expect(await stand.mustBeEqual({ schema })).toBeGreaterThanOrEqual(2 * NAMES.length);
  const shown = (await stand.hub.source('shop')).tables;
  expect(shown.length).toBe(tables.length);
  expect(shown.every(({ state }) => state === 'consistent')).toBe(true);
  for (const { schema, name, sql } of tables) {
    const text = await lines(stand, sql);
    expect(text, `${schema} ${name}`).toContain('streamed');
    expect(text, `${schema} ${name}`).toContain('changed');
  }
});

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
