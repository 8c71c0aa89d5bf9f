import fc from 'fast-check';
import { expect, test } from 'vitest';
import { namedTable, tableName } from '../../contracts/schema.ts';
import { exactPattern, exactTableName } from '../../hub/config/table-patterns.ts';

const part = fc.oneof(fc.string({ minLength: 1, maxLength: 6 }), fc.stringMatching(/^[a".]{1,5}$/));
const table = fc.record({ namespace: part, name: part });

test('usual names are printed as they are', () => {
  expect(tableName({ namespace: 'public', name: 'Order Items' })).toBe('public.Order Items');
  expect(tableName({ namespace: 'a.b', name: 'c' })).toBe('"a.b".c');
  expect(tableName({ namespace: 'a', name: 'b.c' })).toBe('a."b.c"');
});

test('no two tables are printed alike, and what is printed names its table', () => {
  fc.assert(fc.property(table, (one) => {
    expect(namedTable(tableName(one))).toEqual(one);
  }));
});

test('a pattern of one table is read as the table is printed', () => {
  fc.assert(fc.property(table, (one) => {
    expect(exactTableName(exactPattern(one))).toBe(tableName(one));
  }));
});
