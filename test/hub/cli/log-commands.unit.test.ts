import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApi, type Api } from '../../../hub/api/server.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { ScratchFolders } from '../../../hub/moments/scratch.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { ScriptedService } from '../api/scripted-service.ts';
import { fillShop, openEngine, printPosition } from '../api/shop-log.ts';
import { logText } from '../log/embedded/log-text.ts';
import { tidemark, type CliResult } from './run-cli.ts';

let folder: TemporaryDirectory;

function run(...args: string[]): Promise<CliResult> {
  return tidemark(args, { cwd: folder.path });
}

function jsonLines(text: string): unknown[] {
  return text.split('\n').slice(0, -1).map((line): unknown => JSON.parse(line));
}

describe('with a hub that runs', () => {
  let engine: EmbeddedLogEngine;
  let api: Api;

  beforeAll(async () => {
    folder = await temporaryDirectory('cli-log');
    const runtime = createTestRuntime();
    engine = await openEngine(join(folder.path, 'data'), runtime);
    await fillShop(engine);
    await writeFile(join(folder.path, 'tidemark.yaml'), 'hub: { data: ./data }\nsources: {}\n');
    api = await startApi({
      service: new ScriptedService(), log: engine, metrics: createMetrics(), data: join(folder.path, 'data'), http: null,
      printPosition, codecs: [], scratch: new ScratchFolders(runtime.files, join(folder.path, 'data'), 'test'),
      clock: runtime.clock, files: runtime.files, logger: runtime.logger, reload: () => Promise.resolve([]),
    });
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  it('checks its logs', async () => {
    const { code, stdout, stderr } = await run('log', 'verify');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^shop {2}offsets 0 to 13: .* 13 records .*: all as it was written\n$/);
    expect(jsonLines((await run('log', 'verify', 'shop', '--json')).stdout)).toEqual([{ checked: expect.objectContaining({ source: 'shop', highWatermark: 13, findings: 0 }) as unknown }]);
    expect(await run('log', 'verify', 'nothing')).toMatchObject({ code: 1, stderr: expect.stringContaining('SOURCE_UNKNOWN') as string });
  });

  it('says where it cannot write a backup, or restore one', async () => {
    await writeFile(join(folder.path, 'file'), '');
    const denied = { code: 1, stderr: expect.stringMatching(/^FOLDER_DENIED: .*\n {2}where: .*file\/there/) as string };
    expect(await run('backup', 'file/there')).toMatchObject(denied);
    expect((await run('backup', 'elsewhere')).code).toBe(0);
    expect(await run('restore', 'elsewhere', '--to', 'file/there')).toMatchObject(denied);
  });

  it('backs it up, and restores a folder with the same log', async () => {
    const { code, stdout, stderr } = await run('backup', 'backups');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^shop {2}offsets 0 to 13\nbackup \d{8}T\d{6}Z: .* new/);
    expect((await run('backup', 'backups', '--json')).code).toBe(0);
    const listed = jsonLines((await run('restore', 'backups', '--list', '--json')).stdout);
    expect(listed).toHaveLength(2);
    expect((await run('restore', 'backups', '--list')).stdout).toMatch(/^BACKUP .*\n\d{8}T/);
    expect(await run('restore', 'backups', '--to', 'restored')).toMatchObject({ code: 0, stderr: '' });
    await using restored = await EmbeddedLogEngine.openReadOnly(join(folder.path, 'restored'), createTestRuntime());
    expect(await logText(await restored.open('shop', { create: false }))).toBe(await logText(await engine.open('shop', { create: false })));
    expect(await run('log', 'verify', '--data', 'restored')).toMatchObject({ code: 0 });
    expect(await run('restore', 'backups')).toMatchObject({ code: 2, stderr: expect.stringContaining('--to DATA') as string });
    expect(await run('restore', 'nowhere', '--to', 'x')).toMatchObject({ code: 1, stderr: expect.stringContaining('BACKUP_FOLDER') as string });
    expect(await run('backup', 'data/within')).toMatchObject({ code: 1, stderr: expect.stringContaining('BACKUP_FOLDER') as string });
  });

  it('gives the files free when the command has ended', async () => {
    const core = (await engine.open('shop', { create: false })).core;
    await run('log', 'verify');
    await expect.poll(async () => {
      const path = core.segmentPath(4_000_000);
      await writeFile(path, '');
      await core.discard(path);
      return core.files.exists(path);
    }).toBe(false);
  });
});

