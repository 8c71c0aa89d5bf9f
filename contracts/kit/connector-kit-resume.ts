import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Op } from '../op.ts';
import { ConnectorUnderTest } from './connector-kit-common.ts';
import { insert } from './connector-kit-stream.ts';
import type { KitChange, KitSource } from './connector-kit.ts';

/** Going on: after a cut, a restart, a failure before anything was acknowledged. */
export function resumeTests(makeSource: () => Promise<KitSource>): void {
  describe('resuming', () => {
    it('goes on after a cut connection, which is worth another try', async () => {
      await using test = await ConnectorUnderTest.make(makeSource);
      await test.source.createTable('a');
      await test.run();
      await test.source.transact([insert('a', 1)]);
      await test.caughtUp();
      expect((await test.cut()).retry).toBe('auto');
      await test.source.transact([insert('a', 2)]);
      await again(test);
      await test.caughtUp();
      expect(test.rows('a')).toEqual(await test.source.rows('a'));
      expect(test.rowRecords('a')).toHaveLength(2);
    });

    it('sends again what was not acknowledged, and only that', async () => {
      await using test = await ConnectorUnderTest.make(makeSource);
      await test.source.createTable('a');
      await test.run();
      await test.source.transact([insert('a', 1)]);
      await test.caughtUp();
      const kept = { records: test.log.records.length, position: test.log.position };
      test.acknowledging = false;
      await test.source.transact([insert('a', 2)]);
      await test.source.transact([insert('a', 3)]);
      await test.caughtUp();
      await test.stop();
      // The log was lost from there on: nothing after it had been durable.
      test.log.records.length = kept.records;
      test.log.highWatermark = kept.records;
      test.log.position = kept.position;
      test.acknowledging = true;
      test.restart();
      await again(test);
      await test.caughtUp();
      expect(test.rows('a')).toEqual(await test.source.rows('a'));
      expect(test.rowRecords('a').filter((record) => record.op === Op.create)).toHaveLength(3);
    });

    it('equals the source after random work with random cuts and restarts', { timeout: 180_000 }, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(transaction, { minLength: 5, maxLength: 15 }), fc.infiniteStream(fc.nat(9)), async (work, dice) => {
          await using test = await ConnectorUnderTest.make(makeSource);
          for (const table of TABLES) await test.source.createTable(table);
          const model = new Model();
          await test.run();
          // A log without a position begins wherever the source is when it is opened again.
          await test.caughtUp();
          for (const wishes of work) {
            await test.source.transact(model.possible(wishes));
            const chance: unknown = dice.next().value;
            if (chance === 0) {
              await test.cut();
              await again(test);
            } else if (chance === 1) {
              await test.stop();
              test.restart();
              await again(test);
            }
          }
          await test.caughtUp();
          for (const table of TABLES) {
            if (model.touched.has(table)) expect(test.rows(table)).toEqual(await test.source.rows(table));
          }
          const ids = test.log.records.map((record) => record.offset);
          expect(ids).toEqual(ids.map((_, index) => index + 1));
        }),
        { numRuns: 3, endOnFailure: true },
      );
    });
  });
}

/** The place of a connection that was cut may be taken for a moment still. */
async function again(test: ConnectorUnderTest): Promise<void> {
  for (;;) {
    const stream = await test.run();
    try {
      await test.caughtUp();
      return;
    } catch (error) {
      await stream[Symbol.asyncDispose]();
      const failure = await test.failure().catch(() => null);
      if (failure === null || failure.retry !== 'auto') throw error;
    }
  }
}

const TABLES = ['a', 'b'] as const;

interface Wish {
  readonly op: 'insert' | 'update' | 'delete' | 'rekey' | 'truncate';
  readonly table: (typeof TABLES)[number];
  readonly id: number;
  readonly to: number;
  readonly v: string | null;
}

const transaction = fc.array(
  fc.record<Wish>({
    op: fc.oneof(
      { weight: 6, arbitrary: fc.constant('insert' as const) },
      { weight: 4, arbitrary: fc.constant('update' as const) },
      { weight: 2, arbitrary: fc.constant('delete' as const) },
      { weight: 2, arbitrary: fc.constant('rekey' as const) },
      { weight: 1, arbitrary: fc.constant('truncate' as const) },
    ),
    table: fc.constantFrom(...TABLES),
    id: fc.integer({ min: 1, max: 12 }),
    to: fc.integer({ min: 1, max: 12 }),
    v: fc.option(fc.string({ maxLength: 40 }).map((text) => text.replaceAll('\0', ''))),
  }),
  { minLength: 1, maxLength: 6 },
);

/** Which rows there are, so that only changes that do something are made. */
class Model {
  readonly touched = new Set<string>();
  readonly #ids = new Map<string, Set<number>>(TABLES.map((table) => [table, new Set<number>()]));

  possible(wishes: readonly Wish[]): KitChange[] {
    const changes: KitChange[] = [];
    for (const { op, table, id, to, v } of wishes) {
      const ids = this.#ids.get(table) ?? new Set<number>();
      const has = ids.has(id);
      if (op === 'insert' && !has) changes.push({ op, table, id, v });
      else if (op === 'update' && has) changes.push({ op, table, id, v });
      else if (op === 'delete' && has) changes.push({ op, table, id });
      else if (op === 'rekey' && has && !ids.has(to)) changes.push({ op, table, id, to });
      else if (op === 'truncate' && ids.size > 0) changes.push({ op, table });
      else continue;
      this.touched.add(table);
      if (op === 'insert') ids.add(id);
      if (op === 'delete' || op === 'rekey') ids.delete(id);
      if (op === 'rekey') ids.add(to);
      if (op === 'truncate') ids.clear();
    }
    return changes;
  }
}
