import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { ReadOptions } from '../../../../contracts/log-engine.ts';
import { Op } from '../../../../contracts/op.ts';
import { FirstRows, type ReadableLog } from '../../../../hub/pipeline/source/copy/first-rows.ts';

const NONE = new Uint8Array(0);

/** A record of a table: a row, or one that says something of it. */
interface Entry {
  readonly table: number;
  readonly isRow: boolean;
}

/** A log of these records from offset 1 on, in batches of at most four; counts what is read. */
class Readable implements ReadableLog {
  readonly #entries: readonly Entry[];
  records = 0;

  constructor(entries: readonly Entry[]) {
    this.#entries = entries;
  }

  state(): { readonly horizon: number } {
    return { horizon: 0 };
  }

  async *read({ after, to }: ReadOptions): AsyncGenerator<ChangeBatch, void, void> {
    const end = to ?? this.#entries.length;
    for (let from = after + 1; from <= end; from += 4) {
      const builder = new BatchBuilder(256);
      builder.begin('source', 1, 0);
      const some = this.#entries.slice(from - 1, Math.min(from + 3, end));
      for (const { table, isRow } of some) builder.record(isRow ? Op.create : Op.control, 0, table, 1, NONE, NONE, NONE);
      builder.commit(Buffer.from('p'));
      this.records += some.length;
      yield builder.take().placedAt(from);
    }
  }
}

function firstOf(entries: readonly Entry[], table: number, what: (entry: Entry) => boolean = () => true): number {
  const index = entries.findIndex((entry) => entry.table === table && what(entry));
  return index < 0 ? Infinity : index + 1;
}

const { signal } = new AbortController();

describe('the first rows of tables', () => {
  it('are never found missing where there are any, and are found missing where the whole stretch was read', async () => {
    const entry = fc.record({ table: fc.integer({ min: 1, max: 4 }), isRow: fc.boolean() });
    const question = fc.record({ table: fc.integer({ min: 1, max: 4 }), at: fc.nat(60) });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 60 }), fc.array(question, { maxLength: 12 }), async (entries, questions) => {
        const log = new Readable(entries);
        const rows = new FirstRows();
        const asked = questions.flatMap(({ table, at }) => {
          const first = firstOf(entries, table);
          const before = Math.min(at + 1, entries.length + 1);
          return first < before ? [{ table, first, before }] : [];
        });
        const answers = await Promise.all(asked.map(({ table, first, before }) => rows.mayPrecede(before, log, { tableId: table, first }, signal)));
        asked.forEach(({ table, before }, index) => {
          const has = firstOf(entries, table, ({ isRow }) => isRow) < before;
          if (has) expect(answers[index]).toBe(true);
        });
        // Nothing was skipped before: the answer is exact.
        const exact = new FirstRows();
        for (const { table, before } of asked) {
          const has = firstOf(entries, table, ({ isRow }) => isRow) < before;
          const zero = { tableId: table, first: 1 };
          expect(await exact.mayPrecede(before, log, zero, signal)).toBe(has);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('are looked for once for all tables', async () => {
    const entries = Array.from({ length: 1000 }, (_, index): Entry => ({ table: 1 + (index % 100), isRow: index >= 500 }));
    const log = new Readable(entries);
    const rows = new FirstRows();
    for (let table = 1; table <= 100; table++) {
      expect(await rows.mayPrecede(500, log, { tableId: table, first: table }, signal)).toBe(false);
      expect(await rows.mayPrecede(700, log, { tableId: table, first: table }, signal)).toBe(true);
    }
    expect(log.records).toBeLessThanOrEqual(1000);
  });

  it('are looked for again after a reading that failed', async () => {
    const log = new Readable([{ table: 1, isRow: false }, { table: 1, isRow: true }]);
    const broken: ReadableLog = {
      state: () => ({ horizon: 0 }),
      read: () => {
        throw new Error('the disk');
      },
    };
    const rows = new FirstRows();
    await expect(rows.mayPrecede(3, broken, { tableId: 1, first: 1 }, signal)).rejects.toThrow('the disk');
    expect(await rows.mayPrecede(3, log, { tableId: 1, first: 1 }, signal)).toBe(true);
  });
});
