/**
 * From the events of a binlog to the transactions of the log: which rows belong together, what ends a transaction, which
 * position it has. What is rolled back within the binlog does not stay in the log; what is prepared waits for its commit.
 */
import type { BatchMark } from '../../../contracts/change-batch.ts';
import type { ErrorCode } from '../../../contracts/errors/catalogue.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { BinlogHandler } from '../binlog/binlog-handler.ts';
import type { BinlogReader } from '../binlog/binlog-reader.ts';
import { NO_FORMAT, type FormatDescription } from '../binlog/format-description.ts';
import type { GtidEvent, MariadbGtidEvent } from '../binlog/gtid-events.ts';
import { isBegin, type QueryEvent } from '../binlog/query-event.ts';
import type { RowReader } from '../binlog/rows-event.ts';
import type { RowRoute } from '../binlog/row-writer.ts';
import type { Heartbeat, Incident, Rotate, XaPrepare } from '../binlog/small-events.ts';
import type { TableMap } from '../binlog/table-map.ts';
import type { ServerPlace } from '../catalog/catalog-reading.ts';
import type { TransactionEffect } from '../ddl/effects.ts';
import type { GtidSet } from '../gtid-set.ts';
import type { PositionWriter } from '../position-writer.ts';
import { xidOfEvent, xidOfStatement, type PreparedXa } from '../prepared-xa.ts';
import type { PendingRecord } from '../schema/pending-record.ts';
import type { SchemaTracking } from '../schema/schema-tracking.ts';
import { writeCommitted } from './committed-xa.ts';
import { Group, gtidText, type EventRange } from './group.ts';
import { KeptRows, type Prepared } from './kept-rows.ts';
import { LogWriting } from './log-writing.ts';
import { Origins } from './origins.ts';
import { ServerPlaces } from './server-places.ts';
import type { TransactionsParts } from './transactions-parts.ts';

const MICROS = 1_000_000;
const ALL_EVENTS: EventRange = { first: 0, after: Number.MAX_SAFE_INTEGER };
/** What a row is refused with that its table must stop at. */
const ROW_FAULTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'MYSQL_VALUE', 'MYSQL_TEXT', 'MYSQL_ZERO_DATE', 'MYSQL_TYPE_UNKNOWN', 'MYSQL_PARTIAL_ROW', 'MYSQL_LOSSY_ROW', 'MYSQL_ROW_TOO_LARGE',
]);
/** Routes that are remembered; one that is forgotten is asked for again by the next table map. */
const MAX_ROUTES = 10_000;

export class Transactions implements BinlogHandler {
  readonly #parts: TransactionsParts;
  readonly #tracking: SchemaTracking;
  readonly #positions: PositionWriter;
  readonly #log: LogWriting;
  readonly #routes = new Map<TableMap, RowRoute | null>();
  readonly #places: ServerPlaces;
  readonly #origins: Origins;
  #reader: BinlogReader | null = null;
  #format: FormatDescription = NO_FORMAT;
  #group: Group | null = null;
  #isQuiet = false;

  constructor(parts: TransactionsParts) {
    const { positions } = parts;
    this.#parts = parts;
    this.#tracking = parts.tracking;
    this.#positions = positions;
    this.#log = new LogWriting(parts.outlet, parts.rolledBack, parts.named);
    this.#places = new ServerPlaces(positions.place, parts.server);
    this.#origins = new Origins(parts.server, parts.serverId);
  }

  /** The reader that this is the handler of: before its first event. */
  attach(reader: BinlogReader): void {
    this.#reader = reader;
  }

  /** Between the beginning and the end of a transaction that is written. */
  get isOpen(): boolean {
    return this.#group !== null && this.#group.fate === 'take';
  }

  /** The stream has come further than any batch has named. */
  get isQuiet(): boolean {
    return this.#isQuiet;
  }

  /** All that the server has up to there has been handled. */
  get place(): ServerPlace {
    return this.#places;
  }

  /** Names the position that the stream has come to. Nothing is open. */
  progress(): void {
    this.#isQuiet = false;
    this.#log.progress(this.#positions.at(this.#places.offset));
  }

