/** Diffs for the text of a document, as the hub applies them: the same as a replica makes of the document itself. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { decodeJsonPart } from '../../../../contracts/types/json-part.ts';
import { partOf } from '../../../../connectors/mysql/json/json-diff.ts';
import { JsonText } from '../../../../connectors/mysql/json/json-text.ts';
import { JsonDecoder } from '../../../../connectors/mysql/values/json.ts';
import { changedJson } from '../../../../hub/pipeline/source/whole-rows/json-text.ts';
import { cellOf } from '../values/cells.ts';
import { binaryJson, diffBytes, serverText, type JsonInput } from './binary-writer.ts';

const KEYS = ['a', 'b', 'é"\\', '\n\u0001', '{[,:]}'];
const scalar: fc.Arbitrary<JsonInput> = fc.oneof(
  fc.constant(null), fc.boolean(), fc.integer(), fc.string({ unit: 'grapheme', maxLength: 12 }), fc.constantFrom(...KEYS),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((double) => ({ double })),
);
const json: fc.Memo<JsonInput> = fc.memo((depth) =>
  depth <= 1 ? scalar : fc.oneof(scalar, fc.array(json(depth - 1), { maxLength: 4 }), fc.dictionary(fc.constantFrom(...KEYS), json(depth - 1), { maxKeys: 5 })),
);
const container: fc.Arbitrary<JsonInput> = fc.oneof(fc.array(json(3), { minLength: 2, maxLength: 4 }), fc.dictionary(fc.constantFrom(...KEYS), json(3), { minKeys: 2, maxKeys: 5 }));
const leg = fc.oneof(
  fc.constantFrom(...KEYS).map((key) => `.${JSON.stringify(key)}`),
  fc.constantFrom('[0]', '[1]', '[3]', '[last]', '[last-1]'),
);
const path = fc.array(leg, { minLength: 1, maxLength: 2 }).map((legs) => `$${legs.join('')}`);
const diffs = fc.array(fc.tuple(fc.constantFrom<0 | 1 | 2>(0, 1, 2), path, json(2)), { minLength: 1, maxLength: 2 });

const decoder = new JsonDecoder();
const text = new JsonText();

/** The value, or that it does not fit. */
function outcome(change: () => string): string {
  try {
    return change();
  } catch (error) {
    if (!(error instanceof TidemarkError) || !['MYSQL_VALUE', 'WHOLE_ROW_PART'].includes(error.code)) throw error;
    return 'does not fit';
  }
}

const ofDocument = (old: Buffer, diff: Buffer): string => cellOf((out) => decoder.patch(diff, 0, diff.length, old, 0, old.length, out));
const ofText = (old: string, diff: Buffer): string => changedJson(Buffer.from(old), partOf(diff, 0, diff.length, text)).toString('utf8');

test('property: what applies to a document applies to its text, and gives its text', () => {
  let fitting = 0;
  fc.assert(
    fc.property(container, diffs, (value, changes) => {
      const diff = diffBytes(changes.map(([operation, at, to]) => (operation === 2 ? [operation, at] : [operation, at, to])));
      const expected = outcome(() => ofDocument(binaryJson(value, false), diff));
      if (expected !== 'does not fit') fitting++;
      expect(outcome(() => ofText(serverText(value), diff))).toBe(expected);
    }),
    { numRuns: 500 },
  );
  expect(fitting).toBeGreaterThan(0);
});

test('what is no JSON, or ends early, does not fit', () => {
  const diff = diffBytes([[0, '$.a', 1]]);
  for (const old of ['', '{', '{"a"', '{"a": ', '{"a": 1', '{"a": 1 "b": 2}', '{"a" 1}', '{"a": "x', '{"a": [1}', '{a: 1}', '[1, ', 'null', '{"b": 2}']) {
    expect(() => ofText(old, diff), old).toThrow(expect.objectContaining({ code: 'WHOLE_ROW_PART' }));
  }
  expect(ofText('{"a" : [1,{"c":"]"}] ,\n"b":2}', diff)).toBe('{"a": 1, "b": 2}');
});

test('what is cut off is damage', () => {
  const part = partOf(diffBytes([[1, '$.a[2]', { b: 'c' }]]), 0, diffBytes([[1, '$.a[2]', { b: 'c' }]]).length, text);
  expect(decodeJsonPart(part)).toEqual([{ operation: 1, path: [{ key: Buffer.from('"a"') }, { index: 2, fromEnd: false }], value: Buffer.from('{"b": "c"}') }]);
  for (let end = 1; end < part.length; end++) expect(() => decodeJsonPart(part.subarray(0, end)), String(end)).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }));
});
