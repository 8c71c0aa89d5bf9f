import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alignColumns, type Candidate } from '../../../../connectors/postgres/schema/align.ts';
import { isLiteral } from '../../../../connectors/postgres/catalog/catalog-query.ts';
import { storageChange } from '../../../../connectors/postgres/catalog/partitions.ts';
import { rewriteReason } from '../../../../connectors/postgres/schema/rewrite.ts';
import type { SourceColumn, SourceTable } from '../../../../connectors/postgres/catalog/source-table.ts';
import { keepsForm } from '../../../../connectors/postgres/schema/type-change.ts';
import { logicalType, type NativeTypes } from '../../../../connectors/postgres/catalog/types.ts';
import type { Column, TableSchema } from '../../../../contracts/schema.ts';
import type { LogicalType } from '../../../../contracts/types/logical-type.ts';

interface ModelColumn {
  readonly number: number;
  name: string;
  readonly typeOid: number;
}

/** A table through ALTERs: what it was after each. Names and types are never used twice. */
function history(steps: readonly { readonly kind: 'add' | 'drop' | 'rename'; readonly at: number }[]): ModelColumn[][] {
  let columns: ModelColumn[] = [];
  let next = 0;
  const states: ModelColumn[][] = [];
  for (const { kind, at } of [{ kind: 'add' as const, at: 0 }, ...steps]) {
    const chosen = columns[at % Math.max(1, columns.length)];
    if (kind === 'add') {
      next++;
      columns = [...columns, { number: next, name: `c${next}`, typeOid: 1000 + next }];
    } else if (kind === 'drop' && columns.length > 1) columns = columns.filter((column) => column !== chosen);
    else if (kind === 'rename' && chosen?.name === `c${chosen?.number}`) {
      columns = columns.map((column) => (column === chosen ? { ...column, name: `renamed${column.number}` } : column));
    }
    states.push(columns);
  }
  return states;
}

function names(columns: readonly ModelColumn[]): string {
  return columns.map(({ name }) => name).join();
}

const step = fc.record({ kind: fc.constantFrom('add' as const, 'drop' as const, 'rename' as const), at: fc.nat() });

