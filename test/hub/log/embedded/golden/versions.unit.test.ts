import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { expectCode, NEVER } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { checkLog } from '../../../../../hub/log/embedded/check/check-log.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { stoppedLog } from '../../../../../hub/log/embedded/held-log.ts';
import { nodeFiles } from '../../../../../hub/runtime/node-files.ts';
import { createTestRuntime } from '../../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../../fixtures/temp.ts';
import { logText } from '../log-text.ts';
import { noLock } from '../no-lock.ts';

const GOLDEN = join(import.meta.dirname, 'manifest-3');

/** The same file as a later version would begin it, with checksums that fit. */
type Newer = (bytes: Buffer) => void;

const line: Newer = (bytes) => {
  const digit = bytes.indexOf(' ') + 1;
  bytes[digit] = '9'.charCodeAt(0);
};
const header = (crcAt: number, at = 0): Newer => (bytes) => {
  bytes.writeUInt16BE(9, at + 4);
  bytes.writeUInt32BE(crc32(bytes.subarray(at, at + crcAt)), at + crcAt);
};

describe('a file of a newer format', () => {
  it.each<[string, string, Newer]>([
    ['manifest', 'manifest', line],
    ['catalog', '.catalog', line],
    ['segment', '.segment', header(60)],
    ['batch', '.segment', header(92, 64)],
    ['run', '.run', header(12)],
  ])('%s: is refused, by readers and by the check, and nothing is changed', async (_what, suffix, change) => {
    await using folder = await temporaryDirectory('versions');
    const data = join(folder.path, 'data');
    await cp(join(GOLDEN, 'data'), data, { recursive: true });
    const log = join(data, 'log', 'shop');
    for (const name of await readdir(log)) {
      if (!name.endsWith(suffix)) continue;
      const bytes = await readFile(join(log, name));
      change(bytes);
      await writeFile(join(log, name), bytes);
    }
    const before = await contents(log);
    await expectCode(readAll(data), 'LOG_FORMAT');
    await expectCode(check(data), 'LOG_FORMAT');
    expect(await contents(log)).toEqual(before);
  });

  it('index: is made again when the log is opened for writing, and done without until then', async () => {
    await using folder = await temporaryDirectory('versions');
    const data = join(folder.path, 'data');
    await cp(join(GOLDEN, 'data'), data, { recursive: true });
    const log = join(data, 'log', 'shop');
    const before = await readAll(data);
    for (const name of await readdir(log)) {
      if (!name.endsWith('.index')) continue;
      const bytes = await readFile(join(log, name));
      bytes.writeUInt16BE(9, 4);
      bytes.writeUInt32BE(crc32(bytes.subarray(0, bytes.length - 4)), bytes.length - 4);
      await writeFile(join(log, name), bytes);
    }
    expect(await readAll(data)).toBe(before);
    const { findings } = await check(data);
    expect(findings).toBeGreaterThan(0);
    {
      await using engine = await EmbeddedLogEngine.create(data, createTestRuntime(), { lock: noLock });
      await engine.open('shop', { create: false });
    }
    expect(await readAll(data)).toBe(before);
  });
});

async function readAll(data: string): Promise<string> {
  await using engine = await EmbeddedLogEngine.openReadOnly(data, createTestRuntime());
  return await logText(await engine.open('shop', { create: false }));
}

async function check(data: string): Promise<{ readonly findings: number }> {
  const log = await stoppedLog(nodeFiles, data, 'shop');
  return checkLog({ files: nodeFiles, data, log, scratch: null, found: () => undefined, progress: () => undefined, signal: NEVER });
}

async function contents(folder: string): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const name of await readdir(folder)) all.set(name, (await readFile(join(folder, name))).toString('hex'));
  return all;
}
