import { crc32 } from 'node:zlib';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../contracts/key.ts';
import { expectCode, NEVER, readAll } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { LogWorkload, positionAt, seededUnit, transactionBatch } from '../../../../contracts/kit/log-workload.ts';
import { ReferenceLog } from '../../../../contracts/kit/reference-log.ts';
import { Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { decodeManifest } from '../../../../hub/log/embedded/manifest.ts';
import { findNewest } from '../../../../hub/log/embedded/reading/find-newest.ts';
import { SEGMENT_HEADER } from '../../../../hub/log/embedded/segments/segment.ts';
import type { MetricName } from '../../../../hub/observability/metric-names.ts';
import { FaultyFiles } from '../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';
import { noLock } from './no-lock.ts';

const NONE = Buffer.alloc(0);
const ROOT = new URL('../../../../', import.meta.url);

/** Content of all files of a simulated disk. */
function fingerprint(files: FaultyFiles): string[] {
  return files.paths().map((path) => `${path} ${createHash('sha256').update(files.bytes(path)).digest('hex')}`);
}

describe('metrics', () => {
  it('tell what is durable, how syncs go, and how many segments there are', async () => {
    const runtime = createTestRuntime({ files: new FaultyFiles(seededRandom(1)) });
    await using engine = await EmbeddedLogEngine.create('/data', runtime, { lock: noLock, segmentBytes: 800 });
    const log = await engine.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    for (let position = 1; position <= 9; position++) await writer.append(transactionBatch({ rows: 2, position, schema: position === 1 }));
    const builder = new BatchBuilder(64);
    builder.begin('source', 1, 1);
    builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('open'));
    await writer.append(builder.take());
    await writer.flush();
    const metric = (name: MetricName): number | undefined => runtime.metric(name, { source: 'shop' });
    expect(metric('tidemark_log_appended_records_total')).toBe(20);
    expect(metric('tidemark_log_end_offset')).toBe(20);
    expect(log.state().highWatermark).toBe(19);
    const segments = metric('tidemark_log_segments') ?? 0;
    expect(segments).toBeGreaterThan(2);
    expect(metric('tidemark_log_appended_bytes_total')).toBe(log.state().bytes - segments * SEGMENT_HEADER);
    await writer.rollback();
    expect(metric('tidemark_log_end_offset')).toBe(19);
  });
});

describe('the data folder', () => {
  it('belongs to one hub; another is told whose it is', async () => {
    await using folder = await temporaryDirectory('log');
    const runtime = createTestRuntime();
    const engine = await EmbeddedLogEngine.create(folder.path, runtime);
    const error = await expectCode(EmbeddedLogEngine.create(folder.path, runtime), 'LOG_LOCKED');
    expect(error.message).toContain(folder.path);
    expect(error.message).toContain(`process ${process.pid}`);
    await engine[Symbol.asyncDispose]();
    const again = await EmbeddedLogEngine.create(folder.path, runtime);
    await again[Symbol.asyncDispose]();
  });

  it('is free again the moment its hub is killed', async () => {
    await using folder = await temporaryDirectory('log');
    const script = `
      import { EmbeddedLogEngine } from '${new URL('hub/log/embedded/engine.ts', ROOT).href}';
      import { transactionBatch } from '${new URL('contracts/kit/log-workload.ts', ROOT).href}';
      import { createTestRuntime } from '${new URL('test/fixtures/runtime.ts', ROOT).href}';
      const engine = await EmbeddedLogEngine.create(${JSON.stringify(folder.path)}, createTestRuntime());
      const log = await engine.open('shop', { create: true });
      const writer = await log.openWriter(() => undefined);
      await writer.append(transactionBatch({ rows: 5, position: 1, schema: true }));
      await writer.flush();
      process.stdout.write('ready');
      setInterval(() => undefined, 1000);
    `;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const error = await expectCode(EmbeddedLogEngine.create(folder.path, createTestRuntime()), 'LOG_LOCKED');
    expect(error.message).toContain(`process ${child.pid}`);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await using engine = await EmbeddedLogEngine.create(folder.path, createTestRuntime());
    const log = await engine.open('shop', { create: false });
    expect((await readAll(log, 0)).records).toHaveLength(6);
  });

  it('can be read without changing a file, also with a torn tail and an open transaction', async () => {
    const files = new FaultyFiles(seededRandom(1));
    const runtime = createTestRuntime({ files });
    const engine = await EmbeddedLogEngine.create('/data', runtime, { lock: noLock, segmentBytes: 800 });
    const writer = await (await engine.open('a/b.c', { create: true })).openWriter(() => undefined);
    for (let position = 1; position <= 9; position++) await writer.append(transactionBatch({ rows: 2, position, schema: position === 1 }));
    const builder = new BatchBuilder(64);
    builder.begin('source', 1, 1);
    builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('open'));
    await writer.append(builder.take());
    await writer.flush();
    const stopped = files.crash('process');
    const last = stopped.paths().findLast((path) => path.endsWith('.segment')) ?? '';
    stopped.damage(last, stopped.bytes(last).length - 5);
    const before = fingerprint(stopped);
    const reader = await EmbeddedLogEngine.openReadOnly('/data', createTestRuntime({ files: stopped }));
    expect(await reader.sources()).toEqual(['a/b.c']);
    const log = await reader.open('a/b.c', { create: false });
    expect((await readAll(log, 0)).records).toHaveLength(19);
    expect(log.catalog().schema(1)?.version).toBe(1);
    expect(await findNewest(log, 1, buildKey(['9/1']), { notBelow: 1, atMost: 100, signal: NEVER })).toMatchObject({ offset: 19 });
    await expectCode(log.openWriter(() => undefined), 'LOG_READ_ONLY');
    await expectCode(reader.open('new', { create: true }), 'LOG_READ_ONLY');
    await expectCode(reader.open('new', { create: false }), 'LOG_UNKNOWN');
    await reader[Symbol.asyncDispose]();
    expect(fingerprint(stopped)).toEqual(before);
    await expectCode(EmbeddedLogEngine.openReadOnly('/elsewhere', createTestRuntime({ files: stopped })), 'LOG_UNKNOWN');
  });

  it('tells a format of the future from damage', async () => {
    const files = new FaultyFiles(seededRandom(1));
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock });
    await engine.open('shop', { create: true });
    const path = '/data/log/shop/manifest';
    const text = files.bytes(path).toString('latin1').replace(/^tidemark-log \d+ /, 'tidemark-log 99 ');
    const future = files.crash('process');
    future.place(path, Buffer.from(text, 'latin1'));
    await using next = await EmbeddedLogEngine.create('/data', createTestRuntime({ files: future }), { lock: noLock });
    await expectCode(next.open('shop', { create: false }), 'LOG_FORMAT');
  });
});

