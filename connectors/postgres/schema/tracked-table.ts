import type { Catalog, CatalogTable } from '../../../contracts/catalog.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';

/** A table as the stream has put it into the log. */
export interface TrackedTable {
  readonly oid: number;
  /** The newest schema that was emitted. */
  readonly schema: TableSchema;
  /** Numbers of all columns that any version had. */
  readonly everLogged: ReadonlySet<number>;
}

/** The tables of the log as the stream leaves it: begun from the catalog, moved on with each record that is emitted. */
export class TrackedTables {
  readonly #byOid = new Map<number, TrackedTable>();
  /** OIDs by name. Two have the same one while it is not known yet that one of them was renamed. */
  readonly #byName = new Map<string, number[]>();
  readonly #goodAtStart = new Map<number, Offset>();
  #nextTableId: number;

  constructor(catalog: Catalog) {
    this.#nextTableId = catalog.nextTableId();
    for (const table of catalog.tables()) {
      const schema = table.versions.at(-1)?.schema;
      if (schema === undefined || table.state.state === 'removed') continue;
      const oid = Number(schema.sourceTableId);
      const known = this.#byOid.get(oid);
      if (known !== undefined && known.schema.tableId > schema.tableId) continue;
      const everLogged = new Set(table.versions.flatMap((version) => version.schema.columns.map((column) => column.number)));
      this.#put({ oid, schema, everLogged });
      this.#goodAtStart.set(oid, knownGood(table));
    }
  }

  get(oid: number): TrackedTable | null {
    return this.#byOid.get(oid) ?? null;
  }

  all(): IterableIterator<TrackedTable> {
    return this.#byOid.values();
  }

  /** Where nothing is remembered: the last offset at which the log says by itself that the table was good. */
  goodAtStart(oid: number): Offset {
    return this.#goodAtStart.get(oid) ?? 0;
  }

  byName(name: string): TrackedTable | null {
    const oid = this.#byName.get(name)?.[0];
    return oid === undefined ? null : this.get(oid);
  }

  /** The schema with its place in the log: a new table id, or the next version of the one that it has. */
  place(schema: TableSchema): TableSchema {
    if (schema.tableId === 0) return { ...schema, tableId: this.#nextTableId++, version: 1 };
    return { ...schema, version: schema.version + 1 };
  }

  emitted(schema: TableSchema): void {
    const oid = Number(schema.sourceTableId);
    const known = this.#byOid.get(oid);
    const before = known !== undefined && known.schema.tableId === schema.tableId ? known.everLogged : [];
    this.#put({ oid, schema, everLogged: new Set([...before, ...schema.columns.map((column) => column.number)]) });
  }

  removed(oid: number): void {
    this.#forgetName(oid);
    this.#byOid.delete(oid);
  }

  #put(table: TrackedTable): void {
    const name = tableName(table.schema);
    const known = this.#byOid.get(table.oid);
    if (known === undefined || tableName(known.schema) !== name) {
      this.#forgetName(table.oid);
      this.#byName.set(name, [...(this.#byName.get(name) ?? []), table.oid]);
    }
    this.#byOid.set(table.oid, table);
  }

  #forgetName(oid: number): void {
    const known = this.#byOid.get(oid);
    if (known === undefined) return;
    const name = tableName(known.schema);
    const others = this.#byName.get(name)?.filter((one) => one !== oid) ?? [];
    if (others.length > 0) this.#byName.set(name, others);
    else this.#byName.delete(name);
  }
}

/** A schema record and a completed copy were both written by somebody who had compared the table with the catalog. */
function knownGood(table: CatalogTable): Offset {
  const { state } = table;
  const described = table.versions.at(-1)?.offset ?? 0;
  if (state.state === 'consistent') return Math.max(state.since, described);
  if (state.state === 'stopped') return state.consistentUntil;
  return 0;
}
