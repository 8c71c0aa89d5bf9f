import { quoteLiteral } from '../catalog/source-table.ts';
import type { Heartbeat } from '../options.ts';

/** Logical messages with this prefix are the connector's own: they move the slot on and do not enter the log. */
export const HEARTBEAT_PREFIX = 'tidemark.heartbeat';

/** WAL in the captured database, so that the slot moves on although only other databases are busy. */
export function heartbeatStatement(heartbeat: Exclude<Heartbeat, { kind: 'none' }>): string {
  return heartbeat.kind === 'table' ? heartbeat.statement : `SELECT pg_logical_emit_message(false, ${quoteLiteral(HEARTBEAT_PREFIX)}, '')`;
}
