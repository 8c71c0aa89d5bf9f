import fc from 'fast-check';
import { expect, test } from 'vitest';
import { modelColumn } from '../../../contracts/kit/sink-model.ts';
import type { Column, TableSchema } from '../../../contracts/schema.ts';
import { diffSchema, type ShapeChange } from '../../../sinks/relational/schema-diff.ts';

function column(number: number, name: string, change: Partial<Column> = {}): Column {
  return { ...modelColumn({ name, type: { kind: 'int32' }, nativeType: 'integer' }, number), ...change };
}

function schema(columns: readonly Column[], key: readonly number[] = [0], keyKind: TableSchema['keyKind'] = key.length === 0 ? 'none' : 'primary'): TableSchema {
  return { tableId: 1, version: 1, sourceTableId: '1', namespace: 'public', name: 't', columns, keyKind, key };
}

const ID = column(1, 'id', { nullable: false });

test('no change, no step', () => {
  expect(diffSchema(schema([ID]), schema([ID]))).toEqual([]);
});

test('columns are told by number: a name that is given again is another column', () => {
  const changes = diffSchema(schema([ID, column(2, 'a')]), schema([ID, column(3, 'a')]));
  expect(changes.map(({ kind }) => kind)).toEqual(['drop-column', 'add-column']);
});

test('across generations columns are told by name', () => {
  expect(diffSchema(schema([ID, column(2, 'a')]), schema([column(5, 'a'), column(6, 'id', { nullable: false })], [1]), 'name')).toEqual([]);
});

test('types, nullability and defaults, each by itself', () => {
  const after = column(2, 'a', { nativeType: 'bigint', nullable: false, constantDefault: '1' });
  expect(diffSchema(schema([ID, column(2, 'a')]), schema([ID, after])).map(({ kind }) => kind)).toEqual(['retype', 'set-not-null', 'default']);
  expect(diffSchema(schema([ID, after]), schema([ID, column(2, 'a')])).map(({ kind }) => kind)).toEqual(['retype', 'drop-not-null', 'default']);
});

test('a changed key is dropped before and made after the columns change; a renamed key column keeps it', () => {
  const both = [ID, column(2, 'a', { nullable: false })];
  expect(diffSchema(schema(both), schema(both, [1, 0]))).toEqual([{ kind: 'drop-key' }, { kind: 'add-key', columns: ['a', 'id'], primary: true }]);
  expect(diffSchema(schema(both), schema(both, []))).toEqual([{ kind: 'drop-key' }]);
  expect(diffSchema(schema(both, []), schema(both, [0], 'identity'))).toEqual([{ kind: 'add-key', columns: ['id'], primary: false }]);
  expect(diffSchema(schema([ID]), schema([column(1, 'key', { nullable: false })]))).toEqual([{ kind: 'rename-column', from: 'id', to: 'key' }]);
});

/** What a database would do; fails like one. */
function perform(names: readonly string[], changes: readonly ShapeChange[]): string[] {
  const columns = [...names];
  for (const change of changes) {
    if (change.kind === 'drop-column') {
      expect(columns).toContain(change.name);
      columns.splice(columns.indexOf(change.name), 1);
    } else if (change.kind === 'rename-column') {
      expect(columns).toContain(change.from);
      expect(columns, `renaming ${change.from}`).not.toContain(change.to);
      columns[columns.indexOf(change.from)] = change.to;
    } else if (change.kind === 'add-column') {
      expect(columns, 'adding').not.toContain(change.column.name);
      columns.push(change.column.name);
    }
  }
  return columns;
}

test('any renames, drops and additions can be done in the order given, and lead to the names wanted', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', '~0', '~1');
  const side = fc.uniqueArray(fc.record({ number: fc.integer({ min: 1, max: 6 }), name }), { selector: (entry) => entry.number }).map((entries) => {
    const seen = new Set<string>();
    return entries.filter((entry) => !seen.has(entry.name) && seen.add(entry.name).size > 0);
  });
  fc.assert(
    fc.property(side, side, (before, after) => {
      const shape = (entries: readonly { number: number; name: string }[]): TableSchema => schema(entries.map((entry) => column(entry.number, entry.name)), []);
      const result = perform(before.map((entry) => entry.name), diffSchema(shape(before), shape(after)));
      expect(result.toSorted()).toEqual(after.map((entry) => entry.name).toSorted());
    }),
    { numRuns: 2_000 },
  );
});
