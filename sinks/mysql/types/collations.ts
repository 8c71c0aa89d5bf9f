/** Charset and collation of a column, as the replica has them. */
import type { MysqlType } from '../../../contracts/types/mysql-types.ts';
import { exactCollation, type ReplicaServer } from './replica-server.ts';

/** Bytes of a character at most; of those that are not here one. */
const CHARACTER_BYTES: ReadonlyMap<string, number> = new Map([
  ['utf8mb4', 4], ['utf8mb3', 3], ['utf8', 3], ['utf16', 4], ['utf16le', 4], ['utf32', 4], ['ucs2', 2], ['gb18030', 4], ['gbk', 2], ['gb2312', 2], ['big5', 2],
  ['sjis', 2], ['cp932', 2], ['euckr', 2], ['ujis', 3], ['eucjpms', 3],
]);

export function characterBytes(charset: string): number {
  return CHARACTER_BYTES.get(charset) ?? 1;
}

/** ` character set … collate …` of text that has no collation of its own: equal are texts of equal bytes. */
export function exactText(server: ReplicaServer): string {
  return textIn('utf8mb4', exactCollation(server) ?? 'utf8mb4_bin');
}

export const ASCII_TEXT = textIn('ascii', 'ascii_bin');

/** The source's charset and collation where the replica has them, else what comes nearest. Every charset is a part of utf8mb4. */
export function sameText({ charset, collation }: Pick<MysqlType, 'charset' | 'collation'>, server: ReplicaServer): string {
  const wanted = collation ?? '';
  const own = charset ?? 'utf8mb4';
  for (const found of ofCharset(own, server) ? [own, 'utf8mb4'] : ['utf8mb4']) {
    const name = nearest(found === own ? wanted : wanted.replace(own, found), found).find((one) => server.collations.get(one) === found);
    if (name !== undefined) return textIn(found, name);
  }
  return exactText(server);
}

function ofCharset(charset: string, { collations }: ReplicaServer): boolean {
  for (const one of collations.values()) if (one === charset) return true;
  return false;
}

/** Rules of comparing, by what the two families of servers call them. */
const COUNTERPARTS: readonly (readonly [wanted: RegExp, ...instead: string[]])[] = [
  [/^utf8mb4_0900_bin$/, 'utf8mb4_nopad_bin'],
  [/^utf8mb4_nopad_bin$/, 'utf8mb4_0900_bin'],
  [/^utf8mb4_(?:[a-z_]+_)?0900_(ai_ci|as_ci|as_cs)$/, 'utf8mb4_uca1400_nopad_$1', 'utf8mb4_unicode_520_nopad_ci'],
  [/^utf8mb4_uca1400_(?:[a-z]+_)?(?:nopad_)?(ai_ci|as_ci|as_cs)$/, 'utf8mb4_0900_$1'],
  [/^utf8mb4_uca1400_(?:[a-z]+_)?(?:nopad_)?ai_cs$/, 'utf8mb4_0900_as_cs'],
];

/** Names to try, the best first. */
function nearest(wanted: string, charset: string): string[] {
  const names = [wanted];
  for (const [pattern, ...instead] of COUNTERPARTS) {
    if (pattern.test(wanted)) names.push(...instead.map((name) => wanted.replace(pattern, name)));
  }
  names.push(wanted.replace('_nopad', ''));
  if (!wanted.endsWith('_ci')) names.push(`${charset}_bin`);
  names.push(`${charset}_unicode_ci`, `${charset}_general_ci`, `${charset}_swedish_ci`, `${charset}_chinese_ci`, `${charset}_japanese_ci`, `${charset}_korean_ci`, `${charset}_bin`);
  return names;
}

function textIn(charset: string, collation: string): string {
  return ` character set ${charset} collate ${collation}`;
}
