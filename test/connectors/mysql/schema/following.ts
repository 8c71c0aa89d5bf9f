import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { BinlogHandler } from '../../../../connectors/mysql/binlog/binlog-handler.ts';
import { BinlogReader } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { RowWriter, type RowRoute } from '../../../../connectors/mysql/binlog/row-writer.ts';
import type { TableMap } from '../../../../connectors/mysql/binlog/table-map.ts';
import { readCatalog, readTables, type ServerPlace } from '../../../../connectors/mysql/catalog/catalog-reading.ts';
import { shapeOfSchema } from '../../../../connectors/mysql/catalog/definition.ts';
import { readServerFacts, type ServerFacts } from '../../../../connectors/mysql/catalog/server-facts.ts';
import { SourceTables } from '../../../../connectors/mysql/catalog/source-tables.ts';
import type { TableShape } from '../../../../connectors/mysql/ddl/shape.ts';
import { readIdentity, type ServerIdentity } from '../../../../connectors/mysql/identity.ts';
import { Identities } from '../../../../connectors/mysql/schema/identities.ts';
import type { PendingRecord } from '../../../../connectors/mysql/schema/pending-record.ts';
import { SchemaTracker } from '../../../../connectors/mysql/schema/tracker.ts';
import type { Session } from '../../../../connectors/mysql/session.ts';
import { DEFAULT_VALUE_OPTIONS } from '../../../../connectors/mysql/values/value-options.ts';
import type { Catalog, CatalogTable } from '../../../../contracts/catalog.ts';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import type { SourceConfig } from '../../../../contracts/config.ts';
import { decodeControl, type Control } from '../../../../contracts/control.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { ReferenceLog, type ReferenceRecord } from '../../../../contracts/kit/reference-log.ts';
import { isRowOp, Op, opLetter } from '../../../../contracts/op.ts';
import { PLACEHOLDER, readImage, type CellValue } from '../../../../contracts/row-image.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import type { MysqlServer, MysqlSession } from '../../../fixtures/mysql.ts';
import { createTestRuntime, type TestRuntime } from '../../../fixtures/runtime.ts';
import { endpointOf, mysqlSource, never } from '../mysql-source.ts';

const EVENT_LENGTH_AT = 9;
const MAGIC = 4;
const POSITION = Buffer.from('somewhere');
const NOTHING = Buffer.alloc(0);

export interface FollowingOptions {
  readonly config?: Partial<SourceConfig>;
  readonly isWide?: boolean;
  readonly keepBefore?: boolean;
  /** What foreign keys change is looked at as if it were in the binlog. Default true. */
  readonly logsCascades?: boolean;
}

/** The tracker on a real server: the files of its binlog in place of a dump, and a log in memory. */
export class Following implements AsyncDisposable {
  readonly server: MysqlServer;
  readonly log = new ReferenceLog();
  readonly runtime: TestRuntime = createTestRuntime();
  readonly session: Session;
  readonly writer: MysqlSession;
  readonly source: SourceTables;
  tracker: SchemaTracker;
  readonly #identity: ServerIdentity;
  readonly #facts: ServerFacts;
  readonly #options: FollowingOptions;
  readonly #identities: Identities;
  readonly #builder = new BatchBuilder();
  readonly #rows = new RowWriter(this.#builder);
  #reader: BinlogReader;
  #file = '';
  #at = MAGIC;
  readonly #cameEmpty = new Set<number>();
  readonly #routes = new Map<TableMap, RowRoute | null>();
  readonly #garbled = new Map<string, string>();

  private constructor(server: MysqlServer, session: Session, writer: MysqlSession, identity: ServerIdentity, facts: ServerFacts, options: FollowingOptions) {
    this.server = server;
    this.session = session;
    this.writer = writer;
    this.#identity = identity;
    this.#facts = facts;
    this.#options = options;
    this.source = new SourceTables(mysqlSource(server.url(), options.config));
    this.#identities = new Identities(this.runtime.random);
    this.tracker = this.#newTracker(false);
    this.#reader = this.#newReader();
  }

  /** From where the binlog ends now. */
  static async begin(server: MysqlServer, options: FollowingOptions = {}): Promise<Following> {
    const session = await endpointOf(server.url()).open(never);
    const identity = await readIdentity(session);
    const following = new Following(server, session, await server.connect('shop'), identity, await readServerFacts(session, identity), options);
    const end = (await readCatalog(session, identity, [], true)).until;
    following.#file = end.file;
    following.#at = MAGIC;
    await following.#skipTo(end);
    await following.settle();
    return following;
  }

  /** Another stream from where this one is, as after a restart. */
  restart(options: { isAfterGap?: boolean } = {}): void {
    this.tracker = this.#newTracker(options.isAfterGap === true);
  }

  /** From now on a statement comes as another one. */
  garble(statement: string, into: string): void {
    this.#garbled.set(statement, into);
  }

