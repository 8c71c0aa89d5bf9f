import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readKey } from '../../../contracts/key.ts';
import { modelColumn } from '../../../contracts/kit/sink-model.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { RecordRef } from '../../../contracts/sink.ts';
import { inKeyOrder } from '../../../sinks/relational/key-order.ts';
import { refsOf } from './refs.ts';

function schema(kind: 'int64' | 'uuid'): TableSchema {
  const column = modelColumn({ name: 'id', type: { kind }, nativeType: kind, nullable: false }, 1);
  return { tableId: 1, version: 1, sourceTableId: '1', namespace: 'public', name: 't', columns: [column], keyKind: 'primary', key: [0] };
}

function keys(refs: readonly RecordRef[]): string[] {
  const view = new RecordView();
  return refs.map(({ batch, at }) => readKey(view.seek(batch.records, at).key())[0]?.toString() ?? '');
}

test('numbers come in their order, whatever their size and sign, and none is lost', () => {
  const numbers = fc.array(fc.oneof(fc.integer({ min: -1000, max: 1000 }), fc.integer()), { minLength: 64, maxLength: 300 });
  fc.assert(
    fc.property(numbers, (list) => {
      const sorted = keys(inKeyOrder(refsOf(list.map((n) => ({ key: [String(n)], row: [String(n)] }))), schema('int64')));
      expect(sorted.map(Number)).toEqual(list.toSorted((a, b) => a - b));
    }),
    { numRuns: 100 },
  );
});

test('other keys come about in the order of their first bytes, and none is lost', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 64, maxLength: 200 }), (list) => {
      const sorted = keys(inKeyOrder(refsOf(list.map((key) => ({ key: [key], row: [key] }))), schema('uuid')));
      expect(sorted.toSorted()).toEqual(list.toSorted());
      const first = (key: string): number => Buffer.from(key)[0] ?? 0;
      expect(sorted.map(first)).toEqual(list.map(first).toSorted((a, b) => a - b));
    }),
    { numRuns: 50 },
  );
});

test('keys at both ends of 64 bits, and lists that are in order or too short, as they are', () => {
  const far = ['9223372036854775807', '-9223372036854775808', ...Array.from({ length: 70 }, (_, n) => String(n))];
  const sorted = keys(inKeyOrder(refsOf(far.map((key) => ({ key: [key], row: [key] }))), schema('int64')));
  expect([sorted[0], sorted.at(-1)]).toEqual(['-9223372036854775808', '9223372036854775807']);
  const short = refsOf(['2', '1'].map((key) => ({ key: [key], row: [key] })));
  expect(inKeyOrder(short, schema('int64'))).toBe(short);
  const ordered = refsOf(Array.from({ length: 100 }, (_, n) => ({ key: [String(n)], row: [null] })));
  expect(inKeyOrder(ordered, schema('int64'))).toBe(ordered);
});
