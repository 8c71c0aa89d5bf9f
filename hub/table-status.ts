import type { CatalogTable } from '../contracts/catalog.ts';
import { CATALOGUE } from '../contracts/errors/catalogue.ts';
import type { TidemarkError } from '../contracts/errors/error.ts';
import { tableName } from '../contracts/schema.ts';
import type { TableExtent } from '../contracts/log-engine.ts';
import type { KeptView, TableStatus } from './service.ts';

/** How a table is kept, by what the log has of it. @param how as configured; default: as far as the log tells */
export function keptView({ recordsAfter, rowsAfter }: TableExtent, horizon: number, how?: KeptView['how']): KeptView {
  const told = rowsAfter > 0 ? 'window' : recordsAfter < horizon ? 'all' : 'compact';
  return { how: how ?? told, recordsAfter, rowsAfter };
}

/** A table of a log as status shows it. @param failure of its last copy, which is tried again by itself */
export function tableStatus(
  { tableId, versions, state, consistent }: CatalogTable,
  copy: TableStatus['copy'],
  failure: TidemarkError | null,
  kept: KeptView,
): TableStatus {
  const schema = versions.at(-1)?.schema;
  const stopped = state.state === 'stopped' ? state : null;
  return {
    table: schema === undefined ? `id ${tableId}` : tableName(schema),
    tableId,
    state: state.state,
    since: 'since' in state ? state.since : 'at' in state ? state.at : (versions[0]?.offset ?? 0),
    consistent,
    kept,
    copy: copy === null ? null : { rows: copy.rows, estimatedRows: copy.estimatedRows, etaSeconds: copy.etaSeconds, waitingFor: copy.waitingFor },
    stoppedBecause: stopped === null ? (failure?.message ?? null) : `${stopped.code}: ${stopped.why}`,
    remedy: stopped === null ? (failure?.remedy ?? null) : stopped.recopy ? 'Nothing: the table is copied again by itself.' : remedyOf(stopped.code),
  };
}

/** The code stands in the log, and may be of another version of the hub. */
function remedyOf(code: string): string {
  const known = Object.entries(CATALOGUE).find(([name]) => name === code)?.[1].remedy;
  return known ?? 'Copy the table again: `tidemark source recopy SOURCE TABLE`.';
}
