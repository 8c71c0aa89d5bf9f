import { expect } from 'vitest';
import { charsetOfCollation } from '../../../../connectors/mysql/charset/collations.ts';
import { LAYOUTS } from '../../../../connectors/mysql/charset/double-byte-layout.ts';
import { requireTranscoder } from '../../../../connectors/mysql/charset/transcoder.ts';
import { type MysqlVersion, startMysql } from '../../../fixtures/mysql.ts';
import { connect, disposable, rowsOf } from '../values/capture.ts';

/** Every code of the form of a character, well-formed in the charset, in order. */
function codesOf(charset: string): Buffer[] {
  const single = Array.from({ length: 256 }, (_, byte) => Buffer.from([byte]));
  if (!isDoubleByte(charset)) return single;
  const layout: (typeof LAYOUTS)[keyof typeof LAYOUTS] & { readonly three?: unknown } = LAYOUTS[charset];
  const pairs = (prefix: number[]): Buffer[] =>
    Array.from({ length: 0x10000 }, (_, code) => Buffer.from([...prefix, code >> 8, code & 0xff])).filter((code) => (code[prefix.length] ?? 0) >= 0x80 && (code[prefix.length + 1] ?? 0) >= 0x40);
  return [...single, ...pairs([]), ...('three' in layout ? pairs([0x8f]) : []), ...('fourBytes' in layout ? fourByteCodes() : [])];
}

function fourByteCodes(): Buffer[] {
  // All that mean something in the basic plane, and some hundreds beyond.
  return Array.from({ length: 40_000 }, (_, place) => fourBytes(place)).concat(Array.from({ length: 600 }, (_, place) => fourBytes(189_000 + place * 1_750)));
}

function fourBytes(linear: number): Buffer {
  return Buffer.from([0x81 + Math.floor(linear / 12_600), 0x30 + (Math.floor(linear / 1_260) % 10), 0x81 + (Math.floor(linear / 10) % 126), 0x30 + (linear % 10)]);
}

function isDoubleByte(charset: string): charset is keyof typeof LAYOUTS {
  return Object.hasOwn(LAYOUTS, charset);
}

const UNICODE: Readonly<Record<string, (point: number) => Buffer>> = {
  utf8mb3: (point) => Buffer.from(String.fromCodePoint(point)),
  utf8mb4: (point) => Buffer.from(String.fromCodePoint(point)),
  ucs2: (point) => Buffer.from(String.fromCodePoint(point), 'utf16le').swap16(),
  utf16: (point) => Buffer.from(String.fromCodePoint(point), 'utf16le').swap16(),
  utf16le: (point) => Buffer.from(String.fromCodePoint(point), 'utf16le'),
  utf32: (point) => Buffer.from([0, point >> 16, (point >> 8) & 0xff, point & 0xff]),
};

/** All of the basic plane but the surrogates; every 257th beyond, where the charset has them. */
function unicodeCodes(charset: string): Buffer[] {
  const encode = UNICODE[charset] ?? (() => Buffer.alloc(0));
  const points = Array.from({ length: 0x10000 }, (_, point) => point).filter((point) => point < 0xd800 || point > 0xdfff);
  const beyond = charset === 'utf8mb3' || charset === 'ucs2' ? [] : Array.from({ length: 4080 }, (_, place) => 0x10000 + place * 257);
  return [...points, ...beyond].map(encode);
}

/** Every code and collation of every charset of a server, against this server. @throws where a transcoder differs */
export async function checkCharsets(version: MysqlVersion): Promise<void> {
  await using server = await startMysql({ version });
  await using session = disposable(await connect(server));
  const { connection } = session;
  await connection.query('SET sql_log_bin = 0; CREATE DATABASE c; USE c; CREATE TABLE codes (i int PRIMARY KEY, b varbinary(4)) ENGINE = MEMORY');
  const wrong: string[] = [];
  const names = (await rowsOf(connection, 'SHOW CHARACTER SET')).map(([name]) => name?.toString() ?? '').filter((name) => name !== 'binary');
  expect(names.length).toBeGreaterThanOrEqual(39);
  for (const charset of names) {
    const codes = UNICODE[charset] === undefined ? codesOf(charset) : unicodeCodes(charset);
    await connection.query('TRUNCATE codes');
    for (let from = 0; from < codes.length; from += 20_000) {
      const rows = codes.slice(from, from + 20_000).map((code, place) => `(${from + place},x'${code.toString('hex')}')`);
      await connection.query(`INSERT INTO codes VALUES ${rows.join()}`);
    }
    const converted = await rowsOf(connection, `SELECT CONVERT(CONVERT(b USING ${charset}) USING utf8mb4), CHAR_LENGTH(CONVERT(b USING ${charset})) = 1 AND LENGTH(CONVERT(b USING ${charset})) = LENGTH(b) FROM codes ORDER BY i`);
    wrong.push(...differences(charset, codes, converted));
  }
  expect(wrong).toEqual([]);
  const table = server.flavor === 'mysql' || version === 'mariadb-10.11' ? 'collations' : 'collation_character_set_applicability';
  const rows = await rowsOf(connection, `SELECT id, character_set_name FROM information_schema.${table} WHERE id IS NOT NULL AND character_set_name IS NOT NULL`);
  const others = rows.filter(([id, charset]) => charsetOfCollation(Number(id)) !== charset?.toString().replace(/^utf8$/, 'utf8mb3'));
  expect(others.map(String)).toEqual([]);
  expect(rows.length).toBeGreaterThan(200);
}

function differences(charset: string, codes: readonly Buffer[], converted: readonly (readonly (Buffer | null)[])[]): string[] {
  const transcoder = requireTranscoder(charset, 'replace');
  const into = Buffer.alloc(16);
  let compared = 0;
  const found = codes.flatMap((code, place) => {
    const [text, isOne] = converted[place] ?? [];
    // What is no character, or is one only by what the server makes of it, has no conversion to compare with.
    if (text === null || text === undefined || isOne?.toString() !== '1' || text.length === 0) return [];
    compared++;
    const own = into.subarray(0, transcoder.transcode(code, 0, code.length, into, 0));
    return own.equals(text) ? [] : [`${charset} ${code.toString('hex')}: ${own.toString('hex')}, not ${text.toString('hex')}`];
  });
  return compared < 128 ? [...found, `${charset}: only ${compared} codes`] : found.slice(0, 10);
}
