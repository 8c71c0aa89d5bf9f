import { TidemarkError } from '../errors/error.ts';

export type Flavor = 'mysql' | 'mariadb';

export interface ServerVersion {
  readonly flavor: Flavor;
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** As the server says it: `10.11.18-MariaDB-log`. */
  readonly text: string;
}

/** Other servers that speak the protocol and write no binlog of MySQL's, or none that can be asked for. */
const OTHERS = /tidb|vitess|oceanbase|doris|starrocks|clickhouse|polardb-x|singlestore/i;

/** From `SELECT VERSION()`. @throws TidemarkError `MYSQL_VERSION` when the server is too old, or is no MySQL or MariaDB */
export function parseVersion(text: string): ServerVersion {
  const match = /^([0-9]+)\.([0-9]+)\.([0-9]+)/.exec(text);
  if (match === null || OTHERS.test(text)) throw new TidemarkError('MYSQL_VERSION', `the server says it is ${text === '' ? 'nothing' : text}`);
  const [major, minor, patch] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const version: ServerVersion = { flavor: /mariadb/i.test(text) ? 'mariadb' : 'mysql', major, minor, patch, text };
  const isKnown = version.flavor === 'mysql' ? isAtLeast(version, 8, 0, 0) : isAtLeast(version, 10, 6, 0);
  if (!isKnown) throw new TidemarkError('MYSQL_VERSION', `the server is ${text}`);
  return version;
}

export function isAtLeast(version: ServerVersion, major: number, minor: number, patch: number): boolean {
  if (version.major !== major) return version.major > major;
  return version.minor === minor ? version.patch >= patch : version.minor > minor;
}

/** `MySQL 9.7.4` */
export function versionName({ flavor, major, minor, patch }: ServerVersion): string {
  return `${flavor === 'mysql' ? 'MySQL' : 'MariaDB'} ${major}.${minor}.${patch}`;
}
