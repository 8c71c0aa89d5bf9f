import type { GtidSet } from '../gtid-set.ts';
import type { MariadbGtids } from '../mariadb-gtid.ts';
import type { FormatDescription } from './format-description.ts';
import type { GtidEvent, MariadbGtidEvent } from './gtid-events.ts';
import type { QueryEvent } from './query-event.ts';
import type { RowReader } from './rows-event.ts';
import type { Heartbeat, Incident, Rotate, StatementContext, XaPrepare } from './small-events.ts';
import type { TableMap } from './table-map.ts';

/**
 * What a binlog says, in its order. All of it is called from within `BinlogReader.event`; what is thrown comes out there
 * with the place of the event. `BinlogReader` has the header of the event and its place.
 */
export interface BinlogHandler {
  /** A file begins, or a connection. */
  formatDescription(format: FormatDescription): void;
  /** `file` is that of the events which follow. */
  rotate(event: Rotate): void;
  /** MySQL: all that was executed before this file. */
  previousGtids(gtids: GtidSet): void;
  /** MariaDB: the last of each domain before this file. */
  gtidList(gtids: MariadbGtids): void;
  /** A transaction begins: MySQL, with a GTID or anonymous. */
  gtid(event: GtidEvent): void;
  /** A transaction begins: MariaDB. */
  mariadbGtid(event: MariadbGtidEvent): void;
  /** A statement: `BEGIN`, `COMMIT`, `SAVEPOINT`, XA, DDL, or data in statement format. Valid until the call returns. */
  query(event: QueryEvent): void;
  /** A `LOAD DATA` in statement format. Valid until the call returns. */
  loadData(event: QueryEvent): void;
  /** Comes before a statement in statement format. */
  statementContext(event: StatementContext): void;
  /** The text behind the rows that follow. Valid until the call returns. */
  rowsStatement(statement: Buffer): void;
  /** Rows of a table follow. The same object while the table stays as it is. */
  tableMap(map: TableMap): void;
  /** Rows of one table; to be walked within the call, or left. */
  rows(rows: RowReader, map: TableMap): void;
  /** Rows of one table that are above the limit of an event, and are passed over: the table must stop. */
  rowsTooLarge(map: TableMap, bytes: number): void;
  /** The transaction is committed. */
  xid(): void;
  /** The transaction is prepared, or committed in one phase. */
  xaPrepare(event: XaPrepare): void;
  /** The server has nothing to send; all up to there has been sent. */
  heartbeat(event: Heartbeat): void;
  /** The server may have lost changes. */
  incident(event: Incident): void;
}
