import type { Catalog } from '../../../../contracts/catalog.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import { mysqlLogicalType } from '../../../../contracts/types/mysql-types.ts';
import type { FormatDescription } from '../../../../connectors/mysql/binlog/format-description.ts';
import type { QueryEvent } from '../../../../connectors/mysql/binlog/query-event.ts';
import type { RowRoute } from '../../../../connectors/mysql/binlog/row-writer.ts';
import type { TableMap } from '../../../../connectors/mysql/binlog/table-map.ts';
import { readStatement } from '../../../../connectors/mysql/ddl/statement.ts';
import { controlRecord, schemaRecord, truncateRecord, type PendingRecord } from '../../../../connectors/mysql/schema/pending-record.ts';
import type { FollowedStatement, FollowedTable, Routing, SchemaTracking } from '../../../../connectors/mysql/schema/schema-tracking.ts';
import { decoderOf } from '../../../../connectors/mysql/values/decoder.ts';
import { DEFAULT_VALUE_OPTIONS } from '../../../../connectors/mysql/values/value-options.ts';
import { typeOfWireColumn, wireColumn } from '../../../../connectors/mysql/values/wire-column.ts';

interface Known {
  readonly schema: TableSchema;
  readonly route: RowRoute;
}

/**
 * Follows tables of one database (`shop` by default) by what their table maps say with `binlog_row_metadata=FULL`, and no statement but
 * TRUNCATE: enough for what a stream does with transactions.
 */
export class PlainTracking implements SchemaTracking {
  readonly isWaiting = false;
  readonly stopped = new Map<string, string>();
  readonly acknowledged: number[] = [];
  readonly #schemas = new Map<string, TableSchema>();
  readonly #known = new Map<TableMap, Known | null>();
  readonly #flavor: 'mysql' | 'mariadb';
  readonly #database: string;
  #nextId: number;

  constructor(catalog: Catalog, flavor: 'mysql' | 'mariadb', database = 'shop') {
    this.#flavor = flavor;
    this.#database = database;
    this.#nextId = catalog.nextTableId();
    for (const table of catalog.tables()) {
      const schema = table.versions.at(-1)?.schema;
      if (schema !== undefined) this.#schemas.set(schema.name, schema);
      if (schema !== undefined && table.state.state === 'stopped') this.stopped.set(schema.name, table.state.code);
    }
  }

  statement(event: QueryEvent, _format: FormatDescription): FollowedStatement {
    const context = { flavor: this.#flavor, version: 80_000, database: event.database, sqlMode: event.session.sqlMode ?? 0n, lowerCaseNames: false, explicitTimestamps: true };
    const effect = readStatement(event.statement.toString('utf8'), context);
    const schema = effect.kind === 'truncate-table' ? this.#schemas.get(effect.table.table) : undefined;
    return { effect, records: schema === undefined ? [] : [truncateRecord(schema)] };
  }

  tableMap(map: TableMap): Routing {
    const known = this.#known.get(map);
    if (known !== undefined) return { route: this.stopped.has(map.table) ? null : (known?.route ?? null), records: [] };
    if (map.database !== this.#database || map.optional.names === null) {
      this.#known.set(map, null);
      return { route: null, records: [] };
    }
    const { schema, isNew } = this.#schemaOf(map);
    this.#schemas.set(map.table, schema);
    const made = { schema, route: routeOf(map, schema) };
    this.#known.set(map, made);
    return { route: made.route, records: isNew ? [schemaRecord(schema)] : [] };
  }

  rowFault(map: TableMap, error: TidemarkError): readonly PendingRecord[] {
    const schema = this.#schemas.get(map.table);
    if (schema === undefined || this.stopped.has(map.table)) return [];
    return [this.#stop(schema, error)];
  }

  stopAll(error: TidemarkError): readonly PendingRecord[] {
    return [...this.#schemas.values()].filter(({ name }) => !this.stopped.has(name)).map((schema) => this.#stop(schema, error));
  }

  boundary(): readonly (readonly PendingRecord[])[] {
    return [];
  }

  acknowledge(highWatermark: number): void {
    this.acknowledged.push(highWatermark);
  }

  announce(): void {
    throw new TidemarkError('INTERNAL', 'nothing is announced here');
  }

  present(): TableSchema[] {
    return [];
  }

  unknown<T>(listed: readonly T[]): T[] {
    return [...listed];
  }

  ask(): null {
    return null;
  }

  answer(): void {
    throw new TidemarkError('INTERNAL', 'nothing was asked');
  }

  table(sourceTableId: string): FollowedTable | null {
    const schema = this.#schemas.get(sourceTableId);
    return schema === undefined ? null : { schema, isKnown: true, fault: null };
  }

  #stop(schema: TableSchema, { code, message }: TidemarkError): PendingRecord {
    this.stopped.set(schema.name, code);
    return controlRecord(schema.tableId, { type: 'stopped', code, why: message, consistentUntil: this.acknowledged.at(-1) ?? 0, recopy: true });
  }

  #schemaOf(map: TableMap): { schema: TableSchema; isNew: boolean } {
    const known = this.#schemas.get(map.table);
    const names = map.optional.names ?? [];
    if (known !== undefined && known.columns.map(({ name }) => name).join() === names.join()) return { schema: known, isNew: false };
    const columns = names.map((name, at) => {
      const type = typeOfWireColumn(wireColumn(map, at));
      if (type === null) throw new TidemarkError('INTERNAL', `a test has a column of unknown type: ${name}`);
      return {
        number: at + 1, name, type: mysqlLogicalType(type, `${map.table}.${name}`), nativeType: type.text, nullable: map.nullable[at] === 1,
        constantDefault: null, fill: null, generated: 'no', identity: 'no',
      } as const;
    });
    const key = map.optional.primaryKey?.map(({ column }) => column) ?? [];
    const place = known === undefined ? { tableId: this.#nextId++, version: 1 } : { tableId: known.tableId, version: known.version + 1 };
    return { schema: { ...place, sourceTableId: map.table, namespace: map.database, name: map.table, columns, keyKind: key.length === 0 ? 'none' : 'primary', key }, isNew: true };
  }
}

function routeOf(map: TableMap, schema: TableSchema): RowRoute {
  const decoders = schema.columns.map((column, at) => {
    const wire = wireColumn(map, at);
    const type = typeOfWireColumn(wire);
    if (type === null) throw new TidemarkError('INTERNAL', `a test has a column of unknown type: ${column.name}`);
    return decoderOf(wire, type, DEFAULT_VALUE_OPTIONS);
  });
  return {
    tableId: schema.tableId,
    version: schema.version,
    sources: Int32Array.from(schema.columns, (_, at) => at),
    decoders,
    defaults: schema.columns.map(() => null),
    key: schema.key,
    keepBefore: false,
    isWide: false,
    maxRowBytes: 1 << 20,
  };
}