describe('the folder of a hub that runs', () => {
  it('is read as it stood at some moment, although it is written meanwhile', async () => {
    const files = new FaultyFiles(seededRandom(1));
    await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock });
    const writer = await (await engine.open('shop', { create: true })).openWriter(() => undefined);
    for (let position = 1; position <= 20; position++) {
      await writer.append(transactionBatch({ rows: 2, position, schema: position === 1 }));
      await writer.flush();
    }
    let early = 3;
    // The first readings find zeros where batches are written a moment later.
    const racing: FileSystem = {
      open: async (path, mode) => {
        const file = await files.open(path, mode);
        if (!path.endsWith('.segment') || early-- <= 0) return file;
        let reads = 0;
        const zeroed = 2000 + 700 * early;
        return {
          ...delegating(file),
          read: async (into, position) => {
            const read = await file.read(into, position);
            if (reads++ < 2 && position + read > zeroed) into.fill(0, Math.max(zeroed - position, 0), read);
            return read;
          },
        };
      },
      readFile: (path) => files.readFile(path), replace: (path, bytes) => files.replace(path, bytes), list: (path) => files.list(path),
      makeDirectory: (path) => files.makeDirectory(path), remove: (path) => files.remove(path), rename: (from, to) => files.rename(from, to),
      syncDirectory: (path) => files.syncDirectory(path), exists: (path) => files.exists(path),
    };
    await using beside = await EmbeddedLogEngine.openReadOnly('/data', createTestRuntime({ files: racing }));
    expect((await beside.open('shop', { create: false })).state().highWatermark).toBe(41);
    expect(early).toBeLessThan(0);
  });
});

function delegating(file: LogFile): LogFile {
  return {
    read: (into, position) => file.read(into, position), write: (bytes, position) => file.write(bytes, position), sync: () => file.sync(),
    truncate: (length) => file.truncate(length), size: () => file.size(), close: () => file.close(),
  };
}

describe('a log of format 1', () => {
  it('is read as one without a base', async () => {
    const files = new FaultyFiles(seededRandom(1));
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock });
    const log = await engine.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    await writer.append(transactionBatch({ rows: 2, position: 1, schema: true }));
    await writer.flush();
    await engine[Symbol.asyncDispose]();
    const path = '/data/log/shop/manifest';
    const before = { ...decodeManifest(files.bytes(path), path), base: undefined, leases: undefined, nextBase: undefined };
    const body = Buffer.from(`${JSON.stringify(before)}\n`, 'utf8');
    const old = files.crash('process');
    old.place(path, Buffer.concat([Buffer.from(`tidemark-log 1 ${body.length} ${crc32(body).toString(16).padStart(8, '0')}\n`, 'latin1'), body]));
    await using next = await EmbeddedLogEngine.create('/data', createTestRuntime({ files: old }), { lock: noLock });
    const found = await next.open('shop', { create: false });
    expect(found.state()).toMatchObject({ highWatermark: 3, horizon: 0 });
    expect(await found.openBase()).toBeNull();
  });
});

