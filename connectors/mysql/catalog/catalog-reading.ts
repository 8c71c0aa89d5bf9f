/** What was read of the server's catalog between two places of its binlog. */
import type { Cascade } from './catalog-query.ts';
import type { TableReading, TableRef } from './table-reading.ts';

/** A place in the binlog of one server: of the one that the stream comes from. */
export interface ServerPlace {
  readonly file: string;
  readonly offset: number;
}

export interface CatalogReading {
  /** The binlog's end before the first table was read. */
  readonly from: ServerPlace;
  /** The binlog's end after the last one was read. */
  readonly until: ServerPlace;
  /** Those of the tables asked for that are there, and whose readings agree with each other. */
  readonly tables: readonly TableReading[];
  /** Those that are not there. What is in neither list was changed while it was read. */
  readonly missing: readonly TableRef[];
  /** Foreign keys whose actions change rows of the tables without a trace in the binlog. */
  readonly cascades: readonly Cascade[];
}
