import { array, assert as check, constantFrom, integer, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { Flag, Op } from '../../../../contracts/op.ts';
import { joinBatches } from '../../../../hub/log/embedded/segments/batch-rules.ts';
import { splitAtIncomplete } from '../../../../hub/pipeline/source/split.ts';

const EMPTY = Buffer.alloc(0);
const POSITION = 8;

/** A batch of transactions, each a list of which of its records are incomplete; the last one may be left open. */
function batchOf(transactions: readonly (readonly boolean[])[], open: boolean): ChangeBatch {
  const builder = new BatchBuilder();
  for (const [index, records] of transactions.entries()) {
    builder.begin('source', index + 1, index);
    for (const [at, incomplete] of records.entries()) {
      builder.record(Op.update, incomplete ? Flag.incomplete : 0, 1, 1, Buffer.from([0, 0, 0, 1, at]), EMPTY, EMPTY);
    }
    if (!open || index < transactions.length - 1) builder.commit(Buffer.alloc(POSITION, index + 1));
  }
  return builder.take();
}

function incompleteIn(batch: ChangeBatch): number {
  let found = 0;
  for (let at = 0; at < batch.records.length; at += 4 + batch.records.readUInt32BE(at)) found += (batch.records[at + 5] as number) & Flag.incomplete ? 1 : 0;
  return found;
}

describe('a batch split at its incomplete records', () => {
  it('has no more of them in each piece than asked for, and is the same again when joined', () => {
    check(
      property(
        record({
          transactions: array(array(constantFrom(true, false), { maxLength: 8 }), { minLength: 1, maxLength: 6 }),
          open: constantFrom(true, false),
          most: integer({ min: 1, max: 5 }),
        }),
        ({ transactions, open, most }) => {
          const batch = batchOf(transactions, open);
          const pieces: ChangeBatch[] = [];
          for (let rest = batch; ; ) {
            const parts = splitAtIncomplete(rest, most);
            pieces.push(parts?.[0] ?? rest);
            if (parts === null) break;
            rest = parts[1];
          }
          for (const piece of pieces) expect(incompleteIn(piece)).toBeLessThanOrEqual(most);
          const joined = joinBatches(pieces);
          expect(joined.records.equals(batch.records)).toBe(true);
          expect(joined.count).toBe(batch.count);
          expect(joined.transactions).toEqual(batch.transactions);
        },
      ),
    );
  });
});
