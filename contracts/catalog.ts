import { decodeControl, type Control } from './control.ts';
import { TidemarkError } from './errors/error.ts';
import type { Offset } from './offset.ts';
import { Op } from './op.ts';
import type { RecordView } from './record.ts';
import { decodeSchema, tableName, type TableSchema } from './schema.ts';

/** Where a table stands. */
export type TableState =
  /** Known, not copied yet. */
  | { readonly state: 'new' }
  | { readonly state: 'copying'; readonly since: Offset; readonly reason: string; readonly copyState: string; readonly ranges: readonly string[]; readonly rows: number }
  | { readonly state: 'consistent'; readonly since: Offset }
  | { readonly state: 'stopped'; readonly at: Offset; readonly consistentUntil: Offset; readonly code: string; readonly why: string; readonly recopy: boolean }
  | { readonly state: 'removed'; readonly at: Offset };

/** A range of offsets (from .. to, both included) at which the table in the log equals the table at the source. */
export interface ConsistentRange {
  readonly from: Offset;
  /** Null while the range is open. */
  readonly to: Offset | null;
}

export interface CatalogTable {
  readonly tableId: number;
  /** Every version, by version number - 1. */
  readonly versions: readonly { readonly offset: Offset; readonly schema: TableSchema }[];
  readonly state: TableState;
  readonly consistent: readonly ConsistentRange[];
}

/**
 * What the log says of its tables: the fold of its `s` and `h` records. Mutable, owned by one part (the log's writer, a
 * reader); `clone` gives an independent copy. All versions are kept, so that a record of any offset can be read.
 */
export class Catalog {
  readonly #tables = new Map<number, CatalogTable>();
  /** Table ids, in order, by the source's own identity: there may be thousands of tables. */
  readonly #ids = new Map<string, number[]>();
  #lastGap: Offset = 0;

  static from(tables: Iterable<CatalogTable>): Catalog {
    const catalog = new Catalog();
    for (const table of tables) catalog.put(table);
    return catalog;
  }

