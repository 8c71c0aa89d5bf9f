import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode, NEVER, SOURCE } from '../../../contracts/kit/log-engine-kit-common.ts';
import { transactionBatch } from '../../../contracts/kit/log-workload.ts';
import type { Keep } from '../../../contracts/log-engine.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';
import { backupNames, readBackups } from '../../../hub/backup/backup-folder.ts';
import { decodeBackupList, encodeBackupList } from '../../../hub/backup/backup-list.ts';
import { mendLogs } from '../../../hub/backup/mend.ts';
import { chosenBackup, restoreBackup } from '../../../hub/backup/restore.ts';
import { takeBackup, type BackupResult } from '../../../hub/backup/take-backup.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { logFolders, stoppedLog, type HeldFolder, type HeldLog } from '../../../hub/log/embedded/held-log.ts';
import { nodeFiles } from '../../../hub/runtime/node-files.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../fixtures/temp.ts';
import { SMALL, writeFullLog } from '../log/embedded/full-log.ts';
import { logText } from '../log/embedded/log-text.ts';

const QUIET = { signal: NEVER, progress: () => undefined };

async function stoppedFolder(files: FileSystem, data: string): Promise<HeldFolder> {
  const logs: HeldLog[] = [];
  for (const { folder } of await logFolders(files, data)) logs.push(await stoppedLog(files, data, folder));
  return { data, logs };
}

let seconds = 0;

/** A backup of a folder, a second later than the one before. */
async function backUp(files: FileSystem, folder: HeldFolder, to: string): Promise<BackupResult> {
  const now = Date.UTC(2026, 10, 21) + ++seconds * 1000;
  const clock = { ...createTestRuntime().clock, now: () => now };
  return takeBackup({ runtime: { files, clock }, folder, to, version: '1.2.3', ...QUIET });
}

async function restored(files: FileSystem, from: string, to: string, name: string | null = null): Promise<void> {
  const { list } = await chosenBackup(files, from, name);
  await restoreBackup({ files, from, list, to, ...QUIET });
}

async function textOf(files: FileSystem, data: string): Promise<string> {
  await using engine = await EmbeddedLogEngine.openReadOnly(data, createTestRuntime({ files }));
  return await logText(await engine.open(SOURCE, { create: false }));
}

async function grow(files: FileSystem, data: string, from: number): Promise<void> {
  await using engine = await EmbeddedLogEngine.create(data, createTestRuntime({ files, seed: from }), SMALL);
  const log = await engine.open(SOURCE, { create: true });
  await using writer = await log.openWriter(() => undefined);
  for (let at = from; at < from + 60; at++) await writer.append(transactionBatch({ rows: 3, position: at, valueBytes: 40, schema: log.catalog().schema(90) === undefined && at === from, tableId: 90 }));
  await writer.flush();
}

