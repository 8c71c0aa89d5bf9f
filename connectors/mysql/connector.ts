import { Catalog } from '../../contracts/catalog.ts';
import type { SourceConfig } from '../../contracts/config.ts';
import type { ChangeStream, SourceConnector, SourceStatus, StreamStart, TableCopier } from '../../contracts/connector.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Position } from '../../contracts/position.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { formatMysqlHost } from '../../contracts/types/mysql-address.ts';
import { readCatalog, type CatalogReading } from './catalog/catalog-reading.ts';
import { listTables } from './catalog/catalog-query.ts';
import { readServerFacts } from './catalog/server-facts.ts';
import { renamedFromRule, SourceTables } from './catalog/source-tables.ts';
import { preflight } from './check.ts';
import { checkHosts } from './check-hosts.ts';
import type { CopierDeps } from './copy/copier-deps.ts';
import { MysqlCopier } from './copy/copier.ts';
import { findServer } from './find-server.ts';
import { isSameSystem, leavesColumnsOut, readBinlogEnd, readIdentity, type ServerIdentity } from './identity.ts';
import { resolveOptions, type MysqlOptions } from './options.ts';
import { decodePlace, encodePlace, mysqlPositions, type BinlogPlace } from './position.ts';
import { Identities } from './schema/identities.ts';
import { refusal } from './schema/refusal.ts';
import type { SchemaTracking } from './schema/schema-tracking.ts';
import { SchemaTracker } from './schema/tracker.ts';
import { ReplicaIds } from './server-id.ts';
import { Endpoint, type Session } from './session.ts';
import { logsCascades } from './setting-findings.ts';
import { MysqlSnapshot } from './snapshot/mysql-snapshot.ts';
import { RolledBack } from './stream/group.ts';
import type { Beginning, RunningStream } from './stream/live-stream.ts';
import { MysqlStream } from './stream/stream.ts';
import { StreamWatch } from './stream/stream-watch.ts';
import { requireLogged } from './unlogged.ts';
import type { ValueOptions } from './values/value-options.ts';

/** A MySQL (8.0 or newer) or MariaDB (10.6 or newer) server. */
export class MysqlConnector implements SourceConnector {
  readonly positions = mysqlPositions;
  readonly #config: SourceConfig;
  readonly #runtime: Runtime;
  readonly #options: MysqlOptions;
  readonly #values: ValueOptions;
  readonly #endpoint: Endpoint;
  readonly #source: SourceTables;
  readonly #closing = new AbortController();
  // What outlives streams.
  readonly #identities: Identities;
  readonly #replicaIds: ReplicaIds;
  readonly #rolledBack = new RolledBack();
  readonly #anonymous = new Set<string>();
  readonly #watch = new StreamWatch();
  #state: { readonly connected: boolean; readonly waitingFor: string } = { connected: false, waitingFor: '' };
  /** The stream that runs, once it has its connections. */
  #running: RunningStream | null = null;
  /** Of the stream that runs, or ran last since the log was looked at. */
  #tracking: SchemaTracking | null = null;
  /** Where a new log begins: what comes behind it is in the stream, what came before in the copies. */
  #begin: Beginning | null = null;
  /** What the log has, as far as is known. */
  #catalog: Catalog = Catalog.from([]);
  #position: Position | null = null;
  #copier: MysqlCopier | null = null;
  /** Kept open for `status`, which is asked often. */
  #looking: Promise<Session> | null = null;

  /** @throws TidemarkError `MYSQL_URL`, `CONFIG_VALUE` */
  constructor(config: SourceConfig, runtime: Runtime) {
    this.#config = config;
    this.#options = resolveOptions(config.name, config.options);
    this.#values = { zeroDates: this.#options.zeroDates, invalidText: 'refuse' };
    this.#source = new SourceTables(config);
    this.#runtime = runtime;
    this.#endpoint = new Endpoint(config, runtime);
    this.#identities = new Identities(runtime.random);
    this.#replicaIds = new ReplicaIds(this.#options.serverId, runtime.random);
  }

