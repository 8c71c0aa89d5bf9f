/** What the stream makes of the log's tables: every change of them is made here, and answered as the records that say so. */
import type { Control } from '../../../contracts/control.ts';
import type { ErrorCode } from '../../../contracts/errors/catalogue.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Logger } from '../../../contracts/runtime.ts';
import { decodeSchema, tableName, type TableSchema } from '../../../contracts/schema.ts';
import { shapeOfSchema } from '../catalog/definition.ts';
import type { SourceTables } from '../catalog/source-tables.ts';
import type { TableReading, TableRef } from '../catalog/table-reading.ts';
import type { AlteredTable } from '../ddl/apply-alter.ts';
import type { TableShape } from '../ddl/shape.ts';
import type { Flavor } from '../server-version.ts';
import { alignShape } from './align.ts';
import { controlRecord, schemaRecord, truncateRecord, type PendingRecord } from './pending-record.ts';
import { recopyReason } from './recopy-reason.ts';
import { blinds, type TrackedTable, type TrackedTables } from './tracked-tables.ts';

export class LogTables {
  readonly tables: TrackedTables;
  readonly #source: SourceTables;
  readonly #flavor: Flavor;
  readonly #logger: Logger;
  #durable: Offset = 0;

  constructor(tables: TrackedTables, source: SourceTables, flavor: Flavor, logger: Logger) {
    this.tables = tables;
    this.#source = source;
    this.#flavor = flavor;
    this.#logger = logger;
  }

  acknowledge(highWatermark: Offset): void {
    this.#durable = Math.max(this.#durable, highWatermark);
  }

  /** A table that the log has not. @throws TidemarkError `MYSQL_COLUMN_RULE` */
  enter({ namespace, name, shape }: TableReading, sourceTableId: string): PendingRecord[] {
    const schema = this.#source.schema({ namespace, name }, shape, { sourceTableId, flavor: this.#flavor });
    return this.#emit({ ...schema, tableId: this.tables.newTableId(), version: 1 });
  }

  /**
   * A table of the log whose columns were not known, or are others than was known: rows may be missing, so that it is copied
   * again. @throws TidemarkError `MYSQL_COLUMN_RULE`
   */
  enterAgain(table: TrackedTable, { namespace, name, shape }: TableReading, why: TidemarkError): PendingRecord[] {
    const before = table.schema;
    const old = before.definition === undefined ? null : shapeOfSchema(before);
    const { sourceTableId } = before;
    const schema = this.#source.schema({ namespace, name }, alignShape(old, shape), { sourceTableId, flavor: this.#flavor, before });
    return this.#succeed(table, schema, { code: why.code, why: why.message });
  }

  /** After a statement. What rows do not tell of the change (`unlogged`, for people), and values that changed, start a copy. */
  change(table: TrackedTable, to: TableRef, { shape, added, rewritten }: AlteredTable, unlogged: string | null): PendingRecord[] {
    const before = table.schema;
    const fills = new Map([...added].flatMap(([number, fill]) => (fill.kind === 'constant' ? [[number, fill.text] as const] : [])));
    const schema = this.#source.schema(to, shape, { sourceTableId: before.sourceTableId, flavor: this.#flavor, before, fills });
    const why = unlogged ?? recopyReason(before, schema, added, rewritten);
    return this.#succeed(table, schema, why === null ? null : { code: 'MYSQL_TABLE_REWRITTEN', why });
  }

  rename(table: TrackedTable, to: TableRef): PendingRecord[] {
    if (table.blind === null) return this.change(table, to, { shape: shapeOfSchema(table.schema), added: new Map(), rewritten: new Set() }, null);
    const { namespace, name } = to;
    return this.#emit({ ...table.schema, namespace, name, version: table.schema.version + 1 }, table.blind);
  }