describe('columns of a Relation message', () => {
  it('are given the numbers that they had, whatever was altered before and after', () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 25 }), fc.nat(), fc.nat(), (steps, a, b) => {
      const states = history(steps);
      const [first, second] = [a % states.length, b % states.length].toSorted((x, y) => x - y);
      const logged = states[first ?? 0] ?? [];
      const told = states[second ?? 0] ?? [];
      const now = states.at(-1) ?? [];
      const last = Math.max(...states.flat().map((column) => column.number));
      const newest = Math.max(0, ...states.slice(0, (first ?? 0) + 1).flat().map((column) => column.number));
      const candidates = Array.from({ length: last }, (_, index): Candidate => {
        const current = now.find((column) => column.number === index + 1);
        return {
          number: index + 1,
          nameNow: current?.name ?? null,
          nameBefore: logged.find((column) => column.number === index + 1)?.name ?? null,
          typeOid: current?.typeOid ?? 0,
          typmod: -1,
          cameAndWent: current === undefined && index + 1 > newest,
        };
      });
      const columns = told.map(({ name, typeOid }) => ({ isKey: false, name, typeOid, typmod: -1 }));
      const { numbers = [], isSure = false } = alignColumns(columns, candidates) ?? {};
      expect(numbers).toEqual(numbers.toSorted((x, y) => x - y));
      expect(new Set(numbers).size).toBe(told.length);
      if (!isSure) {
        // Only what is neither as the log has it nor as the catalog has it may be unclear; or what a column that came and
        // went since could be, which may have had any name.
        expect(names(told)).not.toBe(names(logged));
        if (!candidates.some(({ cameAndWent }) => cameAndWent)) expect(names(told)).not.toBe(names(now));
        return;
      }
      // One that neither the log nor the catalog has is nobody's loss; one that was renamed and is gone could be any such.
      told.forEach((column, index) => {
        const isNow = now.some((one) => one.number === column.number);
        if (isNow || logged.some((one) => one.name === column.name)) expect(numbers[index]).toBe(column.number);
      });
    }), { numRuns: 500 });
  });

  it('are unclear rather than guessed where a column of the log and one that was renamed since are as likely', () => {
    const message = [['c3', 1003], ['c4', 1004]].map(([name, typeOid]) => ({ isKey: false, name: String(name), typeOid: Number(typeOid), typmod: -1 }));
    const candidate = (number: number, nameBefore: string | null, nameNow: string | null): Candidate =>
      ({ number, nameBefore, nameNow, typeOid: nameNow === null ? 0 : 1000 + number, typmod: -1, cameAndWent: false });
    expect(alignColumns(message, [
      candidate(1, 'c1', null), candidate(2, 'c2', null), candidate(3, null, 'renamed3'), candidate(4, null, null), candidate(5, null, 'c5'), candidate(6, null, 'c6'),
    ])?.isSure).toBe(false);
  });

  it('are unclear where one that came and went since may have had the name of one that came after it', () => {
    const message = ['id', 'again'].map((name) => ({ isKey: false, name, typeOid: 25, typmod: -1 }));
    const aligned = (cameAndWent: boolean) => alignColumns(message, [
      { number: 1, nameNow: 'id', nameBefore: 'id', typeOid: 25, typmod: -1, cameAndWent: false },
      { number: 2, nameNow: null, nameBefore: null, typeOid: 0, typmod: -1, cameAndWent },
      { number: 3, nameNow: 'again', nameBefore: null, typeOid: 25, typmod: -1, cameAndWent: false },
    ]);
    expect(aligned(true)).toEqual({ numbers: [1, 3], isSure: false });
    expect(aligned(false)).toEqual({ numbers: [1, 3], isSure: true });
  });

  it('cannot be more than there ever were', () => {
    const column = { isKey: false, name: 'a', typeOid: 23, typmod: -1 };
    expect(alignColumns([column, column], [{ number: 1, nameNow: 'a', nameBefore: 'a', typeOid: 23, typmod: -1, cameAndWent: false }])).toBeNull();
  });
});

const NO_TYPES: NativeTypes = new Map();
const OIDS: Readonly<Record<string, number>> = {
  smallint: 21, integer: 23, bigint: 20, text: 25, 'character varying': 1043, character: 1042, numeric: 1700, 'timestamp without time zone': 1114,
  'timestamp with time zone': 1184, json: 114, jsonb: 3802, uuid: 2950, boolean: 16, real: 700, 'double precision': 701, bit: 1560, 'bit varying': 1562,
  interval: 1186, oid: 26, name: 19, xid: 28,
};

/** `varchar(20)`-like names to a column. */
function column(native: string, change: Partial<Column> = {}): Column {
  const match = /^([a-z ]+?)(?:\(([0-9]+)(?:,([0-9]+))?\))?$/.exec(native);
  const name = match?.[1] ?? '';
  const [first, second] = [match?.[2], match?.[3]].map((part) => (part === undefined ? null : Number(part)));
  const plain = name.startsWith('timestamp') || name.startsWith('bit') || name === 'interval';
  const typmod = first === null || first === undefined ? -1 : name === 'numeric' ? ((first << 16) | (second ?? 0)) + 4 : plain ? first : first + 4;
  return {
    number: 1, name: 'c', type: logicalType(NO_TYPES, OIDS[name] ?? 0, typmod, native), nativeType: native, nullable: true, constantDefault: null, fill: null,
    generated: 'no', identity: 'no', ...change,
  };
}

