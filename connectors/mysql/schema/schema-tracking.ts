/**
 * What the stream and the connector ask of whatever keeps the log's schemas in step with the source. No I/O: statements,
 * table maps and readings of the server's catalog go in; records that stand before the rows, and routes for rows, come out.
 *
 * The order in which a stream calls:
 * - `statement` for every query event and LOAD DATA but BEGIN and COMMIT. Its records belong to the transaction of the
 *   statement, before anything that follows in it.
 * - `tableMap` for every table map, before its rows are walked (it sets widths of the map that only the definition tells).
 *   Its records belong to the open transaction, before the rows.
 * - `rowFault` when a row of the map could not be written.
 * - `boundary` between two transactions, when nothing is open, while `isWaiting`: first of all before the first transaction.
 *   Each list it answers is one transaction of the hub. Also while the stream stands still: the server's end may be where
 *   the stream has been all along.
 * - `acknowledge` with what is durable.
 * What is answered has happened as far as the tracker goes: records must come into the log even where the transaction that
 * they were asked for in is rolled back.
 *
 * The order in which whoever reads the server's catalog calls: `ask`; if it wants tables, the end of the binlog is read
 * (`from`), then the tables, then the end again (`until`), all at the server that the stream comes from; then `answer`.
 * readCatalog of catalog/catalog-reading.ts does that.
 */
import type { Offset } from '../../../contracts/offset.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { TidemarkError } from '../../../contracts/errors/error.ts';
import type { FormatDescription } from '../binlog/format-description.ts';
import type { QueryEvent } from '../binlog/query-event.ts';
import type { RowRoute } from '../binlog/row-writer.ts';
import type { TableMap } from '../binlog/table-map.ts';
import type { CatalogReading, ServerPlace } from '../catalog/catalog-reading.ts';
import type { TableRef } from '../catalog/table-reading.ts';
import type { StatementEffect } from '../ddl/effects.ts';
import type { PendingRecord } from './pending-record.ts';

/** What a statement of the binlog is. */
export interface FollowedStatement {
  /** For the stream: whether it begins or ends a transaction, and CREATE TABLE … START TRANSACTION. */
  readonly effect: StatementEffect;
  /** Of its transaction; none for what begins and ends transactions. */
  readonly records: readonly PendingRecord[];
}

/** Where the rows of a table map go. */
export interface Routing {
  /** Null: the rows are passed over, unwalked: the table is not captured, or not in the log yet. */
  readonly route: RowRoute | null;
  /** Stand before the rows. The same routing comes with none of them when the same map comes again. */
  readonly records: readonly PendingRecord[];
}

/** Tables that are to be read at the server, and what is needed to judge the answer. Opaque but for `tables`. */
export interface ReadingRequest {
  readonly tables: readonly TableRef[];
}

/** A table of the log as the stream has followed it so far. */
export interface FollowedTable {
  /** Of the stream: it may be ahead of what is in the log by what is not appended yet. */
  readonly schema: TableSchema;
  /**
   * False: its columns are not known for sure just now. Its rows are passed over, so that nothing may be copied; it is read
   * anew, and then stopped and copied again.
   */
  readonly isKnown: boolean;
  /** Why they are not known; null: they are. */
  readonly fault: TidemarkError | null;
}

export interface SchemaTracking {
  // What the stream calls.

  /** @throws TidemarkError `MYSQL_BINLOG` only for bytes that are no statement: what is not understood stops its tables */
  statement(event: QueryEvent, format: FormatDescription): FollowedStatement;
  /** The hot path: while a table stays as it is, the same map is answered by one look. */
  tableMap(map: TableMap): Routing;
  /**
   * A row of the map could not be written (what RowWriter.write threw), or is above the limit: the table stops. Nothing for a
   * table that is not followed, and nothing when the statement has stopped it already.
   */
  rowFault(map: TableMap, error: TidemarkError): readonly PendingRecord[];
  /** Changes of any table may be missing: all stop. Where statements may be missing, too, all are read anew (`blinds`). */
  stopAll(error: TidemarkError): readonly PendingRecord[];
  /** The binlog lacks changes, of whatever table: all that is followed stops, and is copied again. */
  stopAll(error: TidemarkError): readonly PendingRecord[];
  /** True: `boundary` may have something to write. */
  readonly isWaiting: boolean;
  /**
   * Nothing is open, and all that the server has up to `place` has been handed to the calls above. Tables whose reading
   * the stream has now passed come into the log. @returns transactions of the hub, in order, none empty
   */
  boundary(place: ServerPlace): readonly (readonly PendingRecord[])[];
  /** The high watermark that is durable: up to where tables are known to be good when they stop. */
  acknowledge(highWatermark: Offset): void;

  // What the hub asks for.

  /** ChangeStream.announce: those that are not in the log are read at the server. */
  announce(tables: readonly TableRef[]): void;
  /**
   * Those of the selected tables that the server lists which `present` wants readings of. Tables of the log that it does not
   * list are looked for, and leave the log when it turns out that they went without a statement in the binlog.
   */
  unknown(listed: readonly TableRef[]): TableRef[];
  /**
   * SourceConnector.tables: of tables in the log their schema there (what the stream has not come to yet is no news), of
   * others that which `reading` tells, under the identity with which they will come in. Those that are refused are left out.
   */
  present(reading: Pick<CatalogReading, 'tables' | 'cascades'>): TableSchema[];

  // What whoever reads the server's catalog calls.

  /** Null: there is nothing to read now. What was asked before and was not answered is void, and is asked for again. */
  ask(): ReadingRequest | null;
  /** The tables of the request, as read; those that must be read again are asked for again. */
  answer(request: ReadingRequest, reading: CatalogReading): void;

  // What copies ask.

  /** Null: the log has no such table, or not any more. */
  table(sourceTableId: string): FollowedTable | null;
}
