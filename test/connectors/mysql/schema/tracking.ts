import type { FormatDescription } from '../../../../connectors/mysql/binlog/format-description.ts';
import { NO_FORMAT } from '../../../../connectors/mysql/binlog/format-description.ts';
import type { QueryEvent, StatementSession } from '../../../../connectors/mysql/binlog/query-event.ts';
import { shapeOfStatement, type CatalogReading, type ServerPlace } from '../../../../connectors/mysql/catalog/catalog-reading.ts';
import type { ServerFacts } from '../../../../connectors/mysql/catalog/server-facts.ts';
import { SourceTables } from '../../../../connectors/mysql/catalog/source-tables.ts';
import type { TableReading } from '../../../../connectors/mysql/catalog/table-reading.ts';
import { Identities } from '../../../../connectors/mysql/schema/identities.ts';
import type { PendingRecord } from '../../../../connectors/mysql/schema/pending-record.ts';
import type { ReadingRequest } from '../../../../connectors/mysql/schema/schema-tracking.ts';
import { SchemaTracker } from '../../../../connectors/mysql/schema/tracker.ts';
import { parseVersion } from '../../../../connectors/mysql/server-version.ts';
import { DEFAULT_VALUE_OPTIONS } from '../../../../connectors/mysql/values/value-options.ts';
import type { CatalogTable } from '../../../../contracts/catalog.ts';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import type { SourceConfig } from '../../../../contracts/config.ts';
import { decodeControl } from '../../../../contracts/control.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { ReferenceLog } from '../../../../contracts/kit/reference-log.ts';
import { Op, opLetter } from '../../../../contracts/op.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { mysqlSource } from '../mysql-source.ts';

export const MYSQL_FORMAT: FormatDescription = { ...NO_FORMAT, flavor: 'mysql', serverVersion: '9.7.4' };
export const MARIADB_FORMAT: FormatDescription = { ...NO_FORMAT, flavor: 'mariadb', serverVersion: '11.8.6-MariaDB-log' };
export const FACTS: ServerFacts = { flavor: 'mysql', lowerCaseNames: false, collations: new Map([[255, 'utf8mb4_0900_ai_ci'], [45, 'utf8mb4_general_ci']]) };

const SESSION: StatementSession = {
  sqlMode: 0n, charset: { client: 45, connection: 45, server: 255 }, timeZone: '', utf8mb4Collation: 255, charsetCollations: new Map(), foreignKeyChecks: true,
  explicitDefaultsForTimestamp: null, hasExplicitTimestampsBit: true, ddlXid: 0n, gtidFlags: 0,
};
const NOTHING = Buffer.alloc(0);

export function queryEvent(sql: string | Buffer, more: Partial<QueryEvent> = {}, session: Partial<StatementSession> = {}): QueryEvent {
  return { thread: 1, database: 'shop', error: 0, statement: Buffer.from(sql), session: { ...SESSION, ...session }, ...more };
}

/** A table as the server would describe it. */
export function readingOf(name: string, definition: string, more: Partial<TableReading> = {}): TableReading {
  const shape = shapeOfStatement(`CREATE TABLE x (${definition}) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`, { namespace: 'shop', name }, parseVersion('9.7.4'));
  if (shape instanceof TidemarkError) throw shape;
  return { namespace: 'shop', name, engine: 'InnoDB', rowFormat: 'Dynamic', isPartitioned: false, unreadable: [], shape, ...more };
}

/** A tracker without a server: places are offsets of one file. */
export class Tracking {
  readonly log = new ReferenceLog();
  readonly runtime = createTestRuntime();
  readonly source: SourceTables;
  readonly identities = new Identities(this.runtime.random);
  tracker: SchemaTracker;
  readonly #facts: ServerFacts;
  readonly #builder = new BatchBuilder();

  constructor(config: Partial<SourceConfig> = {}, facts: ServerFacts = FACTS) {
    this.source = new SourceTables(mysqlSource('mysql://u@h', config));
    this.#facts = facts;
    this.tracker = this.#make(false);
  }

  restart(isAfterGap = false): void {
    this.tracker = this.#make(isAfterGap);
  }

  /** Tables that are in the log from the beginning. */
  begin(tables: Readonly<Record<string, string>>): this {
    this.tracker.announce(Object.keys(tables).map((name) => ({ namespace: 'shop', name })));
    this.answer(Object.entries(tables).map(([name, definition]) => readingOf(name, definition)), 0);
    this.boundary(0);
    return this;
  }

  /** What a statement has put into the log. */
  run(sql: string, more: Partial<QueryEvent> = {}, format: FormatDescription = MYSQL_FORMAT): string[] {
    return this.#write(this.tracker.statement(queryEvent(sql, more), format).records);
  }

  stopAll(error: TidemarkError): string[] {
    return this.#write(this.tracker.stopAll(error));
  }

  ask(): string[] | null {
    const request = this.tracker.ask();
    return request === null ? null : request.tables.map(({ name }) => name);
  }

  request(): ReadingRequest {
    const request = this.tracker.ask();
    if (request === null) throw new Error('nothing is asked for');
    return request;
  }

  answer(tables: readonly TableReading[], until: number, more: Partial<CatalogReading> = {}, request = this.request()): void {
    const found = new Set(tables.map(({ name }) => name));
    const unclear = new Set((more.unclear ?? []).map(({ table }) => table.name));
    const missing = request.tables.filter(({ name }) => !found.has(name) && !unclear.has(name));
    this.tracker.answer(request, { tables, missing, unclear: [], cascades: [], from: place(0), until: place(until), ...more });
  }

  /** What comes into the log at that place, transaction by transaction. */
  boundary(at: number): string[][] {
    return this.tracker.boundary(place(at)).map((records) => this.#write(records));
  }

  table(name: string): CatalogTable | undefined {
    return this.log.catalog().byName(`shop.${name}`);
  }

  columns(name: string): string {
    return this.table(name)?.versions.at(-1)?.schema.columns.map((column) => `${column.number}:${column.name}`).join(' ') ?? '';
  }

  #make(isAfterGap: boolean): SchemaTracker {
    return new SchemaTracker({
      catalog: this.log.catalog(), source: this.source, facts: this.#facts, identities: this.identities, isAfterGap, acceptCascades: [], logsCascades: false, logger: this.runtime.logger,
      routes: { values: DEFAULT_VALUE_OPTIONS, keepBefore: false, isWide: false, maxRowBytes: 1 << 20 },
    });
  }

  #write(records: readonly PendingRecord[]): string[] {
    if (records.length === 0) return [];
    this.#builder.begin('hub', 0, 0);
    for (const { op, tableId, version, payload } of records) this.#builder.record(op, 0, tableId, version, NOTHING, NOTHING, payload);
    this.#builder.commit(Buffer.from('p'));
    this.log.append(this.#builder.take());
    return records.map(({ op, tableId, version, payload }) => {
      if (op !== Op.control) return `${opLetter(op)} ${tableId}.${version}`;
      const control = decodeControl(payload);
      return `${control.type} ${tableId}${control.type === 'stopped' ? ` ${control.code}${control.recopy ? ' recopy' : ''}` : ''}`;
    });
  }
}

export function place(offset: number): ServerPlace {
  return { file: 'binlog.000001', offset };
}
