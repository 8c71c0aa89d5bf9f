import type { SourceConfig } from '../../contracts/config.ts';
import type { ChangeStream, SourceConnector, SourceStatus, StreamStart, TableCopier } from '../../contracts/connector.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Finding } from '../../contracts/finding.ts';
import type { Position } from '../../contracts/position.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { HostAddress } from '../../contracts/types/postgres-address.ts';
import { readToasted, text } from './catalog/catalog-query.ts';
import type { CopierDeps } from './copy/copier-deps.ts';
import { PostgresCopier } from './copy/copier.ts';
import { resolveOptions, type PostgresOptions } from './options.ts';
import { identityOfPosition, lsnOfPosition, postgresPositions, PositionWriter, type Lsn } from './position.ts';
import { preflight, replicationFindings } from './preflight.ts';
import { ensurePublication, readPublication } from './catalog/publication.ts';
import type { TableMemory } from './schema/schema-tracker.ts';
import { readIdentity } from './catalog/server-identity.ts';
import { Endpoint, type Session } from './session.ts';
import { PostgresSnapshot } from './snapshot/snapshot.ts';
import { createSlot, dropSlot, readSlot, slotFault } from './slot.ts';
import { isCapturable, needsWidth, SourceCatalog } from './catalog/source-catalog.ts';
import { requireIdentity, type SourceTable } from './catalog/source-table.ts';
import { PostgresStream } from './stream/stream.ts';

/** A Postgres database, 13 or newer. */
export class PostgresConnector implements SourceConnector {
  readonly positions = postgresPositions;
  readonly #config: SourceConfig;
  readonly #runtime: Runtime;
  readonly #options: PostgresOptions;
  readonly #endpoint: Endpoint;
  readonly #catalog: SourceCatalog;
  readonly #closing = new AbortController();
  /** How tables were when they were last looked at; outlives streams. */
  readonly #memory = new Map<number, TableMemory>();
  #state: { connected: boolean; waitingFor: string; head: Lsn | null } = { connected: false, waitingFor: '', head: null };
  /** The server that the stream comes from; null: there is no stream. */
  #streamsFrom: HostAddress | null = null;
  #copier: PostgresCopier | null = null;
  /** Kept open for `status`, which is asked often. */
  #looking: Promise<Session> | null = null;

  /** @throws TidemarkError `POSTGRES_URL`, `CONFIG_VALUE` */
  constructor(config: SourceConfig, runtime: Runtime) {
    this.#config = config;
    this.#options = resolveOptions(config.name, config.options);
    this.#catalog = new SourceCatalog(config, this.#options.publication);
    this.#runtime = runtime;
    this.#endpoint = new Endpoint(config, runtime);
  }

