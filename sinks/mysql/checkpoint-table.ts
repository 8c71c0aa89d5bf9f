/** The sink's own tables: `checkpoint`, a row for each sink, and `mirrored_table`, a row for each table that a sink has made or filled. */
import type { CheckpointMove } from '../relational/apply-line.ts';
import type { StoredCheckpoint } from '../relational/checkpoint.ts';
import type { Session } from './session.ts';
import { hexLiteral, quoteName, quoteText } from './sql.ts';

/** `` `tidemark`.`checkpoint` `` */
export function checkpointTable(ownDatabase: string): string {
  return `${quoteName(ownDatabase)}.checkpoint`;
}

export function mirroredTable(ownDatabase: string): string {
  return `${quoteName(ownDatabase)}.mirrored_table`;
}

const NAME = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL';

export function ownTablesSql(ownDatabase: string): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${checkpointTable(ownDatabase)} (
       sink varchar(255) ${NAME} PRIMARY KEY,
       log_id char(32) CHARACTER SET ascii NOT NULL,
       epoch varchar(32) CHARACTER SET ascii NOT NULL,
       \`offset\` bigint NOT NULL,
       \`position\` longblob NOT NULL,
       fence bigint NOT NULL,
       owner varchar(64) CHARACTER SET ascii NOT NULL,
       commit_time datetime(6),
       load_cursor longblob,
       intent longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
       applied_at datetime(6)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${mirroredTable(ownDatabase)} (
       database_name varchar(64) ${NAME},
       table_name varchar(64) ${NAME},
       sink varchar(255) ${NAME},
       table_id bigint NOT NULL,
       shape longtext ${NAME},
       PRIMARY KEY (database_name, table_name)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`,
  ];
}

/** A checkpoint with the change of shape that was begun and not ended. */
export interface OwnCheckpoint extends StoredCheckpoint {
  readonly intent: string | null;
}

/** The row of a sink, null when it has none; locked until the transaction ends when `lock`. */
export async function readCheckpoint(session: Session, ownDatabase: string, sink: string, lock: boolean): Promise<OwnCheckpoint | null> {
  const [row] = await session.rows(
    `SELECT log_id, epoch, CAST(\`offset\` AS CHAR) AS at, HEX(\`position\`) AS place, HEX(load_cursor) AS cursor_bytes, CAST(fence AS CHAR) AS fence, owner, intent
       FROM ${checkpointTable(ownDatabase)} WHERE sink = ${quoteText(sink)}${lock ? ' FOR UPDATE' : ''}`,
  );
  if (row === undefined) return null;
  const cursor = row['cursor_bytes'] ?? null;
  return {
    logId: row['log_id'] ?? '',
    epoch: row['epoch'] ?? '',
    offset: Number(row['at']),
    position: Buffer.from(row['place'] ?? '', 'hex'),
    cursor: cursor === null ? null : Buffer.from(cursor, 'hex'),
    fence: Number(row['fence']),
    owner: row['owner'] ?? '',
    intent: row['intent'] ?? null,
  };
}

/** Sets the row at an opening: a new fence and owner; the rest as given, where there was none. */
export async function writeOpened(session: Session, ownDatabase: string, sink: string, opened: StoredCheckpoint): Promise<void> {
  const { logId, epoch, offset, position, fence, owner } = opened;
  await session.run(
    `INSERT INTO ${checkpointTable(ownDatabase)} (sink, log_id, epoch, \`offset\`, \`position\`, fence, owner)
     VALUES (${quoteText(sink)}, ${quoteText(logId)}, ${quoteText(epoch)}, ${offset}, ${hexLiteral(position)}, ${fence}, ${quoteText(owner)})
     ON DUPLICATE KEY UPDATE fence = ${fence}, owner = ${quoteText(owner)}`,
  );
}

/** The compare-and-set. It has found its row when one row was found. */
export function moveSql(ownDatabase: string, move: CheckpointMove): string {
  return `UPDATE ${checkpointTable(ownDatabase)} SET epoch = ${quoteText(move.epoch)}, \`offset\` = ${move.to}, \`position\` = ${hexLiteral(move.position)},
    load_cursor = ${move.cursor === null ? 'NULL' : hexLiteral(move.cursor)}, commit_time = ${commitTime(move.commitTime)}, applied_at = UTC_TIMESTAMP(6)
    WHERE ${ownedSql(move, move.fromEpoch, move.from)}`;
}

/** What stands there is what this opening of the sink knows of. */
export function ownedSql({ sink, logId, fence, owner }: Pick<CheckpointMove, 'sink' | 'logId' | 'fence' | 'owner'>, epoch: string, offset: number): string {
  return `sink = ${quoteText(sink)} AND log_id = ${quoteText(logId)} AND fence = ${fence} AND owner = ${quoteText(owner)} AND epoch = ${quoteText(epoch)} AND \`offset\` = ${offset}`;
}

/** @param time microseconds since 1970 */
function commitTime(time: number): string {
  return `TIMESTAMPADD(MICROSECOND, ${Math.round(time)}, '1970-01-01 00:00:00.000000')`;
}
