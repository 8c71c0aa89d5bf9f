/** A stream of a Postgres source while it has its connections. */
import type { StreamStart } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { DurableProgress } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { HostAddress } from '../../../contracts/types/postgres-address.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { CatalogWatch, type CatalogNews } from '../schema/catalog-watch.ts';
import { HEARTBEAT_PREFIX, heartbeatStatement } from './heartbeat.ts';
import { Intake, type IntakeHost } from './intake.ts';
import { livenessAction } from './liveness.ts';
import type { PostgresOptions } from '../options.ts';
import type { PendingRecord, Route } from './route.ts';
import { formatLsn, lsnOfPosition, type Lsn, type PositionWriter } from '../position.ts';
import type { Relation } from './relation.ts';
import type { ReplicationConnection } from './replication.ts';
import { SchemaTracker, type TableMemory } from '../schema/schema-tracker.ts';
import { checkPosition } from '../catalog/server-identity.ts';
import type { Endpoint, Session } from '../session.ts';
import { readSlot, slotFault } from '../slot.ts';
import type { SourceCatalog } from '../catalog/source-catalog.ts';
import { TrackedTables } from '../schema/tracked-table.ts';
import { XidWidener } from './xid.ts';

export interface StreamParts {
  readonly endpoint: Endpoint;
  readonly catalog: SourceCatalog;
  readonly options: PostgresOptions;
  readonly runtime: Runtime;
  /** Outlives the stream. */
  readonly memory: Map<number, TableMemory>;
  /** What the stream waits for, for people; '' when it streams. */
  readonly report: (state: { connected: boolean; waitingFor: string; head: Lsn | null }) => void;
  /** Which of the source's servers the stream comes from, as soon as that is known; null: from none any more. */
  readonly reads: (host: HostAddress | null) => Promise<void>;
}
const TICK_MS = 50;
/** A sink makes the tables of a transaction in one of its own, and its server keeps a lock on each until the end. */
const TABLES_PER_TRANSACTION = 100;
/** Progress without a change is handed on this often, unless somebody waits for it. */
const QUIET_PROGRESS_MS = 1_000;
/** While the catalog's news wait for the stream to come to their place. */
const ASK_AGAIN_MS = 200;
/** The stream stands still for so long, although somebody waits for it, before the server is made to flush its WAL. */
const UNFLUSHED_MS = 700;

export interface LiveStart {
  readonly positions: PositionWriter;
  readonly from: Lsn;
  readonly hasPosition: boolean;
}

/**
 * A stream that has its connections. Three things move independently and meet only between two transactions: the bytes of
 * the server (Intake), what the catalog says (CatalogWatch), and what the hub says is durable (`acknowledge`).
 */
export class LiveStream implements IntakeHost {
  readonly intake: Intake;
  readonly #parts: StreamParts;
  readonly #start: StreamStart;
  readonly #session: Session;
  readonly #tracker: SchemaTracker;
  readonly #watch: CatalogWatch;
  readonly #from: LiveStart;
  readonly #seen = new Set<number>();
  readonly #wanted = new Set<number>();
  #connection: ReplicationConnection | null = null;
  #xids = new XidWidener(0);
  #timeoutMs = 0;
  /** The place that the source has reached: the end of the last transaction, or of WAL without one. */
  #at: Lsn;
  /** The last place that a batch has named: what a transaction of the hub repeats, which is no progress. */
  #handedOn: Lsn;
  #commitTime = 0;
  #durable: Lsn;
  #highWatermark: Offset | null = null;
  #told: Lsn;
  #lastStatusAt: number;
  /** The server waits for the position of its last keepalive to be durable. */
  #replyAt: Lsn | null = null;
  #progressAt = Number.NEGATIVE_INFINITY;
  #progressWanted = false;
  /** The server has told a place at or behind the one that the stream began at: it streams, though there may be no change. */
  #answered = false;
  /** Where the stream stands while somebody asks for progress, and since when, or since it was last helped on. */
  #stands: { readonly at: Lsn; readonly since: number } = { at: -1, since: 0 };
  #quiet: Lsn | null = null;
  #news: CatalogNews | null = null;
  #polling = false;
  #nextPollAt = 0;
  #nextHeartbeatAt = 0;

