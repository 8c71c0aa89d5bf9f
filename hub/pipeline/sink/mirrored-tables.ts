import type { Catalog, CatalogTable } from '../../../contracts/catalog.ts';
import type { Control } from '../../../contracts/control.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
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
  readonly #tables = new Map<number, MirroredTable>();
  readonly #versions = new Map<string, TableSchema>();
  readonly #joined: TableSchema[] = [];

  /** @param after the state is that of this offset; `catalog` may be newer. */
  constructor(catalog: Catalog, after: Offset, selects: TableSelector) {
    this.#selects = selects;
    for (const table of catalog.tables()) {
      for (const { schema } of table.versions) this.#remember(schema);
      const schema = schemaAt(table, after);
      if (schema === undefined || !selects(schema) || (table.state.state === 'removed' && table.state.at <= after)) continue;
      this.#tables.set(table.tableId, { schema, consistent: consistentAt(table, after) });
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

  /** Moves on over an `s` record; the step that a sink needs, null when the table is none of its own. */
  schemaChanged(after: TableSchema): SinkStep | null {
    this.#remember(after);
    const known = this.#tables.get(after.tableId);
    if (!this.#selects(after)) {
      if (known === undefined) return null;
      this.#tables.delete(after.tableId);
      return { kind: 'table-state', table: known.schema, state: 'removed' };
    }
    if (known === undefined && after.version > 1) this.#joined.push(after);
    this.#tables.set(after.tableId, { schema: after, consistent: known?.consistent ?? false });
    return { kind: 'schema', before: known?.schema ?? null, after };
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
    if (control.type === 'removed') this.#tables.delete(tableId);
    return { kind: 'table-state', table: known.schema, state: control.type };
  }

  #remember(schema: TableSchema): void {
    this.#versions.set(`${schema.tableId}/${schema.version}`, schema);
  }
}

function schemaAt(table: CatalogTable, offset: Offset): TableSchema | undefined {
  return table.versions.findLast((version) => version.offset <= offset)?.schema;
}

function consistentAt(table: CatalogTable, offset: Offset): boolean {
  return table.consistent.some((range) => range.from <= offset && (range.to === null || offset <= range.to));
}
