/** What the replica's errors mean to the hub, by the server's numbers. */
import type { ErrorCode } from '../../contracts/errors/catalogue.ts';
import { type ErrorWhere, TidemarkError } from '../../contracts/errors/error.ts';
import { mysqlError, serverErrorNumber } from '../../contracts/types/mysql-errors.ts';

const BY_NUMBER: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  // Lock wait, deadlock, a lock without waiting, a savepoint that a deadlock took, a table definition that has changed.
  ...[1205, 1213, 3572, 1305, 1412, 1615, 3058].map((number) => [number, 'REPLICA_BUSY'] as const),
  // Disk, memory, files, tables, threads, locks, log.
  ...[1021, 1030, 1037, 1038, 1041, 1114, 1135, 1206, 1534, 3169].map((number) => [number, 'REPLICA_FULL'] as const),
  // Read only for a while: a replica, or a primary that was just demoted. Connections that end.
  ...[1290, 1792, 1836, 1053, 1077, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 3024, 1969, 4031, 1040, 1203, 1226].map((number) => [number, 'SINK_UNREACHABLE'] as const),
  ...[1044, 1045, 1049, 1129, 1130, 1142, 1143, 1227, 1370, 1410, 1698, 1820, 1862, 3118, 3878, 3948, 3955, 4151].map((number) => [number, 'REPLICA_DENIED'] as const),
  // A value that a column does not take: null, length, range, syntax, characters, a duplicate, a row or a key that is too long.
  ...[
    1048, 1062, 1138, 1153, 1162, 1169, 1216, 1217, 1263, 1264, 1265, 1292, 1300, 1364, 1365, 1366, 1367, 1406, 1411, 1416, 1451, 1452, 1526, 1690, 1761, 1762, 1071, 1118, 3140, 3141, 3144, 3156,
    3819, 3854, 4025, 4078, 1859, 1586, 3903, 6138,
  ].map((number) => [number, 'SINK_DATA'] as const),
  // Columns and tables that are not there, or are there already, and what refers to them.
  ...[1050, 1051, 1054, 1060, 1061, 1068, 1072, 1091, 1109, 1136, 1146, 1347, 1356, 1828, 1829, 1832, 1833, 1834, 1846, 1906, 3105, 3106, 3107, 3108, 3732, 3734, 3780, 3837, 3959].map((number) => [number, 'REPLICA_SHAPE'] as const),
  ...[1059, 1102, 1103, 1166].map((number) => [number, 'REPLICA_STATEMENT'] as const),
]);

/** Those of the connector that mean the same here under another name. */
const BY_CODE: ReadonlyMap<ErrorCode, ErrorCode> = new Map<ErrorCode, ErrorCode>([
  ['MYSQL_UNREACHABLE', 'SINK_UNREACHABLE'],
  ['MYSQL_ACCESS', 'REPLICA_DENIED'],
  ['MYSQL_QUERY', 'REPLICA_STATEMENT'],
]);

const DUPLICATES: ReadonlySet<number> = new Set([1062, 1169, 1586, 1859]);

/** A unique index was violated. */
export function isViolation(error: unknown): boolean {
  return DUPLICATES.has(serverErrorNumber(error) ?? 0);
}

/** The rows that stand there do not allow a change of their table. */
export function isOfTheRows(error: unknown): boolean {
  return BY_NUMBER.get(serverErrorNumber(error) ?? 0) === 'SINK_DATA';
}

/** `error` as what it means to the hub. Of duplicate values the server's text is left out, since it holds them. */
export function sinkError(error: unknown, where: ErrorWhere = {}): TidemarkError {
  if (error instanceof TidemarkError) {
    const code = BY_CODE.get(error.code);
    return code === undefined ? error.at(where) : new TidemarkError(code, error.message, { where: { ...error.where, ...where }, cause: error.cause, ...(error.code === 'MYSQL_ACCESS' ? { retry: error.retry } : {}) });
  }
  const number = serverErrorNumber(error);
  if (number === null) return sinkError(mysqlError(error), where);
  const text = error instanceof Error ? error.message : String(error);
  return new TidemarkError(BY_NUMBER.get(number) ?? 'REPLICA_STATEMENT', `${withoutValues(number, text)} (error ${number})`, { where: { ...where, ...columnOf(text) }, cause: error });
}

/** `Duplicate entry '7-x' for key 'orders.PRIMARY'`, `Incorrect integer value: 'x' for column …`: the values are left out. */
function withoutValues(number: number, text: string): string {
  if (DUPLICATES.has(number)) return text.replace(/entry '.*' for/s, 'entry for');
  return text.replace(/value: '.*' for column/s, 'value for column');
}

/** The column that the server names, where it names one. */
function columnOf(text: string): ErrorWhere {
  const [, column] = /\bcolumn '([^']+)'/i.exec(text) ?? [];
  return column === undefined ? {} : { column };
}
