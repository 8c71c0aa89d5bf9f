import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { expectCode, NEVER, readAll } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { positionAt, transactionBatch } from '../../../../contracts/kit/log-workload.ts';
import { Op } from '../../../../contracts/op.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { FaultyFiles } from '../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../../fixtures/runtime.ts';
import { noLock } from './no-lock.ts';
import { FOLDER, segment, index, written, manifestOf, open, born, appendDurable, offsets, upTo, halfTransaction, moreOf, NONE } from './crash-life.ts';

describe('crash cases of segment.ts', () => {
  it('case 1: killed between batches, everything is there', async () => {
    const { files, writer } = await born();
    await appendDurable(writer, 1, 5);
    const { log } = await open(files.crash('process'));
    expect(await offsets(log)).toEqual(upTo(11));
    expect(log.state().position).toEqual(positionAt(5));
  });

  it('case 1: what a failed sync left in memory is written again before anyone sees it', async () => {
    const { files, writer } = await born();
    await appendDurable(writer, 1, 2);
    files.fail({ operation: 'sync', code: 'EIO' });
    files.fail({ operation: 'truncate', code: 'EIO' });
    await writer.append(transactionBatch({ rows: 2, position: 3 }));
    await expectCode(writer.flush(), 'LOG_WRITE_FAILED');
    await writer[Symbol.asyncDispose]();
    const next = await open(files.crash('process'));
    expect(next.log.state().highWatermark).toBe(7);
    const { log } = await open(next.files.crash('machine'));
    expect(await offsets(log)).toEqual(upTo(7));
  });

  it('case 2: a batch torn in the write is cut', async () => {
    const { files, writer } = await born();
    await appendDurable(writer, 1, 3);
    const died = new Promise<void>((resolve) => files.crashAt(files.operations + 1, resolve));
    writer.append(transactionBatch({ rows: 50, position: 4 })).catch(() => undefined);
    await died;
    const after = files.crash('process');
    expect(after.bytes(segment(1)).length).toBeGreaterThan(files.bytes(segment(1)).length - 4000);
    const { log } = await open(after);
    expect(await offsets(log)).toEqual(upTo(7));
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('case 3: the machine stopped before a sync (seed %i)', async (seed) => {
    const files = new FaultyFiles(seededRandom(seed));
    const { log, files: disk } = await open(files);
    const writer = await log.openWriter(() => undefined);
    await appendDurable(writer, 1, 3);
    disk.fail({ operation: 'sync', code: 'EIO', nth: 1 });
    for (let position = 4; position <= 6; position++) writer.append(transactionBatch({ rows: 9, position })).catch(() => undefined);
    while (disk.bytes(segment(1)).length < 3000) await new Promise((resolve) => setImmediate(resolve));
    const next = await open(disk.crash('machine'));
    const found = await offsets(next.log);
    expect(found).toEqual(upTo(found.length));
    expect([7, 16, 25, 34]).toContain(found.length);
  });

  it('case 4: a half-written transaction is cut, its offsets are given again', async () => {
    const { files, writer } = await born();
    await appendDurable(writer, 1, 2);
    await writer.append(halfTransaction(3));
    await writer.flush();
    const { log } = await open(files.crash('process'));
    expect(log.state().highWatermark).toBe(5);
    const again = await log.openWriter(() => undefined);
    expect(await again.append(transactionBatch({ rows: 1, position: 3 }))).toEqual({ baseOffset: 6, lastOffset: 6 });
    await again.flush();
    expect(await offsets(log)).toEqual(upTo(6));
  });

  it('case 4: across segments, too', async () => {
    const { files, writer } = await born({ segmentBytes: 600 });
    await appendDurable(writer, 1, 2);
    await writer.append(halfTransaction(30));
    const builder = new BatchBuilder(1024);
    builder.begin('source', 1, 1);
    builder.take();
    for (let batch = 0; batch < 5; batch++) {
      for (let row = 0; row < 20; row++) builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('half'));
      await writer.append(builder.take());
    }
    await writer.flush();
    expect(manifestOf(files).segments.length).toBeGreaterThan(4);
    const { log, files: after } = await open(files.crash('process'));
    expect(await offsets(log)).toEqual(upTo(5));
    expect(after.paths().filter((path) => path.endsWith('.segment')).length).toBeLessThanOrEqual(2);
  });

  it('case 5: damage below what a later header names durable is corruption, and nothing is cut', async () => {
    const { files, writer } = await born();
    await appendDurable(writer, 1, 6);
    const after = files.crash('process');
    const position = after.bytes(segment(1)).indexOf(Buffer.from('TMBH'), 400);
    after.damage(segment(1), position + 120);
    const bytes = after.bytes(segment(1));
    const error = await expectCode(open(after), 'LOG_CORRUPT');
    expect(error.where).toMatchObject({ source: 'shop', file: segment(1) });
    expect(error.where.offset).toBeGreaterThan(1);
    expect(after.bytes(segment(1))).toEqual(bytes);
  });

  it('case 5: the idle log names its last offset, so that damage to the last batch is corruption', async () => {
    const { files, writer, clock } = await born();
    await appendDurable(writer, 1, 2);
    const before = written(files);
    for (let turn = 0; turn < 20; turn++) await clock.advance(100);
    expect(written(files)).toBe(before + 96);
    for (let turn = 0; turn < 20; turn++) await clock.advance(1000);
    expect(written(files)).toBe(before + 96);
    const after = files.crash('process');
    after.damage(segment(1), before - 10);
    await expectCode(open(after), 'LOG_CORRUPT');
  });

  it('case 5: the last batch without anybody who names it is a torn tail', async () => {
    const { files, writer } = await born();
    await appendDurable(writer, 1, 2);
    const after = files.crash('process');
    after.damage(segment(1), written(after) - 10);
    const { log } = await open(after);
    expect(await offsets(log)).toEqual(upTo(3));
  });

  it('case 6: a segment that the manifest does not name is removed', async () => {
    const { files, writer } = await born();
    await appendDurable(writer, 1, 1);
    const after = files.crash('process');
    after.place(segment(77), Buffer.from('left over'));
    after.place(index(77), Buffer.from('left over'));
    const { log } = await open(after);
    expect(await offsets(log)).toEqual(upTo(3));
    expect(after.paths()).not.toContain(segment(77));
    expect(after.paths()).not.toContain(index(77));
  });

  it('case 7: a new segment without a batch is empty', async () => {
    const { files, writer } = await born();
    const operations = files.operations;
    const died = new Promise<void>((resolve) => files.crashAt(operations + 10, resolve));
    writer.append(transactionBatch({ rows: 1, position: 1 })).catch(() => undefined);
    await died;
    const after = files.crash('process');
    expect(manifestOf(after).segments).toMatchObject([{ state: 'active', number: 1 }]);
    after.place(segment(1), after.bytes(segment(1)).subarray(0, 64));
    const { log } = await open(after);
    expect(log.state().highWatermark).toBe(0);
    const again = await log.openWriter(() => undefined);
    await appendDurable(again, 1, 1);
    expect(await offsets(log)).toEqual(upTo(3));
  });

  it('case 8: a cut is made again, wherever it was interrupted', async () => {
    const whole = await born();
    await appendDurable(whole.writer, 1, 2);
    await whole.writer.append(halfTransaction(3));
    await whole.writer.flush();
    const before = whole.files.operations;
    await whole.writer.rollback();
    const count = whole.files.operations - before;
    expect(count).toBeGreaterThan(4);
    for (let at = 1; at <= count; at++) {
      const { files, writer } = await born();
      await appendDurable(writer, 1, 2);
      await writer.append(halfTransaction(3));
      await writer.flush();
      const died = new Promise<void>((resolve) => files.crashAt(files.operations + at, resolve));
      writer.rollback().catch(() => undefined);
      await died;
      const next = await open(files.crash(at % 2 === 0 ? 'machine' : 'process'));
      expect(await offsets(next.log)).toEqual(upTo(5));
      await appendDurable(await next.log.openWriter(() => undefined), 3, 3);
      expect(await offsets(next.log)).toEqual(upTo(7));
    }
  });

  it('case 9 and 15: sealing is done again, wherever it was interrupted', async () => {
    for (let at = 1; at <= 14; at++) {
      const { files, engine, writer } = await born();
      await appendDurable(writer, 1, 2);
      const died = new Promise<void>((resolve) => files.crashAt(files.operations + at, resolve));
      await Promise.race([died, engine[Symbol.asyncDispose]().catch(() => died)]);
      const after = files.crash('process');
      const { log } = await open(after);
      expect(await offsets(log)).toEqual(upTo(5));
      expect(after.paths().filter((path) => path.endsWith('.new'))).toEqual([]);
      expect(manifestOf(after).segments).toMatchObject([{ state: 'sealed', last: 5, controls: 1 }]);
    }
  });

  it('case 10: of a manifest being replaced the old or the new one is there', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { log, files } = await open(new FaultyFiles(seededRandom(seed)));
      const first = await log.openWriter(() => undefined);
      await appendDurable(first, 1, 2);
      const before = manifestOf(files).epochs.length;
      await first[Symbol.asyncDispose]();
      const died = new Promise<void>((resolve) => files.crashAt(files.operations + 1 + (seed % 6), resolve));
      log.openWriter(() => undefined).then((writer) => writer.append(transactionBatch({ rows: 1, position: 3 }))).catch(() => undefined);
      await died;
      const next = await open(files.crash('machine'));
      expect([before, before + 1]).toContain(next.log.state().epochs.length);
      expect((await offsets(next.log)).length).toBeGreaterThanOrEqual(5);
    }
  });

  it('case 11: a failed sync is not tried again; the log stands at what was durable', async () => {
    const { files, log, writer } = await born();
    await appendDurable(writer, 1, 2);
    files.fail({ operation: 'sync', code: 'EIO' });
    await writer.append(transactionBatch({ rows: 2, position: 3 }));
    await expectCode(writer.flush(), 'LOG_WRITE_FAILED');
    await expectCode(writer.append(transactionBatch({ rows: 2, position: 4 })), 'LOG_WRITE_FAILED');
    await expectCode(writer.rollback(), 'LOG_WRITE_FAILED');
    expect(log.state().highWatermark).toBe(5);
    const again = await log.openWriter(() => undefined);
    expect(again.start).toMatchObject({ highWatermark: 5, position: positionAt(2) });
    expect(again.start.epoch).not.toBe(writer.start.epoch);
    await appendDurable(again, 3, 4);
    expect(await offsets(log)).toEqual(upTo(9));
    const next = await open(files.crash('machine'));
    expect(await offsets(next.log)).toEqual(upTo(9));
  });

  it('case 11: what a failed sync had brought to the disk comes back whole, or is cut before its offsets are given again', async () => {
    const { files, writer } = await born();
    await appendDurable(writer, 1, 2);
    const before = files.fork();
    files.fail({ operation: 'sync', code: 'EIO', after: true });
    files.fail({ operation: 'truncate', code: 'EIO' });
    await writer.append(transactionBatch({ rows: 2, position: 3 }));
    await expectCode(writer.flush(), 'LOG_WRITE_FAILED');
    await writer[Symbol.asyncDispose]();
    for (const kind of ['process', 'machine'] as const) {
      const { log, files: after } = await open(files.fork().crash(kind));
      expect(await offsets(log)).toEqual(upTo(7));
      expect(await offsets((await open(after.crash('machine'))).log)).toEqual(upTo(7));
    }
    expect(await offsets((await open(before)).log)).toEqual(upTo(5));
  });

  it('case 12: a full disk stops the log at what is durable, until there is room', async () => {
    const { files, log, writer } = await born();
    await appendDurable(writer, 1, 2);
    files.capacity = files.paths().reduce((sum, path) => sum + files.bytes(path).length, 0) + 500;
    const full = writer.append(transactionBatch({ rows: 100, position: 3, valueBytes: 10_000 })).then(() => writer.flush());
    await expectCode(full, 'LOG_DISK_FULL');
    await writer[Symbol.asyncDispose]();
    files.capacity = files.used;
    await expectCode(log.openWriter(() => undefined), 'LOG_DISK_FULL');
    await expectCode(log.openWriter(() => undefined), 'LOG_DISK_FULL');
    expect(await offsets(log)).toEqual(upTo(5));
    files.capacity = Number.POSITIVE_INFINITY;
    await appendDurable(await log.openWriter(() => undefined), 3, 3);
    expect(await offsets(log)).toEqual(upTo(7));
  });

  it('case 12: a cut that failed ends the writer; the next one makes it', async () => {
    const { files, log, writer } = await born();
    await appendDurable(writer, 1, 2);
    await writer.append(halfTransaction(3));
    files.fail({ operation: 'rename', path: 'manifest', code: 'ENOSPC' });
    await expectCode(writer.rollback(), 'LOG_DISK_FULL');
    await expectCode(writer.append(moreOf(2)), 'LOG_DISK_FULL');
    await expectCode(writer.rollback(), 'LOG_DISK_FULL');
    await appendDurable(await log.openWriter(() => undefined), 3, 3);
    expect(await offsets(log)).toEqual(upTo(7));
    expect(await offsets((await open(files.crash('machine'))).log)).toEqual(upTo(7));
  });

  it('case 13: a lost manifest is reported, and no segment is removed', async () => {
    const { files, engine, writer } = await born();
    await appendDurable(writer, 1, 2);
    await engine[Symbol.asyncDispose]();
    files.lose(`${FOLDER}/manifest`);
    const before = files.paths();
    const error = await expectCode(open(files), 'LOG_CORRUPT');
    expect(error.where).toMatchObject({ source: 'shop', file: `${FOLDER}/manifest` });
    expect(files.paths()).toEqual(before);
  });

  it('a data folder that is made is durable by its name', async () => {
    const files = new FaultyFiles(seededRandom(1));
    const synced: string[] = [];
    const syncDirectory = files.syncDirectory.bind(files);
    files.syncDirectory = async (path) => {
      synced.push(path);
      await syncDirectory(path);
    };
    await using engine = await EmbeddedLogEngine.create('/var/hub/data', createTestRuntime({ files }), { lock: noLock });
    expect(synced).toEqual(['/', '/var', '/var/hub']);
    await engine.open('shop', { create: true });
    expect(synced).toEqual(expect.arrayContaining(['/var/hub/data', '/var/hub/data/log', '/var/hub/data/log/shop']));
  });

  it('case 13: a lost or damaged file is reported, and nothing is cut', async () => {
    const { files, engine, writer } = await born({ segmentBytes: 600 });
    await appendDurable(writer, 1, 8);
    await engine[Symbol.asyncDispose]();
    const lost = files.fork();
    lost.lose(segment(2));
    await expectCode(open(lost), 'LOG_CORRUPT');

    const torn = files.fork();
    torn.damage(`${FOLDER}/manifest`, 60);
    await expectCode(open(torn), 'LOG_CORRUPT');

    const flipped = files.fork();
    flipped.damage(segment(2), 200);
    const { log } = await open(flipped);
    const error = await expectCode(readAll(log, 0), 'LOG_CORRUPT');
    expect(error.where).toMatchObject({ file: segment(2) });
    const last = log.state().highWatermark;
    expect((await readAll(log, last - 2)).records).toHaveLength(2);
  });

  it('case 14: a lost or damaged index is made again', async () => {
    const { files, engine, writer } = await born({ segmentBytes: 600 });
    await appendDurable(writer, 1, 8);
    await engine[Symbol.asyncDispose]();
    const whole = files.bytes(index(1));
    for (const harm of ['lose', 'damage'] as const) {
      const harmed = files.fork();
      if (harm === 'lose') harmed.lose(index(1));
      else harmed.damage(index(1), 40);
      const { log } = await open(harmed);
      expect(log.catalog().schema(1)?.version).toBe(1);
      expect(harmed.bytes(index(1))).toEqual(whole);
    }
    const unread = files.fork();
    unread.damage(index(2), 40);
    const { log } = await open(unread);
    expect((await readAll(log, 7)).records.map((record) => record.offset)).toEqual(upTo(17).slice(7));
  });

  it('a segment of another log is not taken for one of this', async () => {
    const { files, engine, writer } = await born();
    await appendDurable(writer, 1, 3);
    await engine[Symbol.asyncDispose]();
    const foreign = await open(new FaultyFiles(seededRandom(9)), {}, 9);
    await appendDurable(await foreign.log.openWriter(() => undefined), 1, 3);
    const swapped = files.fork();
    swapped.place(segment(1), foreign.files.bytes(segment(1)));
    const { log } = await open(swapped);
    await expectCode(readAll(log, 0), 'LOG_CORRUPT');
    await expectCode(log.read({ after: 4, follow: true, signal: NEVER })[Symbol.asyncIterator]().next(), 'LOG_CORRUPT');
  });
});
