import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { run } from '../setup/command.ts';
import { ended, openPlace, printed, processesIn, startDemo } from './demo-place.ts';

const root = resolve(import.meta.dirname, '../..');
const LIMIT_MS = 180_000;

test('the demo ends with equal tables, and leaves a folder that can be read', { timeout: LIMIT_MS }, async () => {
  await using place = await openPlace();
  const demo = startDemo(place, ['--seconds', '4']);
  const { status, output } = await ended(demo);
  expect(output).toContain('The replica equals the shop.');
  expect(output).toContain('ALTER TABLE orders ADD COLUMN channel');
  expect(output).not.toContain('NOT EQUAL');
  for (const table of ['customers', 'products', 'stock', 'orders', 'order_lines']) expect(output).toMatch(new RegExp(`public\\.${table} +[\\d,]+ rows +equal`));
  expect(status).toBe(0);
  const left = readdirSync(place.path);
  expect(left).toEqual([expect.stringMatching(/^tidemark-demo-/)]);
  expect(output).toContain(join(place.path, left[0] ?? ''));
  expect(processesIn(place)).toEqual([]);

  const commands = [...output.matchAll(/^ {2}npm run --silent tidemark -- (.*)$/gm)].map((match) => (match[1] ?? '').split(' '));
  expect(commands).toHaveLength(2);
  for (const args of commands) {
    const tried = await run(process.execPath, [join(root, 'hub/cli/main.ts'), ...args]);
    expect(tried.output).toContain('orders');
    expect(tried.status).toBe(0);
  }
});

test.each([100, 1_500, 4_000, 7_000])('Ctrl-C after %d ms leaves nothing', { timeout: LIMIT_MS }, async (ms) => {
  await using place = await openPlace();
  const demo = startDemo(place, ['--seconds', '60']);
  await delay(ms);
  // As a terminal does it: to the whole group.
  process.kill(-(demo.pid ?? 0), 'SIGINT');
  const { status, output } = await ended(demo);
  expect(readdirSync(place.path)).toEqual([]);
  expect(processesIn(place)).toEqual([]);
  // Before its first lines have run there is nobody to catch the signal.
  expect(status === null || output.includes('Interrupted')).toBe(true);
});

test('--keep keeps everything running until it is interrupted', { timeout: LIMIT_MS }, async () => {
  await using place = await openPlace();
  const demo = startDemo(place, ['--seconds', '1', '--keep']);
  const finished = ended(demo);
  const output = await printed(demo, 'Ctrl-C ends it');
  expect(output).toContain('The replica equals the shop.');
  expect(processesIn(place).length).toBeGreaterThan(1);
  const commands = [...output.matchAll(/^ {2}npm run --silent tidemark -- (.*)$/gm)].map((match) => (match[1] ?? '').split(' '));
  expect(commands).toHaveLength(3);
  for (const args of commands) {
    const tried = await run(process.execPath, [join(root, 'hub/cli/main.ts'), ...args.filter((arg) => arg !== '--watch')]);
    expect(tried.output).toContain(args[0] === 'status' ? 'replica' : 'orders');
    expect(tried.status).toBe(0);
  }
  expect(output.match(/^ {2}postgres:\/\/\S+\/(shop|replica)$/gm)).toHaveLength(2);
  demo.kill('SIGTERM');
  expect((await finished).status).toBe(0);
  expect(readdirSync(place.path)).toEqual([]);
  expect(processesIn(place)).toEqual([]);
});

test.each([
  [['--seconds', 'many'], '--seconds wants a number'],
  [['--source', 'oracle'], '--source wants one of postgres, mysql, mariadb, not oracle'],
])('wrong arguments are explained: %j', async (args, why) => {
  await using place = await openPlace();
  const { status, output } = await ended(startDemo(place, args));
  expect(output).toContain(why);
  expect(output).toContain('npm run demo --');
  expect(status).toBe(2);
});
