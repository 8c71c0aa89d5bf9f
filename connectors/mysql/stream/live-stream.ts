/** A stream of a MySQL or MariaDB source while it has its connections. */
import type { StreamStart } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { DurableProgress } from '../../../contracts/log-engine.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { MysqlHost } from '../../../contracts/types/mysql-address.ts';
import type { BinlogHandler } from '../binlog/binlog-handler.ts';
import { BinlogReader } from '../binlog/binlog-reader.ts';
import type { CatalogReading } from '../catalog/catalog-reading.ts';
import { leavesColumnsOut, type ServerIdentity } from '../identity.ts';
import type { MysqlOptions } from '../options.ts';
import type { BinlogPlace } from '../position.ts';
import { PositionWriter } from '../position-writer.ts';
import type { PreparedXa } from '../prepared-xa.ts';
import type { ReadingRequest, SchemaTracking } from '../schema/schema-tracking.ts';
import type { ReplicaIds } from '../server-id.ts';
import type { Endpoint, Session } from '../session.ts';
import { BinlogDump, type DumpOptions } from '../wire/dump.ts';
import { resumeAt } from './gate.ts';
import type { RolledBack } from './group.ts';
import { PreparedTransactions } from './kept-rows.ts';
import { Outlet } from './outlet.ts';
import { readAgain } from './read-again.ts';
import { Transactions } from './transactions.ts';

export interface StreamParts {
  readonly endpoint: Endpoint;
  readonly options: MysqlOptions;
  readonly runtime: Runtime;
  readonly replicaIds: ReplicaIds;
  /** Outlives the stream. */
  readonly rolledBack: RolledBack;
  /** Servers that have transactions without GTIDs behind the log's position. Outlives the stream. */
  readonly anonymous: Set<string>;
  /** Where a new log begins; null: at the server's end. */
  readonly begin: () => Beginning | null;
  /** Follows the shapes of the tables from where the stream begins. */
  readonly track: (session: Session, identity: ServerIdentity) => Promise<SchemaTracking>;
  /** Reads tables at the server that the stream comes from. */
  readonly readCatalog: (session: Session, identity: ServerIdentity, request: ReadingRequest) => Promise<CatalogReading>;
  /** What the stream waits for, for people; '' when it streams. */
  readonly report: (state: { readonly connected: boolean; readonly waitingFor: string }) => void;
  /** The stream that runs and which of the source's servers it comes from, as soon as that is known; null: there is none any more. */
  readonly runs: (live: RunningStream | null) => Promise<void>;
  /** The place of the stream that runs has moved on. */
  readonly moved: () => void;
}

/** Where a new log begins, and what the server's catalog said there or behind it. */
export interface Beginning {
  readonly place: BinlogPlace;
  readonly reading: CatalogReading;
}

/** What others see of a stream. */
export interface RunningStream {
  readonly host: MysqlHost;
  readonly tracking: SchemaTracking;
  /** All that ends there has been handled: a copy, the caller's own. */
  readonly place: BinlogPlace;
  /** Rows may come with columns left out. */
  readonly leavesColumnsOut: boolean;
}

export interface LiveStart {
  readonly session: Session;
  readonly identity: ServerIdentity;
  readonly place: BinlogPlace;
  readonly tracking: SchemaTracking;
}

const TICK_MS = 50;
/** Progress without a change is handed on this often, unless somebody waits for it. */
const QUIET_PROGRESS_MS = 1_000;
/** How often an idle server tells where it is, at least. */
const HEARTBEAT_MS = 1_000;
/** Silence for so many times the configured heartbeat is the end of a server. */
const SILENT_HEARTBEATS = 3;
/** An event has a row as it was and as it is, and a few small ones before. */
const EVENT_OVERHEAD = 1 << 20;

type Hold = 'full' | 'work';

/**
 * A stream that has its connections. The bytes of the server, what its catalog says and what the hub asks for move
 * independently, and meet only between two transactions.
 */