  /** Runs the statements, and passes over what they have written. */
  async miss(...statements: readonly string[]): Promise<void> {
    for (const sql of statements) await this.writer.query(sql);
    await this.#skipTo((await readCatalog(this.session, this.#identity, [], true)).until);
  }

  /** Runs the statements, and follows what they have written. */
  async run(...statements: readonly string[]): Promise<void> {
    for (const sql of statements) await this.writer.query(sql);
    await this.advance();
  }

  /** As `run`, and has read at the server what the tracker wants. */
  async settled(...statements: readonly string[]): Promise<void> {
    await this.run(...statements);
    await this.settle();
  }

  async settle(): Promise<void> {
    const known = new Set(this.catalog().tables().map(({ tableId }) => tableId));
    for (let round = 0; round < 20; round++) {
      this.#boundary();
      if (!(await this.read()) && !this.tracker.isWaiting) return await this.#noteEmpty(known);
      await this.advance();
    }
    throw new Error('the tracker does not come to rest');
  }

  /** Reads at the server what the tracker wants, and does not follow the binlog. False: it wants nothing. */
  async read(): Promise<boolean> {
    const request = this.tracker.ask();
    if (request === null) return false;
    this.tracker.answer(request, await readCatalog(this.session, this.#identity, request.tables, this.#options.logsCascades ?? true));
    return true;
  }

  announce(...names: readonly string[]): void {
    this.tracker.announce(names.map((name) => ({ namespace: 'shop', name })));
  }

  /** Everything that the server has written by now. */
  async advance(): Promise<void> {
    await this.#walk(null);
    this.#commit();
    this.#boundary();
    this.tracker.acknowledge(this.log.highWatermark);
  }

  catalog(): Catalog {
    return this.log.catalog();
  }

  /** The table as the log has it under that name; null: it has none. */
  table(name: string): CatalogTable | null {
    return this.catalog().byName(`shop.${name}`) ?? null;
  }

  schema(name: string): TableSchema {
    const schema = this.table(name)?.versions.at(-1)?.schema;
    if (schema === undefined) throw new Error(`the log has no ${name}`);
    return schema;
  }

  /** As the stream has followed it. */
  shape(name: string): TableShape {
    return shapeOfSchema(this.schema(name));
  }

  async serverShape(name: string): Promise<TableShape> {
    const { tables: [table], unclear: [unclear] } = await readTables(this.session, [{ namespace: 'shop', name }]);
    if (unclear !== undefined) throw unclear.error;
    if (table === undefined) throw new Error(`the server has no ${name}`);
    return table.shape;
  }

  /** Whether the table was without rows when it came into the log, or was emptied since. */
  beganEmpty(name: string): boolean {
    const { tableId } = this.schema(name);
    return this.#cameEmpty.has(tableId) || this.log.read(0).some((record) => record.tableId === tableId && record.op === Op.truncate);
  }

  /** What the log has of the tables, in order: `s 1.2`, `t 1`, `stopped 1 CODE`. */
  records(after = 0): string[] {
    return this.log.read(after).map((record) => {
      if (record.op !== Op.control) return `${opLetter(record.op)} ${record.tableId}.${record.schemaVersion}`;
      const control = this.control(record);
      return `${control.type} ${record.tableId}${control.type === 'stopped' ? ` ${control.code}${control.recopy ? ' recopy' : ''}` : ''}`;
    });
  }

  control(record: ReferenceRecord): Control {
    return decodeControl(Buffer.from(record.after, 'hex'));
  }

  /** The fold of the table as of now, each row as text of its columns, brought to the newest schema, in some order. */
  rows(name: string): (string | null)[][] {
    const table = this.table(name);
    const newest = table?.versions.at(-1)?.schema;
    if (table === null || newest === undefined) throw new Error(`the log has no ${name}`);
    const rows = new Map<string, ReferenceRecord>();
    for (const record of this.log.read(0)) {
      if (record.tableId !== table.tableId) continue;
      if (record.op === Op.truncate) rows.clear();
      else if (isRowOp(record.op) && record.op === Op.delete) rows.delete(record.key);
      else if (isRowOp(record.op)) rows.set(record.key, record);
    }
    return [...rows.values()].map((record) => {
      const cells = readImage(Buffer.from(record.after, 'hex'));
      const schema = table.versions[record.schemaVersion - 1]?.schema;
      return newest.columns.map((column) => {
        const at = schema?.columns.findIndex(({ number }) => number === column.number) ?? -1;
        return at < 0 ? column.fill : textOfCell(cells[at] ?? null);
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer[Symbol.asyncDispose]();
    await this.session[Symbol.asyncDispose]();
  }

  async #noteEmpty(known: ReadonlySet<number>): Promise<void> {
    for (const { tableId, versions, state } of this.catalog().tables()) {
      const schema = versions.at(-1)?.schema;
      if (known.has(tableId) || schema === undefined || state.state === 'removed') continue;
      const [row] = await this.session.query(`SELECT COUNT(*) AS n FROM \`${schema.namespace}\`.\`${schema.name}\``);
      if (row?.['n'] === '0') this.#cameEmpty.add(tableId);
    }
  }

  #newTracker(isAfterGap: boolean): SchemaTracker {
    const { isWide = false, keepBefore = false, logsCascades = true } = this.#options;
    return new SchemaTracker({
      catalog: this.log.catalog(), source: this.source, facts: this.#facts, identities: this.#identities, isAfterGap, acceptCascades: [], logsCascades, logger: this.runtime.logger,
      routes: { values: DEFAULT_VALUE_OPTIONS, keepBefore, isWide, maxRowBytes: 1 << 20 },
    });
  }

  #newReader(): BinlogReader {
    return new BinlogReader(this.#handler(), { maxEventBytes: 64 << 20 });
  }

  #handler(): BinlogHandler {
    const begins = (): void => {
      this.#commit();
      this.#boundary();
    };
    const unexpected = (what: string) => (): never => {
      throw new Error(`${what} is not for this test`);
    };
    return {
      formatDescription: () => undefined,
      rotate: () => undefined,
      previousGtids: () => undefined,
      gtidList: () => undefined,
      gtid: begins,
      mariadbGtid: begins,
      query: (event) => {
        const statement = Buffer.from(this.#garbled.get(event.statement.toString()) ?? event.statement);
        this.#write(this.tracker.statement({ ...event, statement }, this.#reader.format).records);
      },
      loadData: (event) => this.#write(this.tracker.statement(event, this.#reader.format).records),
      statementContext: () => undefined,
      rowsStatement: () => undefined,
      tableMap: (map) => {
        const { route, records } = this.tracker.tableMap(map);
        this.#write(records);
        this.#routes.set(map, route);
      },
      rows: (rows, map) => {
        const route = this.#routes.get(map) ?? null;
        if (route === null) return;
        while (rows.next()) {
          try {
            this.#open();
            this.#rows.write(rows, route);
          } catch (error) {
            if (!(error instanceof TidemarkError)) throw error;
            this.#write(this.tracker.rowFault(map, error));
          }
        }
      },
      rowsTooLarge: unexpected('a large row'),
      xid: () => undefined,
      xaPrepare: unexpected('XA'),
      heartbeat: () => undefined,
      incident: unexpected('an incident'),
    };
  }

  #open(): void {
    if (!this.#builder.inTransaction) this.#builder.begin('source', 0, 0);
  }

  #write(records: readonly PendingRecord[]): void {
    for (const { op, tableId, version, payload } of records) {
      this.#open();
      this.#builder.record(op, 0, tableId, version, NOTHING, NOTHING, payload);
    }
  }

  #commit(): void {
    if (!this.#builder.inTransaction) return;
    this.#builder.commit(POSITION);
    this.log.append(this.#builder.take());
  }

  #boundary(): void {
    if (!this.tracker.isWaiting) return;
    for (const records of this.tracker.boundary({ file: this.#file, offset: this.#at })) {
      this.#builder.begin('hub', 0, 0);
      for (const { op, tableId, version, payload } of records) this.#builder.record(op, 0, tableId, version, NOTHING, NOTHING, payload);
      this.#commit();
    }
  }

  async #skipTo(place: ServerPlace): Promise<void> {
    await this.#walk(place);
  }

  /** Reads the files on; up to a place only their format counts. */
  async #walk(until: ServerPlace | null): Promise<void> {
    const rows = await this.session.query('SHOW BINARY LOGS');
    const files = rows.map((row) => row['Log_name'] ?? '');
    for (const file of files.slice(Math.max(0, files.indexOf(this.#file)))) {
      if (file !== this.#file) {
        this.#file = file;
        this.#at = MAGIC;
      }
      await this.#walkFile(until);
    }
  }

  async #walkFile(until: ServerPlace | null): Promise<void> {
    await using handle = await open(join(this.server.dataDir, this.#file));
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(size - this.#at);
    await handle.read(bytes, 0, bytes.length, this.#at);
    let start = 0;
    const FORMAT_DESCRIPTION = 15;
    while (start < bytes.length) {
      const end = start + bytes.readUInt32LE(start + EVENT_LENGTH_AT);
      const isSkipped = until !== null && bytes[start + 4] !== FORMAT_DESCRIPTION;
      this.#at += end - start;
      if (!isSkipped && this.#reader.event(bytes, start, end) !== null) throw new Error('a payload is too large for this test');
      start = end;
    }
  }
}

function textOfCell(cell: CellValue): string | null {
  if (cell === PLACEHOLDER) return '(left out)';
  return cell === null || typeof cell === 'string' ? cell : Buffer.from(cell).toString('hex');
}
