import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { buildImage, Cell, ImageWalker, PLACEHOLDER, readImage, type CellValue } from '../../contracts/row-image.ts';

const cell: fc.Arbitrary<CellValue> = fc.oneof(
  fc.constant(null),
  fc.constant(PLACEHOLDER),
  fc.string({ unit: 'binary' }),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
);

describe('a row image', () => {
  it('gives back the cells that it was built from', () => {
    fc.assert(
      fc.property(fc.array(cell, { maxLength: 30 }), (cells) => {
        expect(readImage(buildImage(cells))).toEqual(cells);
      }),
    );
  });

  it('tells an empty value from null and from a placeholder', () => {
    expect(readImage(buildImage(['', null, PLACEHOLDER, Buffer.alloc(0)]))).toEqual(['', null, PLACEHOLDER, Buffer.alloc(0)]);
  });

  it('answers cells or a typed error for any bytes, and never reads beyond its span', () => {
    fc.assert(
      fc.property(fc.array(cell, { maxLength: 10 }), fc.nat(), fc.integer({ min: 0, max: 255 }), (cells, where, byte) => {
        const image = buildImage(cells);
        image[where % image.length] = byte;
        const padded = Buffer.concat([image, Buffer.alloc(64, Cell.null)]);
        const walker = new ImageWalker();
        try {
          walker.reset(padded, 0, image.length);
          while (walker.next()) expect(walker.end).toBeLessThanOrEqual(image.length);
        } catch (error) {
          expect(error).toBeInstanceOf(TidemarkError);
          expect(error).toHaveProperty('code', 'RECORD_CORRUPT');
        }
      }),
    );
  });

  it('refuses an image that ends early or late', () => {
    const image = buildImage(['one', 'two']);
    for (let length = 0; length < image.length; length++) {
      expect(() => readImage(image, 0, length), `cut to ${length} bytes`).toThrow(TidemarkError);
    }
    expect(() => readImage(Buffer.concat([image, Buffer.from('x')]))).toThrow(/longer than its columns/);
  });
});
