import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import type { ReadPlan } from '../../../contracts/log-engine.ts';
import { isNear, nextEnd, swapDecision } from '../../../hub/rebuild/decisions.ts';
import { fingerprint } from '../../../hub/rebuild/fingerprint.ts';
import { RebuildProgress } from '../../../hub/rebuild/progress.ts';
import { testSink } from '../../fixtures/test-hub.ts';
import { systemClock } from '../../../hub/runtime/clock.ts';

describe('where a shadow is led to', () => {
  it('is what was asked for; where the sink stands; the end where the sink stands nowhere', () => {
    const log = { horizon: 10, highWatermark: 50 };
    expect(nextEnd({ to: 20, standing: 40, ...log })).toBe(20);
    expect(nextEnd({ to: null, standing: 40, ...log })).toBe(40);
    expect(nextEnd({ to: null, standing: 10, ...log })).toBe(10);
    expect(nextEnd({ to: null, standing: 9, ...log })).toBe(50);
    expect(nextEnd({ to: null, standing: null, ...log })).toBe(50);
    expect(nextEnd({ to: null, standing: 60, ...log })).toBe(50);
    expect(nextEnd({ to: null, standing: 0, horizon: 0, highWatermark: 50 })).toBe(50);
  });

  it('is near when the last stretch was short, when stretches do not become shorter, and after many that do so slowly', () => {
    expect(isNear([10])).toBe(true);
    expect(isNear([60_000, 30_000, 10])).toBe(true);
    expect(isNear([5000])).toBe(false);
    expect(isNear([5000, 5000])).toBe(false);
    expect(isNear([5000, 5000, 5000])).toBe(true);
    // Busy for once, then shorter again.
    expect(isNear([60_000, 30_000, 31_000])).toBe(false);
    expect(isNear([60_000, 30_000, 31_000, 15_000])).toBe(false);
    expect(isNear([60_000, 30_000, 31_000, 15_000, 16_000])).toBe(false);
    expect(isNear([60_000, 30_000, 31_000, 15_000, 16_000, 17_000])).toBe(true);
    // What is applied is slower than what is written.
    expect(isNear([1000, 2000, 4000])).toBe(true);
    const slowly = Array.from({ length: 30 }, (_, index) => 5000 - index);
    expect(isNear(slowly.slice(0, 29))).toBe(false);
    expect(isNear(slowly)).toBe(true);
  });
});

describe('a swap', () => {
  const at = (offset: number): Checkpoint => ({ logId: 'l', epoch: 'e', offset, position: new Uint8Array(0), cursor: null, fence: 1 });
  const resume: ReadPlan = { kind: 'resume', after: 40 };
  const diverged: ReadPlan = { kind: 'diverged', why: 'another log' };
  const base = { to: null, whole: true, shadow: 30, checkpoint: at(40), plan: resume, failed: false };

  it('is made where the sink stands, or at the shadow where that is further', () => {
    expect(swapDecision(base)).toEqual({ kind: 'swap', at: 40 });
    expect(swapDecision({ ...base, shadow: 45 })).toEqual({ kind: 'swap', at: 45 });
    expect(swapDecision({ ...base, to: 35 })).toEqual({ kind: 'swap', at: 35 });
  });

  it('is made at the shadow where the sink has failed, has nothing, or is of another log', () => {
    expect(swapDecision({ ...base, failed: true })).toEqual({ kind: 'swap', at: 30 });
    expect(swapDecision({ ...base, checkpoint: at(0) })).toEqual({ kind: 'swap', at: 30 });
    expect(swapDecision({ ...base, checkpoint: null })).toEqual({ kind: 'swap', at: 30 });
    expect(swapDecision({ ...base, plan: diverged })).toEqual({ kind: 'swap', at: 30 });
    expect(swapDecision({ ...base, plan: { kind: 'load', horizon: 20 } })).toEqual({ kind: 'swap', at: 30 });
  });

  it('of single tables is made where the sink stands and nowhere else', () => {
    const some = { ...base, whole: false };
    expect(swapDecision(some)).toEqual({ kind: 'swap', at: 40 });
    expect(swapDecision({ ...some, shadow: 41 })).toEqual({ kind: 'again' });
    expect(swapDecision({ ...some, plan: diverged })).toEqual({ kind: 'nowhere' });
    expect(swapDecision({ ...some, checkpoint: null })).toEqual({ kind: 'nowhere' });
  });
});

describe('the configuration that a rebuild depends on', () => {
  const config = (options: Partial<SinkConfig> = {}): SinkConfig => testSink('replica', 'postgres', 'postgres://u:secret@h/db', options);

  it('is the same with another password or another treatment of errors', () => {
    const own = fingerprint(config());
    expect(fingerprint(testSink('replica', 'postgres', 'postgres://u:other@h/db'))).toBe(own);
    expect(fingerprint(config({ onError: 'dead-letter' }))).toBe(own);
    expect(fingerprint(config({ options: { password: 'x' } }))).toBe(own);
  });

  it('is another one with another place, other tables, other options', () => {
    const own = fingerprint(config());
    expect(fingerprint(testSink('replica', 'postgres', 'postgres://u:secret@h/other'))).not.toBe(own);
    expect(fingerprint(config({ tablePatterns: ['public.a'] }))).not.toBe(own);
    expect(fingerprint(config({ tableOptions: new Map([['public.a', { key: 'x' }]]) }))).not.toBe(own);
    expect(fingerprint(config({ options: { schemas: { public: 'copy' } } }))).not.toBe(own);
    expect(fingerprint(config({ from: 'other' }))).not.toBe(own);
  });
});

describe('the progress of a rebuild', () => {
  it('counts rows over all phases, and the part and the time left of the one under way', () => {
    let now = 0;
    const progress = new RebuildProgress({ ...systemClock, monotonic: () => now });
    const batch = { after: 0, to: 0, endsOpen: false, epoch: '', position: new Uint8Array(0), cursor: null, commitTime: 0, steps: [], records: 100, bytes: 0 };
    progress.enter('catching up', 0, 1000);
    // What an earlier life has loaded is no part of this one's.
    progress.loaded(batch, { rows: 300, estimatedRows: 1200 });
    expect(progress.view()).toMatchObject({ phase: 'loading', rows: 100, part: 0.1 });
    progress.applied({ ...batch, after: 600, to: 600 });
    now = 10_000;
    progress.applied({ ...batch, after: 600, to: 700 });
    expect(progress.view()).toMatchObject({ phase: 'catching up', rows: 300, part: 0.25, etaSeconds: 30 });
    // The same phase with a later end goes on.
    progress.enter('catching up', 700, 1200);
    expect(progress.view().part).toBeCloseTo(1 / 6);
    progress.enter('building indexes');
    progress.stepped('public.orders_pkey', 1, 4);
    expect(progress.view()).toMatchObject({ phase: 'building indexes', what: 'public.orders_pkey', part: 0.25 });
  });
});