export class LiveStream implements RunningStream {
  readonly host: MysqlHost;
  readonly outlet: Outlet;
  readonly tracking: SchemaTracking;
  readonly #parts: StreamParts;
  readonly #start: StreamStart;
  readonly #from: LiveStart;
  readonly #positions: PositionWriter;
  readonly #transactions: Transactions;
  readonly #holds = new Set<Hold>();
  readonly #dumpStart: DumpOptions['start'];
  readonly #signal: AbortSignal;
  #dump: BinlogDump | null = null;
  /** Reads the rows of a prepared transaction while the stream itself is held. */
  #again: BinlogDump | null = null;
  #isHeard = false;
  #progressAt = Number.NEGATIVE_INFINITY;
  #progressWanted = false;
  #isReading = false;

  constructor(parts: StreamParts, start: StreamStart, from: LiveStart, signal: AbortSignal) {
    const { identity, place, session } = from;
    this.#parts = parts;
    this.#start = start;
    this.#from = from;
    this.#signal = signal;
    this.host = session.host;
    const isByGtid = identity.isByGtid && !isAnonymous(parts, identity, place);
    const { start: dumpStart, gate } = resumeAt(place, isByGtid);
    this.#dumpStart = dumpStart;
    this.#positions = new PositionWriter(place);
    if (!isByGtid) this.#positions.countBy(false);
    this.tracking = from.tracking;
    this.outlet = new Outlet({ pause: () => this.#hold('full'), resume: () => this.#release('full') }, parts.runtime.clock);
    this.#transactions = new Transactions({
      tracking: this.tracking,
      outlet: this.outlet,
      positions: this.#positions,
      named: start.position ?? new Uint8Array(0),
      server: identity.server,
      serverId: identity.serverId,
      isByGtid: identity.isByGtid,
      gate,
      prepared: new PreparedTransactions(place.prepared ?? []),
      rolledBack: parts.rolledBack,
      host: {
        heard: () => this.#heard(),
        boundary: () => this.#boundary(),
        hold: (work) => this.#work(work),
        readAgain: (xa, handler) => this.#readAgain(xa, handler),
      },
    });
  }

  get place(): BinlogPlace {
    const { place } = this.#positions;
    const at = this.#transactions.place;
    return place.flavor === 'mysql' ? { ...place, ...at, executed: place.executed.clone() } : { ...place, ...at, executed: place.executed.clone() };
  }

