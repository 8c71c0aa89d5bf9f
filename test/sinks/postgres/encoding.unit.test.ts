import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PLACEHOLDER, type CellValue } from '../../../contracts/row-image.ts';
import { type ColumnForm, imageParameters, keyParameters } from '../../../sinks/postgres/array-parameters.ts';
import { copyRows } from '../../../sinks/postgres/copy-rows.ts';
import { readHex, writeHex } from '../../../sinks/postgres/hex.ts';
import type { Parameter } from '../../../sinks/postgres/wire.ts';
import { refsOf } from '../relational/refs.ts';

/** A binary array as the server reads it (array_recv): element type and elements. */
function readArray(parameter: Parameter | undefined): { oid: number; nulls: boolean; elements: (Buffer | null)[] } {
  const bytes = Buffer.concat(parameter?.pieces ?? []);
  expect([bytes.readInt32BE(0), bytes.readInt32BE(16)]).toEqual([1, 1]);
  const elements: (Buffer | null)[] = [];
  let at = 20;
  for (let left = bytes.readInt32BE(12); left > 0; left--) {
    const length = bytes.readInt32BE(at);
    at += 4;
    elements.push(length < 0 ? null : bytes.subarray(at, at + length));
    at += Math.max(length, 0);
  }
  expect(at).toBe(bytes.length);
  return { oid: bytes.readInt32BE(8), nulls: bytes.readInt32BE(4) === 1, elements };
}

/** A line of COPY's text format, split and unescaped as the server does. */
function readCopy(data: Buffer): (string | null)[][] {
  const lines = data.toString('utf8').split('\n');
  expect(lines.pop()).toBe('');
  const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\\': '\\' };
  return lines.map((line) => line.split('\t').map((cell) => (cell === '\\N' ? null : cell.replaceAll(/\\(.)/g, (_, letter: string) => escapes[letter] ?? `?${letter}`))));
}

const cell: fc.Arbitrary<CellValue> = fc.oneof(fc.constant(null), fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')), fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)), fc.constantFrom('\\N', '\\.', '\\', '\t\n\r\\', ''));
const rows = fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 20 });

function asText(value: CellValue | undefined): string | null {
  if (value === null || value === undefined || value === PLACEHOLDER) return null;
  return typeof value === 'string' ? value : `\\x${Buffer.from(value).toString('hex')}`;
}

test('images become arrays, one for each column that is wanted, with the same values', () => {
  const forms: readonly ColumnForm[] = ['text', 'skip', 'text'];
  fc.assert(
    fc.property(rows, (list) => {
      const parameters = imageParameters(refsOf(list.map((row, n) => ({ key: [String(n)], row }))), 'after', forms);
      expect(parameters).toHaveLength(2);
      for (const [index, column] of [0, 2].entries()) {
        const { oid, nulls, elements } = readArray(parameters?.[index]);
        expect(oid).toBe(25);
        expect(elements.map((element) => element?.toString('utf8') ?? null)).toEqual(list.map((row) => asText(row[column])));
        expect(nulls).toBe(list.some((row) => row[column] === null));
      }
    }),
    { numRuns: 200 },
  );
});

test('bytes go as bytes, whether the image has them as such or as hexadecimal text', () => {
  const refs = refsOf([{ key: ['1'], row: [Buffer.from([0, 255])] }, { key: ['2'], row: ['\\x00Ff'] }, { key: ['3'], row: [null] }]);
  const { oid, elements } = readArray(imageParameters(refs, 'after', ['bytes'])?.[0]);
  expect(oid).toBe(17);
  expect(elements).toEqual([Buffer.from([0, 255]), Buffer.from([0, 255]), null]);
  expect(() => imageParameters(refsOf([{ key: ['1'], row: ['no hex'] }]), 'after', ['bytes'])).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }));
});

test('keys become arrays, one for each key column', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string(), fc.uint8Array()), { minLength: 1, maxLength: 20 }), (list) => {
      const parameters = keyParameters(refsOf(list.map((key) => ({ key, row: [null] }))), ['text', 'bytes']);
      expect(readArray(parameters?.[0]).elements.map(String)).toEqual(list.map(([text]) => text));
      expect(readArray(parameters?.[1]).elements).toEqual(list.map(([, bytes]) => Buffer.from(bytes)));
    }),
    { numRuns: 100 },
  );
});

test('images become lines of a COPY that read back as they were', () => {
  fc.assert(
    fc.property(rows, (list) => {
      const data = copyRows(refsOf(list.map((row, n) => ({ key: [String(n)], row }))), 'after', [true, false, true]);
      expect(readCopy(data)).toEqual(list.map((row) => [asText(row[0]), asText(row[2])]));
    }),
    { numRuns: 300 },
  );
});

test('a value of megabytes is escaped like a small one', () => {
  const value = `${'x\\'.repeat(700_000)}\n`;
  expect(readCopy(copyRows(refsOf([{ key: ['1'], row: [value] }]), 'after', [true]))).toEqual([[value]]);
});

test.each<[string, () => unknown]>([
  ['a placeholder in an array', () => imageParameters(refsOf([{ key: ['1'], row: [PLACEHOLDER] }]), 'after', ['text'])],
  ['a placeholder in a COPY', () => copyRows(refsOf([{ key: ['1'], row: [PLACEHOLDER] }]), 'after', [true])],
  ['an image of another shape, in an array', () => imageParameters(refsOf([{ key: ['1'], row: ['1', '2'] }]), 'after', ['text'])],
  ['an image of another shape, in a COPY', () => copyRows(refsOf([{ key: ['1'], row: ['1', '2'] }]), 'after', [true])],
  ['a key with a column too few', () => keyParameters(refsOf([{ key: ['1'], row: [] }]), ['text', 'text'])],
  ['a key with a column too many', () => keyParameters(refsOf([{ key: ['1', '2'], row: [] }]), ['text'])],
  ['no image', () => imageParameters(refsOf([{ key: ['1'], row: ['1'] }]), 'before', ['text'])],
])('%s is refused', (_, encode) => {
  expect(encode).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }));
});

test('hexadecimal digits, there and back', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const into = Buffer.alloc(2 + 2 * bytes.length);
      into.write('\\x');
      expect(writeHex(bytes, 0, bytes.length, into, 2)).toBe(into.length);
      expect(into.toString('latin1')).toBe(`\\x${Buffer.from(bytes).toString('hex')}`);
      expect(readHex(into, 0, into.length)).toEqual(Buffer.from(bytes));
    }),
  );
  expect(readHex(Buffer.from('\\x0'), 0, 3)).toBeNull();
  expect(readHex(Buffer.from('\\xzz'), 0, 4)).toBeNull();
});
