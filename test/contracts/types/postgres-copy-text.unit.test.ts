import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ColumnHash } from '../../../contracts/column-hash.ts';
import { buildKey } from '../../../contracts/key.ts';
import { Flag, Op } from '../../../contracts/op.ts';
import { RecordView } from '../../../contracts/record.ts';
import { readImage, type CellValue } from '../../../contracts/row-image.ts';
import { CopyTextDecoder, type RowLayout } from '../../../contracts/types/postgres-copy-text.ts';

function layoutOf(columns: number, options: Partial<RowLayout> = {}): RowLayout {
  return {
    actions: Array.from({ length: columns }, () => 'keep' as const),
    key: [],
    hash: (value) => new ColumnHash('secret').bytes(value),
    width: null,
    ...options,
  };
}

/** Every row whose image is longer counts as wide. */
function wideAbove(bytes: number): RowLayout['width'] {
  return { narrowImage: bytes, isWide: () => true };
}

interface Decoded {
  readonly op: number;
  readonly flags: number;
  readonly key: Buffer;
  readonly cells: CellValue[];
}

function decode(layout: RowLayout, rows: readonly Buffer[]): Decoded[] {
  const decoded: Decoded[] = [];
  const view = new RecordView();
  const decoder = new CopyTextDecoder(layout, (records, count) => {
    let seen = 0;
    for (view.reset(records); view.next(); seen++) {
      decoded.push({ op: view.op, flags: view.flags, key: Buffer.from(view.key()), cells: readImage(view.after()) });
    }
    expect(seen).toBe(count);
  });
  for (const row of rows) decoder.row(row);
  decoder.flush();
  return decoded;
}

/** What the server writes: COPY's escapes of a value. */
function escaped(value: string): string {
  return value.replace(/[\\\b\f\n\r\t\v]/g, (letter) => {
    const name = { '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v', '\\': '\\' }[letter];
    return `\\${name}`;
  });
}

function line(values: readonly (string | null | Buffer)[]): Buffer {
  const text = values.map((value) =>
    value === null ? '\\N' : typeof value === 'string' ? escaped(value) : `\\\\x${value.toString('hex')}`,
  );
  return Buffer.from(`${text.join('\t')}\n`, 'utf8');
}

describe('a COPY row', () => {
  it('becomes an r record with its key and image', () => {
    const [row] = decode(layoutOf(3, { key: [2, 0] }), [line(['a', null, 'key'])]);
    expect(row).toEqual({ op: Op.read, flags: 0, key: buildKey(['key', 'a']), cells: ['a', null, 'key'] });
  });

  it('keeps an empty value apart from null, and text that looks like null apart from both', () => {
    const [row] = decode(layoutOf(3), [line(['', null, '\\N'])]);
    expect(row?.cells).toEqual(['', null, '\\N']);
  });

  it('is flagged wide above the limit of its image', () => {
    const layout = layoutOf(1, { width: wideAbove(2 + 5 + 10) });
    expect(decode(layout, [line(['x'.repeat(10)]), line(['x'.repeat(11)])]).map((row) => row.flags)).toEqual([0, Flag.wide]);
  });

  it('has hashed columns as text, of the text that the server prints, null staying null', () => {
    const hash = new ColumnHash('secret');
    const layout = layoutOf(3, { actions: ['keep', 'hash', 'hash'], key: [0] });
    const [first, second] = decode(layout, [line(['1', 'a\tb', null]), line(['2', '', Buffer.from('beef', 'hex')])]);
    expect(first?.cells).toEqual(['1', hash.text('a\tb'), null]);
    expect(second?.cells).toEqual(['2', hash.text(''), hash.text('\\xbeef')]);
  });

  it('of a table without columns has an empty image', () => {
    expect(decode(layoutOf(0), [Buffer.from('\n')]).map((row) => row.cells)).toEqual([[]]);
  });

  it.each([
    ['too few columns', 'a\n'],
    ['too many columns', 'a\tb\tc\n'],
    ['no line feed', 'a\tb'],
    ['an escape at its end', 'a\tb\\\n'],
    ['a null key', '\\N\tb\n'],
    ['an escape at the end of a long value', `a\t${'b'.repeat(100)}\\\n`],
  ])('with %s is refused', (_, text) => {
    expect(() => decode(layoutOf(2, { key: [0] }), [Buffer.from(text)])).toThrow(expect.objectContaining({ code: 'POSTGRES_COPY_MALFORMED' }));
  });

  it.each(['zz', '\\\\x0', '\\\\x0g', '\\\\y00', ''])('with the bytea %j is refused', (text) => {
    const layout = layoutOf(1, { actions: ['bytes'] });
    expect(() => decode(layout, [Buffer.from(`${text}\n`)])).toThrow(expect.objectContaining({ code: 'POSTGRES_COPY_MALFORMED' }));
  });

  it('is decoded as it was written: any values, any lengths', () => {
    const hostile = fc.string({ unit: fc.constantFrom('a', '\\', '\t', '\n', '\r', '\b', '\f', '\v', 'N', 'x', 'é', '\u{1f600}', '"'), maxLength: 200 });
    const value = fc.oneof(fc.constant(null), fc.string({ maxLength: 60 }), hostile, fc.integer({ min: 30, max: 3000 }).map((n) => 'long\\'.repeat(n)));
    const bytes = fc.oneof(fc.constant(null), fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)));
    const rows = fc.array(fc.tuple(fc.string({ maxLength: 90 }), value, bytes, value, hostile), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(rows, (table) => {
        // Postgres has no zero byte in text.
        const clean = table.map((row) => row.map((cell) => (typeof cell === 'string' ? cell.replaceAll('\0', '') : cell)));
        const decoded = decode(layoutOf(5, { actions: ['keep', 'keep', 'bytes', 'keep', 'keep'], key: [4, 0], width: wideAbove(500) }), clean.map(line));
        expect(decoded.map((row) => row.cells)).toEqual(clean);
        expect(decoded.map((row) => row.key.toString('hex'))).toEqual(clean.map((row) => buildKey([row[4] ?? '', row[0] ?? '']).toString('hex')));
      }),
      { numRuns: 300 },
    );
  });

  it('never crashes on mutated bytes: a record or a typed error', () => {
    const base = line(['12', 'text \\ with\ttabs', Buffer.from('beef', 'hex'), null, 'y'.repeat(100)]);
    const layout = layoutOf(5, { actions: ['keep', 'keep', 'bytes', 'keep', 'keep'], key: [0] });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(base.length - 1), fc.constantFrom(0, 9, 10, 0x5c, 0x4e, 0xff, 0x78)), { maxLength: 5 }), fc.nat(base.length), (changes, cut) => {
        const row = Buffer.from(base);
        for (const [at, byte] of changes) row[at] = byte;
        try {
          decode(layout, [row.subarray(0, cut)]);
        } catch (error) {
          expect(error).toMatchObject({ code: 'POSTGRES_COPY_MALFORMED' });
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('goes into buffers of about a batch, however many rows there are', () => {
    const sizes: number[] = [];
    const decoder = new CopyTextDecoder(layoutOf(2, { key: [0] }), (records) => sizes.push(records.length));
    for (let id = 0; id < 20_000; id++) decoder.row(line([String(id), 'x'.repeat(180)]));
    decoder.flush();
    expect(sizes.length).toBeGreaterThan(3);
    for (const size of sizes.slice(0, -1)) expect(size).toBeGreaterThan(1_000_000);
    for (const size of sizes) expect(size).toBeLessThanOrEqual(1 << 20);
  });
});
