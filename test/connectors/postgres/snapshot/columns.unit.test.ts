import { describe, expect, it } from 'vitest';
import type { DescribedTable } from '../../../../connectors/postgres/copy/copier-deps.ts';
import { readingOf } from '../../../../connectors/postgres/snapshot/columns.ts';
import { modelColumn } from '../../../../contracts/kit/sink-model.ts';
import type { Column, TableSchema } from '../../../../contracts/schema.ts';
import type { ColumnAction } from '../../../../contracts/types/postgres-copy-text.ts';

const ID = modelColumn({ name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false }, 1);
const NAME = modelColumn({ name: 'name', type: { kind: 'text', length: null, fixed: false }, nativeType: 'text' }, 2);
const PHOTO = modelColumn({ name: 'photo', type: { kind: 'bytes' }, nativeType: 'bytea' }, 3);
const MOOD = modelColumn({ name: 'mood', type: { kind: 'enum', name: 'public.mood', labels: ['sad', 'glad'] }, nativeType: 'public.mood' }, 4);

function schemaOf(columns: readonly Column[], key: readonly number[] = [0], keyKind: TableSchema['keyKind'] = 'primary'): TableSchema {
  return { tableId: 7, version: 2, sourceTableId: '16384', namespace: 'public', name: 't', columns, keyKind, key };
}

function now(columns: readonly Column[], actions: readonly ColumnAction[], key?: readonly number[], keyKind?: TableSchema['keyKind']): DescribedTable {
  return { schema: { ...schemaOf(columns, key, keyKind), tableId: 0, version: 0 }, actions, width: null, partitioned: false, storage: '1' };
}

describe('reading a table in a shape of the log', () => {
  it('takes columns by number, with the names of now, in the order of the log', () => {
    const reading = readingOf(schemaOf([ID, NAME, PHOTO]), now([PHOTO, { ...NAME, name: 'renamed' }, MOOD, ID], ['bytes', 'keep', 'keep', 'keep'], [3]));
    expect(reading).toMatchObject({ actions: ['keep', 'keep', 'bytes'], schema: { tableId: 7, version: 2, columns: [{ name: 'id' }, { name: 'renamed' }, { name: 'photo' }] } });
  });

  it('takes a type that prints every value alike', () => {
    const wider = { ...ID, type: { kind: 'int64' as const }, nativeType: 'bigint' };
    const more = { ...MOOD, type: { kind: 'enum' as const, name: 'public.mood', labels: ['sad', 'so so', 'glad'] } };
    expect(readingOf(schemaOf([ID, MOOD]), now([wider, more], ['keep', 'keep']))).toMatchObject({ actions: ['keep', 'keep'] });
  });

  it.each([
    ['a column is gone', now([ID], ['keep']), 'does not have the column name'],
    ['a type prints otherwise', now([ID, { ...NAME, type: { kind: 'json' }, nativeType: 'jsonb' }], ['keep', 'keep']), 'is jsonb at the source and text in the log'],
    ['a column is hashed', now([ID, { ...NAME, hashed: 'a key' }], ['keep', 'hash']), 'is hashed in another way'],
    ['the key has another column', now([ID, NAME], ['keep', 'keep'], [1]), 'has another key'],
    ['there is no key any more', now([ID, NAME], ['keep', 'keep'], [], 'none'), 'has another key'],
  ] as const)('says why not: %s', (_name, table, why) => {
    expect(readingOf(schemaOf([ID, NAME]), table)).toContain(why);
  });

  it('says so for a label that was renamed: rows print it, and the log has the old one', () => {
    const renamed = { ...MOOD, type: { kind: 'enum' as const, name: 'public.mood', labels: ['blue', 'glad'] } };
    expect(readingOf(schemaOf([ID, MOOD]), now([ID, renamed], ['keep', 'keep']))).toContain('mood is');
  });

  it('takes the columns of a key in any order', () => {
    expect(readingOf(schemaOf([ID, NAME], [1, 0]), now([ID, NAME], ['keep', 'keep'], [0, 1]))).toMatchObject({ schema: { key: [1, 0] } });
  });
});
