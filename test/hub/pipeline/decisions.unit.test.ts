import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../contracts/change-batch.ts';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Op } from '../../../contracts/op.ts';
import { Budget, isReady, shareOf } from '../../../hub/pipeline/sink/budget.ts';
import { openingOf } from '../../../hub/pipeline/sink/delivery-plan.ts';
import { backOff, sinkFailure, sourceFailure } from '../../../hub/pipeline/error-policy.ts';
import { Rate } from '../../../hub/pipeline/rate.ts';
import { retainedWalAction } from '../../../hub/pipeline/source/source-watch.ts';
import { splitAtLastCommit } from '../../../hub/pipeline/source/split.ts';
import { SimulatedClock } from '../../fixtures/runtime.ts';

describe('the memory of sinks', () => {
  it('is shared from the fifth on, and never too little to work with', () => {
    const mib = 2 ** 20;
    expect([0, 1, 4, 5, 16, 64, 1000].map((sinks) => shareOf(32 * mib, sinks) / mib)).toEqual([32, 32, 32, 25.6, 8, 2, 2].map((each) => Math.floor(each * mib) / mib));
    expect(shareOf(mib, 100)).toBe(mib);
  });
});

describe('what follows a failure', () => {
  const data = new TidemarkError('SINK_DATA', 'x');

  it('tries again what is transient, stops on the rest', () => {
    expect(sourceFailure(new TidemarkError('LOG_WRITE_FAILED', 'x')).kind).toBe('retry');
    expect(sourceFailure(new TidemarkError('LOG_CORRUPT', 'x')).kind).toBe('stop');
    expect(sinkFailure(new TidemarkError('SINK_UNREACHABLE', 'x'), 'dead-letter').kind).toBe('retry');
    expect(sinkFailure(new TidemarkError('SINK_FENCED', 'x'), 'dead-letter').kind).toBe('stop');
  });

  it('puts aside data errors alone, and only where asked to', () => {
    expect(sinkFailure(data, 'dead-letter').kind).toBe('dead-letter');
    expect(sinkFailure(data, 'stop').kind).toBe('stop');
    expect(sourceFailure(data).kind).toBe('stop');
  });

  it('stops on what is no error of ours, and names it internal', () => {
    expect(sinkFailure(new TypeError('oops'), 'dead-letter')).toMatchObject({ kind: 'stop', error: { code: 'INTERNAL', message: 'oops' } });
  });

  it('waits ever longer, up to a limit, with half of it left to chance', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, unit) => {
        const full = Math.min(30_000, 250 * 2 ** (attempt - 1));
        const delay = backOff(attempt, unit);
        expect(delay).toBeGreaterThanOrEqual(Math.floor(full / 2));
        expect(delay).toBeLessThanOrEqual(full);
      }),
    );
  });
});

describe('when a batch is handed over', () => {
  it('goes at once when the log has nothing more', () => {
    expect(isReady({ folded: 1, ahead: 0, full: false, mayEnd: true })).toBe(true);
  });

  it('grows while what is already durable would at least double it', () => {
    expect(isReady({ folded: 100, ahead: 100, full: false, mayEnd: true })).toBe(false);
    expect(isReady({ folded: 100, ahead: 99, full: false, mayEnd: true })).toBe(true);
    expect(isReady({ folded: 100, ahead: 100, full: true, mayEnd: true })).toBe(true);
  });

  it('never goes where a batch must not end', () => {
    expect(isReady({ folded: 100, ahead: 0, full: true, mayEnd: false })).toBe(false);
  });

  it('lets one piece larger than the budget through alone', () => {
    const budget = new Budget(10);
    expect(budget.allows(99)).toBe(true);
    budget.take(99);
    expect(budget.allows(1)).toBe(false);
    budget.give(99);
    budget.take(4);
    expect([budget.allows(6), budget.allows(7), budget.taken]).toEqual([true, false, 4]);
  });
});

