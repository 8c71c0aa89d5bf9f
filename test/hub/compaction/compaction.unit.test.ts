import { describe, expect, it } from 'vitest';
import { transactionBatch } from '../../../contracts/kit/log-workload.ts';
import type { Keep } from '../../../contracts/log-engine.ts';
import { Compaction } from '../../../hub/compaction/compaction.ts';
import { compactionView } from '../../../hub/compaction/compaction-view.ts';
import type { DiskRoom } from '../../../hub/compaction/disk-limit.ts';
import type { Retention } from '../../../hub/compaction/retention.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom, SimulatedClock } from '../../fixtures/runtime.ts';
import { noLock } from '../log/embedded/no-lock.ts';

const DAY = 86_400_000;
const OK: DiskRoom = { used: 10, limit: 100, level: 'ok' };
const NO_LIMITS: Retention = { ageMs: null, bytes: null };

/** A log of some sealed segments of 2 KiB, and what folds it. */
async function stand(retention: Retention, start?: number) {
  const files = new FaultyFiles(seededRandom(1));
  const clock = new SimulatedClock(start);
  const runtime = createTestRuntime({ files, clock });
  const engine = await EmbeddedLogEngine.create('/data', runtime, { segmentBytes: 2048, lock: noLock });
  const log = await engine.open('shop', { create: true });
  const writer = await log.openWriter(() => undefined);
  for (let position = 1; position <= 20; position++) await writer.append(transactionBatch({ rows: 10, position, schema: position === 1 }));
  await writer.flush();
  const disk = { room: OK, next: OK, looks: 0, look: async (): Promise<void> => { disk.looks++; disk.room = disk.next; } };
  const compaction = new Compaction({ log, retention, options: { memoryBytes: 1 << 20, share: 1 }, runtime, disk });
  return { files, clock, runtime, engine, log, disk, compaction };
}

/** A log that begins with rows of a copy, which have no commit time. */
async function copied(keep: Keep) {
  const files = new FaultyFiles(seededRandom(1));
  const clock = new SimulatedClock();
  const runtime = createTestRuntime({ files, clock });
  const engine = await EmbeddedLogEngine.create('/data', runtime, { segmentBytes: 2048, lock: noLock });
  const log = await engine.open('shop', { create: true });
  const writer = await log.openWriter(() => undefined);
  await writer.append(transactionBatch({ rows: 1, position: 1, schema: true, commitTime: 0 }));
  for (let position = 2; position <= 10; position++) await writer.append(transactionBatch({ rows: 10, position, kind: 'hub', commitTime: 0 }));
  const copy = writer.lastOffset;
  for (let position = 11; position <= 20; position++) await writer.append(transactionBatch({ rows: 10, position }));
  await writer.flush();
  await writer[Symbol.asyncDispose]();
  const retention: Retention = { ageMs: DAY, bytes: null };
  const compaction = new Compaction({ log, retention, options: { memoryBytes: 1 << 20, share: 1, keep: () => keep }, runtime });
  return { clock, runtime, engine, log, compaction, copy };
}