describe('a backup', () => {
  it('of a stopped hub comes back as it was, with what else the folder holds, and takes each file once', async () => {
    await using folder = await temporaryDirectory('backup');
    const data = join(folder.path, 'data');
    const to = join(folder.path, 'backups');
    await writeFullLog(nodeFiles, data, { seed: 3 });
    for (const [path, text] of [['sinks/cache/dead-letters.json', '{}'], ['sinks/cache/tables.json', '[]'], ['hash-key', 'k'], ['sources/shop/whole-rows/CURRENT', 'x'], ['sinks/cache/rebuild.json', '{}'], ['sinks/cache/verify/1/000001.run', 'x'], ['sorting/1/x.run', 'x'], ['hub.sock.path', 'p']] as const) {
      await nodeFiles.makeDirectory(join(data, path, '..'));
      await nodeFiles.replace(join(data, path), Buffer.from(text));
    }
    const first = await backUp(nodeFiles, await stoppedFolder(nodeFiles, data), to);
    const before = await textOf(nodeFiles, data);
    expect(first.linked).toBeGreaterThan(3);
    expect(first.addedBytes).toBe(first.bytes);
    expect(first.list.files.map(({ path }) => path).filter((path) => !path.startsWith('log/')).toSorted()).toEqual(['hash-key', 'sinks/cache/dead-letters.json', 'sinks/cache/tables.json']);
    await grow(nodeFiles, data, 500);
    const second = await backUp(nodeFiles, await stoppedFolder(nodeFiles, data), to);
    expect(second.addedBytes).toBeLessThan(second.bytes - first.bytes + 15_000);
    const shared = first.list.files.find(({ stored }) => stored.startsWith('files/'));
    expect((await stat(join(to, shared?.stored ?? ''))).nlink).toBe(2);
    const back = join(folder.path, 'back');
    await restored(nodeFiles, to, back, first.name);
    expect(await textOf(nodeFiles, back)).toBe(before);
    expect((await nodeFiles.readFile(join(back, 'hash-key'))).toString()).toBe('k');
    expect(await nodeFiles.exists(join(back, 'restoring'))).toBe(false);
    const newest = join(folder.path, 'newest');
    await restored(nodeFiles, to, newest);
    expect(await textOf(nodeFiles, newest)).toBe(await textOf(nodeFiles, data));
    // What is restored is nobody else's.
    await grow(nodeFiles, newest, 900);
    await restored(nodeFiles, to, join(folder.path, 'again'));
    expect(await textOf(nodeFiles, join(folder.path, 'again'))).toBe(await textOf(nodeFiles, data));
  });

  it('of hubs that went on from one backup into the same folder keeps the files of both', async () => {
    await using folder = await temporaryDirectory('backup');
    const at = (name: string): string => join(folder.path, name);
    await writeFullLog(nodeFiles, at('data'), { seed: 4 });
    await backUp(nodeFiles, await stoppedFolder(nodeFiles, at('data')), at('backups'));
    await restored(nodeFiles, at('backups'), at('other'));
    await grow(nodeFiles, at('data'), 1000);
    await grow(nodeFiles, at('other'), 2000);
    const one = await backUp(nodeFiles, await stoppedFolder(nodeFiles, at('data')), at('backups'));
    const two = await backUp(nodeFiles, await stoppedFolder(nodeFiles, at('other')), at('backups'));
    await restored(nodeFiles, at('backups'), at('one'), one.name);
    await restored(nodeFiles, at('backups'), at('two'), two.name);
    expect(await textOf(nodeFiles, at('one'))).toBe(await textOf(nodeFiles, at('data')));
    expect(await textOf(nodeFiles, at('two'))).toBe(await textOf(nodeFiles, at('other')));
    expect(await textOf(nodeFiles, at('one'))).not.toBe(await textOf(nodeFiles, at('two')));
  });

  it('that is taken after the clock went back is the newest all the same', async () => {
    const files = new FaultyFiles(seededRandom(15));
    await writeFullLog(files, '/data', { seed: 15, lives: 1 });
    const first = await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    await grow(files, '/data', 500);
    seconds -= 3600;
    const second = await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    seconds += 3600;
    expect(second.name > first.name).toBe(true);
    await restored(files, '/backups', '/back');
    expect(await textOf(files, '/back')).toBe(await textOf(files, '/data'));
  });

  it('of hubs that went on from one backup and keep other tables has what each of them has kept', async () => {
    const files = new FaultyFiles(seededRandom(9));
    await writeFullLog(files, '/data', { seed: 9, lives: 1 });
    await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    await restored(files, '/backups', '/other');
    for (const [data, kept] of [['/data', 1], ['/other', 2]] as const) {
      await using engine = await EmbeddedLogEngine.create(data, createTestRuntime({ files, seed: 90 + kept }), SMALL);
      const log = await engine.open(SOURCE, { create: false });
      const keep = ({ tableId }: { readonly tableId: number }): Keep => (tableId === kept ? { kind: 'all' } : { kind: 'compact' });
      expect(await log.compact(log.state().highWatermark, { memoryBytes: 1 << 20, share: 1, keep }, NEVER)).toBeGreaterThan(0);
    }
    await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    await backUp(files, await stoppedFolder(files, '/other'), '/backups');
    await restored(files, '/backups', '/back');
    expect(await textOf(files, '/back')).toBe(await textOf(files, '/other'));
  });

  it('of a hub that writes and folds is of the moment at which it was held', async () => {
    const files = new FaultyFiles(seededRandom(7));
    await writeFullLog(files, '/data', { seed: 7, lives: 2 });
    await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files, seed: 70 }), SMALL);
    const log = await engine.open(SOURCE, { create: false });
    await using writer = await log.openWriter(() => undefined);
    const append = async (from: number): Promise<void> => {
      for (let at = from; at < from + 50; at++) await writer.append(transactionBatch({ rows: 2, position: at, valueBytes: 50, schema: at === 3000, tableId: 91 }));
      await writer.flush();
    };
    await append(3000);
    const before = await logText(log);
    const hold = await engine.hold();
    const writing = append(4000).then(() => log.compact(log.state().highWatermark, { memoryBytes: 1 << 20, share: 1 }, NEVER));
    await backUp(files, hold.folder, '/backups');
    await writing;
    await hold[Symbol.asyncDispose]();
    await restored(files, '/backups', '/back');
    expect(await textOf(files, '/back')).toBe(before);
  });

  it('that is interrupted anywhere is not there, and those before it stay whole', { timeout: 60_000 }, async () => {
    const whole = new FaultyFiles(seededRandom(8));
    await writeFullLog(whole, '/data', { seed: 8 });
    await backUp(whole, await stoppedFolder(whole, '/data'), '/backups');
    await grow(whole, '/data', 5000);
    const text = await textOf(whole, '/data');
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 160 }), fc.constantFrom('process' as const, 'machine' as const), async (after, kind) => {
        const files = whole.fork();
        let ended: FaultyFiles | null = null;
        files.crashAt(files.operations + after, () => undefined);
        const done = await backUp(files, await stoppedFolder(files, '/data'), '/backups').catch(() => null);
        ended = files.isDead ? files.crash(kind) : files;
        const names = await backupNames(ended, '/backups');
        expect(names.length).toBe(done === null ? names.length : 2);
        for (const [index, name] of names.entries()) await restored(ended, '/backups', `/back-${index}`, name);
        if (names.length === 2) expect(await textOf(ended, '/back-1')).toBe(text);
        await backUp(ended, await stoppedFolder(ended, '/data'), '/backups');
        expect(await ended.list('/backups/backups')).toEqual(await backupNames(ended, '/backups'));
        await restored(ended, '/backups', '/newest');
        expect(await textOf(ended, '/newest')).toBe(text);
      }),
      { numRuns: 12 },
    );
  });

  it('does not take what is damaged, and leaves what is there', async () => {
    const files = new FaultyFiles(seededRandom(9));
    await writeFullLog(files, '/data', { seed: 9 });
    const [segment = ''] = (await files.list('/data/log/shop')).filter((name) => name.endsWith('.segment'));
    const healthy = files.fork();
    files.damage(join('/data/log/shop', segment), 300);
    await expectCode(backUp(files, await stoppedFolder(files, '/data'), '/backups'), 'BACKUP_OF_DAMAGE');
    expect(await backupNames(files, '/backups')).toEqual([]);
    await backUp(healthy, await stoppedFolder(healthy, '/data'), '/backups');
    expect(await backupNames(healthy, '/backups')).toHaveLength(1);
  });

  it('removes shared files only when no backup names them any more', async () => {
    const files = new FaultyFiles(seededRandom(10));
    await writeFullLog(files, '/data', { seed: 10 });
    const first = await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    await grow(files, '/data', 6000);
    {
      await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files, seed: 11 }), SMALL);
      const log = await engine.open(SOURCE, { create: false });
      await log.compact(log.state().highWatermark, { memoryBytes: 1 << 20, share: 1 }, NEVER);
    }
    await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    await restored(files, '/backups', '/first', first.name);
    await files.remove(`/backups/backups/${first.name}`);
    await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    const named = new Set((await readBackups(files, '/backups')).backups.flatMap(({ list }) => list.files.map(({ stored }) => stored)));
    for (const { stored } of first.list.files) expect([stored, await files.exists(`/backups/${stored}`)]).toEqual([stored, named.has(stored)]);
    expect(first.list.files.some(({ stored }) => stored.startsWith('files/') && !named.has(stored))).toBe(true);
    await restored(files, '/backups', '/newest');
    expect(await textOf(files, '/newest')).toBe(await textOf(files, '/data'));
  });
});

