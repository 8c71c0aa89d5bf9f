import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CATALOGUE } from '../../../contracts/errors/catalogue.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';

const main = resolve(import.meta.dirname, '../../../hub/cli/main.ts');

/** For a machine whose cores are stolen, ms. */
const PATIENCE = 300_000;

let folder: TemporaryDirectory;
const running: ChildProcess[] = [];

beforeAll(async () => {
  folder = await temporaryDirectory('process');
  // Nobody listens there: the hub runs, and tries again.
  await writeFile(join(folder.path, 'tidemark.yaml'), 'sources: { shop: { type: postgres, url: "postgres://u@127.0.0.1:1/d", tables: ["*.*"] } }\n');
});
/** One that a failed test has left must not answer for the next. */
afterEach(() => running.splice(0).forEach((child) => child.kill('SIGKILL')));
afterAll(() => folder[Symbol.asyncDispose]());

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]) {
  const child = spawn(process.execPath, [main, ...args], { cwd: folder.path, stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (part: string) => { text.stdout += part; });
  child.stderr.setEncoding('utf8').on('data', (part: string) => { text.stderr += part; });
  const ended: Promise<Ended> = once(child, 'close').then(() => ({ code: child.exitCode, ...text }));
  return { child, ended };
}

/** Resolves when the hub itself has said that it runs. */
async function startRunning() {
  const started = start('run');
  const { child, ended } = started;
  const said = new Promise<void>((resolved) => {
    let text = '';
    child.stderr.on('data', (part: string) => {
      text += part;
      if (text.includes('"hub.started"')) resolved();
    });
  });
  await Promise.race([said, ended.then(({ stderr }) => { throw new Error(`it has ended by itself: ${stderr}`); })]);
  return started;
}

describe('the executable', () => {
  it('ends with the code of the command', async () => {
    expect(await start('--version').ended).toEqual({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string, stderr: '' });
    expect(await start('nonsense').ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^USAGE: /) as string });
    expect(await start('sink', 'pause', 'x').ended).toMatchObject({ code: 1, stderr: expect.stringMatching(/^API_UNREACHABLE: /) as string });
  });

  it('does not mind a reader that has seen enough', async () => {
    const { child, ended } = start('schema');
    child.stdout.destroy();
    expect(await ended).toMatchObject({ code: 0, stderr: '' });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('runs with a source that cannot be reached, and drains at %s', { timeout: PATIENCE }, async (signal) => {
    const { child, ended } = await startRunning();
    child.kill(signal);
    const { code, stderr } = await ended;
    expect(code).toBe(0);
    const events = stderr.trim().split('\n').map((line) => (JSON.parse(line) as { event: string }).event);
    expect(events).toContain('hub.started');
    expect(events).toContain('hub.ending');
  });

  it('ends at once at a second signal', { timeout: PATIENCE }, async () => {
    const { child, ended } = await startRunning();
    child.kill('SIGSTOP');
    child.kill('SIGTERM');
    child.kill('SIGINT');
    child.kill('SIGCONT');
    expect((await ended).code).toBe(130);
  });
});

describe('a Node.js that is too old', () => {
  it.each(['20.19.5', '22.18.0'])('%s is refused before anything of ours is loaded', async (version) => {
    const pretend = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'${version}'}})`;
    const child = spawn(process.execPath, ['--import', pretend, main, 'status'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (part: string) => { text += part; });
    await once(child, 'close');
    expect(text).toContain(`NODE_VERSION: Tidemark needs Node.js 24 or newer, and this is ${version}\n  where: ${process.execPath}\n`);
    expect(text).toContain(`  to do: ${CATALOGUE.NODE_VERSION.remedy}\n`);
    expect(child.exitCode).toBe(2);
  });

  it('can read the file that says so: it imports nothing, and its syntax is old', async () => {
    const text = await readFile(main, 'utf8');
    expect(text).not.toMatch(/^import /m);
    expect(text).not.toMatch(/\busing\b|#[a-z]/);
  });
});