  /** The configuration may leave out or hash other columns than when the log was written. @throws TidemarkError `MYSQL_COLUMN_RULE` */
  ruleAnew(table: TrackedTable): PendingRecord[] {
    const before = table.schema;
    const shape = shapeOfSchema(before);
    const schema = this.#source.schema(before, shape, { sourceTableId: before.sourceTableId, flavor: this.#flavor, before, isRuledAnew: true });
    const why = recopyReason(before, schema, new Map(), new Set());
    return this.#succeed(table, schema, why === null ? null : { code: 'MYSQL_TABLE_REWRITTEN', why });
  }

  remove(table: TrackedTable): PendingRecord[] {
    this.tables.remove(table);
    this.#logger.log('info', 'table.removed', { table: tableName(table.schema), tableId: table.schema.tableId });
    return [controlRecord(table.schema.tableId, { type: 'removed' })];
  }

  truncate({ schema }: TrackedTable): PendingRecord[] {
    return [truncateRecord(schema)];
  }

  /** Rows go on; what is in the log does not count any more. `recopy`: a copy begins by itself. */
  stop({ schema }: TrackedTable, code: ErrorCode, why: string, recopy: boolean): PendingRecord[] {
    this.#logger.log('warn', 'table.stopped', { table: tableName(schema), code, why, recopy });
    const consistentUntil = Math.max(this.#durable, this.tables.goodAtStart(schema.sourceTableId));
    const control: Control = { type: 'stopped', code, why, consistentUntil, recopy };
    return [controlRecord(schema.tableId, control)];
  }

  /** Its columns are not known from here on: no row is written until it has been read again. Nothing when that is so already. */
  blind(table: TrackedTable, error: TidemarkError): PendingRecord[] {
    const current = this.tables.get(table.schema.sourceTableId);
    if (current === undefined || current.blind !== null) return [];
    const why = blinds(error.code) ? error : new TidemarkError('MYSQL_SHAPE', error.message, { where: error.where, cause: error });
    this.tables.put({ schema: current.schema, blind: why });
    return this.stop(current, why.code, why.message, false);
  }

  /** The next version of a table, or another generation of it. */
  #succeed(table: TrackedTable, schema: TableSchema, stop: { readonly code: ErrorCode; readonly why: string } | null): PendingRecord[] {
    const before = table.schema;
    if (!isSameSet(keyNumbers(before), keyNumbers(schema))) {
      // Rows of another key are another generation, which is copied from its beginning.
      return [...this.remove(table), ...this.#emit({ ...schema, tableId: this.tables.newTableId(), version: 1 })];
    }
    const ordered = { ...schema, key: keyNumbers(before).map((number) => schema.columns.findIndex((column) => column.number === number)) };
    const records = stop === null ? [] : this.stop(table, stop.code, stop.why, true);
    if (isSameSchema(before, ordered)) {
      if (table.blind !== null) this.tables.put({ schema: before, blind: null });
      return records;
    }
    return [...records, ...this.#emit({ ...ordered, tableId: before.tableId, version: before.version + 1 })];
  }

  #emit(made: TableSchema, blind: TidemarkError | null = null): PendingRecord[] {
    const record = schemaRecord(made);
    // The object that all readers of the log have.
    const schema = decodeSchema(record.payload);
    this.tables.put({ schema, blind });
    this.#logger.log('info', 'table.changed', { table: tableName(schema), tableId: schema.tableId, version: schema.version });
    return [record];
  }
}

/** The shape of a table whose columns are known. */
export function shapeOf({ schema }: TrackedTable): TableShape {
  return shapeOfSchema(schema);
}

function keyNumbers(schema: TableSchema): number[] {
  return schema.key.map((index) => schema.columns[index]?.number ?? 0);
}

function isSameSet(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((number) => b.includes(number));
}

/** Equal but for table id and version. */
function isSameSchema(a: TableSchema, b: TableSchema): boolean {
  const comparable = (schema: TableSchema): string => JSON.stringify([
    schema.sourceTableId, schema.namespace, schema.name, schema.keyKind, schema.key, schema.definition ?? null, schema.unseen ?? [],
    schema.columns.map((c) => [c.number, c.name, c.nativeType, c.nullable, c.constantDefault, c.fill, c.generated, c.identity, c.hashed ?? null, c.type]),
  ]);
  return comparable(a) === comparable(b);
}
