import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../../../contracts/change-batch.ts';
import { encodeControl } from '../../../../../contracts/control.ts';
import { TidemarkError } from '../../../../../contracts/errors/error.ts';
import { expectCode, NEVER, nextBatch, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { LogWorkload, seededUnit, transactionBatch } from '../../../../../contracts/kit/log-workload.ts';
import { ReferenceLog } from '../../../../../contracts/kit/reference-log.ts';
import type { SourceLog } from '../../../../../contracts/log-engine.ts';
import { Op } from '../../../../../contracts/op.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { baseFileNumbers, decodeManifest } from '../../../../../hub/log/embedded/manifest.ts';
import { baseFileNumber } from '../../../../../hub/log/embedded/base/base-files.ts';
import { fileNumber } from '../../../../../hub/log/embedded/segments/segment.ts';
import { FaultyFiles, type Fault } from '../../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom, SimulatedClock } from '../../../../fixtures/runtime.ts';
import { noLock } from '../no-lock.ts';
import { keepOfName, mustBeKept, type KeepById } from './kept-log.ts';

const NONE = Buffer.alloc(0);
const FOLDER = '/data/log/shop';
const OPTIONS = { segmentBytes: 2048, unsyncedBytes: 2048, recentBytes: 1024, lock: noLock };
const keep: KeepById = (tableId) => (tableId === 2 ? { kind: 'all' } : { kind: 'compact' });
const FOLD = { memoryBytes: 4 << 20, share: 1, keep: keepOfName(keep) };

interface Stand {
  readonly files: FaultyFiles;
  readonly reference: ReferenceLog;
}

/** A stopped log with a base, an archive and history behind them. */
async function made(): Promise<Stand> {
  const files = new FaultyFiles(seededRandom(3));
  const reference = new ReferenceLog();
  const workload = new LogWorkload({ unit: seededUnit(21), tables: 2, keyless: 1, valueBytes: 80 });
  await using engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), OPTIONS);
  const log = await engine.open(SOURCE, { create: true });
  await using writer = await log.openWriter(() => undefined);
  const take = async (batch: ChangeBatch): Promise<void> => {
    reference.append(batch);
    await writer.append(batch);
  };
  const append = async (batches: number): Promise<void> => {
    for (let batch = 0; batch < batches; batch++) await take(workload.next());
    // A copy under way would hold the horizon.
    const copying = reference.catalog(reference.lastOffset).tables().filter(({ state }) => state.state === 'copying');
    const builder = new BatchBuilder(1024);
    const end = workload.finish();
    if (end !== null) await take(end);
    builder.begin('hub', 0, workload.time);
    for (const { tableId } of copying) builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl({ type: 'copied', rows: 1 }));
    builder.commit(NONE);
    await take(builder.take());
    await writer.flush();
  };
  for (let fold = 0; fold < 2; fold++) {
    await append(40);
    await log.compact(log.state().highWatermark, FOLD, NEVER);
  }
  await append(60);
  return { files, reference };
}

async function opened(files: FaultyFiles): Promise<{ engine: EmbeddedLogEngine; log: SourceLog }> {
  const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files }), OPTIONS);
  return { engine, log: await engine.open(SOURCE, { create: false }) };
}

/** Files of the folder that the manifest does not name. */
async function leftOver(files: FaultyFiles): Promise<string[]> {
  const { segments, base } = decodeManifest(files.bytes(`${FOLDER}/manifest`), 'manifest');
  const named = new Set(segments.map(({ number }) => number));
  const ofBase = new Set(base === null ? [] : baseFileNumbers(base));
  return (await files.list(FOLDER)).filter((name) => {
    const number = fileNumber(name);
    const baseNumber = baseFileNumber(name);
    // What was to become a manifest is replaced by the next one.
    return !name.startsWith('manifest') && !(number !== null && named.has(number)) && !(baseNumber !== null && ofBase.has(baseNumber));
  });
}

