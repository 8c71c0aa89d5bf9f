import type { Catalog, CatalogTable } from '../../../../contracts/catalog.ts';
import { encodeSchema, type TableSchema } from '../../../../contracts/schema.ts';
import type { CopyReason } from './table-copy.ts';

/** Tables that somebody asked to have copied again, by table id. */
export type Requests = ReadonlySet<number>;

/** Why a table is to be copied now; null: it is not. */
export function reasonFor(table: CatalogTable, requests: Requests): CopyReason | null {
  switch (table.state.state) {
    case 'new':
      return table.consistent.length > 0 ? 'recopy' : 'first';
    case 'copying':
      // Resumed, under the reason that the log has.
      return 'recopy';
    case 'stopped':
      return table.state.recopy || requests.has(table.tableId) ? 'recopy' : null;
    case 'consistent':
      return requests.has(table.tableId) ? 'recopy' : null;
    case 'removed':
      return null;
  }
}

/** The tables to copy, those under way first, then in the order in which they came into the log. */
export function candidates(catalog: Catalog, requests: Requests, except: (tableId: number) => boolean): { tableId: number; reason: CopyReason }[] {
  const found: { tableId: number; reason: CopyReason; underWay: boolean }[] = [];
  for (const table of catalog.tables()) {
    const reason = reasonFor(table, requests);
    if (reason === null || except(table.tableId)) continue;
    found.push({ tableId: table.tableId, reason, underWay: table.state.state === 'copying' });
  }
  found.sort((a, b) => Number(b.underWay) - Number(a.underWay) || a.tableId - b.tableId);
  return found;
}

/** True when there is one. Asked at every change of the catalog. */
export function isAnyCandidate(catalog: Catalog, requests: Requests, except: (tableId: number) => boolean): boolean {
  return catalog.some((table) => reasonFor(table, requests) !== null && !except(table.tableId));
}

/** Those that the log does not have, or not as they are: the others need not be looked at again, and they may be thousands. */
export function unlogged(catalog: Catalog, present: readonly TableSchema[]): TableSchema[] {
  const logged = new Map<string, TableSchema>();
  for (const table of catalog.tables()) {
    const schema = table.versions.at(-1)?.schema;
    if (schema !== undefined && table.state.state !== 'removed') logged.set(schema.sourceTableId, schema);
  }
  return present.filter((table) => {
    const known = logged.get(table.sourceTableId);
    return known === undefined || !encodeSchema({ ...known, tableId: 0, version: 0 }).equals(encodeSchema({ ...table, tableId: 0, version: 0 }));
  });
}
