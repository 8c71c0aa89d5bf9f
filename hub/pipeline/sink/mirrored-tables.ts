import type { Catalog, CatalogTable } from '../../../contracts/catalog.ts';
import type { Control } from '../../../contracts/control.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { SinkStep, TableSelector } from '../../../contracts/sink.ts';

/** One mirrored table as it is at the place where a reader stands. */
export interface MirroredTable {
  /** The newest version at that place. */
  schema: TableSchema;
  /** False from `copying`, `stopped` or a gap until `copied`: rows at the sink may be stale. */
  consistent: boolean;
}

/**
 * The tables that a sink mirrors, as of the offset up to which its log was read; moved on by the `s` and `h` records.
 * Older versions come from the log's catalog. Owned by one reader.
 */
export class MirroredTables {
  readonly #selects: TableSelector;
  readonly #handsNamesOn: boolean;
  readonly #tables = new Map<number, MirroredTable>();
  /** By name, the table that had it last. */
  readonly #byName = new Map<string, number>();
  readonly #versions = new Map<string, TableSchema>();
  readonly #joined: TableSchema[] = [];

  /**
   * @param after the state is that of this offset; `catalog` may be newer.
   * @param handsNamesOn the sink's: see `Sink.handsNamesOn`
   */
  constructor(catalog: Catalog, after: Offset, selects: TableSelector, handsNamesOn = false) {
    this.#selects = selects;
    this.#handsNamesOn = handsNamesOn;
    const here = catalog.tables().flatMap((table) => {
      for (const { schema } of table.versions) this.#remember(schema);
      const version = versionAt(table, after);
      if (version === undefined || !selects(version.schema) || (table.state.state === 'removed' && table.state.at <= after)) return [];
      return [{ table, ...version }];
    });
    // In the order in which they got their names.
    for (const { table, schema } of here.toSorted((a, b) => a.offset - b.offset)) {
      const before = this.#versions.get(`${schema.tableId}/${schema.version - 1}`);
      this.#takeName(schema, before !== undefined && selects(before));
      this.#set(schema, consistentAt(table, after));
    }
  }

  get(tableId: number): MirroredTable | undefined {
    return this.#tables.get(tableId);
  }

  /** The schemas of all mirrored tables here. */
  schemas(): TableSchema[] {
    return [...this.#tables.values()].map((table) => table.schema);
  }

  /** The schema that a record names. @throws TidemarkError `SCHEMA_INVALID` when the log has none: corruption. */
  version(tableId: number, version: number): TableSchema {
    const schema = this.#versions.get(`${tableId}/${version}`);
    if (schema === undefined) {
      throw new TidemarkError('SCHEMA_INVALID', `a record names version ${version} of table id ${tableId}, which the log does not have`);
    }
    return schema;
  }

  /**
   * Tables that came under the sink's selection by a rename: the sink has none of their older rows, so they are not
   * consistent there until they are copied again. Handed over once.
   */
  takeJoined(): TableSchema[] {
    return this.#joined.splice(0);
  }

  /** Moves on over an `s` record; the steps that a sink needs, none when the table is none of its own. */
  schemaChanged(after: TableSchema): SinkStep[] {
    this.#remember(after);
    const known = this.#tables.get(after.tableId);
    if (!this.#selects(after)) {
      if (known === undefined) return [];
      this.#delete(known.schema);
      return [{ kind: 'table-state', table: known.schema, state: 'removed' }];
    }
    const gone = this.#takeName(after, known !== undefined);
    if (known === undefined && after.version > 1) this.#joined.push(after);
    this.#set(after, known?.consistent ?? false);
    const change: SinkStep = { kind: 'schema', before: known?.schema ?? null, after };
    return gone === null ? [change] : [{ kind: 'table-state', table: gone, state: 'removed' }, change];
  }

  /** True when the control record changes what is known of a mirrored table, so that rows before it stand apart. */
  concerns(tableId: number, control: Control): boolean {
    if (control.type === 'gap') return this.#tables.size > 0;
    if (control.type === 'chunk' || control.type === 'chunks-void') return false;
    return this.#tables.has(tableId);
  }

  /** Moves on over an `h` record; the step that a sink needs, if any. */
  controlled(tableId: number, control: Control): SinkStep | null {
    if (control.type === 'gap') {
      for (const table of this.#tables.values()) table.consistent = false;
      return null;
    }
    if (control.type === 'chunk' || control.type === 'chunks-void') return null;
    const known = this.#tables.get(tableId);
    if (known === undefined) return null;
    known.consistent = control.type === 'copied';
    if (control.type === 'removed') this.#delete(known.schema);
    return { kind: 'table-state', table: known.schema, state: control.type };
  }

  /**
   * A table gets a name. Another one that has it still leaves the sink, unless the sink lets names change hands; it joins
   * again, and is copied again, with its own change of name. Answers the one that left.
   */
  #takeName(schema: TableSchema, wasMirrored: boolean): TableSchema | null {
    const holder = this.#tables.get(this.#byName.get(tableName(schema)) ?? -1);
    if (holder === undefined || holder.schema.tableId === schema.tableId || tableName(holder.schema) !== tableName(schema)) return null;
    if (wasMirrored && this.#handsNamesOn) return null;
    this.#delete(holder.schema);
    return holder.schema;
  }

  #set(schema: TableSchema, consistent: boolean): void {
    this.#tables.set(schema.tableId, { schema, consistent });
    this.#byName.set(tableName(schema), schema.tableId);
  }

  #delete(schema: TableSchema): void {
    this.#tables.delete(schema.tableId);
    if (this.#byName.get(tableName(schema)) === schema.tableId) this.#byName.delete(tableName(schema));
  }

  #remember(schema: TableSchema): void {
    this.#versions.set(`${schema.tableId}/${schema.version}`, schema);
  }
}

function versionAt(table: CatalogTable, offset: Offset): CatalogTable['versions'][number] | undefined {
  return table.versions.findLast((version) => version.offset <= offset);
}

function consistentAt(table: CatalogTable, offset: Offset): boolean {
  return table.consistent.some((range) => range.from <= offset && (range.to === null || offset <= range.to));
}
