import { describe, expect, it } from 'vitest';
import type { CompactionOptions } from '../log-engine.ts';
import { expectCode, LogUnderTest, NEVER, readAll, type MakeFixture } from './log-engine-kit-common.ts';
import { transactionBatch } from './log-workload.ts';
import { recordsOf, type ReferenceRecord } from './reference-log.ts';

/** Table 1 is folded, table 2 keeps every record. */
const FOLD: CompactionOptions = {
  memoryBytes: 1 << 20, share: 1, seals: true,
  keep: ({ tableId }) => (tableId === 2 ? { kind: 'all' } : { kind: 'compact' }),
};

export function foldTests(makeFixture: MakeFixture): void {
  describe('history that is folded', () => {
    it('has all of its records before anything is folded', async () => {
      await using test = await filled(makeFixture);
      expect(test.log.extent(1)).toEqual({ recordsAfter: 0, rowsAfter: 0 });
      expect(test.log.compaction()).toMatchObject({ running: null, last: null });
      expect(await test.log.openBase()).toBeNull();
      expect(await recordsOfTable(test, 2, 0)).toEqual(test.reference.read(0).filter(({ tableId }) => tableId === 2));
    });

    it('keeps rows of every table, and records of those that are kept, also over a restart', async () => {
      await using test = await filled(makeFixture);
      const { highWatermark } = test.log.state();
      expect(await test.log.compact(highWatermark, FOLD, NEVER)).toBe(highWatermark);
      for (const reopens of [false, true]) {
        if (reopens) await test.reopen(true);
        expect(test.log.state()).toMatchObject({ horizon: highWatermark, highWatermark });
        expect(test.log.extent(1)).toEqual({ recordsAfter: highWatermark, rowsAfter: 0 });
        expect(test.log.extent(2)).toEqual({ recordsAfter: 0, rowsAfter: 0 });
        expect(await recordsOfTable(test, 2, 0)).toEqual(test.reference.read(0).filter(({ tableId }) => tableId === 2));
        await expectCode(recordsOfTable(test, 1, 0), 'LOG_BELOW_HORIZON');
        await expectCode(readAll(test.log, 0), 'LOG_BELOW_HORIZON');
        await using base = await test.log.openBase();
        let rows = 0;
        for await (const { batch } of base?.rows(1, { signal: NEVER }) ?? []) rows += batch.count;
        expect(rows).toBe(test.reference.fold(1).size);
      }
      await test.append(transactionBatch({ rows: 2, position: 9, tableId: 2 }));
      await test.writer.flush();
      expect(await recordsOfTable(test, 2, 0)).toEqual(test.reference.read(0).filter(({ tableId }) => tableId === 2));
    });

    it('is held back by a lease, which says so, and goes on when it has ended', async () => {
      await using test = await filled(makeFixture);
      const { highWatermark } = test.log.state();
      await test.log.lease('test:one', 3);
      expect(await test.log.leaseHorizon('test:two')).toBe(0);
      expect(await test.log.compact(highWatermark, FOLD, NEVER)).toBe(0);
      expect(test.log.compaction().hold).toEqual({ by: 'lease', name: 'test:two', offset: 0 });
      await test.log.release('test:two');
      expect(await test.log.compact(highWatermark, FOLD, NEVER)).toBeLessThanOrEqual(3);
      await test.log.release('test:one');
      expect(await test.log.compact(highWatermark, FOLD, NEVER)).toBe(highWatermark);
      await expectCode(test.log.lease('test:one', 3), 'LOG_BELOW_HORIZON');
    });

    it('is folded in spite of a lease where that is asked for', async () => {
      await using test = await filled(makeFixture);
      const { highWatermark } = test.log.state();
      await test.log.leaseHorizon('test:one');
      expect(await test.log.compact(highWatermark, { ...FOLD, force: true }, NEVER)).toBe(highWatermark);
      expect(test.log.leases()).toEqual([]);
    });
  });
}

async function filled(makeFixture: MakeFixture): Promise<LogUnderTest> {
  const test = await LogUnderTest.make(makeFixture);
  for (let position = 1; position <= 8; position++) {
    await test.append(transactionBatch({ rows: 3, position, tableId: 1 + (position % 2), schema: position <= 2 }));
  }
  await test.writer.flush();
  return test;
}

async function recordsOfTable(test: LogUnderTest, tableId: number, after: number): Promise<ReferenceRecord[]> {
  const records: ReferenceRecord[] = [];
  for await (const { batch, offsets } of test.log.readTables([tableId], { after, follow: false, signal: NEVER })) {
    const read = recordsOf(batch).map((record, index) => ({ ...record, offset: offsets?.[index] ?? record.offset }));
    records.push(...read.filter((record) => record.tableId === tableId));
  }
  return records;
}
