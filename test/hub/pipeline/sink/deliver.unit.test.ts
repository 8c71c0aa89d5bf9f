import { describe, expect, it } from 'vitest';
import { DeadLetters } from '../../../../hub/dead-letters/dead-letters.ts';
import { Delivery } from '../../../../hub/pipeline/sink/delivery.ts';
import { seededRandom } from '../../../fixtures/runtime.ts';
import { delivering, patience } from './delivering.ts';
import { MemorySink } from './memory-sink.ts';
import { positionOf } from '../source/numbered-positions.ts';

describe('Deliver', () => {
  it('applies what is in the log and what comes, and tells how far it is', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    await test.source.commit([{ table: 1, key: 1, value: 1 }, { table: 2, key: 1, value: 2 }]);
    test.part.start();
    const offset = await test.source.commit([{ table: 1, key: 1, value: 3 }, { table: 2, key: 1, value: null }]);
    expect(await test.deliver.reached(offset, patience())).toBe(offset);
    expect(sink.rows).toEqual(new Map([['public.t1/1', '1,3']]));
    expect(sink.checkpoint).toMatchObject({ offset, epoch: test.log.epochAt(offset), logId: test.log.state().logId });
    expect(test.deliver.progress).toMatchObject({ offset, caughtUp: true, rebuilding: false, oldestPending: 0 });
  });

  it('resumes at the sink\'s own checkpoint', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    test.part.start();
    const first = await test.source.commit([{ table: 1, key: 1, value: 1 }]);
    await test.deliver.reached(first, patience());
    await test.part.pause();
    expect(test.part.state).toBe('paused');
    const second = await test.source.commit([{ table: 1, key: 2, value: 2 }]);
    sink.applied.length = 0;
    test.part.start();
    await test.deliver.reached(second, patience());
    expect(sink.applied.map(({ after, to }) => [after, to])).toEqual([[first, second]]);
    expect(sink.rows).toEqual(test.source.rows);
  });

  it('tells the sink also of tables that leave it further on, up to where the horizon has their leaving', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink, { segmentBytes: 600, patterns: ['public.t1', 'public.t2', 'public.t3'] });
    const { deliver, part } = test;
    part.start();
    await deliver.reached(await test.source.commit([{ table: 1, key: 1, value: 1 }, { table: 2, key: 1, value: 1 }]), patience());
    await part.pause();
    await test.source.remove(1);
    await test.source.rename(2, 'elsewhere');
    part.start();
    await deliver.reached(test.log.state().highWatermark, patience());
    expect(sink.known).toEqual([1, 2]);
    for (let n = 0; n < 40; n++) await test.source.commit([{ table: 2, key: n, value: n }]);
    await test.source.keyless(3);
    await deliver.reached(test.log.state().highWatermark, patience());
    await part.pause();
    await test.log.compact(test.log.state().highWatermark, { memoryBytes: 1 << 20, share: 1 }, patience());
    part.start();
    await deliver.reached(test.log.state().highWatermark, patience());
    expect(sink.known).toEqual([2, 3]);
  });

  it('ends with the source\'s rows whatever fails: before the work, after it, in transactions of many parts', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = seededRandom(seed);
      const sink = new MemorySink({ wholeTransactions: random.unit() < 0.6, maxKeys: 1 + Math.floor(random.unit() * 12) });
      let faults = 6;
      sink.fault = () => {
        if (faults === 0 || random.unit() < 0.6) return 'none';
        faults--;
        return random.unit() < 0.5 ? 'before' : 'after';
      };
      await using test = await delivering(sink, { bytes: random.unit() < 0.5 ? 300 : 1 << 20 });
      if (random.unit() < 0.5) test.part.start();
      let offset = 0;
      for (let n = 0; n < 15; n++) {
        const changes = Array.from({ length: 1 + Math.floor(random.unit() * 12) }, () => ({
          table: 1 + Math.floor(random.unit() * 2),
          key: Math.floor(random.unit() * 6),
          value: random.unit() < 0.25 ? null : n,
        }));
        offset = await test.source.commit(changes, random.unit() < 0.5 ? 4 : Infinity);
      }
      test.part.start();
      await test.deliver.reached(offset, patience());
      expect(sink.rows, `seed ${seed}`).toEqual(test.source.rows);
      expect(sink.checkpoint?.offset).toBe(offset);
    }
  }, 30_000);

  it('fills a sink that has nothing from the base, whatever fails, and goes on with the history', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const random = seededRandom(seed);
      const sink = new MemorySink({ wholeTransactions: random.unit() < 0.6, maxKeys: 1 + Math.floor(random.unit() * 12) });
      let faults = 4;
      sink.fault = () => {
        if (faults === 0 || random.unit() < 0.6) return 'none';
        faults--;
        return random.unit() < 0.5 ? 'before' : 'after';
      };
      await using test = await delivering(sink, { segmentBytes: 600 });
      let offset = 0;
      const some = () => Array.from({ length: 1 + Math.floor(random.unit() * 8) }, () => ({
        table: 1 + Math.floor(random.unit() * 2),
        key: Math.floor(random.unit() * 40),
        value: random.unit() < 0.25 ? null : Math.floor(random.unit() * 1000),
      }));
      for (let n = 0; n < 20; n++) offset = await test.source.commit(some());
      const horizon = await test.log.compact(offset, { memoryBytes: 1 << 20, share: 1 }, patience());
      expect(horizon).toBeGreaterThan(0);
      offset = await test.source.commit(some());
      test.part.start();
      await test.deliver.reached(offset, patience());
      expect(sink.rows, `seed ${seed}`).toEqual(test.source.rows);
      expect(sink.checkpoint?.offset).toBe(offset);
      // The lease is released: the horizon moves again.
      for (let n = 0; n < 20; n++) offset = await test.source.commit(some());
      await test.deliver.reached(offset, patience());
      expect(await test.log.compact(offset, { memoryBytes: 1 << 20, share: 1 }, patience())).toBeGreaterThan(horizon);
    }
  }, 30_000);

  it('gives a sink the tables that it comes to select from the base and the history up to where it stands', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink, { patterns: ['public.t1'], segmentBytes: 600 });
    test.part.start();
    let offset = 0;
    for (let n = 0; n < 30; n++) offset = await test.source.commit([{ table: 1 + (n % 2), key: n % 7, value: n }, { table: 2, key: n % 5, value: n % 3 === 0 ? null : n }]);
    await test.deliver.reached(offset, patience());
    await test.part.stop();
    expect(await test.log.compact(offset, { memoryBytes: 1 << 20, share: 1 }, patience())).toBeGreaterThan(0);
    const { deliver, part } = test.pipeline(['public.*']);
    part.start();
    await deliver.reached(offset, patience());
    expect(sink.rows).toEqual(test.source.rows);
    await part.stop();
  });

  it('goes on with a join that is cut off, wherever that is, in the base and in the history', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = seededRandom(seed);
      const sink = new MemorySink({ wholeTransactions: true, maxKeys: 10 });
      await using test = await delivering(sink, { patterns: ['public.t1'], segmentBytes: 600 });
      test.part.start();
      let offset = 0;
      for (let n = 0; n < 20; n++) offset = await test.source.commit(Array.from({ length: 11 }, (_, key) => ({ table: key === 0 ? 1 : 2, key: n * 10 + key, value: n })));
      await test.deliver.reached(offset, patience());
      await test.part.stop();
      const half = seed % 2 === 0 ? 0 : await test.log.compact(offset, { memoryBytes: 1 << 20, share: 1, seals: true }, patience());
      expect(half).toBe(seed % 2 === 0 ? 0 : offset);
      test.part.start();
      for (let n = 0; n < 20; n++) offset = await test.source.commit(Array.from({ length: 8 }, () => ({ table: 2, key: Math.floor(random.unit() * 220), value: random.unit() < 0.3 ? null : n })));
      await test.deliver.reached(await test.source.commit([{ table: 1, key: 999, value: 1 }]), patience());
      await test.part.stop();
      let faults = 0;
      sink.fault = ({ cursor }) => {
        if (cursor === null || random.unit() < 0.6) return 'none';
        faults++;
        return random.unit() < 0.5 ? 'before' : 'after';
      };
      const { deliver, part } = test.pipeline(['public.*']);
      part.start();
      await deliver.reached(test.log.state().highWatermark, AbortSignal.timeout(20_000));
      expect(sink.rows, `seed ${seed}`).toEqual(test.source.rows);
      expect(sink.checkpoint?.cursor).toBeNull();
      expect(faults).toBeGreaterThan(3);
      // Each row of base and history once, and what a fault came after is not done again.
      expect(sink.filled.rows, `seed ${seed}`).toBeLessThanOrEqual(200 + 20 * 8);
      await expect.poll(() => test.log.leases()).toEqual([]);
      await part.stop();
    }
  }, 60_000);

  it('moves on over records of others at once, and writes the checkpoint a little later', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink, { patterns: ['public.t1'] });
    test.part.start();
    const first = await test.source.commit([{ table: 1, key: 1, value: 1 }]);
    await test.deliver.reached(first, patience());
    const batches = sink.applied.length;
    let offset = first;
    for (let n = 0; n < 10; n++) offset = await test.source.commit([{ table: 2, key: 1, value: n }]);
    await test.deliver.reached(offset, patience());
    expect(sink.applied.length).toBe(batches);
    while ((sink.checkpoint?.offset ?? 0) < offset) await test.runtime.clock.sleep(20);
    expect(sink.applied.length).toBeLessThanOrEqual(batches + 2);
    expect(sink.applied.at(-1)).toMatchObject({ steps: [], to: offset });
  });

  it('leaves the checkpoint where it has come to over records of others when it is stopped', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink, { patterns: ['public.t1'] });
    test.part.start();
    await test.deliver.reached(await test.source.commit([{ table: 1, key: 1, value: 1 }]), patience());
    let offset = 0;
    for (let n = 0; n < 10; n++) offset = await test.source.commit([{ table: 2, key: 1, value: n }]);
    await test.deliver.reached(offset, patience());
    await test.part.pause();
    expect(sink.checkpoint?.offset).toBe(offset);
    expect(test.deliver.stored).toBe(offset);
    // So folding what it has read leaves it nothing to be behind of.
    const { highWatermark } = test.log.state();
    await test.log.compact(highWatermark, { memoryBytes: 1 << 20, share: 1, seals: true }, patience());
    expect(test.log.state().horizon).toBe(highWatermark);
    test.part.start();
    await test.deliver.reached(await test.source.commit([{ table: 1, key: 2, value: 2 }]), patience());
    expect(sink.rows).toEqual(new Map([...test.source.rows].filter(([key]) => key.startsWith('public.t1/'))));
  });

  it('is not passed by the horizon while the sink takes what it has read', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink, { segmentBytes: 600 });
    test.part.start();
    await test.deliver.reached(await test.source.commit([{ table: 1, key: 1, value: 1 }]), patience());
    const opened = Promise.withResolvers<void>();
    sink.gate = opened.promise;
    for (let n = 0; n < 30; n++) await test.source.commit([{ table: 1, key: n % 7, value: n }]);
    const { highWatermark } = test.log.state();
    const fold = (): Promise<number> => test.log.compact(highWatermark, { memoryBytes: 1 << 20, share: 1, seals: true }, patience());
    await expect.poll(() => sink.handed).toBeGreaterThan(1);
    const horizon = await fold();
    const standing = sink.checkpoint?.offset ?? 0;
    opened.resolve();
    expect(horizon).toBeLessThanOrEqual(standing);
    await test.deliver.reached(highWatermark, patience());
    expect(await fold()).toBe(highWatermark);
  });

  it('hands a hot backlog over in few batches', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    let offset = 0;
    for (let n = 0; n < 200; n++) offset = await test.source.commit([{ table: 1, key: 1, value: n }]);
    test.part.start();
    await test.deliver.reached(offset, patience());
    expect(sink.applied.length).toBeLessThanOrEqual(10);
    expect(sink.rows).toEqual(test.source.rows);
  });

  it('lets go of the parts of a large transaction as soon as the sink has accepted them', async () => {
    const sink = new MemorySink({ wholeTransactions: true, maxKeys: 4 });
    await using test = await delivering(sink);
    const changes = Array.from({ length: 60_000 }, (_, key) => ({ table: 1, key, value: key }));
    const offset = await test.source.commit(changes, 1000);
    const durable: { endsOpen: boolean; steps: number; records: number }[] = [];
    const stop = new AbortController();
    const start = { after: 0, position: positionOf(0), commitTime: 0, sweepAt: null, fence: 1 };
    const delivery = new Delivery({ sink, log: test.log, selects: () => true, clock: test.runtime.clock, bytes: 1 << 20, load: null }, start, {
      onHanded: () => null,
      onDurable: ({ endsOpen, steps, records }) => void durable.push({ endsOpen, steps: steps.length, records }),
      onProgress: (at) => {
        if (at >= offset) stop.abort(new Error('done'));
      },
      onFailed: (_batch, failure) => stop.abort(failure),
    });
    await delivery.run(stop.signal);
    const parts = durable.filter(({ endsOpen }) => endsOpen);
    expect(parts.length).toBeGreaterThan(1);
    expect(parts.every(({ steps, records }) => steps === 0 && records > 0)).toBe(true);
    expect(sink.rows).toEqual(test.source.rows);
  });

  it('stops although the sink takes nothing more', async () => {
    const sink = new MemorySink({ wholeTransactions: true, maxKeys: 1 });
    const handed = Promise.withResolvers<void>();
    sink.apply = (_batch, signal) => {
      handed.resolve();
      const never = new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
      never.catch(() => undefined);
      return { accepted: never, durable: never };
    };
    await using test = await delivering(sink);
    for (let key = 0; key < 10; key++) await test.source.commit([{ table: 1, key, value: key }]);
    const stop = new AbortController();
    const start = { after: 0, position: positionOf(0), commitTime: 0, sweepAt: null, fence: 1 };
    const clock = { ...test.runtime.clock, sleep: () => Promise.resolve() };
    const delivery = new Delivery({ sink, log: test.log, selects: () => true, clock, bytes: 1 << 20, load: null }, start, {
      onHanded: () => null, onDurable: () => undefined, onProgress: () => undefined, onFailed: () => undefined,
    });
    const running = delivery.run(stop.signal);
    await handed.promise;
    await test.source.commit([{ table: 1, key: 1, value: 11 }]);
    stop.abort(new Error('asked to stop'));
    await running.catch(() => undefined);
    expect(delivery.progress).toBe(0);
  });

  it('stops on data that the sink refuses, and goes on when told to', async () => {
    const sink = new MemorySink();
    sink.refused.add('public.t1/7');
    await using test = await delivering(sink);
    test.part.start();
    const first = await test.source.commit([{ table: 1, key: 1, value: 1 }]);
    await test.deliver.reached(first, patience());
    const second = await test.source.commit([{ table: 1, key: 7, value: 1 }]);
    const waiting = test.part.unlessFailed((signal) => test.deliver.reached(second, signal), patience());
    await expect(waiting).rejects.toMatchObject({
      code: 'SINK_DATA', where: { sink: 'copy', source: 'shop', table: 'public.t1', key: 'id=7', offset: second, position: 'at 2' },
    });
    expect(sink.checkpoint?.offset).toBe(first);
    sink.refused.clear();
    test.part.retry();
    await test.deliver.reached(second, patience());
    expect(sink.rows).toEqual(test.source.rows);
  });

  it('puts aside the rows that the sink refuses, and applies the rest of their transactions', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = seededRandom(seed);
      const sink = new MemorySink({ wholeTransactions: random.unit() < 0.7, maxKeys: 40 });
      await using test = await delivering(sink, { onError: 'dead-letter' });
      for (const key of [1, 4]) sink.refused.add(`public.t1/${key}`);
      let offset = 0;
      for (let n = 0; n < 12; n++) {
        const keys = Array.from({ length: 1 + Math.floor(random.unit() * 5) }, () => Math.floor(random.unit() * 6));
        offset = await test.source.commit([...new Set(keys)].map((key) => ({ table: 1 + (n % 2), key, value: n })));
        if (n === 6) test.part.start();
      }
      offset = await test.source.commit([1, 2, 4].map((key) => ({ table: 1, key, value: 99 })));
      await test.deliver.reached(offset, patience());
      const expected = new Map([...test.source.rows].filter(([key]) => !sink.refused.has(key)));
      expect(sink.rows, `seed ${seed}`).toEqual(expected);
      const named = test.letters.list().map(({ table, key }) => `${table}/${key.subarray(4).toString()}`);
      expect(new Set(named)).toEqual(sink.refused);
      const reread = await DeadLetters.load(test.runtime.files, test.lettersPath);
      expect(reread.list()).toEqual(test.letters.list());

      sink.refused.delete('public.t1/4');
      offset = await test.source.commit([{ table: 1, key: 4, value: 100 }]);
      await test.deliver.reached(offset, patience());
      expect(test.letters.list()).toHaveLength(1);
      sink.refused.clear();
      test.deliver.retryLetters();
      while (test.letters.count > 0) await test.runtime.clock.sleep(5);
      expect(sink.rows).toEqual(test.source.rows);
      offset = await test.source.commit([{ table: 1, key: 1, value: null }]);
      await test.deliver.reached(offset, patience());
      expect(sink.rows.has('public.t1/1')).toBe(false);
    }
  }, 20_000);

  it('gives the sink the tables that it comes to mirror, at its own checkpoint', async () => {
    const sink = new MemorySink({ wholeTransactions: true, maxKeys: 2 });
    await using test = await delivering(sink, { patterns: ['public.t1'] });
    test.part.start();
    let offset = 0;
    for (let n = 0; n < 9; n++) {
      offset = await test.source.commit([{ table: 1, key: n, value: n }, { table: 2, key: n % 5, value: n === 7 ? null : n }]);
    }
    await test.deliver.reached(offset, patience());
    await test.part.stop();
    expect([...sink.rows.keys()].some((key) => key.startsWith('public.t2/'))).toBe(false);
    sink.rows.set('public.t2/99', 'left by a join that was interrupted');
    let faults = 2;
    sink.fault = () => (faults-- > 0 ? 'after' : 'none');
    const wider = test.pipeline(['public.*']);
    wider.part.start();
    offset = await test.source.commit([{ table: 2, key: 1, value: 50 }]);
    await wider.deliver.reached(offset, patience());
    await wider.part.stop();
    expect(sink.rows).toEqual(test.source.rows);
  });

  it('gives a sink that went back to before a table joined that table again', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink, { patterns: ['public.t1'] });
    test.part.start();
    let offset = 0;
    for (let n = 0; n < 5; n++) offset = await test.source.commit([{ table: 1, key: n, value: n }, { table: 2, key: n, value: n }]);
    await test.deliver.reached(offset, patience());
    await test.part.stop();
    const backup = { rows: new Map(sink.rows), checkpoint: sink.checkpoint };
    for (const change of [() => undefined, () => Object.assign(sink, { checkpoint: backup.checkpoint })]) {
      change();
      if (sink.checkpoint === backup.checkpoint) {
        sink.rows.clear();
        for (const [key, row] of backup.rows) sink.rows.set(key, row);
      }
      const wider = test.pipeline(['public.*']);
      wider.part.start();
      offset = await test.source.commit([{ table: 2, key: 1, value: offset }]);
      await wider.deliver.reached(offset, patience());
      await wider.part.stop();
      expect(sink.rows).toEqual(test.source.rows);
    }
  });

  it('refuses a checkpoint that the log never had', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    sink.checkpoint = { logId: test.log.state().logId, epoch: 'f'.repeat(32), offset: 1, position: positionOf(0), cursor: null, fence: 1 };
    test.part.start();
    await expect(test.part.unlessFailed((signal) => test.deliver.reached(9, signal), patience())).rejects.toMatchObject({ code: 'SINK_DIVERGED' });
  });

  it('ends a batch in flight before it stops', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    let open: () => void = () => undefined;
    sink.gate = new Promise((resolve) => {
      open = resolve;
    });
    const offset = await test.source.commit([{ table: 1, key: 1, value: 1 }]);
    test.part.start();
    while (sink.handed === 0) await new Promise((resolve) => setImmediate(resolve));
    const stopped = test.part.stop();
    open();
    await stopped;
    expect(sink.checkpoint?.offset).toBe(offset);
  });
});
