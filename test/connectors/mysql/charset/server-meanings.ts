/** What a server says the codes of its charsets mean. */
import type { Connection } from 'mysql2/promise';
import { LAYOUTS } from '../../../../connectors/mysql/charset/double-byte-layout.ts';
import { rowsOf } from '../values/capture.ts';

const QUESTION_MARK = '3f';

/** All charsets of the server but those of Unicode and `binary`. */
export async function tabledCharsets(connection: Connection): Promise<string[]> {
  const names = (await rowsOf(connection, 'SHOW CHARACTER SET')).map(([name]) => name?.toString() ?? '');
  return names.filter((name) => !/^(utf|ucs|binary)/.test(name));
}

/** Codes that stand alone as one character, in hexadecimal, and what the server converts each to, as UTF-8 in hexadecimal. */
export async function conversions(connection: Connection, charset: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const source of sources(charset)) {
    const sql = `SELECT b, LOWER(HEX(CONVERT(CONVERT(UNHEX(b) USING ${charset}) USING utf8mb4))) FROM (${source}) codes WHERE CHAR_LENGTH(CONVERT(UNHEX(b) USING ${charset})) = 1`;
    for (const [code, text] of await rowsOf(connection, sql)) {
      const bytes = text?.toString() ?? '';
      if (code !== null && code !== undefined && bytes !== '') found.set(code.toString(), bytes);
    }
  }
  return found;
}

function isQuestionMark(code: string, text: string): boolean {
  return text === QUESTION_MARK && code !== QUESTION_MARK;
}

/** Code points of the codes that have one. */
export function meanings(all: ReadonlyMap<string, string>): Map<string, number> {
  const named = [...all].filter(([code, text]) => !isQuestionMark(code, text));
  return new Map(named.map(([code, text]) => [code, Buffer.from(text, 'hex').toString().codePointAt(0) ?? 0]));
}

const BYTES = `(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 255) SELECT i, LOWER(LPAD(HEX(i), 2, '0')) AS h FROM n)`;

function sources(charset: string): string[] {
  const one = `SELECT a.h AS b FROM ${BYTES} a`;
  if (!Object.hasOwn(LAYOUTS, charset)) return [one];
  const two = `SELECT CONCAT(a.h, b.h) AS b FROM ${BYTES} a JOIN ${BYTES} b`;
  const three = `SELECT CONCAT('8f', a.h, b.h) AS b FROM ${BYTES} a JOIN ${BYTES} b`;
  if (charset === 'ujis' || charset === 'eucjpms') return [one, two, three];
  return charset === 'gb18030' ? [one, two, ...fourByteSources()] : [one, two];
}

/** One for each first byte. */
function fourByteSources(): string[] {
  return Array.from({ length: 0x7e }, (_, place) => {
    const digit = `(SELECT h FROM ${BYTES} d WHERE i BETWEEN 48 AND 57)`;
    return `SELECT CONCAT('${(0x81 + place).toString(16)}', a.h, b.h, c.h) AS b FROM ${digit} a JOIN (SELECT h FROM ${BYTES} d WHERE i BETWEEN 129 AND 254) b JOIN ${digit} c`;
  });
}
