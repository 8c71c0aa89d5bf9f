/** Which table a name means at a moment. */
import type { Catalog } from '../../contracts/catalog.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { exactPattern, exactTableName } from '../config/table-patterns.ts';
import { nearest } from '../config/validate.ts';

/** A table as it was at a moment. */
export interface MomentTable {
  readonly tableId: number;
  readonly at: Offset;
  /** As of `at`: knows every schema version up to there. */
  readonly catalog: Catalog;
  /** The shape that the table had at `at`. */
  readonly schema: TableSchema;
}

/**
 * The table that a name means at an offset: the one that was called so then; else the one that is called so at the end of
 * the log, by whatever name it went then.
 * @param text as the command line takes one table: `public.orders`, `public."order items"`
 * @throws TidemarkError `CONFIG_TABLE_PATTERN`, `TABLE_UNKNOWN`, `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `ABORTED`
 */
export async function tableNamed(log: SourceLog, text: string, at: Offset, signal: AbortSignal): Promise<MomentTable> {
  const name = exactTableName(text);
  const catalog = await log.catalogAt(at, signal);
  const found = named(catalog, name) ?? bySource(catalog, named(log.catalog(), name));
  if (found === null) throw unknown(log, name, at, [catalog, log.catalog()]);
  return { tableId: found.tableId, at, catalog, schema: found };
}

/** A table at two moments; null where there was none. */
export interface TablePair {
  readonly from: MomentTable | null;
  readonly to: MomentTable | null;
  /** As of each moment, with or without the table. */
  readonly fromCatalog: Catalog;
  readonly toCatalog: Catalog;
}

/**
 * The table that a name means at the later offset, else at the earlier one, at both of them: a table that was renamed
 * in between is one table, and so is one that the source has dropped and made again under its name.
 * @throws TidemarkError as {@link tableNamed}
 */
export async function tablePair(log: SourceLog, text: string, from: Offset, to: Offset, signal: AbortSignal): Promise<TablePair> {
  const name = exactTableName(text);
  const fromCatalog = await log.catalogAt(from, signal);
  const toCatalog = await log.catalogAt(to, signal);
  const later = named(toCatalog, name);
  const earlier = named(fromCatalog, name);
  const meant = later ?? earlier ?? named(log.catalog(), name);
  const last = later ?? bySource(toCatalog, meant);
  const first = bySource(fromCatalog, meant) ?? earlier;
  if (last === null && first === null) throw unknown(log, name, to, [fromCatalog, toCatalog, log.catalog()]);
  const placed = (schema: TableSchema | null, at: Offset, catalog: Catalog): MomentTable | null => (schema === null ? null : { tableId: schema.tableId, at, catalog, schema });
  return { from: placed(first, from, fromCatalog), to: placed(last, to, toCatalog), fromCatalog, toCatalog };
}

function named(catalog: Catalog, name: string): TableSchema | null {
  return catalog.byName(name)?.versions.at(-1)?.schema ?? null;
}

function bySource(catalog: Catalog, table: TableSchema | null): TableSchema | null {
  return (table === null ? undefined : catalog.bySourceId(table.sourceTableId))?.versions.at(-1)?.schema ?? null;
}

function unknown(log: SourceLog, name: string, at: Offset, catalogs: readonly Catalog[]): TidemarkError {
  const names = new Set(catalogs.flatMap((catalog) => catalog.tables().flatMap(({ versions }) => versions.at(-1)?.schema ?? [])).map(exactPattern));
  const near = nearest(name, [...names]);
  const isLater = near !== null && near === name;
  return new TidemarkError(
    'TABLE_UNKNOWN',
    `the log of ${log.source} has no table ${name} at offset ${at}${near === null ? '' : isLater ? ', but at another one' : `; the nearest name is ${near}`}`,
    { where: { source: log.source, table: name, offset: at }, ...(isLater ? { remedy: 'Name a moment at which there was the table: `tidemark tables` shows the offsets.' } : {}) },
  );
}

/** True when the log knows the table to have been equal to the source's at that offset. */
export function isConsistentAt(log: SourceLog, { tableId, at }: MomentTable): boolean {
  // By what is known at the end: a range may have been ended after the fact.
  const ranges = log.catalog().table(tableId)?.consistent ?? [];
  return ranges.some(({ from, to }) => from <= at && (to === null || at <= to));
}

/** `public.orders` */
export function nameOf({ schema }: MomentTable): string {
  return tableName(schema);
}