  /** Records as a transaction of the hub. Nothing is open. */
  hubTransaction(records: readonly PendingRecord[]): void {
    this.#log.hubTransaction(records);
  }

  // What stands between transactions.

  formatDescription(format: FormatDescription): void {
    this.#format = format;
    this.#parts.host.heard();
    this.#unfinished();
  }

  rotate({ file, position }: Rotate): void {
    this.#parts.host.heard();
    this.#unfinished();
    this.#move(file, position);
  }

  heartbeat({ file, position }: Heartbeat): void {
    this.#parts.host.heard();
    if (this.#group === null) this.#move(file, position);
  }

  previousGtids(gtids: GtidSet): void {
    if (this.#group !== null) return;
    // GTIDs were turned on since: this is the first file that says what was executed before it.
    if (this.#parts.isByGtid && !this.#positions.place.isByGtid) {
      this.#positions.executed(gtids.clone());
      this.#positions.countBy(true);
    }
    this.#stepped();
  }

  gtidList(): void {
    if (this.#group === null) this.#stepped();
  }

  statementContext(): void {
    // The statement that follows says what it changes.
  }

  rowsStatement(): void {
    // The rows that follow say it all.
  }

  // A transaction.

  gtid(event: GtidEvent): void {
    const { fate } = this.#begin(event, null);
    // GTIDs were turned off: the set does not tell what has been executed, until a file begins that says so.
    if (event.uuid === null && fate === 'take') this.#positions.countBy(false);
  }

  mariadbGtid(event: MariadbGtidEvent): void {
    const group = this.#begin(null, event);
    group.isOpen = !event.standalone;
    if (event.xa === 'prepared') group.kept = new KeptRows();
  }

  query(event: QueryEvent): void {
    const group = this.#current();
    if (isBegin(event.statement)) {
      group.isOpen = true;
      return;
    }
    if (group.fate === 'skip') return;
    const { effect, records } = this.#tracking.statement(event, this.#format);
    if (effect.kind === 'transaction') {
      this.#transactionStatement(group, effect);
      return;
    }
    this.#emit(group, records);
    if (!group.isOpen) this.#commit(group);
  }

  loadData(event: QueryEvent): void {
    const group = this.#current();
    if (group.fate !== 'skip') this.#emit(group, this.#tracking.statement(event, this.#format).records);
  }

  tableMap(map: TableMap): void {
    const group = this.#current();
    if (group.fate !== 'skip') this.#route(group, map);
  }

  rows(rows: RowReader, map: TableMap): void {
    const group = this.#current();
    if (group.fate === 'skip') return;
    const route = this.#routes.get(map) ?? null;
    const isDropped = group.isDropped(group.events++);
    const { kept } = group;
    kept?.routes.set(map, route);
    if (route === null || isDropped) return;
    try {
      if (kept !== null) kept.add(rows, route);
      else {
        this.#log.open(group, this.#origins.of(group));
        this.#log.rows(rows, route);
      }
    } catch (error) {
      this.#fault(group, map, error);
    }
  }

  rowsTooLarge(map: TableMap, bytes: number): void {
    const group = this.#current();
    if (group.fate === 'skip' || group.isDropped(group.events++)) return;
    this.#fault(group, map, new TidemarkError('MYSQL_ROW_TOO_LARGE', `an event of ${bytes} bytes of rows is above the limit`));
  }

  xid(): void {
    const group = this.#group;
    if (group !== null) this.#commit(group);
  }

  xaPrepare(event: XaPrepare): void {
    const group = this.#current();
    const { prepared } = this.#parts;
    if (group.fate === 'skip') {
      this.#group = null;
      return;
    }
    const kept = group.kept ?? new KeptRows();
    const xa = this.#preparedXa(group, xidOfEvent(event.xid));
    if (event.onePhase && group.fate === 'take') {
      kept.close();
      this.#commitKept(group, { xa, rows: kept, dropped: group.dropped });
      return;
    }
    prepared.set({ xa, rows: kept, dropped: group.dropped });
    this.#group = null;
    if (group.fate === 'take') this.#executed(group);
    this.#positions.setPrepared(prepared.all);
    this.#stepped();
  }

  incident({ number, message }: Incident): void {
    const { file, position } = this.#known();
    // MariaDB gives it no GTID: what a failed write has left of a transaction may stand before it, and it is sent again until one follows.
    if (this.#group !== null && this.#group.mariadb !== null) this.#unfinished();
    const group = this.#current();
    if (group.fate === 'skip' || (group.gtid === null && !this.#places.isNews(file, position))) {
      this.#group = null;
      return;
    }
    const what = `the binlog of the server may lack changes: ${message === '' ? `incident ${number}` : message}`;
    this.#emit(group, this.#tracking.stopAll(new TidemarkError('MYSQL_INCIDENT', what)));
    this.#commit(group);
  }

  // How a transaction goes on, and ends.

  #transactionStatement(group: Group, effect: TransactionEffect): void {
    switch (effect.action) {
      case 'begin':
        group.isOpen = true;
        return;
      case 'xa-start':
        group.isOpen = true;
        group.kept ??= new KeptRows();
        return;
      case 'commit':
        this.#commit(group);
        return;
      case 'rollback':
        this.#rollback(group);
        return;
      case 'savepoint':
        group.setSavepoint({ name: effect.savepoint, event: group.events, mark: this.#mark(group), batch: this.#log.batchNumber, written: group.written.length });
        return;
      case 'rollback-to':
        this.#rollbackTo(group, effect.savepoint);
        return;
      case 'xa-commit': case 'xa-rollback': {
        const { prepared } = this.#parts;
        const known = prepared.take(xidOfStatement(effect.xid));
        this.#positions.setPrepared(prepared.all);
        if (effect.action === 'xa-commit') this.#commitKept(group, known);
        else this.#commit(group);
        return;
      }
      case 'release': case 'xa-end': case 'xa-prepare':
    }
  }

  #begin(gtid: GtidEvent | null, mariadb: MariadbGtidEvent | null): Group {
    this.#unfinished();
    const { file, start, header } = this.#known();
    const commitTime = gtid !== null && gtid.commitTime > 0 ? gtid.commitTime : header.timestamp * MICROS;
    const fate = this.#parts.gate.fate(gtid, mariadb, file, start);
    const group = new Group(fate, file, start, commitTime, gtid, mariadb);
    group.dropped = this.#parts.rolledBack.of(group);
    this.#group = group;
    return group;
  }

  /** The open transaction; one that nothing has announced begins with what there is of it. */
  #current(): Group {
    return this.#group ?? this.#begin(null, null);
  }

  /** A server that crashed may have left the beginning of a transaction behind: it has not happened. */
  #unfinished(): void {
    const group = this.#group;
    if (group === null) return;
    if (group.fate === 'take') this.#undo(group);
    this.#group = null;
  }

  #commit(group: Group): void {
    this.#group = null;
    if (group.fate !== 'take') return;
    this.#executed(group);
    if (group.base === null) {
      this.#stepped();
      return;
    }
    const { file, position } = this.#known();
    this.#places.move(file, position);
    this.#isQuiet = false;
    this.#log.commit(group, this.#positions.at(this.#places.offset));
    this.#parts.host.boundary();
  }

  /** The rows of an XA transaction become part of the log. `prepared` null: nobody knows them. */
  #commitKept(group: Group, prepared: Prepared | null): void {
    group.kept = null;
    if (prepared === null) {
      const what = 'an XA transaction is committed that was prepared before the log began, or whose rows are not in the binlog any more';
      this.#emit(group, this.#tracking.stopAll(new TidemarkError('MYSQL_XA_UNKNOWN', what)));
      this.#commit(group);
      return;
    }
    const { outlet, host } = this.#parts;
    const work = writeCommitted(prepared, {
      builder: outlet.builder,
      added: () => outlet.added(),
      open: () => this.#log.open(group, this.#origins.of(group)),
      route: (map) => this.#route(group, map),
      rows: (rows, map) => this.rows(rows, map),
      tooLarge: (map, bytes) => this.rowsTooLarge(map, bytes),
      readAgain: (xa, handler) => host.readAgain(xa, handler),
    });
    if (work === null) {
      this.#commit(group);
      return;
    }
    group.dropped = prepared.dropped;
    group.events = 0;
    host.hold(async () => {
      await work();
      this.#commit(group);
    });
  }

  #rollback(group: Group): void {
    if (this.#undo(group) === 'open') {
      this.#commit(group);
      return;
    }
    this.#group = null;
    this.#executed(group);
    this.#parts.rolledBack.forget(group);
    this.#stepped();
  }