describe('a folder of backups in which a list is damaged', () => {
  it('goes on to take backups, and removes nothing that the damaged one may need', async () => {
    const files = new FaultyFiles(seededRandom(13));
    await writeFullLog(files, '/data', { seed: 13 });
    const first = await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    files.damage(`/backups/backups/${first.name}/backup`, 200);
    const second = await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    expect(await readBackups(files, '/backups')).toMatchObject({ backups: [{ name: second.name }], damaged: [first.name] });
    for (const { stored } of first.list.files) expect(await files.exists(`/backups/${stored}`)).toBe(true);
    await expectCode(restored(files, '/backups', '/first', first.name), 'BACKUP_DAMAGED');
    await restored(files, '/backups', '/second');
    expect(await textOf(files, '/second')).toBe(await textOf(files, '/data'));
  });
});

describe('a restore', () => {
  async function backedUp(): Promise<FaultyFiles> {
    const files = new FaultyFiles(seededRandom(12));
    await writeFullLog(files, '/data', { seed: 12 });
    await backUp(files, await stoppedFolder(files, '/data'), '/backups');
    return files;
  }

  it('refuses a folder that is not empty, a name that is not there, a folder without backups', async () => {
    const files = await backedUp();
    await expectCode(restored(files, '/backups', '/data'), 'RESTORE_NOT_EMPTY');
    await expectCode(restored(files, '/backups', '/back', 'yesterday'), 'BACKUP_UNKNOWN');
    await expectCode(restored(files, '/backups', '/back', '../data'), 'BACKUP_UNKNOWN');
    await expectCode(restored(files, '/data', '/back'), 'BACKUP_FOLDER');
    await expectCode(backUp(files, await stoppedFolder(files, '/data'), '/data/log'), 'BACKUP_FOLDER');
    expect(await files.exists('/back')).toBe(false);
  });

  it('refuses a backup with a flipped bit anywhere', { timeout: 60_000 }, async () => {
    const whole = await backedUp();
    const [backup] = (await readBackups(whole, '/backups')).backups;
    if (backup === undefined) throw new Error('no backup');
    const paths = [...backup.list.files.map(({ stored }) => `/backups/${stored}`), `/backups/backups/${backup.name}/backup`];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), fc.nat(), fc.integer({ min: 0, max: 7 }), async (path, byte, bit) => {
        const files = whole.fork();
        const size = files.bytes(path).length;
        if (size === 0) return;
        files.damage(path, byte % size, 1 << bit);
        const done = await restored(files, '/backups', '/back').then(() => true, () => false);
        // The case of a digit of a checksum says the same.
        if (done) expect(await textOf(files, '/back')).toBe(await textOf(whole, '/data'));
        else if (await files.exists('/back')) await expectCode(EmbeddedLogEngine.create('/back', createTestRuntime({ files }), SMALL), 'RESTORE_UNFINISHED');
      }),
      { numRuns: 40 },
    );
  });

  it('that is interrupted leaves a folder in which no hub starts', async () => {
    const whole = await backedUp();
    for (const after of [8, 12, 25, 40]) {
      const files = whole.fork();
      files.crashAt(files.operations + after, () => undefined);
      await restored(files, '/backups', '/back').catch(() => undefined);
      const ended = files.crash('process');
      await expectCode(EmbeddedLogEngine.create('/back', createTestRuntime({ files: ended }), SMALL), 'RESTORE_UNFINISHED');
      await expectCode(EmbeddedLogEngine.openReadOnly('/back', createTestRuntime({ files: ended })), 'RESTORE_UNFINISHED');
    }
  });

  it('puts single damaged files back into a log that has gone on', async () => {
    const files = await backedUp();
    await grow(files, '/data', 7000);
    const text = await textOf(files, '/data');
    const names = await files.list('/data/log/shop');
    const [segment = ''] = names.filter((name) => name.endsWith('.segment'));
    const [run = ''] = names.filter((name) => name.endsWith('.run'));
    files.damage(`/data/log/shop/${segment}`, 400);
    await files.remove(`/data/log/shop/${run}`);
    const last = names.filter((name) => name.endsWith('.segment')).at(-2) ?? '';
    const { mended, missing } = await mendLogs({ files, from: '/backups', folder: await stoppedFolder(files, '/data'), ...QUIET });
    expect(mended.toSorted()).toEqual([`log/shop/${run}`, `log/shop/${segment}`].toSorted());
    expect(missing).toEqual([]);
    expect(await textOf(files, '/data')).toBe(text);
    files.damage(`/data/log/shop/${last}`, 200);
    expect(await mendLogs({ files, from: '/backups', folder: await stoppedFolder(files, '/data'), ...QUIET })).toEqual({ mended: [], missing: [`log/shop/${last}`] });
  });
});

describe('the list of a backup', () => {
  it('comes back, and is refused when it is damaged, newer, or leads out of its folder', () => {
    const list = { version: '1', takenAt: 'now', logs: [{ source: 'shop', logId: 'ab', horizon: 1, highWatermark: 2 }], files: [{ path: 'a/b', stored: 'files/x', bytes: 3, crc: 4 }] };
    expect(decodeBackupList(encodeBackupList(list), 'list')).toEqual(list);
    for (const path of ['../a', '/a', 'a//b', 'a/./b', '']) {
      expect(() => decodeBackupList(encodeBackupList({ ...list, files: [{ path, stored: 'x', bytes: 0, crc: 0 }] }), 'list')).toThrow('lacks a field');
    }
    expect(() => decodeBackupList(Buffer.from(encodeBackupList(list).toString('latin1').replace('tidemark-backup 1', 'tidemark-backup 2'), 'latin1'), 'list')).toThrow('format version 2');
  });
});
