import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { buildKey } from '../../../contracts/key.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import { modelColumn } from '../../../contracts/kit/sink-model.ts';
import { KeyMatcher } from '../../../sinks/redis/key-matcher.ts';
import { KeyScratch } from '../../../sinks/redis/key-scratch.ts';
import { areDisjoint, avoids, compileTemplate, KeyTemplate, type StoredTemplate } from '../../../sinks/redis/key-template.ts';

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };
const INT: LogicalType = { kind: 'int64' };

function schemaOf(types: readonly LogicalType[], name = 'orders', namespace = 'public'): TableSchema {
  const columns = types.map((type, i) => modelColumn({ name: `k${i}`, type, nativeType: '' }, i + 1));
  const extra = modelColumn({ name: 'note', type: TEXT, nativeType: '' }, types.length + 1);
  return {
    tableId: 1, version: 1, sourceTableId: '1', namespace, name, columns: [...columns, extra], keyKind: types.length === 0 ? 'none' : 'primary',
    key: columns.map((_, i) => i),
  };
}

function compile(schema: TableSchema, text: string | null, partial = false): KeyTemplate {
  return compileTemplate(schema, { text, partial, find: (name) => schema.columns.findIndex((column) => column.name === name) });
}

function keyFor(template: KeyTemplate, values: readonly (string | Uint8Array)[]): Buffer {
  const key = buildKey(values);
  const scratch = new KeyScratch();
  template.write(key, 0, key.length, scratch);
  return Buffer.from(scratch.taken());
}

describe('a template', () => {
  test.each([
    ['product:{k0}', ['42'], 'product:42'],
    [null, ['42'], 'public.orders:42'],
    ['p:{{{k0}}}', ['42'], 'p:{42}'],
    ['{table}/{key...}!', ['42'], 'orders/42!'],
    ['x:{column:k0}', ['a:b%'], 'x:a:b%'],
  ] as const)('%s names a row', (text, values, expected) => {
    const template = compile(schemaOf([TEXT]), text);
    expect(keyFor(template, values).toString()).toBe(expected);
  });

  test('escapes in every value but the last what could be taken for the text behind it', () => {
    const template = compile(schemaOf([TEXT, TEXT]), 'x:{k0}:{k1}');
    expect(keyFor(template, ['a:b%', 'c:d%']).toString()).toBe('x:a%3Ab%25:c:d%');
  });

  test('the default escapes the names, so that no two tables meet', () => {
    const one = compile(schemaOf([TEXT], 'b.c', 'a'), null);
    const two = compile(schemaOf([TEXT], 'c', 'a.b'), null);
    expect(keyFor(one, ['1']).toString()).toBe('a.b%2Ec:1');
    expect(areDisjoint(one, two)).toBe(true);
    expect(areDisjoint(compile(schemaOf([TEXT], 'a:b'), null), compile(schemaOf([TEXT], 'a'), null))).toBe(true);
  });

  test.each([
    ['{k0}', 'does not begin with a text'],
    ['x:{k0', 'lacks a closing }'],
    ['x:{}', 'empty {}'],
    ['x}:{k0}', 'closes nothing'],
    ['x:{k0}{k1}', 'without anything between'],
    ['x:{k0}:{k0}', 'twice'],
    ['x:{k0}', 'leaves out the key column k1'],
    ['x:{nothing}:{k0}:{k1}', 'does not have'],
    ['x:{k0}:{k1}:{note}', 'not part of the key'],
    ['x:{k0}%{k1}', '% right after'],
    ['x', 'names no column'],
  ])('%s is refused: %s', (text, why) => {
    expect(() => compile(schemaOf([TEXT, TEXT]), text)).toThrow(expect.objectContaining({ code: 'REDIS_KEY_TEMPLATE' }));
    expect(() => compile(schemaOf([TEXT, TEXT]), text)).toThrow(why);
  });

  test('may leave key columns out where that is declared', () => {
    const template = compile(schemaOf([TEXT, TEXT]), 'x:{k1}', true);
    expect(keyFor(template, ['tenant', '5']).toString()).toBe('x:5');
  });

  test('needs a key', () => {
    expect(() => compile(schemaOf([]), null)).toThrow(expect.objectContaining({ code: 'REDIS_KEYLESS' }));
  });

  test('refuses a key that has not the columns of its table', () => {
    const template = compile(schemaOf([TEXT, TEXT]), null);
    expect(() => keyFor(template, ['1'])).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }));
    expect(() => keyFor(template, ['1', '2', '3'])).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }));
  });
});

