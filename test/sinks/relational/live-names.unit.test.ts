import { describe, expect, test } from 'vitest';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import { fitName, MYSQL_COLUMN_NAMES, POSTGRES_NAMES } from '../../../sinks/relational/identifiers.ts';
import { LiveNames } from '../../../sinks/relational/live-names.ts';
import type { NameRules } from '../../../sinks/relational/names.ts';

const COLUMNS = [{ name: 'id', type: { kind: 'int32' }, nativeType: 'integer', nullable: false }] as const;
const SAME: NameRules = { schemas: new Map(), templateOf: () => null };

describe('names that the server can have', () => {
  test('one that fits stays as it is; a longer one keeps apart from those that begin like it', () => {
    expect(fitName('Übergröße', POSTGRES_NAMES)).toBe('Übergröße');
    const long = 'ä'.repeat(40);
    const fitted = fitName(long, POSTGRES_NAMES);
    expect(Buffer.byteLength(fitted)).toBeLessThanOrEqual(63);
    expect(fitted).toMatch(/^ä+_[0-9a-f]{8}$/);
    expect(fitName(`${long}b`, POSTGRES_NAMES)).not.toBe(fitted);
    expect(fitName('x'.repeat(64), MYSQL_COLUMN_NAMES)).toBe('x'.repeat(64));
    expect(fitName('\u{1f600}'.repeat(40), MYSQL_COLUMN_NAMES)).toMatch(/^_+[0-9a-f]{8}$/);
  });
});

describe('tables that would be one at the replica', () => {
  test('are refused with both names, when the sink is opened and when they come', () => {
    const model = new SinkModel();
    model.createTable('shop', 'Orders', COLUMNS, ['id']);
    const live = new LiveNames({ ...SAME, caseless: true });
    live.begin(model.start().catalog, 0);
    live.follow(model.batch());
    model.createTable('shop', 'orders', COLUMNS, ['id']);
    const message = 'shop.Orders and shop.orders would both be shop.orders at the replica';
    expect(() => live.follow(model.batch())).toThrowError(expect.objectContaining({ code: 'REPLICA_NAMES', message }));
    expect(() => new LiveNames({ ...SAME, caseless: true }).begin(model.start().catalog, model.offset)).toThrowError(expect.objectContaining({ code: 'REPLICA_NAMES' }));
    expect(() => new LiveNames(SAME).begin(model.start().catalog, model.offset)).not.toThrow();
  });

  test('by a mapping of schemas, too', () => {
    const model = new SinkModel();
    model.createTable('a', 'orders', COLUMNS, ['id']);
    model.createTable('b', 'orders', COLUMNS, ['id']);
    const live = new LiveNames({ ...SAME, schemas: new Map([['a', 'shop'], ['b', 'shop']]) });
    expect(() => live.follow(model.batch())).toThrowError(expect.objectContaining({ code: 'REPLICA_NAMES' }));
  });

  test('a name that is handed on, and one that is left, are free', () => {
    const model = new SinkModel();
    const first = model.createTable('shop', 'orders', COLUMNS, ['id']);
    const second = model.createTable('shop', 'spare', COLUMNS, ['id']);
    const live = new LiveNames({ ...SAME, caseless: true });
    live.follow(model.batch());
    const step = (name: string, table: typeof first) => ({ kind: 'schema' as const, before: table.schema, after: { ...table.schema, name } });
    const batch = model.batch();
    live.follow({ ...batch, steps: [step('spare', first), step('orders', second)] });
    live.follow({ ...batch, steps: [{ kind: 'table-state', table: first.schema, state: 'removed' }, step('Spare', second)] });
  });
});