  /** What the group has written is taken back, but for what tables have become. */
  #undo(group: Group): 'gone' | 'open' {
    if (group.base === null) return 'gone';
    const state = this.#log.takeBack(group, group.base, group.batch, ALL_EVENTS);
    if (state === 'gone') this.#log.hubTransaction(group.written);
    return state;
  }

  #rollbackTo(group: Group, name: string): void {
    const savepoint = group.backTo(name);
    if (savepoint === null) throw new TidemarkError('MYSQL_BINLOG', 'a transaction goes back to a savepoint that it has not set');
    const range = { first: savepoint.event, after: group.events };
    if (group.kept !== null) {
      if (savepoint.mark !== null) group.kept.rewind(savepoint.mark);
      group.dropped = [...group.dropped, range];
      return;
    }
    const hadNothing = savepoint.mark === null;
    this.#log.takeBack(group, savepoint.mark ?? group.base, hadNothing ? group.batch : savepoint.batch, range);
    this.#emit(group, group.written.splice(savepoint.written));
  }

  #mark(group: Group): BatchMark | null {
    return group.kept === null ? this.#log.mark(group) : group.kept.mark();
  }

  #executed({ gtid, mariadb }: Group): void {
    if (mariadb !== null) this.#positions.addMariadbGtid(mariadb.gtid);
    else if (gtid !== null && gtid.uuid !== null) this.#positions.addGtid(gtid.uuid, 0, gtid.tag, gtid.number);
  }

  // Where the stream is.

  /** The server names a place that nothing of the stream stands before. */
  #move(file: string, offset: number): void {
    if (!this.#places.move(file, offset)) return;
    const { place } = this.#positions;
    if (place.file !== this.#places.file || place.server !== this.#parts.server) this.#positions.open(this.#places.file, this.#places.offset, this.#parts.server);
    this.#boundary();
  }

  /** What was handled has moved the place, and wrote nothing. */
  #stepped(): void {
    const { file, position } = this.#known();
    this.#places.move(file, position);
    this.#boundary();
  }

  #boundary(): void {
    this.#isQuiet = true;
    this.#parts.host.boundary();
  }

  // Records.

  #route(group: Group, map: TableMap): RowRoute | null {
    const { route, records } = this.#tracking.tableMap(map);
    if (this.#routes.size >= MAX_ROUTES) this.#routes.clear();
    this.#routes.set(map, route);
    this.#emit(group, records);
    return route;
  }

  /** Schema and control records: into the transaction; before it, where its rows are not to come into the log yet. */
  #emit(group: Group, records: readonly PendingRecord[]): void {
    if (records.length === 0) return;
    if (group.kept !== null || group.fate !== 'take') {
      this.#log.hubTransaction(records);
      return;
    }
    this.#log.open(group, this.#origins.of(group));
    this.#log.records(group, records);
  }

  /** A row cannot be written: its table stops there. */
  #fault(group: Group, map: TableMap, error: unknown): void {
    if (!(error instanceof TidemarkError) || !ROW_FAULTS.has(error.code)) throw error;
    this.#routes.set(map, null);
    this.#emit(group, this.#tracking.rowFault(map, error));
  }

  #preparedXa(group: Group, xid: string): PreparedXa {
    const { place } = this.#positions;
    const known = this.#parts.prepared.get(xid);
    const after = place.flavor === 'mysql' ? '' : group.fate === 'prepared' && known !== null ? known.after : place.executed.toString();
    return { xid, gtid: gtidText(group.gtid, group.mariadb), file: group.file, offset: group.offset, after };
  }

  #known(): BinlogReader {
    if (this.#reader === null) throw new TidemarkError('INTERNAL', 'events come before their reader is known');
    return this.#reader;
  }
}
