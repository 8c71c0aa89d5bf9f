import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type TemporaryDirectory, temporaryDirectory } from '../fixtures/temp.ts';
import { run } from '../setup/command.ts';

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

test('wrong arguments are explained', async () => {
  await using place = await openPlace();
  const { status, output } = await ended(startDemo(place, ['--seconds', 'many']));
  expect(output).toContain('--seconds wants a number');
  expect(output).toContain('npm run demo --');
  expect(status).toBe(2);
});

/** The temporary folder of one demo, so that everything that it makes is seen. */
async function openPlace(): Promise<TemporaryDirectory> {
  const place = await temporaryDirectory('place');
  chmodSync(place.path, 0o755);
  return place;
}

function startDemo(place: TemporaryDirectory, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [join(root, 'demo/main.ts'), ...args], {
    cwd: root,
    env: { ...process.env, TMPDIR: place.path },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
}

async function ended(demo: ChildProcess): Promise<{ status: number | null; output: string }> {
  let output = '';
  for (const stream of [demo.stdout, demo.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [status] = (await once(demo, 'close')) as [number | null];
  return { status, output };
}

async function printed(demo: ChildProcess, wanted: string): Promise<string> {
  let output = '';
  return new Promise((resolvePrinted, reject) => {
    demo.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes(wanted)) resolvePrinted(output);
    });
    demo.once('close', () => reject(new Error(`the demo ended before "${wanted}":\n${output}`)));
  });
}

/** Command lines of processes that work in the place. */
function processesIn(place: TemporaryDirectory): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      if (environment.includes(`TMPDIR=${place.path}\0`) && command !== '') found.push(command);
    } catch (error) {
      // It has ended since, or is somebody else's.
      if (!(error instanceof Error && 'code' in error && ['ENOENT', 'EACCES', 'ESRCH', 'EPERM'].includes(String(error.code)))) throw error;
    }
  }
  return found;
}
