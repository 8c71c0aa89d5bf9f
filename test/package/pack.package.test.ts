import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { mustRun, run } from '../setup/command.ts';

const root = resolve(import.meta.dirname, '../..');

/** What a user gets: the packed package, installed into an empty folder. */
describe('the published package', () => {
  const stack = new AsyncDisposableStack();
  let home = '';
  let packed: string[] = [];

  beforeAll(async () => {
    const directory = stack.use(await temporaryDirectory('package'));
    home = join(directory.path, 'home');
    await mkdir(home);
    const answer: unknown = JSON.parse(await mustRun('npm', ['pack', '--json', '--silent', '--pack-destination', directory.path], { cwd: root }));
    const { filename, files } = packResult(answer);
    packed = files;
    await writeFile(join(home, 'package.json'), '{ "private": true, "type": "module" }\n');
    await mustRun('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', join(directory.path, filename)], { cwd: home });
  });
  afterAll(() => stack.disposeAsync());

  test('holds the built sources, their types, and no tests', () => {
    expect(packed).toContain('dist/hub/cli/main.js');
    expect(packed).toContain('dist/contracts/sink.d.ts');
    expect(packed).toEqual(expect.arrayContaining(['LICENSE', 'tidemark.schema.json']));
    expect(packed.filter((path) => /^(test|demo|bench)\/|\.test\.|(?<!\.d)\.ts$/.test(path))).toEqual([]);
  });

  test('has a command that explains itself', async () => {
    const { status, output } = await tidemark(['--help']);
    expect(output).toMatch(/Usage: tidemark/);
    for (const command of ['init', 'check', 'run', 'status', 'read', 'wait']) expect(output).toContain(command);
    expect(status).toBe(0);
  });

  test('knows its version', async () => {
    const own: unknown = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    const { status, output } = await tidemark(['--version']);
    expect(own).toMatchObject({ version: output.trim() });
    expect(status).toBe(0);
  });

  test('refuses a faulty configuration with exit code 2', async () => {
    await writeFile(join(home, 'tidemark.yaml'), 'hub: { data: ./data }\nsource: {}\n');
    const { status, output } = await tidemark(['check']);
    expect(output).toContain('sources');
    expect(status).toBe(2);
  });

  test('can be imported, with types', async () => {
    const lines = [
      "import type { Sink } from 'tidemark/contracts/sink';",
      "import { TidemarkError } from 'tidemark/contracts/errors/error';",
      'export const probe = (sink: Sink): string => sink.kind;',
      "console.log(new TidemarkError('ABORTED', 'x').retry);",
    ];
    await writeFile(join(home, 'probe.ts'), `${lines.join('\n')}\n`);
    expect(await mustRun('node', ['probe.ts'], { cwd: home })).toBe('auto\n');
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--lib', 'es2024,esnext.disposable'];
    const nodeTypes = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')];
    expect(await run(join(root, 'node_modules/.bin/tsc'), [...options, ...nodeTypes, 'probe.ts'], { cwd: home })).toEqual({ status: 0, output: '' });
  });

  function tidemark(args: readonly string[]): ReturnType<typeof run> {
    return run(join(home, 'node_modules/.bin/tidemark'), args, { cwd: home });
  }
});

function packResult(answer: unknown): { filename: string; files: string[] } {
  const first: unknown = Array.isArray(answer) ? answer[0] : null;
  if (!isObject(first) || typeof first['filename'] !== 'string' || !Array.isArray(first['files'])) {
    throw new Error('npm pack --json answers in another form');
  }
  const files = first['files'].map((file: unknown) => (isObject(file) ? String(file['path']) : ''));
  return { filename: first['filename'], files };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
