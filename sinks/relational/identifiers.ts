/** Names of tables and columns as a replica can have them: databases differ in length, letters and case. Pure. */
import { crc32 } from 'node:zlib';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';

export interface IdentifierRules {
  readonly server: string;
  /** Of a name, in what `size` counts. */
  readonly most: number;
  readonly size: (name: string) => number;
  /** Letters that no name may have; each becomes `_`. */
  readonly refused: RegExp | null;
  /** Two names that fold to the same are one name to the server. */
  readonly fold: (name: string) => string;
}

/** Bytes, of whatever letters and case. */
export const POSTGRES_NAMES: IdentifierRules = {
  server: 'Postgres', most: 63, size: (name) => Buffer.byteLength(name, 'utf8'), refused: null, fold: (name) => name,
};

/** Characters of the basic plane; columns are the same whatever their case. */
export const MYSQL_COLUMN_NAMES: IdentifierRules = {
  server: 'MySQL', most: 64, size: (name) => name.length, refused: /[\u{10000}-\u{10ffff}\0]|\s$/gu, fold: (name) => name.toLowerCase(),
};

/** Of the same letters; whether case counts says `lower_case_table_names` of the server. */
export const MYSQL_TABLE_NAMES: IdentifierRules = { ...MYSQL_COLUMN_NAMES, fold: (name) => name };

/** A column of the log as a MySQL server tells it from others. */
export function mysqlColumn(name: string): string {
  return MYSQL_COLUMN_NAMES.fold(fitName(name, MYSQL_COLUMN_NAMES));
}

/** `_` and the sum of the whole name. */
const SUM_CHARACTERS = 9;

/**
 * The name as the server can have it: itself wherever that is possible. One that is too long, or has letters that the
 * server does not take, ends with a sum of the whole name, so that names that differ late stay apart.
 */
export function fitName(name: string, rules: IdentifierRules): string {
  const clean = rules.refused === null ? name : name.replaceAll(rules.refused, '_');
  if (clean === name && rules.size(name) <= rules.most) return name;
  const letters = Array.from(clean);
  while (rules.size(letters.join('')) > rules.most - SUM_CHARACTERS) letters.pop();
  return `${letters.join('')}_${crc32(Buffer.from(name, 'utf8')).toString(16).padStart(8, '0')}`;
}

/** @param names of the columns at the replica, in the schema's order @throws TidemarkError `REPLICA_NAMES` with both names */
export function requireDistinct(schema: TableSchema, names: readonly string[], rules: IdentifierRules): void {
  const taken = new Map<string, number>();
  for (const [index, name] of names.entries()) {
    const other = taken.get(rules.fold(name));
    if (other !== undefined) {
      throw new TidemarkError('REPLICA_NAMES', `the columns ${schema.columns[other]?.name ?? ''} and ${schema.columns[index]?.name ?? ''} are one and the same to ${rules.server}`, {
        where: { table: tableName(schema) },
        remedy: 'Rename one of them, or leave it out at the source with `columns`.',
      });
    }
    taken.set(rules.fold(name), index);
  }
}