  get leavesColumnsOut(): boolean {
    return leavesColumnsOut(this.#from.identity);
  }

  async begin(owned: AsyncDisposableStack): Promise<void> {
    const { endpoint, runtime } = this.#parts;
    const signal = this.#signal;
    const abort = (): void => this.outlet.end();
    signal.addEventListener('abort', abort, { once: true });
    owned.defer(() => signal.removeEventListener('abort', abort));
    signal.throwIfAborted();
    const reader: BinlogReader = new BinlogReader(this.#transactions, this.#readerOptions());
    this.#transactions.attach(reader);
    const options = await this.#dumpOptions('stream');
    const dump = await BinlogDump.begin(await endpoint.wire(signal, this.host), reader, { ...options, start: this.#dumpStart }, signal);
    owned.use(dump);
    this.#dump = dump;
    if (this.#holds.size > 0) dump.pause();
    dump.ended.then(() => this.outlet.end(), (error: unknown) => this.#failed(error));
    owned.use(runtime.clock.every(TICK_MS, () => this.#guard(() => this.#tick())));
  }

  /** A new log has no position yet, and an idle source would not give it one. Its tables come into it before their first rows. */
  #beginLog(): void {
    const reading = this.#parts.begin()?.reading;
    if (reading !== undefined && this.#start.catalog.tables().length === 0) {
      this.tracking.announce(reading.tables);
      for (let request = this.tracking.ask(); request !== null; request = this.tracking.ask()) this.tracking.answer(request, reading);
    }
    this.#progress(this.#parts.runtime.clock.monotonic());
    this.#settle();
  }

  acknowledge({ highWatermark }: DurableProgress): void {
    this.tracking.acknowledge(highWatermark);
  }

  requestProgress(): void {
    this.#progressWanted = true;
    if (!this.#isBusy()) this.#guard(() => this.#settle());
  }

  announce(tables: readonly TableSchema[]): void {
    this.tracking.announce(tables);
    this.#readCatalog();
  }

  // What reading transactions asks.

  #heard(): void {
    if (this.#isHeard) return;
    this.#isHeard = true;
    this.#parts.report({ connected: true, waitingFor: '' });
    if (this.#start.position === null) this.#beginLog();
  }

  #boundary(): void {
    this.#parts.moved();
    if (this.tracking.isWaiting || this.#progressWanted) this.#settle();
  }

  /** What waited for a place between two transactions. A log without a position, new or behind a gap, is given one before anything else. */
  #settle(): void {
    if (!this.#isHeard && this.#start.position === null) return;
    if (this.tracking.isWaiting) for (const records of this.tracking.boundary(this.#transactions.place)) this.#transactions.hubTransaction(records);
    if (this.#progressWanted && this.#transactions.isQuiet) this.#progress(this.#parts.runtime.clock.monotonic());
  }

  #progress(now: number): void {
    this.#progressAt = now;
    this.#progressWanted = false;
    this.#transactions.progress();
  }

  #work(work: () => Promise<void>): void {
    this.#hold('work');
    work().then(
      () => this.#release('work'),
      (error: unknown) => this.#failed(error),
    );
  }

  async #readAgain(xa: PreparedXa, handler: BinlogHandler): Promise<void> {
    const options = await this.#dumpOptions('once');
    const login = await this.#parts.endpoint.wire(this.#signal, this.host);
    const running = (dump: BinlogDump | null): void => {
      this.#again = dump;
      if (this.#holds.has('full')) dump?.pause();
    };
    const { maxEventBytes } = this.#readerOptions();
    await readAgain(xa, handler, { login, options, maxEventBytes, running }, this.#signal);
  }

  // The rest.

  /** A transaction is open, or nobody takes what is there already. */
  #isBusy(): boolean {
    return this.#transactions.isOpen || this.#holds.size > 0 || this.#signal.aborted;
  }

  #tick(): void {
    this.#readCatalog();
    if (this.#isBusy()) return;
    const now = this.#parts.runtime.clock.monotonic();
    if (now - this.#progressAt >= QUIET_PROGRESS_MS) this.#progressWanted = this.#transactions.isQuiet || this.#progressWanted;
    this.#settle();
  }

  #readCatalog(): void {
    if (this.#isReading || this.#signal.aborted) return;
    const request = this.tracking.ask();
    if (request === null) return;
    this.#isReading = true;
    const { session, identity } = this.#from;
    this.#parts.readCatalog(session, identity, request).then(
      (reading) => {
        this.#isReading = false;
        this.#guard(() => {
          this.tracking.answer(request, reading);
          if (!this.#isBusy()) this.#settle();
        });
      },
      (error: unknown) => this.#failed(error),
    );
  }

  #readerOptions(): { readonly maxEventBytes: number } {
    return { maxEventBytes: 2 * this.#parts.options.maxRowBytes + EVENT_OVERHEAD };
  }

  async #dumpOptions(use: 'stream' | 'once'): Promise<Omit<DumpOptions, 'start'>> {
    const { options, replicaIds, runtime } = this.#parts;
    const { session, identity } = this.#from;
    return {
      flavor: identity.version.flavor,
      ...(await replicaIds.pick(session, identity, use)),
      heartbeatMs: Math.min(HEARTBEAT_MS, options.heartbeatMs),
      silenceMs: options.heartbeatMs * SILENT_HEARTBEATS,
      clock: runtime.clock,
    };
  }

  #hold(reason: Hold): void {
    this.#holds.add(reason);
    this.#dump?.pause();
    if (reason === 'full') this.#again?.pause();
  }

  #release(reason: Hold): void {
    this.#holds.delete(reason);
    if (reason === 'full') this.#again?.resume();
    if (this.#holds.size === 0) this.#dump?.resume();
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (error instanceof TidemarkError && error.code === 'MYSQL_GTIDS_OFF') this.#parts.anonymous.add(this.#from.identity.server);
    this.outlet.fail(this.#parts.replicaIds.judge(error));
  }
}

/** Whether a stream has found transactions without GTIDs behind `place`. @throws TidemarkError `MYSQL_SERVER_CHANGED` */
function isAnonymous({ anonymous }: StreamParts, { server }: ServerIdentity, place: BinlogPlace): boolean {
  if (!anonymous.delete(server)) return false;
  if (place.server === server) return true;
  throw new TidemarkError('MYSQL_SERVER_CHANGED', `the log was read from server ${place.server}, and ${server} has transactions without GTIDs`);
}
