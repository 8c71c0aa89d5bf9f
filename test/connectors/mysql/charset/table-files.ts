/**
 * What a server says its codes mean, as the files of connectors/mysql/charset/tables. Kept apart from asking the server
 * (generate-tables.ts).
 */
import { brotliCompressSync } from 'node:zlib';
import { LAYOUTS, linearCode, type DoubleByteCharset, type Layout, type Plane, planeSize, SAME_POINT } from '../../../../connectors/mysql/charset/double-byte-layout.ts';

/** Code in hexadecimal (lower case) to code point. */
export type Meanings = ReadonlyMap<string, number>;

const WIDTH = 160;
const UNMAPPED = 0xfffd;

/** The file of a multi-byte charset. */
export function tableFile(charset: DoubleByteCharset, meanings: Meanings): string {
  const layout: Layout = LAYOUTS[charset];
  const planes = [deltas(layout.two, meanings, ''), ...(layout.three === undefined ? [] : [deltas(layout.three, meanings, '8f')])];
  const packed = brotliCompressSync(Buffer.concat(planes)).toString('base64');
  const lines = packed.match(new RegExp(`.{1,${WIDTH}}`, 'g')) ?? [];
  return [
    `/** Made by test/connectors/mysql/charset/generate-tables.ts; read by ../double-byte.ts. */`,
    'export const TABLE = [',
    ...lines.map((line) => `  '${line}',`),
    `].join('');`,
    '',
  ].join('\n');
}

/** u16 little-endian per code: the difference to the code point before it; 0 for a code without meaning. */
function deltas({ leads, trails }: Plane, meanings: Meanings, prefix: string): Buffer {
  const out = Buffer.alloc(planeSize({ leads, trails }) * 2);
  let at = 0;
  let before = 0;
  for (let lead = leads[0]; lead <= leads[1]; lead++) {
    for (let trail = trails[0]; trail <= trails[1]; trail++, at += 2) {
      const point = meanings.get(`${prefix}${((lead << 8) | trail).toString(16)}`);
      if (point === undefined) continue;
      const delta = (point - before) & 0xffff;
      if (point > 0xffff || delta === SAME_POINT) throw new Error(`the code ${lead} ${trail} cannot be told apart in the table`);
      out.writeUInt16LE(delta === 0 ? SAME_POINT : delta, at);
      before = point;
    }
  }
  return out;
}

/** The file of the single-byte charsets: a string of 256 characters, or of the upper 128 where the lower are ASCII. */
export function singleByteFile(charsets: ReadonlyMap<string, Meanings>): string {
  const entries = [...charsets].sort(([a], [b]) => (a < b ? -1 : 1)).map(([charset, meanings]) => {
    const points = Array.from({ length: 256 }, (_, code) => meanings.get(code.toString(16).padStart(2, '0')) ?? UNMAPPED);
    const ascii = points.slice(0, 128).every((point, code) => point === code);
    return `  ${charset}: '${points.slice(ascii ? 128 : 0).map(escaped).join('')}',`;
  });
  return [
    '/**',
    ' * Made by test/connectors/mysql/charset/generate-tables.ts: the characters of the bytes 0x80 to 0xFF, or of all 256 where the lower',
    ' * half is not ASCII. U+FFFD: the byte means nothing.',
    ' */',
    'export const SINGLE_BYTE = {',
    ...entries,
    '} as const;',
    '',
  ].join('\n');
}

function escaped(point: number): string {
  const text = String.fromCodePoint(point);
  if (text === "'" || text === '\\') return `\\${text}`;
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(text) && !/\p{M}/u.test(text) && (point < 0x590 || point > 0x700) ? text : `\\u${point.toString(16).padStart(4, '0')}`;
}

/** The file of gb18030's codes of four bytes in the basic plane: runs of first linear code, first code point, length. */
export function rangesFile(meanings: Meanings): string {
  const runs: [first: number, point: number, length: number][] = [];
  for (const [code, point] of [...meanings].filter(([code]) => code.length === 8).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const linear = linearCode(...fourOf(code));
    const last = runs.at(-1);
    if (last !== undefined && linear === last[0] + last[2] && point === last[1] + last[2]) last[2]++;
    else runs.push([linear, point, 1]);
  }
  return [
    '/**',
    ' * Made by test/connectors/mysql/charset/generate-tables.ts: codes of four bytes of gb18030 that follow each other, as',
    ' * first place in the order of codes, first code point, length.',
    ' */',
    'export const FOUR_BYTE_RUNS: readonly number[] = [',
    ...(runs.flat().join(', ').match(/.{1,140}(?:,|$) ?/g) ?? []).map((line) => `  ${line.trim().replace(/,$/, '')},`),
    '];',
    '',
  ].join('\n');
}

function fourOf(code: string): [number, number, number, number] {
  const bytes = Buffer.from(code, 'hex');
  return [bytes[0] ?? 0, bytes[1] ?? 0, bytes[2] ?? 0, bytes[3] ?? 0];
}
