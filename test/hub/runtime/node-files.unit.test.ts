import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nodeFiles } from '../../../hub/runtime/node-files.ts';
import { temporaryDirectory } from '../../fixtures/temp.ts';

describe('a file of the log', () => {
  test('many parts are written one after the other, at any position', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'log');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 40 }), fc.nat(1000), async (parts, position) => {
        await nodeFiles.remove(path);
        const file = await nodeFiles.open(path, 'create');
        try {
          await file.write(parts, position);
          await file.sync();
          const whole = Buffer.concat(parts);
          expect(await file.size()).toBe(whole.length === 0 ? 0 : position + whole.length);
          const into = Buffer.alloc(whole.length + 10);
          expect(await file.read(into, position)).toBe(whole.length);
          expect(into.subarray(0, whole.length).equals(whole)).toBe(true);
        } finally {
          await file.close();
        }
      }),
      { numRuns: 30 },
    );
  });

  test('more parts than one call to the system takes', async () => {
    await using folder = await temporaryDirectory();
    const file = await nodeFiles.open(join(folder.path, 'log'), 'create');
    const parts = Array.from({ length: 5_000 }, (_, i) => Buffer.from([i % 251, i % 13]));
    await file.write(parts, 7);
    const into = Buffer.alloc(10_000);
    expect(await file.read(into, 7)).toBe(10_000);
    expect(into.equals(Buffer.concat(parts))).toBe(true);
    await file.close();
  });

  test('is never made over another one, and never made by opening', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'log');
    await expect(nodeFiles.open(path, 'write')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(nodeFiles.open(path, 'read')).rejects.toMatchObject({ code: 'ENOENT' });
    await (await nodeFiles.open(path, 'create')).close();
    await expect(nodeFiles.open(path, 'create')).rejects.toMatchObject({ code: 'EEXIST' });
    const reader = await nodeFiles.open(path, 'read');
    await expect(reader.write([Buffer.from('x')], 0)).rejects.toMatchObject({ code: 'EBADF' });
    await reader.close();
  });

  test('can be cut', async () => {
    await using folder = await temporaryDirectory();
    const file = await nodeFiles.open(join(folder.path, 'log'), 'create');
    await file.write([Buffer.from('0123456789')], 0);
    await file.truncate(4);
    const into = Buffer.alloc(10);
    expect(await file.read(into, 0)).toBe(4);
    expect(await file.read(into, 4)).toBe(0);
    await file.close();
  });
});

describe('the folder', () => {
  test('a replaced file has the new content under the old name, and nothing is left beside it', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'manifest');
    writeFileSync(path, 'old');
    writeFileSync(`${path}.new`, 'longer than the new content, left by a crash');
    const before = statSync(path).ino;
    await nodeFiles.replace(path, Buffer.from('new'));
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(statSync(path).ino).not.toBe(before);
    expect(await nodeFiles.list(folder.path)).toEqual(['manifest']);
  });

  test('lists names in order, makes and removes folders', async () => {
    await using folder = await temporaryDirectory();
    const deep = join(folder.path, 'a', 'b');
    await nodeFiles.makeDirectory(deep);
    await nodeFiles.makeDirectory(deep);
    for (const name of ['10', '9', '1']) writeFileSync(join(deep, name), name);
    expect(await nodeFiles.list(deep)).toEqual(['1', '10', '9']);
    await nodeFiles.rename(join(deep, '9'), join(deep, '10'));
    expect((await nodeFiles.readFile(join(deep, '10'))).toString()).toBe('9');
    await nodeFiles.syncDirectory(deep);
    expect(await nodeFiles.exists(join(deep, '10'))).toBe(true);
    expect(await nodeFiles.exists(join(deep, '10', 'under a file'))).toBe(false);
    await nodeFiles.remove(join(folder.path, 'a'));
    await nodeFiles.remove(join(folder.path, 'a'));
    expect(await nodeFiles.exists(deep)).toBe(false);
  });
});
