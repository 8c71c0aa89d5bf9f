import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PackedTransactions, TransactionWalk } from '../../contracts/packed-transactions.ts';
import type { TransactionEntry } from '../../contracts/transaction.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const drawn = fc.record({
  kind: fc.constantFrom('source' as const, 'hub' as const),
  count: fc.integer({ min: 0, max: 0xffff_ffff }),
  begins: fc.boolean(),
  xid: fc.oneof(fc.constantFrom(0, 1, 2 ** 32 - 1, 2 ** 32, MAX), fc.maxSafeNat()),
  position: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  commitTime: fc.oneof(fc.constantFrom(0, -1, -(2 ** 32), 2 ** 31, MAX, -MAX), fc.maxSafeInteger()),
  origin: fc.oneof(fc.constant(''), fc.string({ unit: 'grapheme', maxLength: 20 })),
});

/** As batches have them: contiguous, and only the last may be open. */
const list: fc.Arbitrary<TransactionEntry[]> = fc.tuple(fc.array(drawn, { maxLength: 12 }), fc.boolean()).map(([entries, endsOpen]) => {
  let first = 0;
  return entries.map((entry, index) => {
    const placed = { ...entry, first, commits: !endsOpen || index < entries.length - 1 };
    first += entry.count;
    return placed;
  });
});

function walked(packed: PackedTransactions) {
  const seen: unknown[] = [];
  const walk = new TransactionWalk(packed);
  while (walk.next()) {
    const { first, count, begins, commits, ofHub, commitTime, hasPosition, isLast } = walk;
    seen.push({ first, count, begins, commits, ofHub, commitTime, hasPosition, isLast, position: packed.positionAt(walk.at) });
  }
  return seen;
}

describe('packed transactions', () => {
  it('give back the entries that were packed, as objects and in a walk', () => {
    fc.assert(
      fc.property(list, (entries) => {
        const packed = PackedTransactions.of(entries);
        expect(packed).toMatchObject({ length: entries.length, records: entries.reduce((sum, { count }) => sum + count, 0) });
        expect(packed.entries()).toEqual(entries);
        expect(walked(packed)).toEqual(
          entries.map(({ first, count, begins, commits, kind, commitTime, position }, index) => ({
            first, count, begins, commits, commitTime, position, ofHub: kind === 'hub', hasPosition: position.length > 0, isLast: index === entries.length - 1,
          })),
        );
      }),
    );
  });

  it('know their ends without a walk', () => {
    fc.assert(
      fc.property(list, (entries) => {
        const packed = PackedTransactions.of(entries);
        expect(packed.last).toEqual(entries.at(-1) ?? null);
        expect(packed.lastCommit).toEqual(entries.findLast(({ commits }) => commits) ?? null);
        expect(packed.lastSourceCommit).toEqual(entries.findLast((one) => one.commits && one.kind === 'source' && one.position.length > 0) ?? null);
        expect(packed.endsOpen).toBe(entries.at(-1)?.commits === false);
        expect(packed.firstCommitTime).toBe(entries[0]?.commitTime ?? 0);
        expect(packed.hasOfHub).toBe(entries.some(({ kind }) => kind === 'hub'));
        expect(packed.maxCommitTime).toBe(Math.max(0, ...entries.filter(({ commits, kind }) => commits && kind === 'source').map(({ commitTime }) => commitTime)));
      }),
    );
  });

  it('are joined by their bytes', () => {
    fc.assert(
      fc.property(fc.array(list, { maxLength: 4 }), (lists) => {
        const all = lists.flatMap((entries) => entries.filter(({ commits }) => commits));
        const committed = lists.map((entries) => PackedTransactions.of(entries.filter(({ commits }) => commits)));
        const joined = PackedTransactions.joined(committed);
        expect(joined.bytes).toEqual(PackedTransactions.of(all).bytes);
      }),
    );
  });

  it('are divided before the last', () => {
    fc.assert(
      fc.property(list, (entries) => {
        const [before, last] = PackedTransactions.of(entries).splitAtLast();
        expect(before.entries()).toEqual(entries.slice(0, -1));
        expect(last.entries()).toEqual(entries.slice(-1).map((entry) => ({ ...entry, first: 0 })));
      }),
    );
  });

  it('are refused where bytes are missing', () => {
    fc.assert(
      fc.property(list.filter((entries) => entries.length > 0), fc.nat(), (entries, cut) => {
        const { bytes, length } = PackedTransactions.of(entries);
        const short = bytes.subarray(0, cut % bytes.length);
        expect(PackedTransactions.over(short)?.length ?? -1).toBeLessThan(length);
      }),
    );
  });

  it('refuse an origin that is too long for its length, and numbers that are not safe', () => {
    const entry: TransactionEntry = { kind: 'source', first: 0, count: 1, begins: true, commits: true, xid: 1, position: Buffer.alloc(0), commitTime: 0, origin: '' };
    expect(() => PackedTransactions.of([{ ...entry, origin: 'o'.repeat(0x1_0000) }])).toThrow(expect.objectContaining({ code: 'LOG_BATCH_INVALID' }) as Error);
    const { bytes } = PackedTransactions.of([entry]);
    bytes[14] = 0x7f;
    expect(() => PackedTransactions.over(bytes)).toThrow(expect.objectContaining({ code: 'OFFSET_RANGE' }) as Error);
  });
});