describe('a changed type keeps the canonical text', () => {
  it.each<[string, string, boolean]>([
    ['smallint', 'integer', true], ['integer', 'bigint', true], ['bigint', 'integer', false], ['integer', 'numeric', true],
    ['integer', 'numeric(12,0)', true], ['integer', 'numeric(12,2)', false], ['integer', 'text', true], ['integer', 'double precision', false],
    ['character varying(10)', 'character varying(20)', true], ['character varying(20)', 'character varying(10)', false],
    ['character varying(10)', 'text', true], ['text', 'character varying(10)', false], ['character(5)', 'character varying(5)', false],
    ['character(5)', 'character(6)', false], ['character varying(5)', 'character(5)', false], ['text', 'name', true],
    ['numeric(10,2)', 'numeric(12,2)', true], ['numeric(10,2)', 'numeric', true], ['numeric(10,2)', 'numeric(12,4)', false], ['numeric', 'numeric(10,2)', false],
    ['timestamp without time zone(3)', 'timestamp without time zone(6)', true], ['timestamp without time zone(6)', 'timestamp without time zone(3)', false],
    ['timestamp without time zone', 'timestamp with time zone', false], ['interval(0)', 'interval', true],
    ['json', 'jsonb', false], ['jsonb', 'json', false], ['uuid', 'text', true], ['boolean', 'text', false], ['real', 'double precision', false],
    ['bit(3)', 'bit(4)', false], ['bit varying(3)', 'bit varying(4)', true], ['oid', 'bigint', false], ['xid', 'bigint', false],
  ])('%s to %s: %s', (before, after, keeps) => {
    expect(keepsForm(column(before), column(after))).toBe(keeps);
  });

  const labelled = (...labels: string[]): LogicalType => ({ kind: 'enum', name: 'public.mood', labels });
  it.each<[string, LogicalType, LogicalType, boolean]>([
    ['a label added at the end', labelled('a', 'b'), labelled('a', 'b', 'c'), true],
    ['a label added in between', labelled('a', 'b'), labelled('a', 'x', 'b'), true],
    ['a label renamed', labelled('a', 'b'), labelled('a', 'c'), false],
    ['an enum to text', labelled('a'), { kind: 'text', length: null, fixed: false }, true],
    ['in an array', { kind: 'array', element: labelled('a') }, { kind: 'array', element: labelled('b') }, false],
    ['in a domain', { kind: 'domain', name: 'd', base: labelled('a') }, { kind: 'domain', name: 'd', base: labelled('a', 'b') }, true],
    [
      'a field added to a composite', { kind: 'composite', name: 'c', fields: [{ name: 'x', type: { kind: 'int32' } }] },
      { kind: 'composite', name: 'c', fields: [{ name: 'x', type: { kind: 'int32' } }, { name: 'y', type: { kind: 'int32' } }] }, false,
    ],
  ])('%s', (_name, before, after, keeps) => {
    const native = after.kind === 'text' ? 'text' : 'public.mood';
    expect(keepsForm(column('text', { type: before, nativeType: 'public.mood' }), column('text', { type: after, nativeType: native }))).toBe(keeps);
  });
});

