/**
 * Keeps the log's schemas in step with the source: turns Relation messages, and what polling the catalog finds, into
 * routes for rows and into the schema and control records that must stand before them. No I/O: it is given readings.
 */
import { encodeControl, type Control } from '../../../contracts/control.ts';
import type { ErrorCode } from '../../../contracts/errors/catalogue.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { Op } from '../../../contracts/op.ts';
import type { Logger } from '../../../contracts/runtime.ts';
import { decodeSchema, encodeSchema, tableName, type TableSchema } from '../../../contracts/schema.ts';
import { EnumLabels, labelsIn, type EnumColumn } from './enum-labels.ts';
import type { PendingRecord, Route } from '../stream/route.ts';
import type { Relation } from '../stream/relation.ts';
import { rewriteReason } from './rewrite.ts';
import { RowPlan } from '../stream/row-plan.ts';
import { tupleWidth, type CatalogReading, type SourceCatalog } from '../catalog/source-catalog.ts';
import type { SourceTable } from '../catalog/source-table.ts';
import { agrees, relationOf, sameShape, shapeOf, type Shape } from './table-shape.ts';
import type { TrackedTable, TrackedTables } from './tracked-table.ts';

/** A table of the catalog, or that there is none, at one moment. */
export interface TableReading {
  readonly table: SourceTable | null;
  readonly reading: Pick<CatalogReading, 'types' | 'generated'>;
  /** A change of a partitioned table's storage since the log's schema brought no rows and took none. */
  readonly storageHarmless: boolean;
  /** The table that had this name before is gone, or has another name now. */
  readonly namesakeGone: boolean;
}

/**
 * What is remembered of a table from one stream to the next, as long as the process lives: how it was, and up to where
 * the log is known to follow it.
 */
export interface TableMemory {
  readonly goodUntil: Offset | null;
  /** The catalog when the log's schema was last brought to it; null: not yet. Never one that is ahead of the log. */
  readonly table: SourceTable | null;
  /** The log's schema then; null as long as `table` is. */
  readonly schema: TableSchema | null;
  /** Columns that had the name of a rule once: a rename must not let them out. */
  readonly ruled: ReadonlyMap<number, 'exclude' | 'hash'>;
}

export interface Resolution {
  readonly route: Route;
  /** Stand before the next record of the table. */
  readonly records: readonly PendingRecord[];
}

export class SchemaTracker {
  readonly tables: TrackedTables;
  readonly memory: Map<number, TableMemory>;
  readonly #catalog: SourceCatalog;
  readonly #logger: Logger;
  /** `format_type` by `oid:typmod`, of types that no present column has. */
  readonly typeNames = new Map<string, string>();
  readonly #askedLabels = new Map<number, Set<string>>();
  /** Tables that were stopped and why, so that it is said once. */
  readonly #stopped = new Map<number, string>();

  constructor(catalog: SourceCatalog, tables: TrackedTables, memory: Map<number, TableMemory>, logger: Logger) {
    this.#catalog = catalog;
    this.tables = tables;
    this.memory = memory;
    this.#logger = logger;
    this.#forgetUnlogged();
  }

  /** True when the reading answers every question that the message raises. */
  suffices(relation: Relation, { table, reading }: TableReading): boolean {
    const tracked = this.tables.get(relation.oid);
    if (table === null || !agrees(relation, table, reading.generated)) return false;
    if (tracked !== null) return tracked.schema.storage === undefined || tracked.schema.storage === table.storage;
    return this.tables.byName(tableName(table)) === null;
  }

