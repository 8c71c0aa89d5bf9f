import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import { exactPattern, exactTableName, parseTablePattern, selectTables, type TableNaming } from '../../../hub/config/table-patterns.ts';

/** By code point. */
function signs(text: string): string[] {
  return Array.from(text);
}

/** Names as a catalog may have them: anything but the empty one, with what patterns are made of among it. */
const name = fc.oneof(
  fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom(...signs('ab.*?"[]{}!^,\\/-+($ \n')) }),
  fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }),
  fc.constantFrom('.', '..', '/', 'a/b', '.hidden', 'Größe', '表', '😀', 'order items', 'we"ird', '*'),
);
const table = fc.record({ namespace: name, name });
/** Signs that mean themselves in a pattern. */
const plain = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom(...signs('abzÄ_$-+()|\\/^ 表😀')) });

function matches(pattern: string, { namespace, name: table }: TableNaming): boolean {
  return parseTablePattern(pattern).matches({ namespace, name: table });
}

function matchesName(glob: string, of: string): boolean {
  return matches(`s.${glob}`, { namespace: 's', name: of });
}

/** What comes of a pattern: an answer, or the code of its refusal. */
function outcome(pattern: string, table: TableNaming): string {
  try {
    return String(matches(pattern, table));
  } catch (error) {
    return error instanceof TidemarkError ? error.code : String(error);
  }
}

describe('table patterns', () => {
  it('name any table exactly', () => {
    fc.assert(
      fc.property(table, table, (one, other) => {
        const pattern = exactPattern(one);
        expect(parseTablePattern(pattern).exact).toEqual(one);
        expect(exactTableName(pattern)).toBe(tableName(one));
        expect(matches(pattern, one)).toBe(true);
        expect(matches(pattern, other)).toBe(one.namespace === other.namespace && one.name === other.name);
      }),
    );
  });

  it('match every table with *.*', () => {
    expect(fc.check(fc.property(table, (any) => matches('*.*', any))).failed).toBe(false);
  });

  it('match as a prefix, a suffix and an infix', () => {
    fc.assert(
      fc.property(plain, name, (part, of) => {
        expect(matchesName(`${part}*`, of)).toBe(of.startsWith(part));
        expect(matchesName(`*${part}`, of)).toBe(of.endsWith(part));
        expect(matchesName(`*${part}*`, of)).toBe(of.includes(part));
        expect(matchesName(`*${part}*`, `${of}${part}${of}`)).toBe(true);
      }),
    );
  });

  it('match one sign with ?, however many bytes it has', () => {
    fc.assert(
      fc.property(name, (of) => {
        expect(matchesName('?'.repeat(signs(of).length), of)).toBe(true);
        expect(matchesName('?'.repeat(signs(of).length + 1), of)).toBe(false);
      }),
    );
  });

  it('match one of the alternatives', () => {
    fc.assert(
      fc.property(plain, plain, name, (one, other, of) => {
        expect(matchesName(`{${one},${other}}_x`, `${of}_x`)).toBe(of === one || of === other);
        expect(matchesName(`{${one},x*}`, of)).toBe(of === one || of.startsWith('x'));
      }),
    );
  });

  it('select what some pattern wants and none leaves out, in any order', () => {
    const pattern = fc.tuple(fc.boolean(), fc.oneof(table.map(exactPattern), plain.map((part) => `*.${part}*`), fc.constant('*.*')));
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 5 }), table, (patterns, any) => {
        const texts = patterns.map(([leavesOut, text]) => `${leavesOut ? '!' : ''}${text}`);
        const wanted = patterns.some(([leavesOut, text]) => !leavesOut && matches(text, any));
        const unwanted = patterns.some(([leavesOut, text]) => leavesOut && matches(text, any));
        expect(selectTables(texts)(any)).toBe(wanted && !unwanted);
        expect(selectTables(texts.toReversed())(any)).toBe(wanted && !unwanted);
      }),
    );
  });

  it('answer or refuse any text', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40, unit: fc.constantFrom(...signs('ab.*?"[]{}!^,\\-')) }), table, (text, any) => {
        expect(outcome(text, any)).toMatch(/^(true|false|CONFIG_TABLE_PATTERN)$/);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['public.[ab]*', 'bx', true],
    ['public.[!ab]*', 'bx', false],
    ['public.[!ab]*', 'cx', true],
    ['public.[a-c]?', 'c1', true],
    ['public.[a-c]?', 'd1', false],
    ['public.[]x]', ']', true],
    ['public.[^]x]', ']', false],
    ['public.{orders,order_{lines,notes}}', 'order_notes', true],
    ['public.{orders,order_{lines,notes}}', 'order_x', false],
    ['public.Orders', 'orders', false],
    ['public."a.b"', 'a.b', true],
    ['public."a*"', 'ab', false],
    ['public."say ""hi"""', 'say "hi"', true],
    ['"public".orders', 'orders', true],
    ['*.orders', 'orders', true],
  ])('%s and %s: %s', (pattern, table, expected) => {
    expect(matches(pattern, { namespace: 'public', name: table })).toBe(expected);
  });

  it.each([
    ['orders', /a namespace and a table/],
    ['', /empty part/],
    ['public.""', /empty name/],
    ['.orders', /empty part/],
    ['public.', /empty part/],
    ['db.public.orders', /goes on after the table/],
    ['public."orders', /lacks a closing double quote/],
    ['public."a"b', /goes on after the table/],
    ['public.a"b"', /quotes enclose a whole part/],
    ['public.[a', /lacks a closing \]/],
    ['public.[z-a]', /cannot be read/],
    ['public.{a,b', /lacks a closing \}/],
    ['{public.a,public.b}', /lacks a closing \}/],
    ['public.a}', /closes nothing/],
    [`public.${'x'.repeat(1000)}`, /longer than/],
  ])('refuse %s', (pattern, message) => {
    expect(() => parseTablePattern(pattern)).toThrow(message);
  });

  it('name one table or are refused where one is needed', () => {
    expect(exactTableName('public."Order Items"')).toBe('public.Order Items');
    expect(() => exactTableName('public.*')).toThrow(/must name one table/);
    expect(() => exactTableName('!public.a')).toThrow(/must name one table/);
  });
});
