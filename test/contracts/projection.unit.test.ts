import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuilder } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { buildKey } from '../../contracts/key.ts';
import { Flag, Op } from '../../contracts/op.ts';
import { Projector } from '../../contracts/projection.ts';
import { RecordView } from '../../contracts/record.ts';
import { buildImage, PLACEHOLDER, readImage, type CellValue } from '../../contracts/row-image.ts';
import type { Column, TableSchema } from '../../contracts/schema.ts';

function column(number: number, fill: string | null = null, bytes = false): Column {
  return {
    number, name: `c${number}`, type: bytes ? { kind: 'bytes' } : { kind: 'int32' }, nativeType: bytes ? 'bytea' : 'integer',
    nullable: true, constantDefault: null, fill, generated: 'no', identity: 'no',
  };
}

function schema(version: number, columns: readonly Column[], tableId = 7): TableSchema {
  return { tableId, version, sourceTableId: '16384', namespace: 'public', name: 't', columns, keyKind: 'primary', key: [0] };
}

describe('Projector', () => {
  it('recognises an identical layout and copies it whole', () => {
    const projector = new Projector(schema(1, [column(1), column(2)]), schema(2, [column(1), { ...column(2), name: 'renamed' }]));
    expect(projector.identical).toBe(true);
    const image = buildImage(['1', null]);
    expect(projector.image(image, 0, image.length)).toEqual(image);
  });

  it('completes a missing column with its fill value, of the right cell kind', () => {
    const projector = new Projector(schema(1, [column(1)]), schema(2, [column(1), column(2, '42'), column(3), column(4, '\\x00ff', true)]));
    expect(projector.identical).toBe(false);
    const image = buildImage(['1']);
    expect(readImage(projector.image(image, 0, image.length))).toEqual(['1', '42', null, Buffer.from([0, 255])]);
  });

  it('leaves a dropped column out, keeps placeholders', () => {
    const projector = new Projector(schema(1, [column(1), column(2), column(3)]), schema(2, [column(1), column(3)]));
    const image = buildImage(['1', 'gone', PLACEHOLDER]);
    expect(readImage(projector.image(image, 0, image.length))).toEqual(['1', PLACEHOLDER]);
  });

  it('refuses an image that is not of its schema, another table, and a fill that is no bytes', () => {
    const projector = new Projector(schema(1, [column(1)]), schema(2, [column(1), column(2)]));
    const image = buildImage(['1', '2', '3']);
    expect(() => projector.image(image, 0, image.length)).toThrow(TidemarkError);
    expect(() => new Projector(schema(1, []), schema(1, [], 8))).toThrow(/table id/);
    expect(() => new Projector(schema(1, []), schema(2, [column(1, 'zz', true)]))).toThrow(/hex/);
  });

  it('agrees with a projection of values, for any columns, images and place in the buffer', () => {
    const cell = fc.oneof(fc.constant(null), fc.constant(PLACEHOLDER), fc.string({ maxLength: 20 }), fc.uint8Array({ maxLength: 9 }));
    const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 10 });
    fc.assert(
      fc.property(numbers, numbers, fc.array(cell, { minLength: 10, maxLength: 10 }), fc.nat(20), (older, newer, cells, at) => {
        const from = schema(1, older.map((n) => column(n)));
        const to = schema(2, newer.map((n) => column(n, n % 2 === 0 ? `fill${n}` : null)));
        const values: CellValue[] = older.map((_, index) => cells[index] as CellValue);
        const expected = newer.map((n) => (older.includes(n) ? values[older.indexOf(n)] : n % 2 === 0 ? `fill${n}` : null));
        const image = Buffer.concat([Buffer.alloc(3), buildImage(values), Buffer.alloc(2)]);
        const projector = new Projector(from, to);
        const into = Buffer.alloc(at + projector.limit(3, image.length - 2));
        const end = projector.project(image, 3, image.length - 2, into, at);
        expect(readImage(into, at, end)).toEqual(expected.map((v) => (v instanceof Uint8Array ? Buffer.from(v) : v)));
      }),
    );
  });

  it('writes whole records: key kept, both images projected, version and flags of the target', () => {
    const source = new BatchBuilder();
    source.begin('source', 1, 0);
    source.record(Op.update, Flag.keyChange, 7, 1, buildKey(['1']), buildImage(['1', 'old']), buildImage(['1', 'new']));
    source.record(Op.delete, 0, 7, 1, buildKey(['2']), new Uint8Array(0), new Uint8Array(0));
    const view = new RecordView().reset(source.take().records);
    const target = new BatchBuilder();
    target.begin('hub', 0, 0);
    const projector = new Projector(schema(1, [column(1), column(2)]), schema(2, [column(2), column(3, '9')]));
    expect(view.next()).toBe(true);
    projector.record(view, target, view.flags | Flag.replayed);
    expect(view.next()).toBe(true);
    projector.record(view, target);
    const written = new RecordView().reset(target.take().records);
    expect(written.next()).toBe(true);
    expect([written.op, written.flags, written.tableId, written.schemaVersion]).toEqual([Op.update, Flag.keyChange | Flag.replayed, 7, 2]);
    expect(written.key()).toEqual(buildKey(['1']));
    expect(readImage(written.before())).toEqual(['old', '9']);
    expect(readImage(written.after())).toEqual(['new', '9']);
    expect(written.next()).toBe(true);
    expect([written.op, written.flags, written.hasBefore, written.hasAfter]).toEqual([Op.delete, 0, false, false]);
    expect(written.next()).toBe(false);
  });
});
