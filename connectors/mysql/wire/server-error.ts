/** Errors that the server answers the commands of a replica with. */
import type { ErrorCode } from '../../../contracts/errors/catalogue.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { mysqlError } from '../errors.ts';

const STATE_MARK = 0x23;
const STATE_BYTES = 6;
/** The dump failed for a reason that only its text tells. */
const FATAL_READING_BINLOG = 1236;

/** First that fits. Texts of MySQL 8.0 to 9 and MariaDB 10.6 to 11.8, with the words that both eras use. */
const REASONS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/server_uuid\/server_id|same (server_uuid|server_id)/i, 'MYSQL_SERVER_ID'],
  [/purged|could not find first log file|state is too old|cannot replicate because the (source|master)/i, 'MYSQL_BINLOG_PURGED'],
  [/more GTIDs than the|diverged|not in the master's binlog|impossible position|position > file size/i, 'MYSQL_DIVERGED'],
  [/binary log is not open/i, 'MYSQL_BINLOG_OFF'],
  [/cannot replicate anonymous transaction when AUTO_POSITION/i, 'MYSQL_GTIDS_OFF'],
  [/cannot replicate (anonymous transaction|GTID-transaction) when/i, 'MYSQL_GTID_MODE'],
  [/checksum/i, 'MYSQL_CHECKSUM'],
];

/**
 * An error packet's content (0xff first), `bytes[start .. end)`, as a TidemarkError with the server's text and number.
 */
export function serverError(bytes: Buffer, start: number, end: number): TidemarkError {
  if (end - start < 3) return new TidemarkError('MYSQL_PROTOCOL', 'an error packet ends before its number');
  const number = bytes.readUInt16LE(start + 1);
  const hasState = end - start >= 3 + STATE_BYTES && bytes[start + 3] === STATE_MARK;
  const text = bytes.toString('utf8', start + 3 + (hasState ? STATE_BYTES : 0), end);
  if (number !== FATAL_READING_BINLOG) return mysqlError(Object.assign(new Error(text), { errno: number }));
  const code = REASONS.find(([pattern]) => pattern.test(text))?.[1] ?? 'MYSQL_DUMP_REFUSED';
  return new TidemarkError(code, `${text} (error ${number})`);
}