const separator = fc.constantFrom(':', '::', '/', '-', 'é', '}}', 'a');
const value = fc.oneof(fc.string(), fc.stringMatching(/^[:%/a3AF-]{0,6}$/), fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes).toString('latin1')));
const composite = fc.record({
  separators: fc.array(separator, { minLength: 1, maxLength: 3 }),
  suffix: fc.constantFrom('', '!', ':end'),
});

describe('properties', () => {
  test('different rows have different keys, and a key is read back as its values', () => {
    fc.assert(
      fc.property(composite, fc.array(value, { minLength: 8, maxLength: 8 }), ({ separators, suffix }, values) => {
        const columns = separators.length + 1;
        const schema = schemaOf(Array.from({ length: columns }, () => TEXT));
        const text = `t:${separators.map((sep, i) => `{k${i}}${sep}`).join('')}{k${columns - 1}}${suffix}`;
        const template = compile(schema, text);
        const [a, b] = [values.slice(0, columns), values.slice(4, 4 + columns)];
        const [keyA, keyB] = [keyFor(template, a), keyFor(template, b)];
        expect(keyA.equals(keyB)).toBe(a.every((cell, i) => cell === b[i]));
        expect(template.match(keyA)?.map(String)).toEqual(a.map((cell) => String(Buffer.from(cell))));
        const stored = KeyTemplate.fromStored(JSON.parse(JSON.stringify(template.toStored())) as StoredTemplate);
        expect(stored.fingerprint).toBe(template.fingerprint);
        expect(keyFor(stored, a)).toEqual(keyA);
        const renamed = new KeyScratch();
        template.rename(template.match(keyA) ?? [], renamed);
        expect(Buffer.from(renamed.taken())).toEqual(keyA);
      }),
      { numRuns: 500 },
    );
  });

  test('tables that are said to be disjoint never share a key', () => {
    const texts = ['p:{k0}', 'p:x{k0}', 'p:{k0}:x', 'p{k0}', 'p:1{k0}', 'q:{k0}', 'p:-{k0}', 'p:t{k0}'] as const;
    const types: readonly LogicalType[] = [TEXT, INT, { kind: 'uuid' }, { kind: 'bool' }];
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.constantFrom(...texts), fc.constantFrom(...types), fc.constantFrom(...types), fc.stringMatching(/^[px:1t-]{0,5}$/), (a, b, typeA, typeB, rest) => {
        const [one, two] = [compile(schemaOf([typeA]), a), compile(schemaOf([typeB]), b)];
        const key = Buffer.from(`p${rest}`);
        if (areDisjoint(one, two)) expect(one.match(key) !== null && two.match(key) !== null).toBe(false);
        expect(areDisjoint(one, two)).toBe(areDisjoint(two, one));
        if (avoids(one, Buffer.from('p:')) && one.match(key) !== null) expect(String(key).startsWith('p:')).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('foreign keys', () => {
  test('are told apart by the type of the key column', () => {
    const ints = compile(schemaOf([INT]), 'product:{k0}');
    expect(ints.match(Buffer.from('product:-42'))).not.toBeNull();
    for (const other of ['product:views:42', 'product:', 'product:4a', 'product', 'products:42']) expect(ints.match(Buffer.from(other))).toBeNull();
  });

  test('a matcher finds the table of a key among many', () => {
    const tables = ['product:{k0}', 'product:views:{k0}', 'price:{k0}'].map((text) => ({ text, template: compile(schemaOf([INT]), text) }));
    const matcher = new KeyMatcher(tables);
    expect(matcher.commonPrefix.toString()).toBe('pr');
    expect(matcher.find(Buffer.from('product:views:1'))?.text).toBe('product:views:{k0}');
    expect(matcher.find(Buffer.from('product:1'))?.text).toBe('product:{k0}');
    expect(matcher.find(Buffer.from('product:x'))).toBeNull();
    expect(new KeyMatcher([]).isEmpty).toBe(true);
  });
});
