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