  async check(signal: AbortSignal): Promise<Finding[]> {
    await using session = await this.#open(signal);
    const findings = await preflight(session, this.#catalog, this.#options);
    return [...findings, ...(await replicationFindings(await this.#endpoint.wire(session.host), this.#runtime.clock, signal))];
  }

  async prepare(start: StreamStart, signal: AbortSignal): Promise<void> {
    const options = this.#options;
    this.#state = { ...this.#state, waitingFor: 'a connection' };
    await using session = await this.#open(signal);
    await requireLogicalWal(session);
    if (start.position !== null) await requireSystem(session, start.position);
    const catalog = this.#catalog;
    const { tables } = await catalog.read(session, (await catalog.selected(session)).map((table) => table.oid));
    for (const table of tables) {
      const known = start.position !== null || start.catalog.bySourceId(String(table.oid)) !== undefined;
      // At registration a table that cannot be captured is refused; later it is left out, and said so by the stream.
      if (!known) requireIdentity(table);
      const fault = catalog.ruleError(table) ?? renamedFromRule(catalog, table, tables, start.catalog);
      if (fault !== null) throw fault;
    }
    const slot = await readSlot(session, options.slot);
    const publication = await readPublication(session, options.publication);
    if (start.position !== null && publication === null) {
      throw new TidemarkError('POSTGRES_PUBLICATION', `the publication ${options.publication} is gone`, {
        remedy: 'What was written without it cannot be read any more. `tidemark source resync NAME` copies the tables again.',
      });
    }
    if (!session.inRecovery || publication === null) await ensurePublication(session, options.publication, tables.filter(isCapturable));
    if (slot === null && start.position !== null) {
      throw new TidemarkError('POSTGRES_SLOT_MISSING', `the slot ${options.slot} is gone, and the log has a position in it`);
    }
    if (slot === null) {
      this.#state = { ...this.#state, waitingFor: 'the transactions that run now, before the replication slot can be made' };
      await createSlot(session, options.slot, options.failover);
    } else {
      const fault = slotFault(slot, await databaseName(session), start.position === null ? null : lsnOfPosition(start.position));
      if (fault !== null) throw fault;
      // WAL of before the publication cannot be decoded with it; a new log has no use for it.
      if (publication === null) await session.query(`SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, [options.slot]);
    }
    this.#state = { ...this.#state, waitingFor: '' };
  }

  stream(start: StreamStart, signal: AbortSignal): ChangeStream {
    return new PostgresStream(
      {
        endpoint: this.#endpoint,
        catalog: this.#catalog,
        options: this.#options,
        runtime: this.#runtime,
        memory: this.#memory,
        report: (state) => {
          this.#state = { ...state, head: state.head ?? this.#state.head };
        },
        reads: async (host) => {
          this.#streamsFrom = host;
          if (host === null) await this.#copier?.streamEnded();
        },
      },
      start,
      AbortSignal.any([signal, this.#closing.signal]),
    );
  }

  async tables(signal: AbortSignal): Promise<TableSchema[]> {
    const catalog = this.#catalog;
    await using session = await this.#openBeside(signal);
    const reading = await catalog.read(session, (await catalog.selected(session)).map((table) => table.oid));
    return reading.tables.filter((table) => catalog.isFollowed(table)).map((table) => catalog.schema(table, reading));
  }

  copier(): TableCopier {
    this.#copier ??= new PostgresCopier(this.#copierDeps());
    return this.#copier;
  }

  snapshot(_tables: readonly TableSchema[], signal: AbortSignal): Promise<PostgresSnapshot> {
    return PostgresSnapshot.open(this.#copierDeps(), signal);
  }

  async release(signal: AbortSignal): Promise<void> {
    await using session = await this.#open(signal);
    await dropSlot(session, this.#options.slot, this.#runtime.clock, signal);
  }

  async isSameSystem(position: Position, signal: AbortSignal): Promise<boolean> {
    await using session = await this.#open(signal);
    return (await readIdentity(session)).systemId === identityOfPosition(position).systemId;
  }

  async status(signal: AbortSignal): Promise<SourceStatus> {
    const { connected, waitingFor } = this.#state;
    const waits = waitingFor === '' ? (this.#copier?.waitingFor ?? '') : waitingFor;
    try {
      const session = await this.#look(signal);
      const identity = await readIdentity(session);
      const slot = await readSlot(session, this.#options.slot);
      return { head: new PositionWriter(identity).at(identity.end), retainedBytes: slot?.retained ?? null, connected, waitingFor: waits };
    } catch (error) {
      await this.#closeLook();
      signal.throwIfAborted();
      if (!(error instanceof TidemarkError)) throw error;
      return { head: null, retainedBytes: null, connected, waitingFor: waits === '' ? error.message : waits };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new TidemarkError('ABORTED', 'the source is closed'));
    await this.#closeLook();
    await this.#copier?.[Symbol.asyncDispose]();
  }

  #open(signal: AbortSignal): Promise<Session> {
    return this.#endpoint.open(AbortSignal.any([signal, this.#closing.signal]));
  }

  /**
   * With the server that the stream comes from, and no other host: a standby may be behind what the stream has brought,
   * and what is read there would be taken for newer than that.
   */
  #openBeside(signal: AbortSignal): Promise<Session> {
    return this.#endpoint.open(AbortSignal.any([signal, this.#closing.signal]), this.#streamsFrom);
  }

  #look(signal: AbortSignal): Promise<Session> {
    signal.throwIfAborted();
    this.#looking ??= this.#endpoint.open(this.#closing.signal);
    return this.#looking;
  }

  async #closeLook(): Promise<void> {
    const looking = this.#looking;
    this.#looking = null;
    if (looking === null) return;
    await looking.then((session) => session[Symbol.asyncDispose](), () => undefined);
  }

  #copierDeps(): CopierDeps {
    const { clock, logger } = this.#runtime;
    const endpoint = this.#endpoint;
    const catalog = this.#catalog;
    const config = this.#config;
    return {
      config,
      clock,
      logger,
      slot: this.#options.slot,
      open: (signal) => this.#openBeside(signal),
      wire: (host) => endpoint.wire(host),
      describe: async (session, ids) => {
        const reading = await catalog.read(session, ids.map(Number));
        const toasted = await readToasted(session, reading.tables.filter(needsWidth).map((table) => table.oid));
        return reading.tables.map((table) => catalog.describe(table, reading, toasted.has(table.oid)));
      },
      identity: (session) => readIdentity(session),
      hash: (value) => this.#hash(value),
    };
  }

  #hash(value: Uint8Array): Buffer {
    const { hash } = this.#catalog;
    if (hash === null) throw new TidemarkError('POSTGRES_COLUMN_RULE', 'there is no key to hash with', { where: { source: this.#config.name } });
    return hash.bytes(value);
  }
}

async function requireLogicalWal(session: Session): Promise<void> {
  const [row] = await session.query(`SELECT current_setting('wal_level') AS level`);
  if (row?.['level'] !== 'logical') throw new TidemarkError('POSTGRES_WAL_LEVEL', `wal_level is ${row?.['level'] ?? 'unknown'}`);
}

async function requireSystem(session: Session, position: Uint8Array): Promise<void> {
  const known = identityOfPosition(position);
  const server = await readIdentity(session);
  if (known.systemId === server.systemId) return;
  throw new TidemarkError('POSTGRES_SYSTEM_CHANGED', `the log was read from system ${known.systemId}, the server is ${server.systemId}`);
}

/** A table whose rules stand under a name that it had: without them its columns would be let out. */
function renamedFromRule(catalog: SourceCatalog, table: SourceTable, present: readonly SourceTable[], log: Catalog): TidemarkError | null {
  if (catalog.config.columns.size === 0) return null;
  const now = tableName(table);
  const named = log.bySourceId(String(table.oid))?.versions.map(({ schema }) => tableName(schema)) ?? [];
  const rule = named.find((name) => name !== now && catalog.config.columns.has(name) && !present.some((other) => tableName(other) === name));
  if (rule === undefined || catalog.config.columns.has(now)) return null;
  return new TidemarkError('POSTGRES_COLUMN_RULE', `columns are ruled for ${rule}, which is called ${now} at the source`, {
    where: { table: now }, remedy: `Write the rules of ${rule} under ${now}; an empty list takes them back.`,
  });
}

async function databaseName(session: Session): Promise<string> {
  const [row] = await session.query('SELECT current_database() AS name');
  return text(row ?? {}, 'name');
}