  constructor(parts: StreamParts, start: StreamStart, session: Session, from: LiveStart) {
    this.#parts = parts;
    this.#start = start;
    this.#session = session;
    this.#from = from;
    const { clock, logger } = parts.runtime;
    this.#tracker = new SchemaTracker(parts.catalog, new TrackedTables(start.catalog), parts.memory, logger);
    this.#watch = new CatalogWatch(session, parts.catalog, this.#tracker, logger);
    this.intake = new Intake(this, {
      clock, positions: from.positions, skipBelow: from.from, maxRowBytes: parts.options.maxRowBytes,
    });
    this.#at = this.#handedOn = this.#durable = this.#told = from.from;
    this.#lastStatusAt = clock.monotonic();
  }

  async begin(connection: ReplicationConnection, session: Session, signal: AbortSignal, owned: AsyncDisposableStack): Promise<void> {
    const { options, runtime, report } = this.#parts;
    this.#connection = connection;
    const [setting] = await session.query(`SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'`);
    this.#timeoutMs = Number(setting?.['setting'] ?? 0);
    const first = await this.#watch.begin();
    this.#xids = new XidWidener(first.xmax);
    this.#news = first.news;
    const abort = (): void => this.intake.end();
    signal.addEventListener('abort', abort, { once: true });
    owned.defer(() => signal.removeEventListener('abort', abort));
    signal.throwIfAborted();
    report({ connected: false, waitingFor: 'the replication slot', head: null });
    await connection.start({
      slot: options.slot,
      publication: options.publication,
      start: this.#from.from,
      version: session.version,
      identified: async (server, history) => {
        const { positions } = this.#from;
        if (server.systemId !== positions.identity.systemId) throw new TidemarkError('POSTGRES_UNREACHABLE', 'two connections have led to two servers');
        // A standby's own catalog is behind in this, and names the timeline of its last restart point.
        positions.follow(server);
        if (this.#start.position !== null) await checkPosition(server, this.#start.position, history);
      },
      onBytes: (chunk) => this.intake.take(chunk),
      onEnd: (error) => this.intake.fail(error),
    });
    // Whoever moved the slot before it was ours has lost what the server skips now.
    const fault = await this.#slotMoved();
    if (fault !== null) throw fault;
    report({ connected: true, waitingFor: '', head: null });
    this.#lastStatusAt = runtime.clock.monotonic();
    this.#nextPollAt = runtime.clock.monotonic() + options.pollMs;
    owned.use(runtime.clock.every(TICK_MS, () => this.#tick()));
    // A new log has no position yet, and an idle source would not give it one.
    if (this.#start.position === null) this.intake.between(() => this.intake.progress(this.#at));
    this.requestProgress();
  }

  async #slotMoved(): Promise<TidemarkError | null> {
    if (!this.#from.hasPosition) return null;
    const slot = await readSlot(this.#session, this.#parts.options.slot);
    return slot === null ? new TidemarkError('POSTGRES_SLOT_MISSING', 'the slot is gone') : slotFault(slot, slot.database ?? '', this.#from.from);
  }

  acknowledge({ highWatermark, position }: DurableProgress): void {
    this.#highWatermark = highWatermark;
    if (position === null) return;
    const lsn = lsnOfPosition(position);
    if (lsn <= this.#durable) return;
    this.#durable = lsn;
    if (this.#replyAt === null || lsn < this.#replyAt) return;
    // The server is waiting for exactly this, perhaps to shut down.
    this.#replyAt = null;
    this.#sendStatus(false);
  }

  requestProgress(): void {
    this.#progressWanted = true;
    this.#sendStatus(true);
    const now = this.#parts.runtime.clock.monotonic();
    if (this.#stands.at !== this.#at) this.#stands = { at: this.#at, since: now };
    else if (now - this.#stands.since >= UNFLUSHED_MS) this.#haveFlushed(now);
  }

  /**
   * What an aborted statement, or one that nobody waits for, has written to the WAL is flushed when the server comes to it,
   * which may be many seconds later, and the stream cannot pass it before. A commit, of nothing, has it flushed soon.
   */
  #haveFlushed(now: number): void {
    this.#stands = { at: this.#at, since: now };
    if (!this.#session.inRecovery) this.#watch.run('SELECT pg_catalog.pg_current_xact_id()').catch((error: unknown) => this.intake.fail(error));
  }

  announce(tables: readonly TableSchema[]): void {
    for (const { sourceTableId } of tables) this.#wanted.add(Number(sourceTableId));
    if (this.#wanted.size > 0) this.#nextPollAt = 0;
  }

  // What the intake asks.

  relation(relation: Relation): Route | null {
    const known = this.#seen.has(relation.oid) ? null : this.#watch.known(relation.oid);
    this.#seen.add(relation.oid);
    if (known !== null && this.#tracker.suffices(relation, known)) {
      const { route, records } = this.#tracker.resolve(relation, known);
      return this.#routed(route, records);
    }
    this.#watch.read(relation, this.#xids.widen(this.intake.decoder.xid)).then(
      (reading) => {
        const { route, records } = this.#tracker.resolve(relation, reading);
        this.intake.resolve(this.#routed(route, records));
      },
    ).catch((error: unknown) => this.intake.fail(error));
    return null;
  }

  boundary(end: Lsn, commitTime: number, records: boolean): void {
    this.#answered = true;
    this.#at = end;
    this.#quiet = null;
    if (records) {
      this.#handedOn = end;
      this.#commitTime = commitTime;
    }
    this.#useNews();
    if (!records) this.#progress(end);
  }

  keepalive(end: Lsn, wantsReply: boolean): void {
    this.#parts.report({ connected: true, waitingFor: '', head: end });
    if (wantsReply) {
      if (end > this.#durable) this.#replyAt = end;
      this.#sendStatus(false);
    }
    if (this.intake.decoder.inTransaction || end < this.#at) return;
    // The answer to a request may repeat a place that the server has told by itself, and that is not handed on yet.
    if (end > this.#at || !this.#answered) {
      this.#answered = true;
      this.#at = end;
      this.#useNews();
      this.#quiet = end;
    }
    const now = this.#parts.runtime.clock.monotonic();
    if (wantsReply || this.#progressWanted || now - this.#progressAt >= QUIET_PROGRESS_MS) this.#handOnProgress(now);
  }

  tooLarge(oid: number, bytes: number): PendingRecord | null {
    const tracked = this.#tracker.tables.get(oid);
    if (tracked === null || this.intake.decoder.route(oid)?.captured !== true) return null;
    return this.#tracker.stopRecord(tracked, 'POSTGRES_ROW_TOO_LARGE', `a row of about ${bytes} bytes is above max_row_size, ${this.#parts.options.maxRowBytes} bytes`, false);
  }

  typeName(oid: number, namespace: string, name: string): void {
    const key = `${oid}:-1`;
    if (!this.#tracker.typeNames.has(key)) this.#tracker.typeNames.set(key, namespace === 'pg_catalog' ? name : `${namespace}.${name}`);
  }

  widen(xid: number): number {
    return this.#xids.widen(xid);
  }

  isOwnMessage(prefix: string): boolean {
    return prefix === HEARTBEAT_PREFIX;
  }

  forward(message: Buffer): void {
    this.#connection?.forward(message);
  }

  pause(): void {
    this.#connection?.pause();
  }

  resume(): void {
    this.#connection?.resume();
  }

  gathers(): boolean {
    return this.#connection?.gathers === true;
  }

  // The rest.

  #routed(route: Route, records: readonly PendingRecord[]): Route {
    const waiting = this.intake.decoder.route(route.relation.oid)?.before.splice(0) ?? [];
    route.before.push(...waiting, ...records);
    return route;
  }

  #handOnProgress(now: number): void {
    if (this.#quiet === null) return;
    this.#progressAt = now;
    this.#progressWanted = false;
    const at = this.#quiet;
    this.#quiet = null;
    this.#progress(at);
  }

  #progress(end: Lsn): void {
    this.#handedOn = end;
    this.intake.progress(end);
  }

  /** Puts what the catalog told into the log, once the stream has come to where it was told. Nothing is open. */
  #useNews(): void {
    const news = this.#news;
    if (news === null || this.#at < news.lsn) return;
    this.#news = null;
    let records: PendingRecord[] = [];
    let tables = 0;
    const write = (): void => {
      if (records.length > 0) this.intake.hubTransaction(records, this.#handedOn, this.#commitTime);
      records = [];
      tables = 0;
    };
    for (const [oid, reading] of news.changed) {
      // A Relation message has brought a newer reading meanwhile.
      if (this.#watch.sequenceOf(oid) > news.sequence) continue;
      const route = this.intake.decoder.route(oid);
      if (route !== undefined) records.push(...route.before.splice(0));
      records.push(...this.#tracker.refresh(oid, reading));
      if (route !== undefined) {
        const again = this.#tracker.resolve(route.relation, reading);
        this.intake.decoder.setRoute(this.#routed(again.route, again.records));
      }
      if (++tables === TABLES_PER_TRANSACTION) write();
    }
    write();
  }

  #tick(): void {
    const { clock } = this.#parts.runtime;
    const now = clock.monotonic();
    const action = livenessAction({
      now,
      lastStatusAt: this.#lastStatusAt,
      lastByteAt: this.intake.lastByteAt,
      paused: this.intake.paused,
      timeoutMs: this.#timeoutMs,
      moved: this.#durable > this.#told,
    });
    if (action === 'give-up') this.intake.fail(new TidemarkError('POSTGRES_UNREACHABLE', 'the server has been silent for too long'));
    else if (action !== 'nothing') this.#sendStatus(action === 'status-and-reply');
    if (this.#quiet !== null && now - this.#progressAt >= QUIET_PROGRESS_MS) this.intake.between(() => this.#handOnProgress(now));
    if (!this.#answered && now - this.#lastStatusAt >= ASK_AGAIN_MS) this.requestProgress();
    if (this.#news !== null) this.#awaitNews(now);
    else if (!this.#polling && now >= this.#nextPollAt) this.#poll(now);
    if (now >= this.#nextHeartbeatAt) this.#heartbeat(now);
  }

  /** The stream may stand at the place of the news already, or there may be nothing on the way that tells. */
  #awaitNews(now: number): void {
    this.intake.between(() => this.#useNews());
    if (this.#news !== null && now - this.#lastStatusAt >= ASK_AGAIN_MS) this.requestProgress();
  }

  #poll(started: number): void {
    const { runtime, options } = this.#parts;
    const before = this.#highWatermark;
    const wanted = new Set(this.#wanted);
    this.#wanted.clear();
    this.#polling = true;
    this.#watch.poll(wanted).then(
      ({ news, same, xmax }) => {
        this.#polling = false;
        this.#xids.advance(xmax);
        for (const oid of same) this.#tracker.confirm(oid, before);
        this.#news = news;
        const took = runtime.clock.monotonic() - started;
        // Where there are thousands of tables the catalog is looked at less often: 2 % of the time at most.
        this.#nextPollAt = this.#wanted.size > 0 ? 0 : runtime.clock.monotonic() + Math.max(options.pollMs, took * 50);
      },
    ).catch((error: unknown) => this.intake.fail(error));
  }

  #heartbeat(now: number): void {
    const { heartbeat } = this.#parts.options;
    if (heartbeat.kind === 'none' || this.#session.inRecovery) {
      this.#nextHeartbeatAt = Number.POSITIVE_INFINITY;
      return;
    }
    this.#nextHeartbeatAt = now + heartbeat.everyMs;
    this.#watch.run(heartbeatStatement(heartbeat)).catch((error: unknown) => this.intake.fail(error));
  }

  #sendStatus(reply: boolean): void {
    const { clock } = this.#parts.runtime;
    this.#told = this.#durable;
    this.#lastStatusAt = clock.monotonic();
    this.#connection?.sendStatus(this.#durable, reply, clock.now());
  }

  /** For messages: where the stream is. */
  get position(): string {
    return formatLsn(this.#at);
  }
}
