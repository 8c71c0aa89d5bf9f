import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { CellSpans, CellWriter } from '../../../../connectors/mysql/values/cell-writer.ts';
import { jsonDouble } from '../../../../contracts/types/mysql-json-number.ts';
import { parsePath } from '../../../../connectors/mysql/json/json-path.ts';
import { JsonText } from '../../../../connectors/mysql/json/json-text.ts';
import { JsonDecoder } from '../../../../connectors/mysql/values/json.ts';
import { cellOf } from '../values/cells.ts';
import { binaryJson, diffBytes, serverText, type JsonInput } from './binary-writer.ts';

const text = new JsonText();

function printed(bytes: Buffer): string {
  text.print(bytes, 0, bytes.length);
  return text.bytes.toString('utf8', 0, text.length);
}

const json: fc.Memo<JsonInput> = fc.memo((depth) =>
  depth <= 1 ? scalar : fc.oneof(scalar, fc.array(json(depth - 1), { maxLength: 5 }), fc.dictionary(fc.string({ unit: 'grapheme', maxLength: 6 }), json(depth - 1), { maxKeys: 5 })),
);
const scalar: fc.Arbitrary<JsonInput> = fc.oneof(
  fc.constant(null), fc.boolean(), fc.integer(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), fc.string({ unit: 'grapheme', maxLength: 200 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((double) => ({ double })),
);

test('any document of either size prints as the server does', () => {
  fc.assert(
    fc.property(json(4), fc.boolean(), (value, large) => {
      expect(printed(binaryJson(value, large))).toBe(serverText(value));
    }),
    { numRuns: 1_500 },
  );
});

test.each([
  [0, '0.0'], [-0, '-0.0'], [1, '1.0'], [-1.5, '-1.5'], [1e14, '100000000000000.0'], [1e15, '1e15'], [123_456_789_012_345.6, '123456789012345.6'],
  [1_234_567_890_123_456.8, '1234567890123456.8'], [1e-5, '0.00001'], [1e-15, '0.000000000000001'], [1e-16, '1e-16'], [1.5e-14, '0.000000000000015'], [1.5e-16, '1.5e-16'],
  [1.7976931348623157e308, '1.7976931348623157e308'], [5e-324, '5e-324'], [-1e100, '-1e100'], [1.2345678901234567e19, '1.2345678901234567e19'],
])('the double %s is %s', (value, shown) => {
  expect(jsonDouble(value)).toBe(shown);
});

describe('damage is refused', () => {
  test('whatever the bytes of a document', () => {
    fc.assert(
      fc.property(json(4), fc.boolean(), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }), (value, large, changes) => {
        const bytes = binaryJson(value, large);
        for (const [place, byte] of changes) bytes[place % bytes.length] = byte;
        onlyRefused(() => printed(bytes));
        onlyRefused(() => printed(bytes.subarray(0, (changes[0]?.[0] ?? 0) % (bytes.length + 1))));
      }),
      { numRuns: 4_000 },
    );
  });

  test('whatever the bytes of diffs', () => {
    fc.assert(
      fc.property(json(3), fc.uint8Array({ maxLength: 60 }), (value, noise) => {
        const old = binaryJson(value, false);
        onlyRefused(() => patched(old, Buffer.from(noise)));
        const diff = diffBytes([[0, '$.a[1]."b"', [1, 'x']]]);
        for (const [place, byte] of noise.entries()) if (byte < 8) diff[place % diff.length] = byte;
        onlyRefused(() => patched(old, diff));
      }),
      { numRuns: 3_000 },
    );
  });

  test('nesting above the limit of the server', () => {
    let value: JsonInput = 1;
    for (let depth = 0; depth < 100; depth++) value = [value];
    expect(printed(binaryJson(value, false))).toBe(`${'['.repeat(100)}1${']'.repeat(100)}`);
    expect(() => printed(binaryJson([value], false))).toThrow(expect.objectContaining({ code: 'MYSQL_VALUE' }));
  });

  test('containers that are found many times over', () => {
    // Each level has 50 entries which all lead to the next.
    const levels = 12;
    const size = 4 + 50 * 3;
    const bytes = Buffer.alloc(1 + levels * size);
    bytes[0] = 2;
    for (let level = 0; level < levels; level++) {
      const start = 1 + level * size;
      bytes.writeUInt16LE(level === levels - 1 ? 0 : 50, start);
      bytes.writeUInt16LE(bytes.length - start, start + 2);
      for (let entry = 0; entry < 50; entry++) {
        bytes[start + 4 + entry * 3] = 2;
        bytes.writeUInt16LE(size, start + 5 + entry * 3);
      }
    }
    expect(() => printed(bytes)).toThrow(expect.objectContaining({ code: 'MYSQL_VALUE' }));
  });
});

