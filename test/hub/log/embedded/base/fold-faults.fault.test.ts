import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../../../contracts/errors/error.ts';
import { expectCode, NEVER, nextBatch, SOURCE } from '../../../../../contracts/kit/log-engine-kit-common.ts';
import { transactionBatch } from '../../../../../contracts/kit/log-workload.ts';
import { EmbeddedLogEngine } from '../../../../../hub/log/embedded/engine.ts';
import { createTestRuntime, SimulatedClock } from '../../../../fixtures/runtime.ts';
import { checkFaults, FOLD, keep, leftOver, made, opened, OPERATIONS, OPTIONS, temporaries } from './fold-faults.ts';
import { mustBeKept } from './kept-log.ts';

describe('a fold that fails', () => {
  // Each of them: fold-faults.long.test.ts.
  it.each(OPERATIONS)('leaves the log as it was, and nothing behind for long: %s', { timeout: 60_000 }, (operation) => checkFaults(operation, 7));

  it('does so wherever the disk is full', { timeout: 60_000 }, async () => {
    const stand = await made();
    for (let room = 0; room < 40_000; room += 2100) {
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
