import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../change-batch.ts';
import { Op } from '../op.ts';
import { expectCode, LogUnderTest, NEVER, nextBatch, readAll, type MakeFixture } from './log-engine-kit-common.ts';
import { LogWorkload, positionAt, seededUnit, transactionBatch } from './log-workload.ts';
import { recordsOf } from './reference-log.ts';

const NONE = Buffer.alloc(0);

export function readTests(makeFixture: MakeFixture): void {
  describe('reading', () => {
    it('gives exactly (after, to], wherever the two stand', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const workload = new LogWorkload({ unit: seededUnit(11), tables: 2, valueBytes: 50 });
      for (let step = 0; step < 30; step++) await test.append(workload.next());
      await test.writer.flush();
      const end = test.reference.highWatermark;
      expect(end).toBeGreaterThan(20);
      for (let after = 0; after <= end; after += 3) {
        for (let to = after; to <= end; to += 4) expect((await readAll(test.log, after, to)).records).toEqual(test.reference.read(after, to));
      }
    });

    it('gives each transaction with its place, cut only where the range cuts it', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 4, position: 1 }));
      await test.append(transactionBatch({ rows: 4, position: 2 }));
      await test.writer.flush();
      const entries: unknown[] = [];
      for await (const batch of test.log.read({ after: 2, to: 6, follow: false, signal: NEVER })) {
        for (const { begins, commits, count, xid, position } of batch.transactions) entries.push({ begins, commits, count, xid, position: position.length });
      }
      expect(entries).toEqual([
        { begins: false, commits: true, count: 2, xid: 1, position: 8 },
        { begins: true, commits: false, count: 2, xid: 2, position: 0 },
      ]);
    });

    it('is woken by what becomes durable, and by nothing else', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const stop = new AbortController();
      const reader = test.log.read({ after: 0, follow: true, signal: stop.signal })[Symbol.asyncIterator]();
      let woken = false;
      const first = nextBatch(reader).then((batch) => {
        woken = true;
        return batch;
      });
      const builder = new BatchBuilder(1024);
      builder.begin('source', 1, 1);
      builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('a'));
      await test.append(builder.take());
      await test.writer.flush();
      expect(woken).toBe(false);
      builder.commit(positionAt(1));
      await test.append(builder.take());
      // The commit may come with the records or behind them.
      const batches = [await first];
      while (batches.at(-1)?.endsOpen === true) batches.push(await nextBatch(reader));
      expect(batches.flatMap(recordsOf)).toEqual(test.reference.read(0));
      expect(batches.at(-1)?.transactions).toMatchObject([{ commits: true }]);
      stop.abort();
      await expectCode(reader.next(), 'ABORTED');
    });

    it('follows a writer through rollbacks and new epochs without a hole', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const unit = seededUnit(5);
      const workload = new LogWorkload({ unit, tables: 2, valueBytes: 100 });
      const stop = new AbortController();
      const batches: ChangeBatch[] = [];
      const following = (async () => {
        for await (const batch of test.log.read({ after: 0, follow: true, signal: stop.signal })) batches.push(batch);
      })();
      for (let step = 0; step < 80; step++) {
        await test.append(workload.next());
        if (unit() < 0.1) {
          await test.rollback();
          workload.resumeAt(test.reference.catalog());
        }
        if (unit() < 0.05) {
          await test.writer[Symbol.asyncDispose]();
          test.reference.rollback();
          workload.resumeAt(test.reference.catalog());
          await test.openWriter();
        }
      }
      await test.append(workload.finish() ?? transactionBatch({ rows: 1, position: 5000, tableId: 9, schema: true }));
      const { highWatermark } = await test.writer.flush();
      const last = test.log.read({ after: highWatermark - 1, to: highWatermark, follow: true, signal: NEVER });
      for await (const batch of last) expect(batch.lastOffset).toBe(highWatermark);
      while (batches.reduce((sum, batch) => sum + batch.count, 0) < highWatermark) await new Promise((resolve) => setImmediate(resolve));
      stop.abort();
      await expectCode(following, 'ABORTED');
      expect(batches.flatMap(recordsOf)).toEqual(test.reference.read(0));
    });

    it('ends by itself at `to`, also when that comes later', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const seen: number[] = [];
      const reading = (async () => {
        for await (const batch of test.log.read({ after: 1, to: 5, follow: true, signal: NEVER })) seen.push(batch.baseOffset, batch.lastOffset);
      })();
      await test.append(transactionBatch({ rows: 3, position: 1 }));
      await test.writer.flush();
      await test.append(transactionBatch({ rows: 3, position: 2 }));
      await test.writer.flush();
      await reading;
      expect(seen).toEqual([2, 3, 4, 5]);
    });

    it('answers `reached` at once, later, or not at all', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.log.reached(0, NEVER);
      const reached = test.log.reached(2, NEVER);
      const stop = new AbortController();
      const aborted = expectCode(test.log.reached(3, stop.signal), 'ABORTED');
      await test.append(transactionBatch({ rows: 2, position: 1 }));
      await reached;
      expect(test.log.state().highWatermark).toBe(2);
      stop.abort();
      await aborted;
      await expectCode(test.log.reached(3, AbortSignal.abort()), 'ABORTED');
    });

    it('keeps batches valid while the next ones are read', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      for (let position = 1; position <= 30; position++) await test.append(transactionBatch({ rows: 5, position, valueBytes: 2000 }));
      await test.writer.flush();
      await test.reopen(false);
      const batches: ChangeBatch[] = [];
      for await (const batch of test.log.read({ after: 0, follow: false, signal: NEVER })) batches.push(batch);
      expect(batches.flatMap(recordsOf)).toEqual(test.reference.read(0));
    });

    it('ends those who wait when the engine is closed', async () => {
      const test = await LogUnderTest.make(makeFixture);
      const reader = test.log.read({ after: 0, follow: true, signal: NEVER })[Symbol.asyncIterator]();
      const waiting = expectCode(nextBatch(reader), 'LOG_CLOSED');
      await test.writer.flush();
      await test[Symbol.asyncDispose]();
      await waiting;
    });
  });
}
