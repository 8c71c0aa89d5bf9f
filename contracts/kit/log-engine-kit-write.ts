import { describe, expect, it } from 'vitest';
import { BatchBuilder, ChangeBatch } from '../change-batch.ts';
import { Op } from '../op.ts';
import { expectCode, LogUnderTest, readAll, SOURCE, type MakeFixture } from './log-engine-kit-common.ts';
import { LogWorkload, positionAt, seededUnit, transactionBatch } from './log-workload.ts';

const NONE = Buffer.alloc(0);

export function writeTests(makeFixture: MakeFixture): void {
  describe('writing', () => {
    it('gives dense offsets from 1, in the order of the calls', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const places = await Promise.all([1, 2, 3, 4].map((position) => test.writer.append(transactionBatch({ rows: position, position }))));
      expect(places).toEqual([
        { baseOffset: 1, lastOffset: 1 },
        { baseOffset: 2, lastOffset: 3 },
        { baseOffset: 4, lastOffset: 6 },
        { baseOffset: 7, lastOffset: 10 },
      ]);
      expect(test.writer.lastOffset).toBe(10);
    });

    it('tells durable progress in order, and flush tells all of it', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      for (let position = 1; position <= 40; position++) await test.append(transactionBatch({ rows: 3, position }));
      const progress = await test.writer.flush();
      expect(progress).toEqual({ highWatermark: 120, position: positionAt(40) });
      expect(test.durable.at(-1)).toEqual(progress);
      const told = test.durable.map(({ highWatermark }) => highWatermark);
      expect(told).toEqual(told.toSorted((a, b) => a - b));
      expect(told.every((offset) => offset % 3 === 0)).toBe(true);
    });

    it('moves the high watermark at a commit only', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const builder = new BatchBuilder(1024);
      builder.begin('source', 7, 1);
      builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('a'));
      await test.append(builder.take());
      expect((await test.writer.flush()).highWatermark).toBe(0);
      expect((await readAll(test.log, 0)).records).toEqual([]);
      builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('b'));
      builder.commit(positionAt(1));
      await test.append(builder.take());
      expect((await test.writer.flush()).highWatermark).toBe(2);
      await test.expectEqual();
    });

    it('takes a commit that comes in a batch of its own', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const builder = new BatchBuilder(1024);
      builder.begin('source', 7, 1);
      builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('a'));
      await test.append(builder.take());
      builder.commit(positionAt(1));
      await test.append(builder.take());
      expect(await test.writer.flush()).toEqual({ highWatermark: 1, position: positionAt(1) });
      await test.expectEqual();
    });

    it('cuts an open transaction by rollback and gives its offsets again', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 2, position: 1 }));
      const builder = new BatchBuilder(1024);
      builder.begin('source', 7, 1);
      builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('half'));
      await test.append(builder.take());
      expect(test.writer.lastOffset).toBe(3);
      await test.rollback();
      expect(test.writer.lastOffset).toBe(2);
      await test.append(transactionBatch({ rows: 4, position: 2 }));
      await test.writer.flush();
      await test.expectEqual();
    });

    it('keeps the committed part of a batch whose tail is rolled back', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const builder = new BatchBuilder(1024);
      for (const [xid, text] of [[1, 'whole'], [2, 'half']] as const) {
        builder.begin('source', xid, xid);
        builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from(text));
        if (xid === 1) builder.commit(positionAt(1));
      }
      await test.append(builder.take());
      await test.rollback();
      expect(test.reference.highWatermark).toBe(1);
      await test.append(transactionBatch({ rows: 1, position: 2 }));
      await test.writer.flush();
      await test.expectEqual();
    });

    it('does nothing in a rollback when no transaction is open', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 2, position: 1 }));
      await test.rollback();
      await test.expectEqual();
    });

    it('moves the position by a keepalive, never back by a hub transaction', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 1, position: 5 }));
      const builder = new BatchBuilder(1024);
      builder.keepalive(positionAt(9));
      await test.append(builder.take());
      expect(await test.writer.flush()).toEqual({ highWatermark: 1, position: positionAt(9) });
      builder.begin('hub', 0, 1);
      builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('hub'));
      builder.commit(positionAt(5));
      await test.append(builder.take());
      expect(await test.writer.flush()).toEqual({ highWatermark: 2, position: positionAt(9) });
      await test.reopen(true);
      expect(test.writer.start).toMatchObject({ highWatermark: 2, position: positionAt(9) });
    });

    it('refuses a batch that breaks a rule, and all after it until rollback', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 1, position: 1 }));
      const good = transactionBatch({ rows: 1, position: 2 });
      const torn = new ChangeBatch({ count: 2, records: good.records, transactions: good.transactions, progress: good.progress });
      const refused = [test.writer.append(torn), test.writer.append(good)];
      for (const append of refused) await expectCode(append, 'LOG_BATCH_INVALID');
      await test.rollback();
      await test.append(good);
      await test.writer.flush();
      await test.expectEqual();
    });

    it('has one writer per log, and logs that know nothing of each other', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await expectCode(test.log.openWriter(() => undefined), 'LOG_LOCKED');
      const other = await test.engine.open('other', { create: true });
      expect(await test.engine.open('other', { create: false })).toBe(other);
      await using writer = await other.openWriter(() => undefined);
      await writer.append(transactionBatch({ rows: 3, position: 1 }));
      await writer.flush();
      expect(test.log.state().highWatermark).toBe(0);
      expect(other.state().logId).not.toBe(test.log.state().logId);
      expect(await test.engine.sources()).toEqual(['other', SOURCE]);
      await expectCode(test.engine.open('unknown', { create: false }), 'LOG_UNKNOWN');
    });

    it.each([1, 2, 3, 4, 5, 6])('equals the reference after random work (seed %i)', async (seed) => {
      await using test = await LogUnderTest.make(makeFixture);
      const unit = seededUnit(seed);
      const workload = new LogWorkload({ unit, tables: 3, valueBytes: 300 });
      for (let step = 0; step < 120; step++) {
        await test.append(workload.next());
        if (unit() < 0.05) {
          await test.rollback();
          workload.resumeAt(test.reference.catalog());
        }
        if (unit() < 0.03) {
          await test.reopen(true);
          workload.resumeAt(test.reference.catalog());
        }
      }
      await test.writer.flush();
      await test.expectEqual();
      await test.reopen(false);
      await test.expectEqual();
    });
  });
}
