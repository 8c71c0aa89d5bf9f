/** Routes of the table maps in use. */
import type { ColumnHash } from '../../../contracts/column-hash.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import type { RowRoute } from '../binlog/row-writer.ts';
import type { TableMap } from '../binlog/table-map.ts';
import { isSameDefinition } from '../catalog/catalog-reading.ts';
import type { TableRef } from '../catalog/table-reading.ts';
import type { TableShape } from '../ddl/shape.ts';
import type { Flavor } from '../server-version.ts';
import { shapeOf, type LogTables } from './log-tables.ts';
import { fitMap, setHiddenWidths } from './map-check.ts';
import type { PendingRecord } from './pending-record.ts';
import { routeOf, type RouteOptions } from './routes.ts';
import type { Routing } from './schema-tracking.ts';
import type { TrackedTable } from './tracked-tables.ts';

export interface MapRoutesParts {
  readonly flavor: Flavor;
  readonly hash: ColumnHash | null;
  readonly options: RouteOptions;
  readonly keyOf: (table: TableRef) => string;
  /** Rows come of a table that the log has not. */
  readonly met: (table: TableRef) => void;
  readonly want: (table: TableRef) => void;
}

interface Entry {
  /** Of the tables when the entry was last known to be true. */
  revision: number;
  readonly table: TrackedTable | undefined;
  readonly routing: Routing;
}

const NO_RECORDS: readonly PendingRecord[] = [];
const PASSED_OVER: Routing = { route: null, records: NO_RECORDS };

export class MapRoutes {
  readonly #log: LogTables;
  readonly #parts: MapRoutesParts;
  readonly #entries = new WeakMap<TableMap, Entry>();
  #last: { readonly map: TableMap; readonly entry: Entry } | null = null;
  /** By table: the last map that fitted. The server gives a table another map whenever it opens it anew. */
  readonly #fitted = new Map<string, { readonly map: TableMap; readonly table: TrackedTable; readonly routing: Routing }>();
  /** Tables whose rows did not fit the definition that they had then. */
  readonly #misfits = new Set<string>();

  constructor(log: LogTables, parts: MapRoutesParts) {
    this.#log = log;
    this.#parts = parts;
  }

  of(map: TableMap): Routing {
    const { revision } = this.#log.tables;
    if (this.#last?.map === map && this.#last.entry.revision === revision) return this.#last.entry.routing;
    const entry = this.#entries.get(map);
    if (entry !== undefined && this.#isTrue(entry, map)) {
      this.#last = { map, entry };
      return entry.routing;
    }
    return this.#enter(map);
  }

  /** A table that was read again is as it was when its rows did not fit. */
  hasRefused(table: TrackedTable, read: TableShape): boolean {
    return this.#misfits.has(table.schema.sourceTableId) && table.schema.definition !== undefined && isSameDefinition(shapeOf(table), read);
  }

  #isTrue(entry: Entry, map: TableMap): boolean {
    const { tables } = this.#log;
    if (entry.revision === tables.revision) return true;
    const ref = refOf(map);
    const table = tables.byKey(this.#parts.keyOf(ref));
    if (table !== entry.table) return false;
    if (table === undefined) this.#parts.met(ref);
    entry.revision = tables.revision;
    return true;
  }

  #enter(map: TableMap): Routing {
    const ref = refOf(map);
    const table = this.#log.tables.byKey(this.#parts.keyOf(ref));
    if (table === undefined) this.#parts.met(ref);
    const routing = table === undefined || table.blind !== null ? PASSED_OVER : this.#routed(map, table);
    // What is written now need not be written again with the next rows.
    const entry: Entry = {
      revision: this.#log.tables.revision,
      table: this.#log.tables.byKey(this.#parts.keyOf(ref)),
      routing: routing.records.length === 0 ? routing : { route: routing.route, records: NO_RECORDS },
    };
    this.#entries.set(map, entry);
    this.#last = { map, entry };
    return routing;
  }

  #routed(map: TableMap, table: TrackedTable): Routing {
    const { sourceTableId } = table.schema;
    const known = this.#fitted.get(sourceTableId);
    if (known !== undefined && known.table === table && isSameMap(known.map, map)) {
      map.widths.set(known.map.widths);
      return known.routing;
    }
    const route = this.#fit(map, table);
    if (route instanceof TidemarkError) {
      this.#misfits.add(sourceTableId);
      this.#parts.want({ namespace: table.schema.namespace, name: table.schema.name });
      return { route: null, records: this.#log.blind(table, route) };
    }
    const routing: Routing = { route, records: NO_RECORDS };
    this.#misfits.delete(sourceTableId);
    this.#fitted.set(sourceTableId, { map, table, routing });
    return routing;
  }

  #fit(map: TableMap, table: TrackedTable): RowRoute | TidemarkError {
    const { flavor, hash, options } = this.#parts;
    const { schema } = table;
    const where = { table: tableName(schema) };
    const shape = shapeOf(table);
    const fitted = fitMap(map, shape, flavor);
    if (typeof fitted === 'string') return new TidemarkError('MYSQL_SHAPE', fitted, { where });
    setHiddenWidths(map, fitted.columns);
    try {
      return routeOf(schema, shape, fitted, flavor, hash, options);
    } catch (error) {
      if (error instanceof TidemarkError && (error.code === 'MYSQL_TYPE_UNKNOWN' || error.code === 'MYSQL_TEXT')) return error.at(where);
      throw error;
    }
  }
}

function refOf({ database, table }: TableMap): TableRef {
  return { namespace: database, name: table };
}

/** Equal but for the id, and for widths that only the definition tells. */
function isSameMap(a: TableMap, b: TableMap): boolean {
  return isSameBytes(a.types, b.types) && isSameBytes(a.metadata, b.metadata) && isSameBytes(a.nullable, b.nullable) && isSameOptional(a, b);
}

function isSameOptional({ optional: a }: TableMap, { optional: b }: TableMap): boolean {
  return (
    isSameBytes(a.unsigned, b.unsigned) && isSameBytes(a.collations, b.collations) && isSameBytes(a.labelCollations, b.labelCollations) &&
    isSameBytes(a.geometryKinds, b.geometryKinds) && isSameBytes(a.vectorDimensions, b.vectorDimensions) && isSameBytes(a.visible, b.visible) &&
    JSON.stringify([a.names, a.primaryKey]) === JSON.stringify([b.names, b.primaryKey]) && isSameLabels(a.labels, b.labels)
  );
}

type Numbers = Uint8Array | Uint16Array;

function isSameBytes(a: Numbers | null, b: Numbers | null): boolean {
  return a === b || (a !== null && b !== null && a.length === b.length && a.every((value, index) => value === b[index]));
}

function isSameLabels(a: TableMap['optional']['labels'], b: TableMap['optional']['labels']): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && a.every((labels, column) => {
    const others = b[column] ?? null;
    if (labels === null || others === null) return labels === others;
    return labels.length === others.length && labels.every((label, index) => others[index]?.equals(label) === true);
  });
}