  async check(signal: AbortSignal): Promise<Finding[]> {
    const place = this.#position === null ? null : decodePlace(this.#position);
    const until = AbortSignal.any([signal, this.#closing.signal]);
    return await checkHosts(this.#endpoint, place, (session) => preflight(session, this.#config, this.#options, place), until);
  }

  async prepare(start: StreamStart, signal: AbortSignal): Promise<void> {
    this.#state = { ...this.#state, waitingFor: 'a connection' };
    const known = start.position === null ? null : decodePlace(start.position);
    const { session, identity } = await findServer(this.#endpoint, known, AbortSignal.any([signal, this.#closing.signal]));
    await using _session = session;
    this.#catalog = start.catalog;
    this.#tracking = null;
    this.#position = start.position;
    const end = await readBinlogEnd(session, identity);
    const renamed = this.#config.columns.size === 0 ? null : renamedFromRule(this.#source, await this.#source.selected(session), start.catalog, start.position === null);
    if (renamed !== null) throw renamed;
    if (start.position !== null) {
      this.#begin = null;
      await requireLogged(session, identity, end, databasesOf(start.catalog));
    } else {
      const { place } = end;
      const reading = await readCatalog(session, identity, await this.#source.selected(session), logsCascades(identity));
      await requireLogged(session, identity, end, new Set([...databasesOf(start.catalog), ...reading.tables.map(({ namespace }) => namespace)]));
      this.#requireTables(reading, identity, start.catalog);
      this.#begin ??= { place, reading };
    }
    this.#state = { ...this.#state, waitingFor: '' };
  }

  stream(start: StreamStart, signal: AbortSignal): ChangeStream {
    return new MysqlStream(
      {
        endpoint: this.#endpoint,
        options: this.#options,
        runtime: this.#runtime,
        replicaIds: this.#replicaIds,
        rolledBack: this.#rolledBack,
        anonymous: this.#anonymous,
        begin: () => this.#begin,
        track: (session, identity) => this.#track(session, identity, start),
        readCatalog: (session, identity, { tables }) => readCatalog(session, identity, tables, logsCascades(identity)),
        report: (state) => {
          this.#state = state;
        },
        runs: async (live) => {
          this.#running = live;
          this.#tracking = live?.tracking ?? this.#tracking;
          this.#watch.moved();
          if (live === null) await this.#copier?.streamEnded();
        },
        moved: () => this.#watch.moved(),
      },
      start,
      AbortSignal.any([signal, this.#closing.signal]),
    );
  }

  async tables(signal: AbortSignal): Promise<TableSchema[]> {
    for (;;) {
      await using session = await this.#openBeside(signal);
      const identity = await readIdentity(session);
      const followed = this.#tracking;
      const tracking = followed ?? (await this.#track(session, identity, { position: this.#position, catalog: this.#catalog }));
      const reading = await readCatalog(session, identity, tracking.unknown(await listTables(session)), logsCascades(identity));
      // A stream that has begun meanwhile gives the identities.
      if (this.#tracking === followed) return tracking.present(reading);
    }
  }

  copier(): TableCopier {
    this.#copier ??= new MysqlCopier(this.#copierDeps((signal) => this.#openWithStream(signal)));
    return this.#copier;
  }

  snapshot(_tables: readonly TableSchema[], signal: AbortSignal): Promise<MysqlSnapshot> {
    return MysqlSnapshot.open(this.#copierDeps((stop) => this.#openBeside(stop, true)), signal);
  }

  async isSameSystem(position: Position, signal: AbortSignal): Promise<boolean> {
    await using session = await this.#open(signal);
    return await isSameSystem(session, await readIdentity(session), decodePlace(position));
  }

  async status(signal: AbortSignal): Promise<SourceStatus> {
    const { connected, waitingFor } = this.#state;
    const waits = waitingFor === '' ? (this.#copier?.waitingFor ?? '') : waitingFor;
    try {
      const session = await this.#look(signal);
      const { place } = await readBinlogEnd(session, await readIdentity(session));
      return { head: encodePlace(place), retainedBytes: null, connected, waitingFor: waits };
    } catch (error) {
      await this.#closeLook();
      signal.throwIfAborted();
      if (!(error instanceof TidemarkError)) throw error;
      return { head: null, retainedBytes: null, connected, waitingFor: waits === '' ? error.message : waits };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new TidemarkError('ABORTED', 'the source is closed'));
    this.#watch.close();
    await this.#closeLook();
    await this.#copier?.[Symbol.asyncDispose]();
  }

  /** At registration a table that cannot be captured is refused; later it is left out, and said so by the stream. */
  #requireTables({ tables, cascades }: CatalogReading, { version }: ServerIdentity, log: Catalog): void {
    for (const table of tables) {
      if (log.byName(tableName(table)) !== undefined) continue;
      const fault = refusal(table, cascades, this.#source, version.flavor, this.#options.acceptCascades);
      if (fault !== null) throw fault;
    }
  }

  async #track(session: Session, identity: ServerIdentity, { position, catalog }: StreamStart): Promise<SchemaTracking> {
    return new SchemaTracker({
      catalog,
      source: this.#source,
      facts: await readServerFacts(session, identity),
      identities: this.#identities,
      routes: { values: this.#values, keepBefore: false, isWide: leavesColumnsOut(identity), maxRowBytes: this.#options.maxRowBytes },
      acceptCascades: this.#options.acceptCascades,
      logsCascades: logsCascades(identity),
      isAfterGap: position === null && catalog.some(({ state }) => state.state !== 'removed'),
      logger: this.#runtime.logger,
    });
  }

  #open(signal: AbortSignal): Promise<Session> {
    return this.#endpoint.open(AbortSignal.any([signal, this.#closing.signal]));
  }

  /**
   * With the server that the stream comes from, and no other: a replica may be behind what the stream has brought, and what
   * is read there would be taken for newer than that.
   */
  #openBeside(signal: AbortSignal, isRaw = false): Promise<Session> {
    return this.#endpoint.open(AbortSignal.any([signal, this.#closing.signal]), { isRaw, only: this.#running?.host ?? null });
  }

  /** For a copy: as `#openBeside`, but a stream is waited for, since no other server's rows can be joined to it. */
  async #openWithStream(signal: AbortSignal): Promise<Session> {
    while (this.#running === null) await this.#watch.wait(signal);
    return this.#openBeside(signal, true);
  }

  /** With the server that the stream comes from while there is one: the end of another one is not where the stream comes to. */
  async #look(signal: AbortSignal): Promise<Session> {
    signal.throwIfAborted();
    const only = this.#running?.host ?? null;
    if (only !== null && this.#looking !== null && formatMysqlHost((await this.#looking).host) !== formatMysqlHost(only)) await this.#closeLook();
    this.#looking ??= this.#endpoint.open(this.#closing.signal, { only });
    return this.#looking;
  }

  async #closeLook(): Promise<void> {
    const looking = this.#looking;
    this.#looking = null;
    if (looking === null) return;
    await looking.then((session) => session[Symbol.asyncDispose](), () => undefined);
  }

  #copierDeps(open: CopierDeps['open']): CopierDeps {
    const place = (): BinlogPlace | null => this.#running?.place ?? null;
    const watch = this.#watch;
    return {
      config: this.#config,
      clock: this.#runtime.clock,
      logger: this.#runtime.logger,
      stream: {
        get place() {
          return place();
        },
        moved: (signal) => watch.wait(signal),
      },
      values: this.#values,
      maxRowBytes: this.#options.maxRowBytes,
      open,
      table: (sourceTableId) => this.#running?.tracking.table(sourceTableId) ?? null,
      isWide: () => this.#running?.leavesColumnsOut ?? false,
      hash: (value) => this.#hash(value),
    };
  }

  #hash(value: Uint8Array): Buffer {
    const { hash } = this.#source;
    if (hash === null) throw new TidemarkError('MYSQL_COLUMN_RULE', 'there is no key to hash with', { where: { source: this.#config.name } });
    return hash.bytes(value);
  }
}

/** Of the tables that the log has. */
function databasesOf(catalog: Catalog): Set<string> {
  return new Set(catalog.tables().flatMap(({ versions, state }) => (state.state === 'removed' ? [] : (versions.at(-1)?.schema.namespace ?? []))));
}
