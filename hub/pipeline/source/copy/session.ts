import type { CatalogTable, TableState } from '../../../../contracts/catalog.ts';
import type { TableCopier } from '../../../../contracts/connector.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import type { Runtime } from '../../../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../../../contracts/schema.ts';
import type { WriterTurn, WriterTurns } from '../writer-turn.ts';

/** The keys whose newest record could not be completed while their table is copied (whole-rows/). */
export interface RepairSet {
  /** Up to `limit` of them, as of everything appended so far. Call within a turn or after one. */
  repairKeys(tableId: number, limit: number): Promise<Buffer[]>;
}

/** What a copy works with, for as long as one stream runs. A cut or a reconnect begins a new session. */
export interface CopySession {
  readonly source: string;
  readonly turns: WriterTurns;
  readonly log: SourceLog;
  readonly copier: TableCopier;
  readonly repair: RepairSet;
  /** Tables as the source's catalog shows them now (SourceConnector.tables). */
  readonly tables: (signal: AbortSignal) => Promise<TableSchema[]>;
  /** ChangeStream.announce of the running stream. */
  readonly announce: (tables: readonly TableSchema[]) => void;
  readonly runtime: Runtime;
  /** A directory for sorted runs that the copies of this source alone use; made and emptied as needed. */
  readonly directory: string;
}

export interface CopySettings {
  /** Chunks, and tables that are not small, that are copied side by side. Each may hold a spool of 24 MiB. */
  readonly parallel: number;
  /** Tables that are under way at most: nearly all of a small table's time is waiting. */
  readonly tables: number;
}

export const DEFAULT_COPY_SETTINGS: CopySettings = { parallel: 2, tables: 64 };

export type CopyingState = Extract<TableState, { state: 'copying' }>;

/** How far one copy has come; estimates. */
export interface CopyProgress {
  readonly tableId: number;
  readonly table: string;
  readonly rows: number;
  readonly estimatedRows: number;
  /** Null until there is something to go by. */
  readonly etaSeconds: number | null;
  /** What it waits for, for people; '' when it copies. */
  readonly waitingFor: string;
}

/**
 * The table as this turn sees it, if its copy still is the one that began at `since`.
 * @throws TidemarkError `COPY_SUPERSEDED` when it was stopped, removed or begun anew
 */
export function stillCopying(turn: WriterTurn, tableId: number, since: Offset): { table: CatalogTable; schema: TableSchema; state: CopyingState } {
  const table = turn.catalog.table(tableId);
  const schema = table?.versions.at(-1)?.schema;
  if (table === undefined || schema === undefined || table.state.state !== 'copying' || table.state.since !== since) {
    throw new TidemarkError('COPY_SUPERSEDED', `the copy that began at offset ${since} is over: the table is ${table?.state.state ?? 'gone'}`, {
      where: schema === undefined ? {} : { table: tableName(schema) },
    });
  }
  return { table, schema, state: table.state };
}

/** @throws TidemarkError `ABORTED` */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new TidemarkError('ABORTED', 'the copy was asked to stop');
}
