import type { Catalog, CatalogTable } from '../../../../contracts/catalog.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { tableName, type Column, type TableSchema } from '../../../../contracts/schema.ts';
import { stillCopying, type CopySession } from './session.ts';

/** How long to wait for an announced schema before looking at the source's catalog again. */
const ANNOUNCE_AGAIN_MS = 5_000;

/** How rows of one shape stand to the newest shape in the log. */
export type Fit =
  /** They are of the newest shape, or of one that the log has left behind: they can be projected to the newest. */
  | 'older-or-same'
  /** They may be of a shape that the log does not have yet: its `s` must come first. */
  | 'perhaps-newer';

/** A column's shape as far as a row image depends on it. */
function sameColumn(a: Column, b: Column): boolean {
  return a.number === b.number && a.name === b.name && a.hashed === b.hashed && JSON.stringify(a.type) === JSON.stringify(b.type);
}

export function sameShape(a: TableSchema, b: TableSchema): boolean {
  return a.columns.length === b.columns.length && a.columns.every((column, index) => sameColumn(column, b.columns[index] as Column));
}

/** Columns of the key by number. */
function keyNumbers(schema: TableSchema): string {
  return schema.key.map((index) => schema.columns[index]?.number).join();
}

/**
 * A table with another key is another generation of it, which the stream begins.
 * @throws TidemarkError `COPY_SUPERSEDED`
 */
function checkKey(rows: TableSchema, table: CatalogTable): void {
  const newest = table.versions.at(-1)?.schema;
  if (newest === undefined || keyNumbers(newest) === keyNumbers(rows)) return;
  throw new TidemarkError('COPY_SUPERSEDED', 'the key of the table is another one than in the log', { where: { table: tableName(newest) } });
}

/** Numbers only grow: one that the log has never seen is newer than the log, one that it has seen and lacks was dropped. */
export function fitOf(rows: TableSchema, table: CatalogTable): Fit {
  if (table.versions.some(({ schema }) => sameShape(rows, schema))) return 'older-or-same';
  const seen = new Set(table.versions.flatMap(({ schema }) => schema.columns.map((column) => column.number)));
  const newest = Math.max(0, ...seen);
  const beyond = rows.columns.some((column) => !seen.has(column.number) && column.number > newest);
  const changed = rows.columns.some((column) => {
    const known = table.versions.at(-1)?.schema.columns.find((other) => other.number === column.number);
    return known !== undefined && !sameColumn(known, column);
  });
  return beyond || changed ? 'perhaps-newer' : 'older-or-same';
}

/**
 * Waits until rows of that shape can be written: until the log has their schema, or a newer one. Asks the stream, which
 * alone gives versions, to emit what the source's catalog shows now.
 * @throws TidemarkError `COPY_SUPERSEDED` when the table's copy is over, `COPY_VOID` when it is not at the source any more
 */
export async function awaitSchema(session: CopySession, tableId: number, since: number, rows: TableSchema, signal: AbortSignal): Promise<void> {
  for (;;) {
    const fit = await session.turns.turn((turn) => {
      const { table } = stillCopying(turn, tableId, since);
      checkKey(rows, table);
      return Promise.resolve(fitOf(rows, table));
    });
    if (fit === 'older-or-same') return;
    const now = (await session.tables(signal)).find((table) => table.sourceTableId === rows.sourceTableId);
    if (now === undefined) {
      throw new TidemarkError('COPY_VOID', 'the table is not at the source any more', { where: { table: tableName(rows) } });
    }
    session.announce([now]);
    if (await arrives(session, (catalog) => emitted(catalog, tableId, since, now), signal)) {
      const table = await session.turns.turn((turn) => Promise.resolve(stillCopying(turn, tableId, since).table));
      if (emittedBy(table, now)) return;
    }
  }
}

function emitted(catalog: Catalog, tableId: number, since: number, now: TableSchema): boolean {
  const table = catalog.table(tableId);
  if (table === undefined || table.state.state !== 'copying' || table.state.since !== since) return true;
  return emittedBy(table, now);
}

/** The catalog that was read after the rows' snapshot stands in the log: whatever the rows' shape, it is not newer. */
function emittedBy(table: CatalogTable, now: TableSchema): boolean {
  return table.versions.some(({ schema }) => sameShape(schema, now));
}

/** False when it has not come in time; the stream may have seen a newer shape and emit that one instead. */
async function arrives(session: CopySession, ready: (catalog: Catalog) => boolean, signal: AbortSignal): Promise<boolean> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const waiting = session.turns.waitCatalog(ready, either).then(() => true);
  const timer = session.runtime.clock.sleep(ANNOUNCE_AGAIN_MS, either).then(() => false);
  try {
    return await Promise.race([waiting, timer]);
  } finally {
    stop.abort();
    await Promise.allSettled([waiting, timer]);
  }
}