describe('how a sink is opened', () => {
  const checkpoint: Checkpoint = { logId: 'l', epoch: 'e', offset: 7, position: new Uint8Array(0), cursor: null, fence: 1 };
  const resume = { kind: 'resume', after: 7 } as const;
  const diverged = { kind: 'diverged', why: 'unknown epoch' } as const;

  const sink = { checkpoint, inPlace: false, rebuildPending: false, loadGoesOn: false, whenBehind: 'stop' } as const;
  const cache = { ...sink, inPlace: true, whenBehind: 'rebuild' } as const;
  const begun = { ...checkpoint, offset: 0, cursor: new Uint8Array(30) };
  const load = { kind: 'load', horizon: 9 } as const;

  it('resumes where it can', () => {
    expect(openingOf(resume, sink)).toEqual({ kind: 'resume' });
    expect(openingOf({ kind: 'resume', after: 0 }, { ...sink, checkpoint: null })).toEqual({ kind: 'resume' });
    expect(openingOf(resume, { ...cache, rebuildPending: true })).toEqual({ kind: 'resume-rebuild' });
  });

  it('rebuilds in place where the sink can, refuses with a remedy where it cannot', () => {
    expect(openingOf(diverged, cache)).toMatchObject({ kind: 'rebuild-in-place' });
    expect(openingOf({ kind: 'resume', after: 0 }, { ...cache, checkpoint: null })).toMatchObject({ kind: 'rebuild-in-place' });
    expect(openingOf(diverged, sink)).toMatchObject({ kind: 'refuse', error: { code: 'SINK_DIVERGED' } });
    expect(openingOf(load, cache)).toMatchObject({ kind: 'rebuild-in-place' });
    expect(openingOf(load, sink)).toMatchObject({ kind: 'refuse', error: { code: 'SINK_BEHIND' } });
    expect(openingOf(load, { ...sink, checkpoint: null })).toEqual({ kind: 'load' });
  });

  it('lets a cache stop, too, when it is behind and that is what is wanted; not one that has nothing, nor one being rebuilt', () => {
    const stops = { ...cache, whenBehind: 'stop' } as const;
    expect(openingOf(load, stops)).toMatchObject({ kind: 'refuse', error: { code: 'SINK_BEHIND' } });
    expect(openingOf(diverged, stops)).toMatchObject({ kind: 'refuse', error: { code: 'SINK_DIVERGED' } });
    expect(openingOf(load, { ...stops, checkpoint: null })).toMatchObject({ kind: 'rebuild-in-place' });
    expect(openingOf(load, { ...stops, rebuildPending: true })).toMatchObject({ kind: 'rebuild-in-place' });
  });

  it('goes on with a load that was begun', () => {
    expect(openingOf(load, { ...sink, checkpoint: begun, loadGoesOn: true })).toEqual({ kind: 'load' });
    expect(openingOf(load, { ...cache, checkpoint: begun, loadGoesOn: true, rebuildPending: true })).toEqual({ kind: 'load-rebuild' });
    expect(openingOf(load, { ...cache, checkpoint: begun, rebuildPending: true })).toMatchObject({ kind: 'rebuild-in-place' });
    expect(openingOf({ kind: 'resume', after: 0 }, { ...cache, checkpoint: begun, rebuildPending: true })).toMatchObject({ kind: 'rebuild-in-place' });
  });
});

describe('retained WAL', () => {
  const limits = { pipelineBytes: 1, disk: null, retainedWal: 100, onRetainedWal: 'stop' } as const;

  it('acts above the limit alone', () => {
    expect(retainedWalAction(100, limits)).toBe('none');
    expect(retainedWalAction(101, limits)).toBe('stop');
    expect(retainedWalAction(null, limits)).toBe('none');
    expect(retainedWalAction(101, { ...limits, retainedWal: null })).toBe('none');
  });
});

describe('splitAtLastCommit', () => {
  it('cuts a batch that ends open at its last commit, and changes no byte', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 6 }), fc.nat(3), (sizes, open) => {
        const builder = new BatchBuilder();
        for (const [index, size] of sizes.entries()) {
          builder.begin('source', index, index);
          for (let n = 0; n < size; n++) builder.record(Op.delete, 0, 1, 1, Buffer.from([index, n]), Buffer.alloc(0), Buffer.alloc(0));
          builder.commit(Buffer.from([index]));
        }
        builder.begin('source', 99, 99);
        for (let n = 0; n < open; n++) builder.record(Op.delete, 0, 1, 1, Buffer.from([99, n]), Buffer.alloc(0), Buffer.alloc(0));
        const batch = builder.take();
        const parts = splitAtLastCommit(batch);
        if (parts === null) throw new Error('it was to be cut');
        const [head, tail] = parts;
        expect(head.endsOpen).toBe(false);
        expect(Buffer.from(head.progress ?? [])).toEqual(Buffer.from([sizes.length - 1]));
        expect(tail.transactions).toMatchObject([{ first: 0, count: open, begins: true, commits: false, xid: 99 }]);
        expect(head.count + tail.count).toBe(batch.count);
        expect(Buffer.concat([head.records, tail.records])).toEqual(batch.records);
      }),
    );
  });

  it('leaves alone what does not end open, or holds nothing else', () => {
    const builder = new BatchBuilder();
    builder.begin('source', 1, 1);
    builder.commit(Buffer.from([1]));
    expect(splitAtLastCommit(builder.take())).toBeNull();
    builder.begin('source', 1, 1);
    expect(splitAtLastCommit(builder.take())).toBeNull();
  });
});

describe('Rate', () => {
  it('counts events per second over the last full seconds', async () => {
    const clock = new SimulatedClock();
    const rate = new Rate(clock);
    expect(rate.perSecond()).toBe(0);
    for (let second = 0; second < 20; second++) {
      rate.add(100);
      await clock.advance(1000);
    }
    expect(rate.perSecond()).toBe(100);
    await clock.advance(5000);
    expect(rate.perSecond()).toBe(50);
    await clock.advance(60_000);
    expect(rate.perSecond()).toBe(0);
  });
});