describe('compaction in the background', () => {
  it('folds nothing without a reason', async () => {
    const { engine, clock, log, compaction } = await stand(NO_LIMITS);
    compaction.start();
    await clock.advance(60_000);
    expect(log.state().horizon).toBe(0);
    expect(compactionView(compaction.state(), 0, 0)).toEqual({ state: 'idle', part: null, target: null, last: null, hold: null, error: null });
    await compaction.stop();
    await engine[Symbol.asyncDispose]();
  });

  it('folds what the disk lacks, whatever its age, once it has looked again', async () => {
    const { engine, log, disk, compaction } = await stand(NO_LIMITS);
    const bytes = log.state().historyBytes;
    const low: DiskRoom = { used: bytes, limit: bytes, level: 'low' };
    disk.room = low;
    compaction.start();
    await expect.poll(() => disk.looks).toBe(1);
    await compaction.stop();
    expect(log.state().horizon).toBe(0);
    disk.room = low;
    disk.next = low;
    compaction.start();
    await expect.poll(() => log.state().horizon).toBeGreaterThan(0);
    await compaction.stop();
    expect(log.state().historyBytes).toBeGreaterThan(bytes / 2);
    await engine[Symbol.asyncDispose]();
  });

  it('ends leases only when room is short, and names what holds it back until then', async () => {
    const { engine, clock, log, disk, compaction, runtime } = await stand({ ageMs: null, bytes: 1 });
    await log.lease('sink:new', 0);
    compaction.start();
    await clock.advance(60_000);
    expect(log.state().horizon).toBe(0);
    const { hold, target } = compactionView(compaction.state(), 0, 0);
    expect(hold).toEqual({ by: 'lease', name: 'sink:new', offset: 0 });
    expect(target).toBeGreaterThan(0);
    const bytes = log.state().historyBytes;
    disk.room = disk.next = { used: bytes, limit: bytes, level: 'short' };
    compaction.wake();
    await expect.poll(() => log.state().horizon).toBeGreaterThan(0);
    expect(log.leases()).toEqual([]);
    expect(runtime.lines.map(({ event }) => event)).toContain('log.lease-broken');
    await compaction.stop();
    await engine[Symbol.asyncDispose]();
  });

  it('says why it failed, and is well again after the next time', async () => {
    const { engine, clock, files, log, compaction, runtime } = await stand({ ageMs: null, bytes: 1 });
    files.capacity = files.used;
    compaction.start();
    await expect.poll(() => compaction.state().failure?.code).toBe('LOG_DISK_FULL');
    expect(compactionView(compaction.state(), 0, compaction.failedAt)).toMatchObject({ state: 'failed', error: { code: 'LOG_DISK_FULL' } });
    files.capacity = Number.POSITIVE_INFINITY;
    await clock.advance(10_000);
    await expect.poll(() => compaction.state().failure).toBeNull();
    expect(log.state().horizon).toBeGreaterThan(0);
    expect(runtime.metric('tidemark_compaction_folds_total', { source: 'shop' })).toBeGreaterThan(0);
    await compaction.stop();
    await engine[Symbol.asyncDispose]();
  });

  it('holds the rows of a copy back from when they were written, over restarts, and no longer than that', async () => {
    const { engine, clock, compaction, log, runtime, copy } = await copied({ kind: 'compact' });
    const { highWatermark } = log.state();
    await engine[Symbol.asyncDispose]();
    await using reopened = await EmbeddedLogEngine.create('/data', runtime, { segmentBytes: 2048, lock: noLock });
    const later = await reopened.open('shop', { create: true });
    const again = new Compaction({ log: later, retention: { ageMs: DAY, bytes: null }, options: { memoryBytes: 1 << 20, share: 1 }, runtime });
    again.start();
    await clock.advance(DAY - 60_000);
    expect(again.state().target).toBe(0);
    expect(later.state().horizon).toBe(0);
    await clock.advance(120_000);
    await expect.poll(() => later.state().horizon).toBeGreaterThan(copy);
    expect(later.state().highWatermark).toBe(highWatermark);
    await Promise.all([again.stop(), compaction.stop()]);
  });

  it('is not kept from folding by a clock of the source that is ahead', async () => {
    const { engine, clock, log, compaction } = await stand({ ageMs: DAY, bytes: null }, Date.UTC(2022, 0, 1));
    // The transactions are of 2023.
    compaction.start();
    await clock.advance(DAY - 60_000);
    expect(log.state().horizon).toBe(0);
    await clock.advance(120_000);
    await expect.poll(() => log.state().horizon).toBeGreaterThan(0);
    await compaction.stop();
    await engine[Symbol.asyncDispose]();
  });

  it('drops the rows of a copy from a window when they have been there for so long, not at once', async () => {
    const { engine, clock, log, compaction, copy } = await copied({ kind: 'window', ageMs: DAY });
    const none = new AbortController().signal;
    await compaction.compact(log.state().highWatermark, none);
    expect(log.state().horizon).toBeGreaterThan(copy);
    expect(log.extent(1)).toEqual({ recordsAfter: 0, rowsAfter: 0 });
    await clock.advance(DAY + 60_000);
    const writer = await log.openWriter(() => undefined);
    for (let position = 21; position <= 40; position++) await writer.append(transactionBatch({ rows: 10, position }));
    await writer.flush();
    await compaction.compact(log.state().highWatermark, none);
    expect(log.extent(1).rowsAfter).toBeGreaterThanOrEqual(copy);
    await engine[Symbol.asyncDispose]();
  });

  it('folds all of it on demand, the newest part too', async () => {
    const { engine, log, compaction } = await stand(NO_LIMITS);
    const { highWatermark } = log.state();
    expect(await compaction.compact(highWatermark, new AbortController().signal)).toBe(highWatermark);
    await engine[Symbol.asyncDispose]();
  });
});
