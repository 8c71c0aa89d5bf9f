import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HubConfig, SourceConfig } from '../../../contracts/config.ts';
import { withHashKeys } from '../../../hub/config/hash-key.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';

const { files, random } = createTestRuntime();
let folder: TemporaryDirectory;

beforeAll(async () => {
  folder = await temporaryDirectory('hash-key');
});
afterAll(() => folder[Symbol.asyncDispose]());

function source(name: string, hash: string[], hashKey: string | null = null): SourceConfig {
  const columns = new Map([['public.a', { exclude: [], hash }]]);
  return { name, type: 'postgres', tables: () => true, tablePatterns: ['*.*'], columns, hashKey, options: {} };
}

function config(data: string, ...sources: SourceConfig[]): HubConfig {
  const limits = { pipelineBytes: 1, disk: null, retainedWal: null, onRetainedWal: 'warn' } as const;
  const log = { historyMs: null, historyBytes: null, compactionBytes: 1, compactionShare: 1, compactionRate: null };
  return { data, http: null, limits, log, sources: new Map(sources.map((each) => [each.name, each])), sinks: new Map() };
}

describe('the key of hashed columns', () => {
  it('is made once for a data folder, readable by its owner only', async () => {
    const data = join(folder.path, 'made');
    const first = await withHashKeys(config(data, source('a', ['x']), source('b', []), source('c', ['x'], 'my own key')), files, random);
    const key = first.sources.get('a')?.hashKey;
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(first.sources.get('b')?.hashKey).toBeNull();
    expect(first.sources.get('c')?.hashKey).toBe('my own key');
    expect((await stat(join(data, 'hash-key'))).mode & 0o777).toBe(0o600);
    expect((await withHashKeys(config(data, source('z', ['x'])), files, random)).sources.get('z')?.hashKey).toBe(key);
  });

  it('is not made where nothing is hashed', async () => {
    const data = join(folder.path, 'none');
    const plain = config(data, source('a', []));
    expect(await withHashKeys(plain, files, random)).toBe(plain);
    await expect(readFile(join(data, 'hash-key'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('is not replaced when its file is damaged', async () => {
    await writeFile(join(folder.path, 'hash-key'), 'half a k');
    await expect(withHashKeys(config(folder.path, source('a', ['x'])), files, random)).rejects.toMatchObject({ code: 'CONFIG_SECRET' });
  });
});