describe('bounds', () => {
  it('lets append wait while too much is not durable, and takes the rest in order', async () => {
    const files = new FaultyFiles(seededRandom(2));
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock, unsyncedBytes: 10_000 });
    const log = await engine.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    let accepted = 0;
    let most = 0;
    const appends = Array.from({ length: 200 }, (_, at) =>
      writer.append(transactionBatch({ rows: 3, position: at + 1, valueBytes: 500 })).then((place) => {
        accepted = place.lastOffset;
        most = Math.max(most, accepted - log.state().highWatermark);
        return place.baseOffset;
      }),
    );
    expect(await Promise.all(appends)).toEqual(Array.from({ length: 200 }, (_, at) => 1 + at * 3));
    expect(most * 500).toBeLessThan(2 * 10_000);
    await engine[Symbol.asyncDispose]();
    expect(log.state().highWatermark).toBe(600);
  });

  it('syncs many small batches together', async () => {
    const files = new FaultyFiles(seededRandom(2));
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock });
    const writer = await (await engine.open('shop', { create: true })).openWriter(() => undefined);
    await writer.append(transactionBatch({ rows: 1, position: 1 }));
    await writer.flush();
    const before = files.operations;
    await Promise.all(Array.from({ length: 500 }, (_, at) => writer.append(transactionBatch({ rows: 1, position: at + 2 }))));
    await writer.flush();
    expect(files.operations - before).toBeLessThan(20);
    await engine[Symbol.asyncDispose]();
  });

  it('does not keep the memory behind small batches', async () => {
    const files = new FaultyFiles(seededRandom(2));
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock });
    const log = await engine.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    const builder = new BatchBuilder();
    builder.begin('source', 1, 1);
    builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('small'));
    builder.commit(positionAt(1));
    await writer.append(builder.take());
    await writer.flush();
    for await (const batch of log.read({ after: 0, follow: false, signal: NEVER })) expect(batch.records.buffer.byteLength).toBeLessThan(100_000);
    await engine[Symbol.asyncDispose]();
  });

  it('takes a record larger than a segment', async () => {
    const files = new FaultyFiles(seededRandom(2));
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock, segmentBytes: 1000 });
    const log = await engine.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    await writer.append(transactionBatch({ rows: 1, position: 1 }));
    await writer.append(transactionBatch({ rows: 1, position: 2, valueBytes: 2 << 20 }));
    await writer.append(transactionBatch({ rows: 1, position: 3 }));
    await engine[Symbol.asyncDispose]();
    await using next = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock });
    const read = await readAll(await next.open('shop', { create: false }), 0);
    expect(read.records.map((record) => record.after.length > 1 << 20)).toEqual([false, true, false]);
  });
});

describe('findNewest', () => {
  it('equals a search of the reference, for every key, range and condition', async () => {
    const unit = seededUnit(21);
    const workload = new LogWorkload({ unit, tables: 3, valueBytes: 100 });
    const reference = new ReferenceLog();
    const files = new FaultyFiles(seededRandom(4));
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), { lock: noLock, segmentBytes: 3000, recentBytes: 0 });
    const log = await engine.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    for (let step = 0; step < 250; step++) {
      const batch = workload.next();
      reference.append(batch);
      await writer.append(batch);
    }
    await writer.flush();
    const end = reference.highWatermark;
    for (let tableId = 1; tableId <= 3; tableId++) {
      for (let row = 0; row < 13; row += 2) {
        const key = buildKey([`row ${row}`]);
        const notBelow = 1 + Math.floor(unit() * end * 0.6);
        const atMost = Math.floor(unit() * (end + 20));
        const accepts = unit() < 0.5 ? undefined : (record: RecordView) => record.op !== Op.delete;
        const found = await findNewest(log, tableId, key, { notBelow, atMost, signal: NEVER, ...(accepts === undefined ? {} : { accepts }) });
        const expected = reference.read(notBelow - 1, atMost).findLast((record) => {
          if (record.tableId !== tableId || (accepts !== undefined && record.op === Op.delete)) return false;
          return record.op === Op.truncate || (record.op !== Op.schema && record.op !== Op.control && record.key === key.toString('hex'));
        });
        expect(found?.offset).toBe(expected?.offset);
        if (found !== null) expect(new RecordView().seek(found.record, 0).after().toString('hex')).toBe(expected?.after);
      }
    }
    await expectCode(findNewest(log, 1, buildKey(['row 0']), { notBelow: 1, atMost: end, signal: AbortSignal.abort() }), 'ABORTED');
    await engine[Symbol.asyncDispose]();
  });
});

describe('the layout on the disk', () => {
  it('is the one that docs/log-format.md describes', async () => {
    await using folder = await temporaryDirectory('log');
    const engine = await EmbeddedLogEngine.create(folder.path, createTestRuntime());
    const writer = await (await engine.open('shop', { create: true })).openWriter(() => undefined);
    await writer.append(transactionBatch({ rows: 1, position: 1, schema: true }));
    await engine[Symbol.asyncDispose]();
    const bytes = await readFile(`${folder.path}/log/shop/0000000001.segment`);
    expect(bytes.toString('latin1', 0, 4)).toBe('TMSG');
    expect(bytes.toString('latin1', 64, 68)).toBe('TMBH');
    expect(bytes.readBigUInt64BE(64 + 40)).toBe(1n);
    expect(bytes.readUInt32BE(64 + 48)).toBe(2);
    expect((await readFile(`${folder.path}/log/shop/manifest`, 'latin1')).startsWith('tidemark-log 3 ')).toBe(true);
  });
});