/** Bytes of what was to replace another file; the next one does. */
function temporaries(files: FaultyFiles): number {
  return files.paths().filter((path) => path.endsWith('.new')).reduce((sum, path) => sum + files.bytes(path).length, 0);
}

const OPERATIONS: readonly Fault['operation'][] = ['create', 'write', 'sync', 'rename', 'sync-directory', 'remove', 'open', 'make-directory'];
const CODES: ReadonlySet<string> = new Set(['LOG_WRITE_FAILED', 'LOG_DISK_FULL', 'LOG_READ_FAILED']);

describe('a fold that fails', () => {
  it.each(OPERATIONS)('leaves the log as it was, and nothing behind for long: %s', { timeout: 60_000 }, async (operation) => {
    const stand = await made();
    for (let nth = 1; nth < 200; nth++) {
      const files = stand.files.fork();
      const { engine, log } = await opened(files);
      const { horizon, highWatermark } = log.state();
      files.fail({ operation, nth, code: nth % 2 === 0 ? 'ENOSPC' : 'EIO', after: nth % 3 === 0 });
      const failure: unknown = await log.compact(highWatermark, FOLD, NEVER).then(() => null, (error: unknown) => error);
      const hasFired = files.disarm() === 0;
      if (failure !== null) {
        expect(failure).toBeInstanceOf(TidemarkError);
        expect(failure instanceof TidemarkError && CODES.has(failure.code), String(failure)).toBe(true);
        expect(log.state().horizon).toBeGreaterThanOrEqual(horizon);
      }
      await mustBeKept(log, files, stand.reference, keep, 0);
      expect(await log.compact(highWatermark, FOLD, NEVER)).toBeGreaterThan(horizon);
      await mustBeKept(log, files, stand.reference, keep, 0);
      expect([nth, await leftOver(files)]).toEqual([nth, []]);
      await engine[Symbol.asyncDispose]();
      if (hasFired) continue;
      // The fold has fewer of these operations.
      expect(nth).toBeGreaterThan(1);
      return;
    }
    throw new Error('a fold has no end');
  });

  it('does so wherever the disk is full', { timeout: 60_000 }, async () => {
    const stand = await made();
    for (let room = 0; room < 40_000; room += 700) {
      const files = stand.files.fork();
      const { engine, log } = await opened(files);
      const { horizon, highWatermark } = log.state();
      const used = files.used;
      files.capacity = used + room;
      const failure: unknown = await log.compact(highWatermark, FOLD, NEVER).then(() => null, (error: unknown) => error);
      if (failure === null) {
        expect(log.state().horizon).toBeGreaterThan(horizon);
        expect(room).toBeGreaterThan(0);
        await engine[Symbol.asyncDispose]();
        return;
      }
      expect(failure).toMatchObject({ code: 'LOG_DISK_FULL' });
      expect(files.used - temporaries(files)).toBeLessThanOrEqual(used);
      await expectCode(log.compact(highWatermark, FOLD, NEVER), 'LOG_DISK_FULL');
      expect(files.used - temporaries(files)).toBeLessThanOrEqual(used);
      await mustBeKept(log, files, stand.reference, keep, 0);
      files.capacity = Number.POSITIVE_INFINITY;
      expect(await log.compact(highWatermark, FOLD, NEVER)).toBeGreaterThan(horizon);
      expect(await leftOver(files)).toEqual([]);
      await engine[Symbol.asyncDispose]();
    }
    throw new Error('a fold takes more room than it should');
  });

  it('loses one step when it is aborted, and goes on from there', async () => {
    const stand = await made();
    const files = stand.files.fork();
    const { engine, log } = await opened(files);
    const { horizon, highWatermark } = log.state();
    const stop = new AbortController();
    // Steps of a segment each: what is sorted is 32 times less.
    const small = { ...FOLD, memoryBytes: 64 };
    const folding = log.compact(highWatermark, small, stop.signal);
    while (log.state().horizon === horizon) await new Promise((resolve) => setImmediate(resolve));
    stop.abort(new TidemarkError('ABORTED', 'a test'));
    await expectCode(folding, 'ABORTED');
    const reached = log.state().horizon;
    expect(reached).toBeLessThan(highWatermark - 10);
    expect(await leftOver(files)).toEqual([]);
    expect(await log.compact(highWatermark, small, NEVER)).toBeGreaterThan(reached);
    await mustBeKept(log, files, stand.reference, keep, 0);
    await engine[Symbol.asyncDispose]();
  });
});

