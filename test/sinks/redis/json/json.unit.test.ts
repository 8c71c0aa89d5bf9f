import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LogicalType } from '../../../../contracts/types/logical-type.ts';
import { membersOf, writeBase64, writeString } from '../../../../sinks/redis/json/json-text.ts';
import { jsonWriter, numbersFit } from '../../../../sinks/redis/json/json-value.ts';
import { ChunkPool, CommandBuffer } from '../../../../sinks/redis/resp/command-buffer.ts';

function written(write: (out: CommandBuffer) => void): string {
  const out = new CommandBuffer(new ChunkPool());
  write(out);
  return out.bytes.toString('utf8', 0, out.length);
}

function json(type: LogicalType, value: string | Buffer, exactNumbers = true): string {
  const bytes = typeof value === 'string' ? Buffer.from(`##${value}##`) : Buffer.concat([Buffer.from('##'), value, Buffer.from('##')]);
  return written((out) => jsonWriter(type, exactNumbers)(out, bytes, 2, bytes.length - 2, Buffer.isBuffer(value)));
}

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };
const array = (element: LogicalType): LogicalType => ({ kind: 'array', element });
const DECIMAL: LogicalType = { kind: 'decimal', precision: null, scale: null };
const POINT: LogicalType = { kind: 'composite', name: 'p', fields: [{ name: 'a', type: { kind: 'int32' } }, { name: 'b "q"', type: TEXT }] };

