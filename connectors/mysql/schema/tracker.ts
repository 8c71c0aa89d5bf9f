import type { Catalog } from '../../../contracts/catalog.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Logger } from '../../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { FormatDescription } from '../binlog/format-description.ts';
import type { QueryEvent } from '../binlog/query-event.ts';
import type { TableMap } from '../binlog/table-map.ts';
import { SYSTEM_DATABASES } from '../catalog/catalog-query.ts';
import { isSameDefinition, type CatalogReading, type ServerPlace } from '../catalog/catalog-reading.ts';
import { shapeOfSchema } from '../catalog/definition.ts';
import type { ServerFacts } from '../catalog/server-facts.ts';
import type { SourceTables } from '../catalog/source-tables.ts';
import type { TableReading, TableRef } from '../catalog/table-reading.ts';
import { foldTableName } from '../ddl/context.ts';
import { StatementFollower } from './follower.ts';
import type { Identities } from './identities.ts';
import { LogTables } from './log-tables.ts';
import { MapRoutes } from './map-routes.ts';
import type { PendingRecord } from './pending-record.ts';
import { Readings, type Outcome } from './readings.ts';
import { refusal } from './refusal.ts';
import type { RouteOptions } from './routes.ts';
import type { FollowedStatement, FollowedTable, ReadingRequest, Routing, SchemaTracking } from './schema-tracking.ts';
import { readQuery, type ReadStatement } from './statement-reading.ts';
import { blinds, tableKey, TrackedTables, type TrackedTable } from './tracked-tables.ts';

export interface TrackerParts {
  /** The log's, as of where the stream begins. */
  readonly catalog: Catalog;
  readonly source: SourceTables;
  readonly facts: ServerFacts;
  /** Outlives the stream. */
  readonly identities: Identities;
  readonly routes: RouteOptions;
  /** Tables (`database.table`) that are captured although foreign keys change them without a trace. */
  readonly acceptCascades: readonly string[];
  /** The server writes what foreign keys change into its binlog. */
  readonly logsCascades: boolean;
  /** The stream does not begin where the log ends: statements in between were missed. */
  readonly isAfterGap: boolean;
  readonly logger: Logger;
}

/** A sink makes the tables of a transaction in one of its own. */
const TABLES_PER_TRANSACTION = 100;
const NONE: readonly PendingRecord[] = [];

/**
 * Keeps the log's schemas in step with a MySQL or MariaDB source. A table comes into the log by a reading at the server that
 * the stream has caught up with; from then on its shape follows the statements of the stream alone, so that a stream which
 * is behind has the shape as of its place. Whatever cannot be followed makes the table blind: a stop is recorded, rows are
 * passed over, the table is read again, and another stop starts its copy.
 *
 * Owned by one stream. Holds a schema per table, which the log holds as well, and routes for the table maps in use.
 */
export class SchemaTracker implements SchemaTracking {
  readonly #parts: TrackerParts;
  readonly #log: LogTables;
  readonly #routes: MapRoutes;
  readonly #follower: StatementFollower;
  readonly #readings = new Readings();
  /** Tables that cannot be captured as they are, by key, and why: said once. */
  readonly #refused = new Map<string, TidemarkError>();
  #isBegun = false;
  /** The map of the last rows, where a row of it has failed. */
  #faulted: TableMap | null = null;