  /** Where the rows of `relation` go from now on. */
  resolve(relation: Relation, reading: TableReading): Resolution {
    const tracked = this.tables.get(relation.oid);
    // The server describes a partition, too, before the rows that it publishes as the root's.
    if (reading.table?.isPartition === true || !this.#catalog.config.tables(reading.table ?? relation)) {
      return { route: passedOver(relation), records: tracked === null ? [] : this.#remove(tracked) };
    }
    if (tracked === null && reading.table === null) {
      // It came and went while the stream was behind: nothing of it can be copied, nobody can miss it.
      return { route: passedOver(relation), records: [] };
    }
    const shape = this.#shape(relation, tracked, reading);
    switch (shape.kind) {
      case 'no-identity':
        return { route: passedOver(relation), records: this.#stop(tracked, 'POSTGRES_IDENTITY', 'nothing identifies its rows any more', false) };
      case 'ruled-key':
        return { route: passedOver(relation), records: this.#stop(tracked, 'POSTGRES_COLUMN_RULE', `${shape.column}, which a column rule names, is a key column`, false) };
      case 'unclear':
        return { route: passedOver(relation), records: this.#stop(tracked, 'POSTGRES_TABLE_REWRITTEN', 'its columns cannot be told apart', true) };
      case 'rows': {
        const { schema, records } = this.#emit(shape, tracked, reading);
        if (reading.table !== null) this.#remember(reading.table, schema, agrees(relation, reading.table, reading.reading.generated));
        return { route: this.#route(relation, schema, shape, reading), records };
      }
    }
  }

  /** The records that bring the log to the catalog as it was read, without any row. */
  refresh(oid: number, reading: TableReading): readonly PendingRecord[] {
    const { table } = reading;
    if (table !== null) return this.resolve(relationOf(table, reading.reading.generated), reading).records;
    const tracked = this.tables.get(oid);
    return tracked === null ? [] : this.#remove(tracked);
  }

  /** The catalog was read, and the table is as it was: the log follows it at least up to `offset`. */
  confirm(oid: number, offset: Offset | null): void {
    const known = this.memory.get(oid);
    if (known !== undefined && offset !== null) this.memory.set(oid, { ...known, goodUntil: offset });
  }

  /** `reached`: the log's schema is that of the reading, which for a stream that is behind may be of the future. */
  #remember(table: SourceTable, schema: TableSchema, reached: boolean): void {
    const known = this.memory.get(table.oid);
    const rules = this.#catalog.rulesOf(table);
    let ruled = known?.ruled ?? NO_RULES;
    for (const column of table.columns) {
      const rule = rules?.exclude.includes(column.name) === true ? 'exclude' : rules?.hash.includes(column.name) === true ? 'hash' : null;
      if (rule !== null) ruled = new Map(ruled).set(column.number, rule);
    }
    const then = reached ? { table, schema } : { table: known?.table ?? null, schema: known?.schema ?? null };
    this.memory.set(table.oid, { goodUntil: known?.goodUntil ?? null, ruled, ...then });
  }

  /** What the stream before handed on need not have come into the log: then the change comes again, and is judged again. */
  #forgetUnlogged(): void {
    for (const [oid, known] of this.memory) {
      const logged = this.tables.get(oid)?.schema;
      const isLogged = logged?.tableId === known.schema?.tableId && logged?.version === known.schema?.version;
      if (!isLogged) this.memory.set(oid, { ...known, table: null, schema: null });
    }
  }

  #shape(relation: Relation, tracked: TrackedTable | null, { table, reading }: TableReading): Shape {
    return shapeOf({
      relation,
      logged: tracked?.schema ?? null,
      everLogged: tracked?.everLogged ?? NONE_LOGGED,
      table,
      by: this.#catalog.schemaRules(table ?? relation, reading),
      ruled: this.memory.get(relation.oid)?.ruled ?? NO_RULES,
      typeNames: this.typeNames,
      hash: this.#catalog.hash,
    });
  }

  #emit(shape: Shape & { kind: 'rows' }, tracked: TrackedTable | null, reading: TableReading): { schema: TableSchema; records: PendingRecord[] } {
    const records: PendingRecord[] = [];
    const logged = tracked?.schema ?? null;
    if (logged !== null && tracked !== null && !shape.generation) {
      if (sameShape(logged, shape.schema)) return { schema: logged, records };
      const last = this.memory.get(tracked.oid)?.table ?? null;
      const rewritten = rewriteReason({ logged, next: shape.schema, table: reading.table, last, storageHarmless: reading.storageHarmless });
      const why = rewritten ?? (shape.isSure ? null : 'its columns cannot be told apart');
      if (why !== null) records.push(...this.#stop(tracked, 'POSTGRES_TABLE_REWRITTEN', why, true));
    } else if (tracked !== null) records.push(...this.#remove(tracked));
    else records.push(...this.#replaceNamesake(shape.schema, reading));
    const record = schemaRecord(this.tables.place(shape.schema));
    // The object that all readers of the log have.
    const schema = decodeSchema(record.payload);
    this.tables.emitted(schema);
    records.push(record);
    this.#logger.log('info', 'table.changed', { table: tableName(schema), tableId: schema.tableId, version: schema.version });
    return { schema, records };
  }

  /** A table dropped and created again under its name is another table. */
  #replaceNamesake(schema: TableSchema, { namesakeGone }: TableReading): PendingRecord[] {
    const namesake = this.tables.byName(tableName(schema));
    return namesake === null || !namesakeGone ? [] : this.#remove(namesake);
  }

  #remove(tracked: TrackedTable): PendingRecord[] {
    this.tables.removed(tracked.oid);
    const ruled = this.memory.get(tracked.oid)?.ruled ?? NO_RULES;
    this.memory.delete(tracked.oid);
    // Another generation has the columns of this one: a rule holds on to them.
    if (ruled.size > 0) this.memory.set(tracked.oid, { goodUntil: null, table: null, schema: null, ruled });
    this.#logger.log('info', 'table.removed', { table: tableName(tracked.schema), tableId: tracked.schema.tableId });
    return [controlRecord(tracked.schema.tableId, { type: 'removed' })];
  }

  #stop(tracked: TrackedTable | null, code: ErrorCode, why: string, recopy: boolean): PendingRecord[] {
    if (tracked === null || (!recopy && this.#stopped.get(tracked.oid) === why)) return [];
    this.#stopped.set(tracked.oid, why);
    this.#logger.log('warn', 'table.stopped', { table: tableName(tracked.schema), code, why, recopy });
    return [this.stopRecord(tracked, code, why, recopy)];
  }

  stopRecord(tracked: TrackedTable, code: ErrorCode, why: string, recopy: boolean): PendingRecord {
    return controlRecord(tracked.schema.tableId, { type: 'stopped', code, why, consistentUntil: this.#goodUntil(tracked.oid), recopy });
  }

  #goodUntil(oid: number): Offset {
    return Math.max(this.memory.get(oid)?.goodUntil ?? 0, this.tables.goodAtStart(oid));
  }

  #enums(oid: number, schema: TableSchema, plan: RowPlan): EnumLabels | null {
    const columns = enumColumns(schema, plan);
    if (columns.length === 0) return null;
    const asked = this.#askedLabels.get(oid) ?? new Set<string>();
    this.#askedLabels.set(oid, asked);
    return new EnumLabels(columns, asked);
  }

  #route(relation: Relation, schema: TableSchema, shape: Shape & { kind: 'rows' }, { table, reading }: TableReading): Route {
    return {
      relation,
      captured: true,
      tableId: schema.tableId,
      version: schema.version,
      key: schema.key,
      plan: shape.plan,
      enums: this.#enums(relation.oid, schema, shape.plan),
      width: table === null ? null : tupleWidth(table, relation.columns.map((column) => column.typeOid), reading),
      before: [],
    };
  }
}

/** Columns whose values are kept as they come, and show labels. */
function enumColumns(schema: TableSchema, plan: RowPlan): EnumColumn[] {
  const found: EnumColumn[] = [];
  schema.columns.forEach((column, index) => {
    const planned = plan.columns[index];
    const labels = labelsIn(column.type);
    if (labels !== null && planned !== undefined && planned.source >= 0 && planned.action === 'keep') found.push({ ...labels, source: planned.source });
  });
  return found;
}

const NONE_LOGGED: ReadonlySet<number> = new Set();
const NO_RULES: ReadonlyMap<number, 'exclude' | 'hash'> = new Map();

function passedOver(relation: Relation): Route {
  return { relation, captured: false, tableId: 0, version: 0, key: [], plan: new RowPlan([], 0, null), width: null, enums: null, before: [] };
}

function schemaRecord(schema: TableSchema): PendingRecord {
  return { op: Op.schema, tableId: schema.tableId, version: schema.version, payload: encodeSchema(schema) };
}

function controlRecord(tableId: number, control: Control): PendingRecord {
  return { op: Op.control, tableId, version: 0, payload: encodeControl(control) };
}