describe('values', () => {
  test.each<[LogicalType, string | Buffer, string]>([
    [{ kind: 'bool' }, 't', 'true'],
    [{ kind: 'bool' }, 'f', 'false'],
    [{ kind: 'int16' }, '-32768', '-32768'],
    [{ kind: 'int64' }, '9007199254740991', '9007199254740991'],
    [{ kind: 'int64' }, '-9007199254740991', '-9007199254740991'],
    [{ kind: 'int64' }, '9007199254740992', '"9007199254740992"'],
    [{ kind: 'uint64' }, '18446744073709551615', '"18446744073709551615"'],
    [{ kind: 'float64' }, '1e+20', '1e+20'],
    [{ kind: 'float64' }, '-0', '-0'],
    [{ kind: 'float64' }, 'NaN', '"NaN"'],
    [{ kind: 'float32' }, '-Infinity', '"-Infinity"'],
    [DECIMAL, '0.10', '"0.10"'],
    [{ kind: 'json' }, '{"a":  12345678901234567890.5}', '{"a":  12345678901234567890.5}'],
    [{ kind: 'bytes' }, Buffer.from([0, 255, 10]), '"AP8K"'],
    [{ kind: 'date' }, '2026-11-21', '"2026-11-21"'],
    [{ kind: 'vector', dimensions: 3 }, '[1,2.5,-3e-07]', '[1,2.5,-3e-07]'],
    [{ kind: 'domain', name: 'd', base: { kind: 'int32' } }, '7', '7'],
    [{ kind: 'range', name: 'r', element: { kind: 'int32' } }, '[1,5)', '"[1,5)"'],
    [{ kind: 'unknown', nativeType: 'x' }, 'a"b', '"a\\"b"'],
    [array({ kind: 'int32' }), '{1,NULL,3}', '[1,null,3]'],
    [array({ kind: 'int32' }), '{}', '[]'],
    [array({ kind: 'int32' }), '{{1,2},{3,4}}', '[[1,2],[3,4]]'],
    [array({ kind: 'int32' }), '[0:1]={1,2}', '"[0:1]={1,2}"'],
    [array(TEXT), '{"a,b","NULL",NULL,"\\"\\\\x",plain,""}', '["a,b","NULL",null,"\\"\\\\x","plain",""]'],
    [array({ kind: 'bytes' }), '{"\\\\x00ff",NULL}', '["AP8=",null]'],
    [array({ kind: 'unknown', nativeType: 'box' }), '{(1,1),(0,0);(2,2),(1,1)}', '["(1,1),(0,0)","(2,2),(1,1)"]'],
    [array(POINT), '{"(1,\\"x y\\")","(,)"}', '[{"a":1,"b \\"q\\"":"x y"},{"a":null,"b \\"q\\"":null}]'],
    [POINT, '(1,"say ""hi"" \\\\")', '{"a":1,"b \\"q\\"":"say \\"hi\\" \\\\"}'],
    [POINT, '(1)', '"(1)"'],
    [array(TEXT), 'not an array', '"not an array"'],
  ])('%j %s becomes %s', (type, value, expected) => {
    expect(json(type, value)).toBe(expected);
    JSON.parse(expected);
  });

  test('RedisJSON gets a document as text when a number in it would be rounded', () => {
    expect(json({ kind: 'json' }, '{"a":1.5,"b":"9e999"}', false)).toBe('{"a":1.5,"b":"9e999"}');
    expect(json({ kind: 'json' }, '[12345678901234567890]', false)).toBe('"[12345678901234567890]"');
    expect(json({ kind: 'json' }, '[1e400]', false)).toBe('"[1e400]"');
  });

  test('numbers that are said to fit come back as they were', () => {
    const number = fc.oneof(fc.integer().map(String), fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => JSON.stringify(n)), fc.stringMatching(/^-?[1-9]\d{0,20}(\.\d{1,20})?$/));
    fc.assert(
      fc.property(number, (text) => {
        const bytes = Buffer.from(`{"x":${text}}`);
        if (!numbersFit(bytes, 0, bytes.length)) return;
        const back = Number(text);
        expect(Number.isFinite(back)).toBe(true);
        const plain = (value: string): string => value.replace(/e.*$/, '').replace(/[-.]/g, '').replace(/^0+|0+$/g, '');
        expect(plain(back.toExponential(16).startsWith('-') ? String(back).slice(1) : String(back))).toBe(plain(text));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('text', () => {
  test('any text reads back as itself', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^["\\\u0000-\u001f]{0,9}$/)), (text) => {
        const well = Buffer.from(text).toString('utf8');
        const bytes = Buffer.from(well);
        expect(JSON.parse(written((out) => writeString(out, bytes, 0, bytes.length)))).toBe(well);
      }),
    );
  });

  test('any array of text reads back as itself', () => {
    const literal = (cells: readonly (string | null)[]): string =>
      `{${cells.map((cell) => (cell === null ? 'NULL' : `"${cell.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`)).join(',')}}`;
    fc.assert(
      fc.property(fc.array(fc.option(fc.string())), (cells) => {
        expect(JSON.parse(json(array(TEXT), literal(cells)))).toEqual(cells);
      }),
    );
  });

  test('bytes of any length are base64', () => {
    for (const size of [0, 1, 2, 3, 100, (48 << 10) - 1, 48 << 10, (48 << 10) + 1, 200_000]) {
      const bytes = Buffer.from(Array.from({ length: size }, (_, i) => (i * 7) & 255));
      const text: unknown = JSON.parse(written((out) => writeBase64(out, bytes, 0, bytes.length)));
      expect(Buffer.from(String(text), 'base64').equals(bytes), `size ${size}`).toBe(true);
    }
  });

  test('the members of any object are found', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(0, 2), (object, indent) => {
        const text = Buffer.from(JSON.stringify(object, null, indent));
        const members = membersOf(text);
        expect(members?.map(({ name }) => name)).toEqual(Object.keys(object));
        for (const { name, start, end } of members ?? []) expect(JSON.parse(text.toString('utf8', start, end))).toEqual(JSON.parse(JSON.stringify(object[name])));
      }),
    );
    for (const text of ['', '[]', '1', '{', '{"a"}', '{"a":1', '{"a":1}x', '{"a":"x}']) expect(membersOf(Buffer.from(text)), text).toBeNull();
  });
});