function onlyRefused(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof TidemarkError) || !error.code.startsWith('MYSQL_')) throw error;
  }
}

const decoder = new JsonDecoder();

function patched(old: Buffer, diff: Buffer): string {
  return cellOf((out) => decoder.patch(diff, 0, diff.length, old, 0, old.length, out));
}

describe('diffs', () => {
  const old: JsonInput = { a: 1, bb: { c: [1, 2, 3], 'd e': 'x' }, z: [] };
  test.each<[string, readonly (readonly [0 | 1 | 2, string, JsonInput?])[], string]>([
    ['replace a value', [[0, '$.a', 'new']], '{"a": "new", "z": [], "bb": {"c": [1, 2, 3], "d e": "x"}}'],
    ['replace within an array', [[0, '$.bb.c[1]', { k: null }]], '{"a": 1, "z": [], "bb": {"c": [1, {"k": null}, 3], "d e": "x"}}'],
    ['insert a key at its place', [[1, '$.bb."ab"', true]], '{"a": 1, "z": [], "bb": {"c": [1, 2, 3], "ab": true, "d e": "x"}}'],
    ['insert into an array', [[1, '$.bb.c[0]', 0]], '{"a": 1, "z": [], "bb": {"c": [0, 1, 2, 3], "d e": "x"}}'],
    ['insert behind an array', [[1, '$.z[7]', 1], [1, '$.z[1]', 2]], '{"a": 1, "z": [1, 2], "bb": {"c": [1, 2, 3], "d e": "x"}}'],
    ['remove a key with a blank', [[2, '$.bb."d e"']], '{"a": 1, "z": [], "bb": {"c": [1, 2, 3]}}'],
    ['remove and replace in order', [[2, '$.bb.c[0]'], [0, '$.bb.c[last]', 9]], '{"a": 1, "z": [], "bb": {"c": [2, 9], "d e": "x"}}'],
    ['change what was put in before', [[0, '$.a', [1, 2]], [2, '$.a[0]']], '{"a": [2], "z": [], "bb": {"c": [1, 2, 3], "d e": "x"}}'],
  ])('%s', (_what, diffs, expected) => {
    for (const large of [false, true]) expect(patched(binaryJson(old, large), diffBytes(diffs))).toBe(expected);
  });

  test.each<[string, readonly [0 | 1 | 2, string, JsonInput?]]>([
    ['nothing to replace', [0, '$.b', 1]], ['nothing to remove', [2, '$.bb.c[3]']], ['the key is there', [1, '$.a', 1]], ['a place in an object', [1, '$[0]', 1]],
    ['a key in an array', [1, '$.z.k', 1]], ['the root', [0, '$', 1]], ['no way', [0, '$.a.b.c', 1]],
  ])('%s: made for another document', (_what, diff) => {
    expect(() => patched(binaryJson(old, false), diffBytes([diff]))).toThrow(expect.objectContaining({ code: 'MYSQL_VALUE' }));
  });

  test('paths', () => {
    expect(parsePath('$')).toEqual([]);
    expect(parsePath(String.raw`$.a."b\"\\c"[12][last][last-3].ü`)).toEqual([
      { key: Buffer.from('a') }, { key: Buffer.from('b"\\c') }, { index: 12, fromEnd: false }, { index: 0, fromEnd: true }, { index: 3, fromEnd: true }, { key: Buffer.from('ü') },
    ]);
    for (const path of ['', 'a', '$.', '$[', '$[*]', '$.*', '$**.a', '$["a"]', '$."a', '$.a b']) expect(() => parsePath(path), path).toThrow(expect.objectContaining({ code: 'MYSQL_VALUE' }));
  });
});

test('a document of no bytes is the null that an ignored error has left', () => {
  expect(printed(Buffer.alloc(0))).toBe('null');
});

test('a cell of JSON stands in its image like any other', () => {
  const out = new CellWriter();
  const spans = new CellSpans();
  const value = binaryJson({ a: [1, 'ü'] }, false);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  out.beginImage(spans, 2);
  out.integer(7);
  expect(decoder.decode(Buffer.concat([length, value]), 0, out)).toBe(4 + value.length);
  out.endImage();
  expect(out.bytes.toString('utf8', spans.starts[1], spans.ends[1])).toBe('{"a": [1, "ü"]}');
});
