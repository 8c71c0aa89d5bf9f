import { describe, expect, it } from 'vitest';
import { buildKey } from '../key.ts';
import { Flag, Op } from '../op.ts';
import { readImage } from '../row-image.ts';
import { ConnectorUnderTest } from './connector-kit-common.ts';
import { insert, update } from './connector-kit-stream.ts';
import type { KitSource } from './connector-kit.ts';

/** What each kind of change becomes. */
export function changeTests(makeSource: () => Promise<KitSource>): void {
  describe('changes', () => {
    it('gives rows with key and whole image', async () => {
      await using test = await ConnectorUnderTest.make(makeSource);
      await test.source.createTable('a');
      await test.run();
      await test.source.transact([insert('a', 7, 'seven'), update('a', 7, null), { op: 'delete', table: 'a', id: 7 }]);
      await test.caughtUp();
      const [created, updated, deleted] = test.rowRecords('a');
      const key = buildKey(['7']).toString('hex');
      expect(created).toMatchObject({ op: Op.create, key });
      expect(readImage(Buffer.from(created?.after ?? '', 'hex'))).toEqual(['7', 'seven']);
      expect(updated).toMatchObject({ op: Op.update, key });
      expect(readImage(Buffer.from(updated?.after ?? '', 'hex'))).toEqual(['7', null]);
      expect(deleted).toMatchObject({ op: Op.delete, key, after: '' });
    });

    it('makes a key change a delete and a create in one transaction', async () => {
      await using test = await ConnectorUnderTest.make(makeSource);
      await test.source.createTable('a');
      await test.run();
      await test.source.transact([insert('a', 1, 'one')]);
      await test.source.transact([{ op: 'rekey', table: 'a', id: 1, to: 2 }]);
      await test.caughtUp();
      const [, gone, come] = test.rowRecords('a');
      expect(gone).toMatchObject({ op: Op.delete, key: buildKey(['1']).toString('hex') });
      expect(come).toMatchObject({ op: Op.create, key: buildKey(['2']).toString('hex') });
      expect((gone?.flags ?? 0) & (come?.flags ?? 0) & Flag.keyChange).toBe(Flag.keyChange);
      const together = test.log.transactions.some((one) => one.after < (gone?.offset ?? 0) && one.last >= (come?.offset ?? Infinity));
      expect(together).toBe(true);
      expect(test.rows('a')).toEqual(await test.source.rows('a'));
    });

    it('gives a truncation in its place', async () => {
      await using test = await ConnectorUnderTest.make(makeSource);
      await test.source.createTable('a');
      await test.source.createTable('b');
      await test.run();
      await test.source.transact([insert('a', 1), insert('b', 1)]);
      await test.source.transact([{ op: 'truncate', table: 'a' }]);
      await test.source.transact([insert('a', 2)]);
      await test.caughtUp();
      expect(test.rowRecords('a').map((record) => record.op)).toEqual([Op.create, Op.truncate, Op.create]);
      expect(test.rows('a')).toEqual(await test.source.rows('a'));
      expect(test.rows('b')).toEqual(await test.source.rows('b'));
    });

    it('takes a table that was dropped and created again for another one', async () => {
      await using test = await ConnectorUnderTest.make(makeSource);
      await test.source.createTable('a');
      await test.run();
      await test.source.transact([insert('a', 1)]);
      await test.caughtUp();
      const before = test.tableId('a');
      await test.source.dropTable('a');
      await test.source.createTable('a');
      await test.until(() => hasNewGeneration(test, before), 'the new table');
      await test.source.transact([insert('a', 2)]);
      await test.caughtUp();
      expect(test.tableId('a')).not.toBe(before);
      expect(test.log.catalog().table(before)?.state.state).toBe('removed');
      expect(test.rows('a')).toEqual(await test.source.rows('a'));
    });
  });
}

function hasNewGeneration(test: ConnectorUnderTest, before: number): boolean {
  return test.log.catalog().tables().some((table) => table.tableId > before && table.versions.at(-1)?.schema.name === 'a');
}
