import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../checkpoint.ts';
import { BatchBuilder } from '../change-batch.ts';
import { Op } from '../op.ts';
import { LogUnderTest, type MakeFixture } from './log-engine-kit-common.ts';
import { positionAt, transactionBatch } from './log-workload.ts';

export function stateTests(makeFixture: MakeFixture): void {
  const checkpointAt = (test: LogUnderTest, offset: number): Checkpoint => ({
    logId: test.log.state().logId,
    epoch: test.log.epochAt(offset),
    offset,
    position: positionAt(1),
    cursor: null,
    fence: 1,
  });

  describe('state, epochs and plans', () => {
    it('is empty at first', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      expect(test.log.state()).toMatchObject({ highWatermark: 0, position: null, horizon: 0, commitTime: 0 });
      expect(test.log.plan(null)).toEqual({ kind: 'resume', after: 0 });
      expect(test.log.plan(checkpointAt(test, 0))).toEqual({ kind: 'resume', after: 0 });
    });

    it('adds an epoch at every opening for writing, and knows which wrote what', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      const first = test.writer.start.epoch;
      await test.append(transactionBatch({ rows: 3, position: 1 }));
      await test.writer.flush();
      await test.reopen(true);
      const second = test.writer.start.epoch;
      await test.append(transactionBatch({ rows: 2, position: 2 }));
      await test.writer.flush();
      expect(second).not.toBe(first);
      expect([1, 3, 4, 5].map((offset) => test.log.epochAt(offset))).toEqual([first, first, second, second]);
      expect(test.log.state().epochs).toEqual(expect.arrayContaining([{ id: second, start: 3 }]));
      const logId = test.writer.start.logId;
      await test.reopen(true);
      expect(test.writer.start.logId).toBe(logId);
      expect(test.log.epochAt(5)).toBe(second);
    });

    it('resumes every checkpoint that it wrote itself', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      for (let epoch = 1; epoch <= 3; epoch++) {
        await test.append(transactionBatch({ rows: epoch, position: epoch }));
        await test.writer.flush();
        await test.reopen(true);
      }
      for (let offset = 0; offset <= 6; offset++) expect(test.log.plan(checkpointAt(test, offset))).toEqual({ kind: 'resume', after: offset });
    });

    it('calls diverged what it did not write', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 3, position: 1 }));
      await test.writer.flush();
      const early = checkpointAt(test, 3);
      await test.reopen(true);
      await test.append(transactionBatch({ rows: 3, position: 2 }));
      await test.writer.flush();
      const late = checkpointAt(test, 6);
      const wrong: Checkpoint[] = [
        { ...late, logId: 'f'.repeat(32) },
        { ...late, epoch: 'f'.repeat(32) },
        { ...late, offset: 7 },
        { ...early, offset: 4 },
        { ...late, offset: 2 },
      ];
      for (const checkpoint of wrong) expect(test.log.plan(checkpoint).kind).toBe('diverged');
      expect(test.log.plan(late)).toEqual({ kind: 'resume', after: 6 });
    });

    it('does not know the offsets of an open transaction as written', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 1, position: 1 }));
      const builder = new BatchBuilder(1024);
      builder.begin('source', 2, 2);
      builder.record(Op.message, 0, 0, 0, Buffer.alloc(0), Buffer.alloc(0), Buffer.from('open'));
      await test.append(builder.take());
      await test.writer.flush();
      expect(test.log.plan({ ...checkpointAt(test, 1), offset: 2 }).kind).toBe('diverged');
    });

    it('tells commit time and bytes', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 100, position: 7 }));
      await test.writer.flush();
      const { bytes } = test.log.state();
      expect(test.log.state().commitTime).toBe(1_700_000_000_000_007);
      expect(bytes).toBeGreaterThan(100 * 30);
      await test.reopen(false);
      expect(test.log.state().commitTime).toBe(1_700_000_000_000_007);
      expect(test.log.state().bytes).toBeGreaterThanOrEqual(bytes);
    });
  });
}
