import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ended, openPlace, processesIn, startDemo } from './demo-place.ts';

const LIMIT_MS = 180_000;

test.each(['mysql', 'mariadb'])('the demo on %s ends with an equal replica and cache', { timeout: LIMIT_MS }, async (source) => {
  await using place = await openPlace();
  const { status, output } = await ended(startDemo(place, ['--source', source, '--seconds', '4']));
  expect(output).toContain('The replica equals the shop.');
  expect(output).toContain('ALTER TABLE orders ADD COLUMN channel');
  expect(output).not.toContain('NOT EQUAL');
  for (const table of ['customers', 'products', 'stock', 'orders', 'order_lines', 'products in Redis']) expect(output).toMatch(new RegExp(`  ${table} +[\\d,]+ rows +equal`));
  expect(status).toBe(0);
  expect(readdirSync(place.path)).toEqual([expect.stringMatching(/^tidemark-demo-/)]);
  expect(processesIn(place)).toEqual([]);
});

test('Ctrl-C in the middle leaves nothing', { timeout: LIMIT_MS }, async () => {
  await using place = await openPlace();
  const demo = startDemo(place, ['--source', 'mysql', '--seconds', '60']);
  await delay(8_000);
  // As a terminal does it: to the whole group.
  process.kill(-(demo.pid ?? 0), 'SIGINT');
  const { output } = await ended(demo);
  expect(output).toContain('Interrupted');
  expect(readdirSync(place.path)).toEqual([]);
  expect(processesIn(place)).toEqual([]);
});