  constructor(parts: TrackerParts) {
    this.#parts = parts;
    const { source, facts, identities, logger, logsCascades, acceptCascades } = parts;
    const tables = new TrackedTables(parts.catalog, (table) => this.#keyOf(table));
    this.#log = new LogTables(tables, source, facts.flavor, logger);
    this.#routes = new MapRoutes(this.#log, {
      flavor: facts.flavor, hash: source.hash, options: parts.routes, keyOf: (table) => this.#keyOf(table),
      met: (table) => this.#met(table), want: (table) => this.#readings.want(table),
    });
    this.#follower = new StatementFollower(this.#log, {
      source, identities, want: (table) => this.#want(table), mayCascade: (table) => logsCascades || acceptCascades.includes(tableName(table)),
    });
  }

  statement(event: QueryEvent, format: FormatDescription): FollowedStatement {
    const read = this.#read(event, format);
    const { effect } = read;
    if (effect.kind === 'transaction' || effect.kind === 'nothing') return { effect, records: NONE };
    this.#readings.met(effect);
    const isData = effect.kind === 'statement-rows' || effect.kind === 'statement-rows-among';
    const records = event.error === 0 || isData ? this.#follower.follow(read) : this.#follower.unsure(effect);
    return { effect, records };
  }

  tableMap(map: TableMap): Routing {
    this.#faulted = null;
    return this.#routes.of(map);
  }

  rowFault(map: TableMap, error: TidemarkError): readonly PendingRecord[] {
    const table = this.#log.tables.byKey(this.#keyOf(refOfMap(map)));
    if (table === undefined || table.blind !== null || this.#faulted === map) return NONE;
    this.#faulted = map;
    // A copy has what the row lacks; the next one may come whole.
    return this.#log.stop(table, error.code, error.message, error.code === 'MYSQL_LOSSY_ROW');
  }

  stopAll(error: TidemarkError): readonly PendingRecord[] {
    const all = [...this.#log.tables.all()];
    if (!blinds(error.code)) return all.flatMap((table) => (table.blind === null ? this.#log.stop(table, error.code, error.message, true) : []));
    return all.flatMap((table) => this.#blind(table, error));
  }

  get isWaiting(): boolean {
    return !this.#isBegun || this.#readings.isWaiting;
  }

  boundary(place: ServerPlace): readonly (readonly PendingRecord[])[] {
    const groups: (readonly PendingRecord[])[] = [];
    if (!this.#isBegun) groups.push(...this.#begin());
    for (const outcome of this.#readings.due(place)) groups.push(this.#conclude(outcome));
    return transactionsOf(groups);
  }

  acknowledge(highWatermark: Offset): void {
    this.#log.acknowledge(highWatermark);
  }

  announce(tables: readonly TableRef[]): void {
    for (const table of tables) {
      const known = this.#log.tables.byKey(this.#keyOf(table));
      if (known === undefined) this.#want(table);
    }
  }

  unknown(listed: readonly TableRef[]): TableRef[] {
    const keys = new Set(listed.map((table) => this.#keyOf(table)));
    for (const { schema } of this.#log.tables.all()) if (!keys.has(this.#keyOf(schema))) this.#readings.want(this.#folded(schema));
    return listed.filter((table) => this.#isSelected(table) && this.#log.tables.byKey(this.#keyOf(table)) === undefined);
  }

  present({ tables, cascades }: Pick<CatalogReading, 'tables' | 'cascades'>): TableSchema[] {
    const present = [...this.#log.tables.all()].map(({ schema }) => schema).filter((schema) => this.#isSelected(schema));
    for (const table of tables) {
      const key = this.#keyOf(table);
      if (this.#log.tables.byKey(key) !== undefined || !this.#isSelected(table) || this.#refusal(table, cascades) !== null) continue;
      const by = { sourceTableId: this.#parts.identities.of(key), flavor: this.#parts.facts.flavor };
      present.push(this.#parts.source.schema(this.#folded(table), table.shape, by));
    }
    return present.map((schema) => ({ ...schema, tableId: 0, version: 0 }));
  }

  ask(): ReadingRequest | null {
    return this.#readings.ask();
  }

  answer(request: ReadingRequest, reading: CatalogReading): void {
    this.#readings.answer(request, reading);
  }

  table(sourceTableId: string): FollowedTable | null {
    const table = this.#log.tables.get(sourceTableId);
    return table === undefined ? null : { schema: table.schema, isKnown: table.blind === null, fault: table.blind };
  }

  #keyOf(table: TableRef): string {
    const { namespace, name } = this.#folded(table);
    return tableKey({ database: namespace, table: name });
  }

  #folded({ namespace, name }: TableRef): TableRef {
    const { facts } = this.#parts;
    return { namespace: foldTableName(namespace, facts), name: foldTableName(name, facts) };
  }

  #isSelected(table: TableRef): boolean {
    return !SYSTEM_DATABASES.some((system) => system === table.namespace) && this.#parts.source.config.tables(table);
  }

  #want(table: TableRef): void {
    const folded = this.#folded(table);
    this.#refused.delete(this.#keyOf(folded));
    if (this.#isSelected(folded)) this.#readings.want(folded);
  }

  /** Rows of a table that the log has not. */
  #met(table: TableRef): void {
    if (!this.#refused.has(this.#keyOf(table)) && !this.#readings.isWanted(table) && this.#isSelected(table)) this.#readings.want(table);
  }

  #read(event: QueryEvent, format: FormatDescription): ReadStatement {
    try {
      return readQuery(event, format, this.#parts.facts);
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'MYSQL_STATEMENT') throw error;
      const effect = { kind: 'unknown', reason: error.message, names: new Set<string>(), everything: true } as const;
      return { effect, defaults: { databaseCollation: '' }, isUnclear: true };
    }
  }

  #blind(table: TrackedTable, error: TidemarkError): PendingRecord[] {
    this.#readings.want(this.#folded(table.schema));
    return this.#log.blind(table, error.at({ table: tableName(table.schema) }));
  }

  /** What the configuration and the log's own state ask for before anything comes from the stream. */
  #begin(): PendingRecord[][] {
    this.#isBegun = true;
    return [...this.#log.tables.all()].map((table) => {
      if (!this.#isSelected(table.schema)) return this.#log.remove(table);
      if (table.blind !== null) {
        this.#readings.want(this.#folded(table.schema));
        return [];
      }
      if (this.#parts.isAfterGap) return this.#blind(table, new TidemarkError('MYSQL_SHAPE', 'statements that may have changed it were missed'));
      return this.#mayBeRuledAnew(table) ? this.#guarded(table, () => this.#log.ruleAnew(table)) : [];
    });
  }

  #mayBeRuledAnew({ schema }: TrackedTable): boolean {
    const { source, catalog } = this.#parts;
    if (source.rulesOf(schema) !== null) return true;
    // Rules that stand under a name which the table had go on.
    const wasNamed = catalog.table(schema.tableId)?.versions.some((version) => source.rulesOf(version.schema) !== null) === true;
    return !wasNamed && (schema.unseen !== undefined || schema.columns.some(({ hashed }) => hashed !== undefined));
  }

  #conclude(outcome: Outcome): PendingRecord[] {
    const table = outcome.kind === 'found' ? outcome.reading : outcome.table;
    const key = this.#keyOf(table);
    const known = this.#log.tables.byKey(key);
    if (outcome.kind === 'missing') {
      this.#parts.identities.forget(key);
      return known === undefined ? [] : this.#log.remove(known);
    }
    const error = outcome.kind === 'refused' ? outcome.error : this.#refusal(outcome.reading, outcome.cascades);
    if (error !== null || outcome.kind === 'refused') return this.#refuse(table, known, error ?? new TidemarkError('INTERNAL', 'a table is refused without a reason'));
    const reading = { ...outcome.reading, ...this.#folded(table) };
    if (known !== undefined) return this.#guarded(known, () => this.#again(known, reading));
    const { identities } = this.#parts;
    // A table that has gone by another name since has it.
    if (this.#log.tables.get(identities.of(key)) !== undefined) identities.forget(key);
    return this.#log.enter(reading, identities.of(key));
  }

  #refusal(table: TableReading, cascades: CatalogReading['cascades']): TidemarkError | null {
    return refusal(table, cascades, this.#parts.source, this.#parts.facts.flavor, this.#parts.acceptCascades);
  }

  #refuse(table: TableRef, known: TrackedTable | undefined, error: TidemarkError): PendingRecord[] {
    this.#refused.set(this.#keyOf(table), error);
    this.#parts.logger.log('warn', 'table.refused', { table: tableName(table), code: error.code, what: error.message });
    return known === undefined ? [] : this.#log.blind(known, error);
  }

  /** A table of the log has been read: because it was blind, or because the server did not list it. */
  #again(known: TrackedTable, reading: TableReading): PendingRecord[] {
    if (known.blind === null && isSameDefinition(shapeOfSchema(known.schema), reading.shape)) return [];
    const why = known.blind ?? new TidemarkError('MYSQL_SHAPE', 'its definition was changed without a statement in the binlog');
    if (this.#routes.hasRefused(known, reading.shape)) return this.#refuse(reading, known, why);
    return this.#log.enterAgain(known, reading, why);
  }

  #guarded(table: TrackedTable, act: () => PendingRecord[]): PendingRecord[] {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'MYSQL_COLUMN_RULE') throw error;
      return this.#refuse(table.schema, table, error);
    }
  }
}

function refOfMap(map: TableMap): TableRef {
  return { namespace: map.database, name: map.table };
}

/** Few tables each, none empty. */
function transactionsOf(groups: readonly (readonly PendingRecord[])[]): PendingRecord[][] {
  const some = groups.filter(({ length }) => length > 0);
  const transactions: PendingRecord[][] = [];
  for (let at = 0; at < some.length; at += TABLES_PER_TRANSACTION) transactions.push(some.slice(at, at + TABLES_PER_TRANSACTION).flat());
  return transactions;
}
