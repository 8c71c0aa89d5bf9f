import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { charsetOfCollation } from '../../../../connectors/mysql/charset/collations.ts';
import { LAYOUTS } from '../../../../connectors/mysql/charset/double-byte-layout.ts';
import { SINGLE_BYTE } from '../../../../connectors/mysql/charset/tables/single-byte.ts';
import { requireTranscoder, textOf, transcoderOf } from '../../../../connectors/mysql/charset/transcoder.ts';

const ALL = [...Object.keys(SINGLE_BYTE), ...Object.keys(LAYOUTS), 'utf8mb3', 'utf8mb4', 'ucs2', 'utf16', 'utf16le', 'utf32'];

test.each([
  ['latin1', '61e4808183', 'aä€\u0081ƒ'],
  ['cp1251', 'cff0e8', 'При'],
  ['koi8r', 'f0d2c9', 'При'],
  ['greek', 'c1e1', 'Αα'],
  ['tis620', 'a1cd', 'กอ'],
  ['swe7', '5b5c5d', 'ÄÖÅ'],
  ['sjis', '93fa967bb1', '日本ｱ'],
  ['cp932', '8740', '①'],
  ['ujis', 'c6fccbdc8eb18fb0a1', '日本ｱ丂'],
  ['eucjpms', 'ada1', '①'],
  ['gbk', 'd6d0cec461', '中文a'],
  ['gb2312', 'd6d0cec4', '中文'],
  ['gb18030', 'd6d08139ee3990308130', '中㐀\u{10000}'],
  ['big5', 'a4a4a4e5', '中文'],
  ['euckr', 'b0a1c7d1', '가한'],
  ['ucs2', '006100e4', 'aä'],
  ['utf16', '0061d83dde00', 'a😀'],
  ['utf16le', '61003dd800de', 'a😀'],
  ['utf32', '0001f600', '😀'],
  ['utf8mb4', 'f09f9880', '😀'],
])('%s %s begins with %s', (charset, bytes, text) => {
  expect(textOf(requireTranscoder(charset, 'replace'), Buffer.from(bytes, 'hex')).startsWith(text)).toBe(true);
});

test.each(['81', 'a1', 'ff'])('the byte %s alone is no character of gbk', (byte) => {
  expect(() => textOf(requireTranscoder('gbk', 'refuse'), Buffer.from(byte, 'hex'))).toThrow(expect.objectContaining({ code: 'MYSQL_TEXT' }));
  expect(textOf(requireTranscoder('gbk', 'replace'), Buffer.from(`${byte}`, 'hex'))).toBe('?');
});

test.each([
  ['utf16', 'd83d'], ['utf16', 'de00'], ['utf16le', '3dd86100'], ['ucs2', 'd800'], ['utf32', '00110000'], ['utf32', '0000d800'], ['utf8mb4', 'eda080'], ['utf8mb3', 'c080'],
  ['ascii', '80'], ['hebrew', 'ff'], ['tis620', 'ff'], ['big5', 'a1c3'],
])('%s %s is refused', (charset, bytes) => {
  expect(() => textOf(requireTranscoder(charset, 'refuse'), Buffer.from(bytes, 'hex'))).toThrow(expect.objectContaining({ code: 'MYSQL_TEXT' }));
});

test('whatever the bytes, the text is UTF-8 within the room that the growth names, and ASCII stays itself', () => {
  fc.assert(
    fc.property(fc.constantFrom(...ALL), fc.uint8Array({ maxLength: 40 }), (charset, bytes) => {
      const transcoder = requireTranscoder(charset, 'replace');
      const into = Buffer.alloc(bytes.length * transcoder.growth + 8, 0xaa);
      const end = transcoder.transcode(bytes, 0, bytes.length, into, 0);
      expect(end).toBeLessThanOrEqual(bytes.length * transcoder.growth);
      expect(Buffer.from(into.toString('utf8', 0, end)).equals(into.subarray(0, end))).toBe(true);
      try {
        expect(textOf(requireTranscoder(charset, 'refuse'), bytes)).toBe(into.toString('utf8', 0, end));
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        expect(error.code).toBe('MYSQL_TEXT');
      }
    }),
    { numRuns: 4_000 },
  );
});

test('collations', () => {
  expect([8, 45, 63, 255, 1069, 2304, 2048, 3072].map(charsetOfCollation)).toEqual(['latin1', 'utf8mb4', 'binary', 'utf8mb4', 'utf8mb4', 'utf8mb4', 'utf8mb3', 'utf32']);
  expect([0, 999, 9_999].map(charsetOfCollation)).toEqual([null, null, null]);
  expect([transcoderOf('binary'), transcoderOf('klingon')]).toEqual([null, null]);
  expect(transcoderOf('utf8')?.charset).toBe('utf8mb3');
});