describe('a change of a table', () => {
  const id = column('integer', { number: 1, name: 'id', nullable: false });
  const schema = (...columns: Column[]): TableSchema => ({
    tableId: 1, version: 1, sourceTableId: '16384', namespace: 'public', name: 't', columns: [id, ...columns], keyKind: 'primary', key: [0],
  });
  const source = (columns: readonly Partial<SourceColumn>[], change: Partial<SourceTable> = {}): SourceTable => ({
    oid: 16384, namespace: 'public', name: 't', partitioned: false, isPartition: false, identity: 'd', dropped: [], primaryKey: [1], identityIndex: [], toastable: true, published: null,
    storage: '16384', fingerprint: '', ...change,
    columns: [{ number: 1, name: 'id' }, ...columns].map((one) => ({
      typeOid: 23, typmod: -1, nativeType: 'integer', notNull: false, generated: 'no', expression: null, identity: 'no', hasDefault: false,
      constantDefault: null, hasMissing: false, missing: null, number: 0, name: '', ...one,
    })),
  });
  const added = column('integer', { number: 2, name: 'n' });

  interface Case {
    readonly logged: TableSchema;
    readonly next: TableSchema;
    readonly table: SourceTable | null;
    readonly last?: SourceTable;
    readonly storageHarmless?: boolean;
  }
  it.each<[string, Case, boolean]>([
    ['a nullable column', { logged: schema(), next: schema(added), table: source([{ number: 2, name: 'n' }]) }, false],
    ['a column whose fill value is known', { logged: schema(), next: schema({ ...added, nullable: false, fill: '7' }),
      table: source([{ number: 2, name: 'n', hasMissing: true, missing: '7', hasDefault: true, notNull: true }]) }, false],
    ['a column with a computed default', { logged: schema(), next: schema(added), table: source([{ number: 2, name: 'n', hasDefault: true }]) }, true],
    ['a column with a default set later, files unchanged',
      { logged: schema(), next: schema(added), table: source([{ number: 2, name: 'n', hasDefault: true }]), last: source([]) }, false],
    ['a column whose default was dropped after it had filled the rows',
      { logged: schema(), next: schema(added), table: source([{ number: 2, name: 'n' }], { storage: '16400' }), last: source([]) }, true],
    ['an identity column', { logged: schema(), next: schema({ ...added, identity: 'always' }), table: source([{ number: 2, name: 'n', identity: 'always' }]) }, true],
    ['a column that was dropped', { logged: schema(added), next: schema(), table: source([]) }, false],
    ['a column that was renamed', { logged: schema(added), next: schema({ ...added, name: 'm' }), table: source([{ number: 2, name: 'm' }]) }, false],
    ['a column dropped and added again',
      { logged: schema(added), next: schema({ ...added, number: 3 }), table: source([{ number: 3, name: 'n' }]) }, true],
    ['a column that was not sent before', { logged: schema({ ...added, number: 3, name: 'x' }), next: schema(added, { ...added, number: 3, name: 'x' }),
      table: source([{ number: 2, name: 'n' }, { number: 3, name: 'x' }]) }, true],
    ['a wider type', { logged: schema(added), next: schema(column('bigint', { number: 2, name: 'n' })), table: source([{ number: 2, name: 'n' }]) }, false],
    ['another type', { logged: schema(added), next: schema(column('double precision', { number: 2, name: 'n' })), table: source([{ number: 2, name: 'n' }]) }, true],
    ['another expression of a generated column', { logged: schema(added), next: schema(added), table: source([{ number: 2, name: 'n', expression: 'b' }]),
      last: source([{ number: 2, name: 'n', expression: 'a' }]) }, true],
    ['partitions that changed', { logged: { ...schema(), storage: '1:1' }, next: { ...schema(), storage: '1:2' }, table: source([]), storageHarmless: false }, true],
    ['partitions that were made empty', { logged: { ...schema(), storage: '1:1' }, next: { ...schema(), storage: '1:1,2:2' }, table: source([]) }, false],
    ['a table that is gone', { logged: schema(), next: schema(added), table: null }, false],
  ])('%s', (_name, { logged, next, table, last, storageHarmless }, recopies) => {
    const why = rewriteReason({ logged, next, table, last: last ?? null, storageHarmless: storageHarmless ?? true });
    expect(why !== null).toBe(recopies);
  });
});

describe('partitions', () => {
  it.each([
    ['1:1', '1:1,2:2', { added: [2], other: false }],
    ['1:1,2:2', '1:1', { added: [], other: true }],
    ['1:1', '1:5', { added: [], other: true }],
    ['', '3:3', { added: [3], other: false }],
  ])('from %j to %j', (before, after, change) => {
    expect(storageChange(before, after)).toEqual(change);
  });
});

describe('default expressions', () => {
  it.each([
    ["'abc'::text", true], ["'it''s'::character varying", true], ['5', true], ["'-1'::integer", true], ['(-1)', true], ['true', true], ['1.5e10', true],
    ["'2020-01-01 00:00:00+00'::timestamp with time zone", true], ["'{1,2}'::integer[]", true], ["'x'::public.mood", false],
    ['now()', false], ["nextval('s'::regclass)", false], ['(1 + 1)', false], ["('a'::text || 'b'::text)", false], ['CURRENT_TIMESTAMP', false],
    ["'a'::text); DROP TABLE x; --", false],
  ])('%s: %s', (expression, literal) => {
    expect(isLiteral(expression)).toBe(literal);
  });
});