describe('with a hub that does not run', () => {
  beforeAll(async () => {
    folder = await temporaryDirectory('cli-log');
    await writeFile(join(folder.path, 'tidemark.yaml'), 'hub: { data: ./data }\nsources: {}\n');
    for (const seed of [1, 2]) {
      await using engine = await openEngine(join(folder.path, 'data'), createTestRuntime({ seed }));
      // The second opening seals what the first has written.
      if (seed === 1) await fillShop(engine);
      else await (await (await engine.open('shop', { create: false })).openWriter(() => undefined))[Symbol.asyncDispose]();
    }
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  it('prints files, and the record at an offset', async () => {
    const log = join('data', 'log', 'shop');
    const names = await readdir(join(folder.path, log));
    for (const name of names) {
      const { code, stdout } = await run('log', 'inspect', join(log, name));
      expect([name, code, stdout.length > 10]).toEqual([name, 0, true]);
      for (const line of jsonLines((await run('log', 'inspect', join(log, name), '--json')).stdout)) expect(line).toHaveProperty('is');
    }
    const at = jsonLines((await run('log', 'inspect', 'shop@3', '--json')).stdout);
    expect(at.map((line) => (line as { is: string }).is)).toEqual(['segment', 'batch', 'transaction', 'record']);
    expect(at.at(-1)).toMatchObject({ offset: 3 });
    expect((await run('log', 'inspect', 'shop@3')).stdout).toContain('      record  offset 3');
    for (const moment of ['end', '-1m']) expect(await run('log', 'inspect', `shop@${moment}`)).toMatchObject({ code: 0, stdout: expect.stringContaining('      record  offset 13') as string });
    expect(await run('log', 'inspect', 'shop@yesterday')).toMatchObject({ code: 2, stderr: expect.stringContaining('MOMENT_SYNTAX') as string });
    expect(await run('log', 'inspect', 'shop@99')).toMatchObject({ code: 1, stderr: expect.stringContaining('OFFSET_RANGE') as string });
    expect(await run('log', 'inspect', 'other@1')).toMatchObject({ code: 1, stderr: expect.stringContaining('LOG_UNKNOWN') as string });
    expect(await run('log', 'inspect', 'tidemark.yaml')).toMatchObject({ code: 2 });
  });

  it('names damage, exits with 1, and puts the file back from a backup', async () => {
    expect(await run('backup', 'backups')).toMatchObject({ code: 0 });
    const log = join(folder.path, 'data', 'log', 'shop');
    const [segment = ''] = (await readdir(log)).filter((name) => name.endsWith('.segment'));
    const whole = await readFile(join(log, segment));
    const harmed = Buffer.from(whole);
    harmed[300] = (harmed[300] ?? 0) ^ 4;
    // Not in place: the backup has the same file by a second name.
    await writeFile(join(log, `${segment}.harmed`), harmed);
    await rename(join(log, `${segment}.harmed`), join(log, segment));
    const { code, stdout } = await run('log', 'verify');
    expect(code).toBe(1);
    expect(stdout).toMatch(new RegExp(`^shop {2}${segment} {2}damage: .*\\n {2}where: bytes \\d+ to \\d+, offsets? .*tables? public\\..*\\n {2}to do: stop the hub and put ${segment} back`));
    expect(jsonLines((await run('log', 'verify', '--json')).stdout)[0]).toMatchObject({ finding: { source: 'shop', kind: 'damage', file: segment } });
    expect(await run('backup', 'backups')).toMatchObject({ code: 0 });
    expect(await run('restore', 'backups', '--damaged', '--to', 'data')).toMatchObject({ code: 0, stdout: `log/shop/${segment}  put back\n` });
    expect(await run('log', 'verify')).toMatchObject({ code: 0 });
    expect((await run('restore', 'backups', '--damaged', '--to', 'data')).stdout).toContain('no file');
    expect(await run('restore', 'backups', '--damaged', '--backup', 'x', '--to', 'data')).toMatchObject({ code: 2, stderr: expect.stringContaining('leave --backup out') as string });
  });
});
