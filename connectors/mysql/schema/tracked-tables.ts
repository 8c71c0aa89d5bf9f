import type { Catalog, CatalogTable } from '../../../contracts/catalog.ts';
import type { ErrorCode } from '../../../contracts/errors/catalogue.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { TableRef } from '../catalog/table-reading.ts';
import type { TableName } from '../ddl/context.ts';

/** A table as the stream has put it into the log. Immutable. */
export interface TrackedTable {
  /** The newest schema that was emitted. */
  readonly schema: TableSchema;
  /**
   * Why its columns are not known for sure: rows are passed over until it has been read again, which ends with a stop and a
   * new copy. Null: they are known.
   */
  readonly blind: TidemarkError | null;
}

/** Codes of stops after which a table's columns are not known; with `recopy` false, which comes once they are. */
const BLIND: ReadonlySet<string> = new Set<ErrorCode>(['MYSQL_STATEMENT', 'MYSQL_SHAPE', 'MYSQL_INCIDENT', 'MYSQL_TYPE_UNKNOWN', 'MYSQL_COLUMN_RULE', 'MYSQL_CASCADE', 'MYSQL_ENGINE']);

export function blinds(code: ErrorCode): boolean {
  return BLIND.has(code);
}

/** How tables are told apart: names as `lower_case_table_names` has them. */
export function tableKey({ database, table }: TableName): string {
  return `${database}\0${table}`;
}

export function nameOf({ namespace, name }: TableRef): TableName {
  return { database: namespace, table: name };
}

export function refOf({ database, table }: TableName): TableRef {
  return { namespace: database, name: table };
}

/** The tables of the log as the stream leaves it: begun from the catalog, moved on with each record that is emitted. */
export class TrackedTables {
  readonly #byId = new Map<string, TrackedTable>();
  readonly #byName = new Map<string, TrackedTable>();
  readonly #goodAtStart = new Map<string, Offset>();
  readonly #keyOf: (table: TableRef) => string;
  #nextTableId: number;
  /** Moves on with every change of any table. */
  revision = 0;

  constructor(catalog: Catalog, keyOf: (table: TableRef) => string) {
    this.#keyOf = keyOf;
    this.#nextTableId = catalog.nextTableId();
    for (const table of catalog.tables()) {
      const schema = table.versions.at(-1)?.schema;
      if (schema === undefined || table.state.state === 'removed') continue;
      const known = this.#byId.get(schema.sourceTableId);
      if (known !== undefined && known.schema.tableId > schema.tableId) continue;
      this.put({ schema, blind: blindnessOf(table, schema) });
      this.#goodAtStart.set(schema.sourceTableId, knownGood(table));
    }
  }

  get(sourceTableId: string): TrackedTable | undefined {
    return this.#byId.get(sourceTableId);
  }

  byKey(key: string): TrackedTable | undefined {
    return this.#byName.get(key);
  }

  all(): IterableIterator<TrackedTable> {
    return this.#byId.values();
  }

  /** Where nothing is remembered: the last offset at which the log says by itself that the table was good. */
  goodAtStart(sourceTableId: string): Offset {
    return this.#goodAtStart.get(sourceTableId) ?? 0;
  }

  newTableId(): number {
    return this.#nextTableId++;
  }

  put(table: TrackedTable): void {
    this.revision++;
    const { sourceTableId } = table.schema;
    this.#forgetName(this.#byId.get(sourceTableId));
    this.#byId.set(sourceTableId, table);
    this.#byName.set(this.#keyOf(table.schema), table);
  }

  remove(table: TrackedTable): void {
    this.revision++;
    this.#forgetName(table);
    this.#byId.delete(table.schema.sourceTableId);
    this.#goodAtStart.delete(table.schema.sourceTableId);
  }

  /** Another one may have the name already: tables swap theirs. */
  #forgetName(table: TrackedTable | undefined): void {
    if (table === undefined) return;
    const key = this.#keyOf(table.schema);
    if (this.#byName.get(key)?.schema.sourceTableId === table.schema.sourceTableId) this.#byName.delete(key);
  }
}

function blindnessOf({ state }: CatalogTable, schema: TableSchema): TidemarkError | null {
  const where = { where: { table: tableName(schema) } };
  if (schema.definition === undefined) return new TidemarkError('MYSQL_SHAPE', `the log does not say how ${tableName(schema)} is defined`, where);
  if (state.state !== 'stopped' || state.recopy || !BLIND.has(state.code)) return null;
  return new TidemarkError('MYSQL_SHAPE', state.why, where);
}

/** A schema record and a completed copy were both written by somebody who knew the table. */
function knownGood({ state, versions }: CatalogTable): Offset {
  const described = versions.at(-1)?.offset ?? 0;
  if (state.state === 'consistent') return Math.max(state.since, described);
  return state.state === 'stopped' ? state.consistentUntil : 0;
}
