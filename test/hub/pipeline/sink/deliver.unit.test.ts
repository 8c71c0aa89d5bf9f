import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../contracts/key.ts';
import type { LogWriter, SourceLog } from '../../../../contracts/log-engine.ts';
import { Op } from '../../../../contracts/op.ts';
import { buildImage } from '../../../../contracts/row-image.ts';
import { encodeSchema } from '../../../../contracts/schema.ts';
import { selectTables } from '../../../../hub/config/table-patterns.ts';
import { DeadLetters } from '../../../../hub/dead-letters/dead-letters.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { Deliver } from '../../../../hub/pipeline/sink/deliver.ts';
import { Delivery } from '../../../../hub/pipeline/sink/delivery.ts';
import { Part } from '../../../../hub/pipeline/part.ts';
import { SinkTables } from '../../../../hub/pipeline/sink/sink-tables.ts';
import { createTestRuntime, seededRandom } from '../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';
import { MemorySink } from './memory-sink.ts';
import { positionOf, valueOf } from '../source/numbered-positions.ts';
import { scriptedSchema } from '../source/scripted-source.ts';

const NONE = new Uint8Array(0);

/** A log that a test writes to, with tables t1 and t2; and what a sink that mirrors them should hold. */
class TestLog {
  readonly log: SourceLog;
  readonly writer: LogWriter;
  readonly rows = new Map<string, string>();
  #xid = 0;
  #builder = new BatchBuilder(4096);

  constructor(log: SourceLog, writer: LogWriter) {
    this.log = log;
    this.writer = writer;
  }

  async begin(): Promise<void> {
    this.#builder.begin('hub', 0, 0);
    for (const id of [1, 2]) this.#builder.record(Op.schema, 0, id, 1, NONE, NONE, encodeSchema(scriptedSchema(id)));
    this.#builder.commit(positionOf(0));
    await this.#append();
  }

  /** One transaction; a value of null deletes. Answers its last offset. */
  async commit(changes: readonly { table: number; key: number; value: number | null }[], cutAfter = Infinity): Promise<number> {
    this.#xid++;
    this.#builder.begin('source', this.#xid, this.#xid);
    for (const { table, key, value } of changes) {
      const name = `public.t${table}/${key}`;
      const image = value === null ? NONE : buildImage([String(key), String(value)]);
      this.#builder.record(value === null ? Op.delete : Op.update, 0, table, 1, buildKey([String(key)]), NONE, image);
      if (value === null) this.rows.delete(name);
      else this.rows.set(name, `${key},${value}`);
      if (this.#builder.count >= cutAfter) await this.#append();
    }
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  /** A transaction that gives a table another shape, and then these rows. */
  async reshape(table: number, keys: readonly number[]): Promise<number> {
    const schema = scriptedSchema(table);
    this.#builder.begin('source', ++this.#xid, this.#xid);
    const columns = schema.columns.map((column) => ({ ...column, nullable: true }));
    this.#builder.record(Op.schema, 0, table, 2, NONE, NONE, encodeSchema({ ...schema, version: 2, columns }));
    for (const key of keys) this.#builder.record(Op.update, 0, table, 2, buildKey([String(key)]), NONE, buildImage([String(key), 'x']));
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  /** A transaction that brings a table without a key, and a row of it. */
  async keyless(table: number): Promise<number> {
    this.#builder.begin('source', ++this.#xid, this.#xid);
    this.#builder.record(Op.schema, 0, table, 1, NONE, NONE, encodeSchema({ ...scriptedSchema(table), keyKind: 'none', key: [] }));
    this.#builder.record(Op.create, 0, table, 1, NONE, NONE, buildImage(['1', '2']));
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  async #append(): Promise<void> {
    await this.writer.append(this.#builder.take());
  }
}

async function delivering(sink: MemorySink, options: { patterns?: readonly string[]; bytes?: number; onError?: 'stop' | 'dead-letter' } = {}) {
  const directory = await temporaryDirectory('deliver');
  const runtime = createTestRuntime();
  const engine = await EmbeddedLogEngine.create(directory.path, runtime);
  const log = await engine.open('shop', { create: true });
  const writer = await log.openWriter(() => undefined);
  const testLog = new TestLog(log, writer);
  await testLog.begin();
  const { patterns = ['public.*'], bytes = 1 << 20, onError = 'stop' } = options;
  const lettersPath = join(directory.path, 'letters.json');
  const letters = await DeadLetters.load(runtime.files, lettersPath);
  /** A pipeline for the sink, with these tables. */
  const pipeline = (tablePatterns: readonly string[]) => {
    const config = {
      name: 'copy', type: 'memory', from: 'shop', tables: selectTables(tablePatterns), tablePatterns, tableOptions: new Map(), onError, options: {},
    };
    const tables = new SinkTables(runtime.files, join(directory.path, 'tables.json'), config);
    const deliver = new Deliver({ config, sink, log, letters, tables, runtime, bytes, printPosition, onApplied: () => undefined, onJoined: () => undefined });
    const eager = { ...runtime, clock: { ...runtime.clock, sleep: () => Promise.resolve() } };
    return { deliver, part: new Part('sink copy', deliver, eager) };
  };
  const { deliver, part } = pipeline(patterns);
  return {
    deliver, part, pipeline, log, source: testLog, runtime, letters, lettersPath,
    async [Symbol.asyncDispose]() {
      await part.stop();
      await writer[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

function printPosition(position: Uint8Array): string | null {
  return position.length === 0 ? null : `at ${valueOf(position)}`;
}

function patience(): AbortSignal {
  return AbortSignal.timeout(5000);
}

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
    const start = { after: 0, position: positionOf(0), commitTime: 0, sweepAt: null };
    const delivery = new Delivery({ sink, log: test.log, selects: () => true, clock: test.runtime.clock, bytes: 1 << 20 }, start, {
      onHanded: () => undefined,
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
    const start = { after: 0, position: positionOf(0), commitTime: 0, sweepAt: null };
    const clock = { ...test.runtime.clock, sleep: () => Promise.resolve() };
    const delivery = new Delivery({ sink, log: test.log, selects: () => true, clock, bytes: 1 << 20 }, start, {
      onHanded: () => undefined, onDurable: () => undefined, onProgress: () => undefined, onFailed: () => undefined,
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

    const parts = new MemorySink({ wholeTransactions: true, maxKeys: 4 });
    parts.refused.add('public.t1/2500');
    await using large = await delivering(parts, { onError: 'dead-letter', bytes: 4096 });
    const last = await large.source.commit(Array.from({ length: 5000 }, (_, key) => ({ table: 1, key, value: key })), 50);
    large.part.start();
    const until = large.part.unlessFailed((signal) => large.deliver.reached(last, signal), patience());
    await expect(until).rejects.toMatchObject({ code: 'DEAD_LETTER_IMPOSSIBLE', message: expect.stringContaining('larger than memory') as string });
    expect(parts.rows.size).toBe(0);
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

  it('refuses a checkpoint that the log never had', async () => {
    const sink = new MemorySink();
    await using test = await delivering(sink);
    sink.checkpoint = { logId: test.log.state().logId, epoch: 'f'.repeat(32), offset: 1, position: positionOf(0), fence: 1 };
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
