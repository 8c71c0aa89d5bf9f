import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CellSpans, CellWriter } from '../../../../connectors/mysql/values/cell-writer.ts';
import { buildImage, Cell, type CellValue, PLACEHOLDER, readImage } from '../../../../contracts/row-image.ts';

const cellValue: fc.Arbitrary<CellValue> = fc.oneof(
  fc.constant(null),
  fc.constant(PLACEHOLDER),
  fc.string({ unit: 'binary', maxLength: 80 }).filter((text) => text.isWellFormed()),
  fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
);

function write(out: CellWriter, value: CellValue): void {
  if (value === null) out.null();
  else if (value === PLACEHOLDER) out.placeholder();
  else if (typeof value === 'string') {
    const bytes = Buffer.from(`<${value}>`);
    out.text(bytes, 1, bytes.length - 1);
  } else if (typeof value === 'object') out.binary(value, 0, value.length);
}

test('images are those of the contract, one behind the other, and cells lie where the spans say', () => {
  fc.assert(
    fc.property(fc.array(fc.array(cellValue, { maxLength: 90 }), { minLength: 1, maxLength: 4 }), (images) => {
      const out = new CellWriter();
      const spans = images.map((cells) => {
        const of = new CellSpans();
        out.beginImage(of, cells.length);
        for (const cell of cells) write(out, cell);
        out.endImage();
        return of;
      });
      for (const [index, cells] of images.entries()) {
        const of = spans[index] ?? new CellSpans();
        expect(out.bytes.subarray(of.start, of.end)).toEqual(buildImage(cells));
        expect(of.start).toBe(index === 0 ? 0 : spans[index - 1]?.end);
        expect(of.placeholders).toBe(cells.filter((cell) => cell === PLACEHOLDER).length);
        for (const [column, cell] of cells.entries()) {
          const value = out.bytes.subarray(of.starts[column], of.ends[column]);
          if (typeof cell === 'string') expect(value.toString()).toBe(cell);
          else expect(value).toEqual(Buffer.isBuffer(cell) ? cell : Buffer.alloc(0));
        }
      }
    }),
  );
});

test('integers are written as their digits', () => {
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.integer({ min: -1_100, max: 1_100 })), (value) => {
      const out = new CellWriter();
      out.beginImage(new CellSpans(), 1);
      out.integer(value);
      out.endImage();
      expect(readImage(out.bytes, 0, out.at)).toEqual([String(value)]);
    }),
  );
  for (const edge of [0, 9, 10, 99, 100, 999, 1_000, 2 ** 30 - 1, 2 ** 30, -(2 ** 30), -(2 ** 31), 2 ** 32 - 1]) {
    const out = new CellWriter();
    out.beginImage(new CellSpans(), 1);
    out.integer(edge);
    expect(readImage(out.bytes, 0, out.at)).toEqual([String(edge)]);
  }
});

test('a value that is written in place, a cell of before, a cell of another image', () => {
  const out = new CellWriter();
  const first = new CellSpans();
  out.beginImage(first, 1);
  const big = 3 << 20;
  const at = out.open(big + 100);
  out.bytes.fill(0x61, at, at + big);
  out.close(Cell.text, at + big);
  out.endImage();
  const second = new CellSpans();
  out.beginImage(second, 4);
  out.again(first, 0);
  out.cell(buildImage(['default']).subarray(2));
  out.cell(Uint8Array.of(Cell.null));
  out.ascii('plain');
  out.endImage();
  expect(readImage(out.bytes, second.start, second.end)).toEqual(['a'.repeat(big), 'default', null, 'plain']);
  out.reset();
  expect(out.bytes.length).toBeLessThan(1 << 20);
});

test('another number of cells than announced is refused, and so is a value that no record can hold', () => {
  const out = new CellWriter();
  out.beginImage(new CellSpans(), 2);
  out.null();
  expect(() => out.endImage()).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  expect(() => out.open(2 ** 31)).toThrow(expect.objectContaining({ code: 'MYSQL_ROW_TOO_LARGE' }));
});
