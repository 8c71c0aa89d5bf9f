/** What the types of a replica depend on at its server. */
import { isAtLeast, type ServerVersion } from '../../../contracts/types/mysql-version.ts';

export interface ReplicaServer {
  readonly version: ServerVersion;
  /** Names of `information_schema.COLLATIONS` (MariaDB: of `COLLATION_CHARACTER_SET_APPLICABILITY` as FULL_COLLATION_NAME), with their charset. */
  readonly collations: ReadonlyMap<string, string>;
  /** Bytes that the columns of one index may take: 3072 with pages of 16 KiB and more, 1536 and 768 with smaller ones; 767 in the row formats COMPACT and REDUNDANT. */
  readonly indexBytes: number;
}

/**
 * The session that values are written and read in. Dates are kept as they are, zero or not (`ALLOW_INVALID_DATES`); what a
 * column cannot hold is an error, or, in LOAD DATA LOCAL without REPLACE, a warning: a load counts only when the server
 * answers `Warnings: 0`.
 */
export const REPLICA_SESSION_SQL =
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', sql_big_selects = 1";

/** What LOAD DATA reads the fields of `ValueForm.field` by. */
export const LOAD_FORMAT_SQL = "CHARACTER SET binary FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'";

/** InnoDB's limit by the size of its pages (`innodb_page_size`), in the row format DYNAMIC. */
export function indexBytes(pageSize: number): number {
  return pageSize >= 16_384 ? 3_072 : pageSize >= 8_192 ? 1_536 : 768;
}

export function hasVectors({ version }: ReplicaServer): boolean {
  return version.flavor === 'mysql' ? isAtLeast(version, 9, 0, 0) : isAtLeast(version, 11, 7, 1);
}

export function hasUuids({ version }: ReplicaServer): boolean {
  return version.flavor === 'mariadb' && isAtLeast(version, 10, 7, 0);
}

/** inet4 came later than inet6. */
export function hasAddresses({ version }: ReplicaServer): boolean {
  return version.flavor === 'mariadb' && isAtLeast(version, 10, 10, 0);
}

/** A `timestamp` goes to 2106, elsewhere to January 2038. */
export function hasLongTimestamps({ version }: ReplicaServer): boolean {
  return version.flavor === 'mariadb' && isAtLeast(version, 11, 5, 0);
}

/** Columns of text, bytes, json and shapes may have defaults. */
export function hasLargeDefaults({ version }: ReplicaServer): boolean {
  return version.flavor === 'mariadb' || isAtLeast(version, 8, 0, 13);
}

/** The collation of utf8mb4 under which two texts are equal only when their bytes are, blanks at the end too; null: the server has none. */
export function exactCollation({ version, collations }: ReplicaServer): string | null {
  // MariaDB from 11.4.5 on takes MySQL's name too; its own is known to all of them.
  const name = version.flavor === 'mysql' ? 'utf8mb4_0900_bin' : 'utf8mb4_nopad_bin';
  return collations.has(name) ? name : null;
}
