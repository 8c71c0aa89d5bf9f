import type { SqlContext } from './context.ts';
import { type CharsetClause, DEFAULT } from './table-options.ts';

/** Bytes that a character takes at most, and the suffix of the collation that a character set has by itself. */
const CHARSETS: Readonly<Record<string, readonly [bytes: number, suffix: string]>> = {
  armscii8: [1, 'general_ci'], ascii: [1, 'general_ci'], big5: [2, 'chinese_ci'], cp1250: [1, 'general_ci'], cp1251: [1, 'general_ci'],
  cp1256: [1, 'general_ci'], cp1257: [1, 'general_ci'], cp850: [1, 'general_ci'], cp852: [1, 'general_ci'], cp866: [1, 'general_ci'],
  cp932: [2, 'japanese_ci'], dec8: [1, 'swedish_ci'], eucjpms: [3, 'japanese_ci'], euckr: [2, 'korean_ci'], gb18030: [4, 'chinese_ci'],
  gb2312: [2, 'chinese_ci'], gbk: [2, 'chinese_ci'], geostd8: [1, 'general_ci'], greek: [1, 'general_ci'], hebrew: [1, 'general_ci'],
  hp8: [1, 'english_ci'], keybcs2: [1, 'general_ci'], koi8r: [1, 'general_ci'], koi8u: [1, 'general_ci'], latin1: [1, 'swedish_ci'],
  latin2: [1, 'general_ci'], latin5: [1, 'turkish_ci'], latin7: [1, 'general_ci'], macce: [1, 'general_ci'], macroman: [1, 'general_ci'],
  sjis: [2, 'japanese_ci'], swe7: [1, 'swedish_ci'], tis620: [1, 'thai_ci'], ucs2: [2, 'general_ci'], ujis: [3, 'japanese_ci'],
  utf16: [4, 'general_ci'], utf16le: [4, 'general_ci'], utf32: [4, 'general_ci'], utf8mb3: [3, 'general_ci'], utf8mb4: [4, 'general_ci'],
};

/** What a statement leaves to the servers' and databases' settings. */
export interface CharsetDefaults {
  /** The collation of the database in which the table is. */
  readonly databaseCollation: string;
  /**
   * Collations that character sets have by default, where the session chose others than the server's version has
   * (`default_collation_for_utf8mb4`, MariaDB's `character_set_collations`; both stand in the query event).
   */
  readonly collations?: ReadonlyMap<string, string>;
}

export interface ResolvedCharset {
  readonly charset: string;
  readonly collation: string;
}

/** MariaDB 11.5 gave the Unicode character sets collations of Unicode 14. */
const UCA1400_FROM = 110_500;
const UNICODE: ReadonlySet<string> = new Set(['utf8mb3', 'utf8mb4', 'ucs2', 'utf16', 'utf32']);

/** Bytes that a character takes at most; 1 for a character set that is not known. */
export function bytesOfCharacter(charset: string): number {
  return CHARSETS[charset]?.[0] ?? 1;
}

/** The collation that a character set has where none is named. */
function defaultCollation(charset: string, context: SqlContext, defaults: CharsetDefaults): string {
  const chosen = defaults.collations?.get(charset);
  if (chosen !== undefined) return chosen;
  if (context.flavor === 'mariadb' && context.version >= UCA1400_FROM && UNICODE.has(charset)) return `${charset}_uca1400_ai_ci`;
  return firstCollation(charset, context);
}

/** The collation that the server is built with as a character set's own. */
function firstCollation(charset: string, context: SqlContext): string {
  if (charset === 'binary') return 'binary';
  if (context.flavor === 'mysql' && charset === 'utf8mb4') return 'utf8mb4_0900_ai_ci';
  return `${charset}_${CHARSETS[charset]?.[1] ?? 'general_ci'}`;
}

/** `latin1_swedish_ci`: latin1 */
export function charsetOfCollation(collation: string): string {
  const end = collation.indexOf('_');
  return end < 0 ? collation : collation.slice(0, end);
}

/** What a clause means for a column or table whose own, or whose table's or database's, is `present`. */
export function resolveCharset(clause: CharsetClause, present: ResolvedCharset, context: SqlContext, defaults: CharsetDefaults): ResolvedCharset {
  const { collation } = clause;
  const charset = clause.charset === DEFAULT ? charsetOfCollation(defaults.databaseCollation) : clause.charset;
  if (collation === DEFAULT) {
    const of = charset ?? present.charset;
    return { charset: of, collation: firstCollation(of, context) };
  }
  if (collation !== null) {
    // MariaDB names collations of Unicode without a character set: they count in whichever it is.
    const named = collation.startsWith('uca1400_') ? `${charset ?? present.charset}_${collation}` : collation;
    return { charset: charsetOfCollation(named), collation: named };
  }
  if (charset === null) return present;
  if (clause.charset !== DEFAULT) return { charset, collation: defaultCollation(charset, context, defaults) };
  // MySQL takes the database's collation too, MariaDB its character set alone.
  return { charset, collation: context.flavor === 'mysql' ? defaults.databaseCollation : firstCollation(charset, context) };
}

export function resolvedCollation(collation: string): ResolvedCharset {
  return { charset: charsetOfCollation(collation), collation };
}
