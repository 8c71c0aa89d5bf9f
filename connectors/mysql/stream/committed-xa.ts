/** XA COMMIT: the rows of a prepared transaction become part of the log. */
import type { BatchBuilder } from '../../../contracts/change-batch.ts';
import type { BinlogHandler } from '../binlog/binlog-handler.ts';
import type { RowReader } from '../binlog/rows-event.ts';
import type { RowRoute } from '../binlog/row-writer.ts';
import type { TableMap } from '../binlog/table-map.ts';
import type { PreparedXa } from '../prepared-xa.ts';
import type { Prepared } from './kept-rows.ts';

export interface CommittedXaParts {
  readonly builder: BatchBuilder;
  /** Records were added. */
  readonly added: () => void;
  /** Begins the transaction, if it has not begun. */
  readonly open: () => void;
  /** Where rows of the map go now. */
  readonly route: (map: TableMap) => RowRoute | null;
  readonly rows: (rows: RowReader, map: TableMap) => void;
  readonly tooLarge: (map: TableMap, bytes: number) => void;
  /** Reads the events of the transaction from the binlog once more. */
  readonly readAgain: (xa: PreparedXa, handler: BinlogHandler) => Promise<void>;
}

/**
 * Writes the rows into the open transaction: from what was kept, where their tables are as they were; else from the binlog.
 * Answers null when it is done, or what is to be awaited.
 */
export function writeCommitted({ xa, rows }: Prepared, parts: CommittedXaParts): (() => Promise<void>) | null {
  let again = rows === null || !rows.isWhole;
  let captured = rows === null;
  const gone = new Set<number>();
  for (const [map, was] of rows?.routes ?? []) {
    const now = parts.route(map);
    if (now !== null) captured = true;
    else if (was !== null) gone.add(was.tableId);
    if (now !== null && (was === null || was.tableId !== now.tableId || was.version !== now.version)) again = true;
  }
  if (!captured) return null;
  if (again) return () => parts.readAgain(xa, groupHandler(parts));
  parts.open();
  rows?.copyInto(parts.builder, gone, parts.added);
  return null;
}

/** Of the group of a prepared transaction only the rows matter: savepoints and the end are known. */
function groupHandler(parts: CommittedXaParts): BinlogHandler {
  const ignore = (): void => undefined;
  return {
    formatDescription: ignore, rotate: ignore, previousGtids: ignore, gtidList: ignore, gtid: ignore, mariadbGtid: ignore, query: ignore, loadData: ignore,
    statementContext: ignore, rowsStatement: ignore, xid: ignore, xaPrepare: ignore, heartbeat: ignore, incident: ignore,
    tableMap: (map) => void parts.route(map),
    rows: parts.rows,
    rowsTooLarge: parts.tooLarge,
  };
}