describe('who is in the middle of the history', () => {
  it('keeps the horizon from passing; after five minutes in one place it is passed, and told so, never given a hole', async () => {
    const stand = await made();
    const files = stand.files.fork();
    const clock = new SimulatedClock();
    const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files, clock }), OPTIONS);
    const log = await engine.open(SOURCE, { create: false });
    const { horizon, highWatermark } = log.state();
    const reader = log.read({ after: horizon, follow: false, signal: NEVER })[Symbol.asyncIterator]();
    const last = (await nextBatch(reader)).lastOffset;
    expect(await log.compact(highWatermark, FOLD, NEVER)).toBeLessThanOrEqual(last);
    expect(log.compaction().hold).toEqual({ by: 'reader', name: '', offset: last });
    await clock.advance(301_000);
    expect(await log.compact(highWatermark, FOLD, NEVER)).toBeGreaterThan(last);
    expect(log.compaction().hold).toBeNull();
    const after = async (): Promise<void> => {
      for (let expected = last + 1; ; ) {
        const step = await reader.next();
        if (step.done === true) throw new Error('the reader has ended as if there was no more');
        expect(step.value.baseOffset).toBe(expected);
        expected = step.value.lastOffset + 1;
      }
    };
    await expectCode(after(), 'LOG_BELOW_HORIZON');
    await engine[Symbol.asyncDispose]();
  });

  it('is passed at once when the disk is almost full, and its lease has ended', async () => {
    const stand = await made();
    const files = stand.files.fork();
    const { engine, log } = await opened(files);
    const { highWatermark } = log.state();
    const leased = await log.leaseHorizon('sink:replica');
    expect(leased).toBe(log.state().horizon);
    await using base = await log.openBase();
    expect(base?.horizon).toBe(leased);
    expect(await log.compact(highWatermark, FOLD, NEVER)).toBe(leased);
    expect(log.compaction().hold).toMatchObject({ offset: leased });
    expect(await log.compact(highWatermark, { ...FOLD, force: true }, NEVER)).toBeGreaterThan(leased);
    expect(log.leases()).toEqual([]);
    await expectCode(log.lease('sink:replica', leased), 'LOG_BELOW_HORIZON');
    await engine[Symbol.asyncDispose]();
  });

  it('gets the base of exactly the horizon that it has leased, however the horizon moves', { timeout: 30_000 }, async () => {
    const stand = await made();
    const files = stand.files.fork();
    const { engine, log } = await opened(files);
    const writer = await log.openWriter(() => undefined);
    let folds = 0;
    const stop = new AbortController();
    const folding = (async () => {
      for (let position = 1000; !stop.signal.aborted; position++) {
        await writer.append(transactionBatch({ rows: 20, position }));
        await writer.flush();
        const before = log.state().horizon;
        if ((await log.compact(log.state().highWatermark, FOLD, NEVER)) > before) folds++;
      }
    })();
    for (let round = 0; round < 12; round++) {
      const leased = await log.leaseHorizon('sink:new');
      {
        await using base = await log.openBase();
        expect(base?.horizon).toBe(leased);
        const read = log.read({ after: leased, follow: false, signal: NEVER })[Symbol.asyncIterator]();
        await read.next();
        await read.return?.();
      }
      await log.release('sink:new');
      while (log.state().horizon === leased) await new Promise((resolve) => setImmediate(resolve));
    }
    stop.abort();
    await folding;
    expect(folds).toBeGreaterThan(3);
    await engine[Symbol.asyncDispose]();
  });
});
