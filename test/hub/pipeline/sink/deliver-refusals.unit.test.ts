import { describe, expect, it } from 'vitest';
import { delivering, patience } from './delivering.ts';
import { MemorySink } from './memory-sink.ts';

describe('Deliver, where the sink refuses rows or takes nothing', () => {
  it('names the row that the sink refuses, among many of its transaction, and has applied what came before', async () => {
    const sink = new MemorySink();
    sink.refused.add('public.t2/33');
    await using test = await delivering(sink);
    const before = await test.source.commit([{ table: 1, key: 1, value: 1 }]);
    const rows = new Map(test.source.rows);
    const end = await test.source.commit(Array.from({ length: 40 }, (_, key) => ({ table: 1 + (key % 2), key, value: 5 })));
    await test.source.commit([{ table: 1, key: 1, value: 9 }]);
    test.part.start();
    const waiting = test.part.unlessFailed((signal) => test.deliver.reached(end, signal), patience());
    await expect(waiting).rejects.toMatchObject({ code: 'SINK_DATA', where: { table: 'public.t2', key: 'id=33', offset: before + 34, position: 'at 2' } });
    expect(sink.checkpoint?.offset).toBe(before);
    expect(sink.rows).toEqual(rows);
    expect(test.runtime.lines.find(({ event }) => event === 'sink.failed')?.fields).not.toHaveProperty('key');
  });

  it('puts aside rows of a transaction that changes a schema too', async () => {
    for (const wholeTransactions of [true, false]) {
      const sink = new MemorySink({ wholeTransactions, maxKeys: 100 });
      sink.refused.add('public.t1/2');
      await using test = await delivering(sink, { onError: 'dead-letter' });
      const first = await test.source.commit([{ table: 1, key: 1, value: 1 }]);
      const changed = await test.source.reshape(1, [1, 2, 3]);
      test.part.start();
      await test.deliver.reached(changed, patience());
      expect(sink.checkpoint?.offset).toBe(changed);
      expect([...sink.rows.keys()].toSorted()).toEqual(['public.t1/1', 'public.t1/3']);
      expect(test.letters.list()).toMatchObject([{ table: 'public.t1', code: 'SINK_DATA', offset: first + 3 }]);
      if (!wholeTransactions) continue;
      // Nothing of a transaction is to be seen before all of it.
      expect(sink.applied.filter(({ after, to }) => after === to)).toEqual([]);
    }
  });

  it('gives a sink that wants changes of shape first none of them behind rows', async () => {
    const sink = new MemorySink({ wholeTransactions: true, maxKeys: 100, stepsFirst: true });
    sink.refused.add('public.t2/1');
    await using test = await delivering(sink, { onError: 'dead-letter' });
    await test.source.bag(3, ['10']);
    const changed = await test.source.mixed({ table: 3, rows: ['11', '12'] }, [1, 2, 3]);
    const tried: string[] = [];
    sink.fault = ({ after, to, steps }) => {
      if (to > after) tried.push(steps.map(({ kind }) => kind).join());
      return 'none';
    };
    test.part.start();
    await test.deliver.reached(changed, patience());
    expect(test.letters.list()).toMatchObject([{ table: 'public.t2', code: 'SINK_DATA' }]);
    expect(tried.filter((kinds) => kinds.includes('rows,schema'))).toEqual([]);
    expect(sink.checkpoint?.offset).toBe(changed);
  });

  it.each([true, false])('closes the letter of a row that is deleted together with one that is refused (whole transactions: %s)', async (wholeTransactions) => {
    const sink = new MemorySink({ wholeTransactions, maxKeys: 100 });
    for (const key of [1, 2, 3]) sink.refused.add(`public.t1/${key}`);
    await using test = await delivering(sink, { onError: 'dead-letter' });
    test.part.start();
    await test.deliver.reached(await test.source.commit([{ table: 1, key: 1, value: 1 }]), patience());
    expect(test.letters.count).toBe(1);
    const end = await test.source.commit([{ table: 1, key: 1, value: null }, { table: 1, key: 2, value: 2 }, { table: 1, key: 5, value: 5 }]);
    await test.deliver.reached(end, patience());
    expect(test.letters.list().map(({ offset }) => offset)).toEqual([end - 1]);
    await test.deliver.reached(await test.source.commit([{ table: 1, key: 2, value: null }]), patience());
    await expect.poll(() => test.letters.count).toBe(0);
  });

  it('stops on a row that cannot be set aside, and says what to do', async () => {
    const keyless = new MemorySink();
    keyless.refused.add('public.t3/');
    await using test = await delivering(keyless, { onError: 'dead-letter' });
    const end = await test.source.keyless(3);
    test.part.start();
    const waiting = test.part.unlessFailed((signal) => test.deliver.reached(end, signal), patience());
    await expect(waiting).rejects.toMatchObject({
      code: 'DEAD_LETTER_IMPOSSIBLE', message: expect.stringContaining('public.t3, which has no key') as string,
      remedy: expect.stringContaining('primary key') as string, where: { table: 'public.t3', offset: end, position: 'at 1' },
    });
  });

  it.each(['stop', 'dead-letter'] as const)('finds the rows that the sink refuses in a transaction larger than memory (on_error: %s)', async (onError) => {
    const sink = new MemorySink({ wholeTransactions: true, maxKeys: 4 });
    for (const key of [3, 2500, 2501, 4999]) sink.refused.add(`public.t1/${key}`);
    await using test = await delivering(sink, { onError, bytes: 4096 });
    const first = await test.source.commit([{ table: 1, key: 3, value: 3 }, { table: 1, key: 6000, value: 1 }]);
    const large = await test.source.commit(Array.from({ length: 5000 }, (_, key) => ({ table: 1, key, value: key })), 50);
    const last = await test.source.commit([{ table: 1, key: 3, value: 4 }, { table: 2, key: 1, value: 1 }]);
    let most = 0;
    sink.fault = (batch) => {
      most = Math.max(most, batch.records);
      return 'none';
    };
    test.part.start();
    const waiting = test.part.unlessFailed((signal) => test.deliver.reached(last, signal), AbortSignal.timeout(20_000));
    if (onError === 'stop') {
      await expect(waiting).rejects.toMatchObject({ code: 'SINK_DATA', where: { table: 'public.t1', key: 'id=3', offset: first - 1 } });
      sink.refused.delete('public.t1/3');
      test.part.retry();
      const again = test.part.unlessFailed((signal) => test.deliver.reached(last, signal), AbortSignal.timeout(20_000));
      await expect(again).rejects.toMatchObject({ code: 'SINK_DATA', where: { table: 'public.t1', key: 'id=2500', offset: first + 2501 } });
      expect(test.deliver.progress.offset).toBe(first);
      return;
    }
    expect(await waiting).toBe(last);
    expect(test.letters.list().map(({ offset }) => offset).toSorted((a, b) => a - b)).toEqual([first + 2501, first + 2502, large, large + 1]);
    expect(sink.rows.size).toBe(5000 - 4 + 2);
    // It was never held as a whole.
    expect(most).toBeLessThan(2500);
    sink.refused.clear();
    test.deliver.retryLetters();
    await expect.poll(() => test.letters.count).toBe(0);
    expect(sink.rows.get('public.t1/3')).toBe('3,4');
    expect(sink.rows.get('public.t1/2500')).toBe('2500,2500');
    expect(sink.rows.size).toBe(5002);
  }, 40_000);

  it.each(['one transaction', 'many'] as const)('finds two rows of 1,500 without opening the sink for each try, where the sink goes back by itself (%s)', async (how) => {
    for (const rewinds of [true, false]) {
      const sink = new MemorySink({ wholeTransactions: true, maxKeys: 50_000 });
      sink.rewinds = rewinds;
      for (const key of [333, 1200]) sink.refused.add(`public.t1/${key}`);
      await using test = await delivering(sink, { onError: 'dead-letter' });
      const rows = Array.from({ length: 1500 }, (_, key) => ({ table: 1, key, value: key }));
      const pieces = how === 'many' ? Array.from({ length: 50 }, (_, n) => rows.slice(n * 30, (n + 1) * 30)) : [rows];
      let end = 0;
      for (const piece of pieces) end = await test.source.commit(piece);
      expect((await test.deliver.deliverTo(end, new AbortController().signal, () => undefined)).offset).toBe(end);
      expect(test.letters.list()).toHaveLength(2);
      expect(sink.rows.size).toBe(1498);
      // One for the delivery; for each batch in which something is refused, one to look for it and one to go on.
      if (rewinds) expect(sink.opened).toBeLessThanOrEqual(5);
      else expect(sink.opened).toBeGreaterThan(20);
    }
  }, 60_000);

  it('waits longer and longer for a sink that opens and then takes nothing, and says so all the while', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    await test.source.commit([{ table: 1, key: 1, value: 1 }]);
    const states = new Set<string>();
    let failures = 0;
    sink.fault = () => {
      states.add(test.part.state);
      return ++failures <= 6 ? 'before' : 'none';
    };
    test.part.start();
    await test.deliver.reached(test.source.writer.lastOffset, patience());
    const attempts = test.runtime.lines.filter(({ event }) => event === 'sink.retrying').map(({ fields }) => fields['attempt']);
    expect(attempts).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...states]).toEqual(['running', 'retrying']);
    expect(test.part).toMatchObject({ state: 'running', error: null });
  });

  it('sets aside, or names, the rows of a joining table that the sink refuses', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink, { onError: 'dead-letter' });
    sink.refused.add('public.t2/2');
    const only = test.pipeline(['public.t1']);
    only.part.start();
    let last = 0;
    for (let key = 1; key <= 5; key++) last = await test.source.commit([{ table: 1, key, value: key }, { table: 2, key, value: key }]);
    await only.deliver.reached(last, patience());
    await only.part.stop();
    const both = test.pipeline(['public.*']);
    both.part.start();
    await both.deliver.reached(last, patience());
    expect(test.letters.list()).toMatchObject([{ table: 'public.t2', key: expect.anything() as Buffer }]);
    expect(sink.rows.size).toBe(9);
    expect(sink.opened).toBeLessThan(30);
    await both.part.stop();
  });

  it('keeps the letter of a row that a joining table has from the base, until the sink takes it', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink, { onError: 'dead-letter' });
    sink.refused.add('public.t2/2');
    const only = test.pipeline(['public.t1']);
    only.part.start();
    let last = 0;
    for (let key = 1; key <= 5; key++) last = await test.source.commit([{ table: 1, key, value: key }, { table: 2, key, value: key }]);
    await only.deliver.reached(last, patience());
    await only.part.stop();
    expect(await test.log.compact(last, { memoryBytes: 1 << 20, share: 1, seals: true }, patience())).toBe(last);
    const both = test.pipeline(['public.*']);
    both.part.start();
    await both.deliver.reached(last, patience());
    expect(test.letters.list()).toMatchObject([{ table: 'public.t2', offset: last }]);
    await both.deliver.reached(await test.source.commit([{ table: 1, key: 1, value: 10 }]), patience());
    expect(test.letters.count).toBe(1);
    sink.refused.clear();
    both.deliver.retryLetters();
    await expect.poll(() => test.letters.count).toBe(0);
    expect(sink.rows).toEqual(test.source.rows);
    await both.part.stop();
  });
});