  clone(): Catalog {
    const catalog = Catalog.from(this.#tables.values());
    catalog.#lastGap = this.#lastGap;
    return catalog;
  }

  /** The newest `gap` record that was applied: positions of before it say nothing of the source. 0: none since the horizon. */
  get lastGap(): Offset {
    return this.#lastGap;
  }

  /** For storage: plain JSON-able objects. */
  tables(): CatalogTable[] {
    return [...this.#tables.values()];
  }

  /** True when there is a table for which `holds` is. */
  some(holds: (table: CatalogTable) => boolean): boolean {
    for (const table of this.#tables.values()) if (holds(table)) return true;
    return false;
  }

  table(tableId: number): CatalogTable | undefined {
    return this.#tables.get(tableId);
  }

  /** Takes a table as it stands in another catalog of the same log. */
  put(table: CatalogTable): void {
    const sourceTableId = table.versions.at(-1)?.schema.sourceTableId;
    if (sourceTableId !== undefined && !this.#tables.has(table.tableId)) {
      const ids = this.#ids.get(sourceTableId);
      if (ids === undefined) this.#ids.set(sourceTableId, [table.tableId]);
      else ids.push(table.tableId);
    }
    this.#tables.set(table.tableId, table);
  }

  /** The newest schema of a table. */
  schema(tableId: number): TableSchema | undefined {
    return this.#tables.get(tableId)?.versions.at(-1)?.schema;
  }

  /** The schema that a record names. @throws TidemarkError `SCHEMA_INVALID` when the log has none: corruption. */
  schemaOf(tableId: number, version: number): TableSchema {
    const found = this.#tables.get(tableId)?.versions[version - 1]?.schema;
    if (found === undefined) {
      throw new TidemarkError('SCHEMA_INVALID', `the log has no version ${version} of table id ${tableId}`);
    }
    return found;
  }

  /** The table's newest generation by the source's own identity; removed tables are not found. */
  bySourceId(sourceTableId: string): CatalogTable | undefined {
    const present = (this.#ids.get(sourceTableId) ?? []).filter((id) => this.#tables.get(id)?.state.state !== 'removed');
    return present.length === 0 ? undefined : this.#tables.get(Math.max(...present));
  }

  /** The newest generation with that name (`public.orders`); removed tables are not found. */
  byName(name: string): CatalogTable | undefined {
    let found: CatalogTable | undefined;
    for (const table of this.#tables.values()) {
      const schema = table.versions.at(-1)?.schema;
      if (schema === undefined || tableName(schema) !== name || table.state.state === 'removed') continue;
      if (found === undefined || table.tableId > found.tableId) found = table;
    }
    return found;
  }

  /** The id that the next new table gets: ids are never given twice. */
  nextTableId(): number {
    let max = 0;
    for (const id of this.#tables.keys()) if (id > max) max = id;
    return max + 1;
  }

  /** Applies the record under `view` if it is an `s` or `h` record; true if it was. @throws TidemarkError */
  apply(view: RecordView, offset: Offset): boolean {
    if (view.op === Op.schema) this.#applySchema(decodeSchema(view.after()), offset);
    else if (view.op === Op.control) this.#applyControl(view.tableId, decodeControl(view.after()), offset);
    else return false;
    return true;
  }

  #applySchema(schema: TableSchema, offset: Offset): void {
    const known = this.#tables.get(schema.tableId);
    if (schema.version !== (known?.versions.length ?? 0) + 1) {
      throw new TidemarkError('SCHEMA_INVALID', `version ${schema.version} of ${tableName(schema)} does not follow the one before`, {
        where: { table: tableName(schema), offset },
      });
    }
    this.put({
      tableId: schema.tableId,
      versions: [...(known?.versions ?? []), { offset, schema }],
      state: known?.state ?? { state: 'new' },
      consistent: known?.consistent ?? [],
    });
  }

  #applyControl(tableId: number, control: Control, offset: Offset): void {
    if (control.type === 'gap') {
      this.#lastGap = offset;
      for (const table of this.#tables.values()) {
        if (table.state.state === 'consistent') this.#set(table, { state: 'new' }, closed(table.consistent, offset - 1));
        else if (table.state.state === 'copying') this.#set(table, { state: 'new' });
      }
      return;
    }
    const table = this.#tables.get(tableId);
    if (table === undefined) {
      throw new TidemarkError('SCHEMA_INVALID', `a control record names table id ${tableId}, which has no schema`, { where: { offset } });
    }
    this.#set(table, ...nextState(table, control, offset));
  }

  #set(table: CatalogTable, state: TableState, consistent = table.consistent): void {
    this.put({ ...table, state, consistent });
  }
}

function nextState(table: CatalogTable, control: Exclude<Control, { type: 'gap' }>, offset: Offset): [TableState, readonly ConsistentRange[]] {
  const { state, consistent } = table;
  switch (control.type) {
    case 'copying':
      return [
        { state: 'copying', since: offset, reason: control.reason, copyState: control.copyState, ranges: [], rows: 0 },
        closed(consistent, offset - 1),
      ];
    case 'chunk':
      if (state.state !== 'copying') return [state, consistent];
      return [{ ...state, ranges: [...state.ranges, control.range], rows: state.rows + control.rows }, consistent];
    case 'chunks-void':
      if (state.state !== 'copying') return [state, consistent];
      return [{ ...state, copyState: control.copyState, ranges: [], rows: 0 }, consistent];
    case 'copied':
      return [{ state: 'consistent', since: offset }, [...closed(consistent, offset - 1), { from: offset, to: null }]];
    case 'stopped':
      return [
        { state: 'stopped', at: offset, consistentUntil: control.consistentUntil, code: control.code, why: control.why, recopy: control.recopy },
        closed(consistent, control.consistentUntil),
      ];
    case 'removed':
      return [{ state: 'removed', at: offset }, closed(consistent, offset - 1)];
  }
}

/** The ranges with the open one, if any, ended at `to`; one that would be empty is dropped. */
function closed(ranges: readonly ConsistentRange[], to: Offset): readonly ConsistentRange[] {
  return ranges
    .map((range) => (range.to === null || range.to > to ? { from: range.from, to } : range))
    .filter((range) => range.to === null || range.to >= range.from);
}
