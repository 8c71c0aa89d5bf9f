import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../change-batch.ts';
import { encodeControl } from '../control.ts';
import { Op } from '../op.ts';
import { encodeSchema } from '../schema.ts';
import { expectCode, LogUnderTest, type MakeFixture } from './log-engine-kit-common.ts';
import { positionAt, transactionBatch, workloadSchema } from './log-workload.ts';

const NONE = Buffer.alloc(0);

export function catalogTests(makeFixture: MakeFixture): void {
  describe('catalog', () => {
    it('is as of the high watermark, and the caller owns its copy', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 1, position: 1, schema: true }));
      await test.writer.flush();
      const copy = test.log.catalog();
      const builder = new BatchBuilder(1024);
      builder.begin('source', 2, 2);
      builder.record(Op.schema, 0, 1, 2, NONE, NONE, encodeSchema(workloadSchema(1, 2)));
      await test.append(builder.take());
      await test.writer.flush();
      expect(test.log.catalog().schema(1)?.version).toBe(1);
      builder.commit(positionAt(2));
      await test.append(builder.take());
      await test.writer.flush();
      expect(test.log.catalog().schema(1)?.version).toBe(2);
      expect(copy.schema(1)?.version).toBe(1);
      await test.expectEqual();
    });

    it('forgets what is rolled back', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 1, position: 1, schema: true }));
      const builder = new BatchBuilder(1024);
      builder.begin('source', 2, 2);
      builder.record(Op.schema, 0, 1, 2, NONE, NONE, encodeSchema(workloadSchema(1, 2)));
      builder.record(Op.control, 0, 1, 0, NONE, NONE, encodeControl({ type: 'copied', rows: 1 }));
      await test.append(builder.take());
      await test.rollback();
      const again = new BatchBuilder(1024);
      again.begin('source', 2, 2);
      again.record(Op.schema, 0, 1, 2, NONE, NONE, encodeSchema(workloadSchema(1, 2)));
      again.commit(positionAt(2));
      await test.append(again.take());
      await test.writer.flush();
      await test.expectEqual();
    });

    it('refuses a schema that does not follow, and takes the right one after rollback', async () => {
      await using test = await LogUnderTest.make(makeFixture);
      await test.append(transactionBatch({ rows: 1, position: 1, schema: true }));
      const builder = new BatchBuilder(1024);
      builder.begin('source', 2, 2);
      builder.record(Op.schema, 0, 1, 3, NONE, NONE, encodeSchema(workloadSchema(1, 3)));
      builder.commit(positionAt(2));
      await expectCode(test.writer.append(builder.take()), 'SCHEMA_INVALID');
      await test.rollback();
      await test.append(transactionBatch({ rows: 1, position: 2, schema: true, tableId: 2 }));
      await test.writer.flush();
      await test.expectEqual();
      await test.reopen(false);
      await test.expectEqual();
    });
  });
}
