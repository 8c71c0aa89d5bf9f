import type { SinkConfig } from '../../../contracts/config.ts';
import type { Finding } from '../../../contracts/finding.ts';
import type { ShadowRebuild, Swap, SwapProgress } from '../../../contracts/rebuild.ts';
import type { Runtime } from '../../../contracts/runtime.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { Sink, SinkStart, TableSelector } from '../../../contracts/sink.ts';
import { readCheckpoint } from '../checkpoint-table.ts';
import { checkReplica } from '../check.ts';
import type { ReplicaSchemas } from '../replica-schemas.ts';
import { sinkError } from '../errors.ts';
import { POSTGRES_NAMES } from '../../relational/identifiers.ts';
import { nameRules } from '../../relational/names.ts';
import type { SinkTarget } from '../sink-target.ts';
import { ident } from '../sql.ts';
import { findInTheWay } from './plan.ts';
import { prepareSwap } from './prepare.ts';
import { discardShadow, hasCheckpoints } from './remove.ts';
import { type ShadowNames, shadowNames, shadowRules } from './shadow-names.ts';
import { ShadowSession } from './shadow-session.ts';
import { ShadowSink } from './shadow-sink.ts';
import { shadowTypes } from './shadow-types.ts';
import { swapShadow } from './swap.ts';
import { readPairs, type TablePair } from './table-pairs.ts';

/** What a table and the shadow's take in the transaction of a swap, with their indexes and values out of line. */
const LOCKS_PER_TABLE = 11;

export interface PostgresShadowParts {
  readonly config: SinkConfig;
  readonly runtime: Runtime;
  /** Of the sink whose shadow it is: a swap makes the checkpoint this owner's. */
  readonly owner: string;
  readonly schemas: ReplicaSchemas;
  /** Makes a sink that writes to other tables than those that readers use. */
  readonly sinkOf: (config: SinkConfig, target: SinkTarget) => Sink;
}

/** A second set of a replica's tables, in a schema of its own of the same database (docs/sink-postgres.md). */
export class PostgresShadow implements ShadowRebuild {
  readonly #parts: PostgresShadowParts;
  readonly #names: ShadowNames;

  constructor(parts: PostgresShadowParts) {
    this.#parts = parts;
    this.#names = shadowNames(parts.config.name);
  }

  check(tables: readonly TableSchema[], signal: AbortSignal): Promise<Finding[]> {
    const { config, schemas } = this.#parts;
    return this.#session(signal, async (shadow) => {
      const findings = await checkReplica({ session: shadow.session, sink: config.name, names: nameRules(config, POSTGRES_NAMES), schemas }, tables);
      const errors = findings.filter((finding) => finding.severity === 'error');
      return [...errors, ...(await this.#placeFindings(shadow, tables.length)), ...(errors.length > 0 ? [] : await this.#shapeFindings(shadow, tables))];
    });
  }

  open(selects: TableSelector): Sink {
    const { config, sinkOf } = this.#parts;
    const target: SinkTarget = { sink: this.#names.checkpoint, names: shadowRules(this.#names), types: shadowTypes(this.#names) };
    return new ShadowSink(sinkOf({ ...config, tables: selects }, target), (start, signal) => this.#clear(start, signal));
  }

  async finish(tables: readonly TableSchema[], onProgress: (progress: SwapProgress) => void, signal: AbortSignal): Promise<void> {
    const { config, schemas } = this.#parts;
    await this.#session(signal, async (shadow) => {
      const { client } = shadow.session;
      const live = (await hasCheckpoints(client)) ? await readCheckpoint(client, this.#names.sink, false) : null;
      const own = live === null ? null : await readCheckpoint(client, this.#names.checkpoint, false);
      const request = { shadow: this.#names, names: nameRules(config, POSTGRES_NAMES), tables: tables.map(schemas.of), sameLog: live !== null && live.logId === own?.logId };
      await prepareSwap(shadow, request, { isFirst: true, onProgress });
    });
  }

  swap(request: Swap, signal: AbortSignal): Promise<void> {
    const { config, owner, schemas } = this.#parts;
    return this.#session(signal, (shadow) => {
      const fitted: Swap = { ...request, tables: request.tables.map(schemas.of), ...(request.notYet === undefined ? {} : { notYet: request.notYet.map(schemas.of) }) };
      return swapShadow({ shadow, names: this.#names, rules: nameRules(config, POSTGRES_NAMES), owner }, fitted, signal);
    });
  }

  discard(signal: AbortSignal): Promise<void> {
    return this.#session(signal, ({ session }) => discardShadow(session, this.#names));
  }

  /** One that was being removed, or is of another log, is not gone on with. */
  #clear(start: SinkStart, signal: AbortSignal): Promise<void> {
    return this.#session(signal, async ({ session }) => {
      const stored = (await hasCheckpoints(session.client)) ? await readCheckpoint(session.client, this.#names.checkpoint, false) : null;
      if (stored?.logId !== start.logId) await discardShadow(session, this.#names);
    });
  }

  async #session<T>(signal: AbortSignal, work: (shadow: ShadowSession) => Promise<T>): Promise<T> {
    const { config, runtime, schemas } = this.#parts;
    try {
      await using shadow = await ShadowSession.open(config, runtime, signal);
      await shadow.session.within(signal, () => schemas.learn(shadow.session.client));
      return await shadow.session.within(signal, () => work(shadow)).catch((error: unknown) => {
        throw shadow.session.lost ?? error;
      });
    } catch (error) {
      throw sinkError(error, { sink: config.name });
    }
  }

  async #placeFindings({ session }: ShadowSession, tables: number): Promise<Finding[]> {
    const { rows } = await session.client.query<{ may: boolean; database: string; role: string; each: number; sessions: number }>(
      `SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may, pg_catalog.current_database()::text AS database, current_user::text AS role,
              pg_catalog.current_setting('max_locks_per_transaction')::int AS each,
              pg_catalog.current_setting('max_connections')::int + pg_catalog.current_setting('max_prepared_transactions')::int AS sessions`,
    );
    const server = rows[0];
    const findings: Finding[] = [];
    if (server === undefined) return findings;
    if (!server.may) {
      const what = `role ${server.role} may not create the schema ${this.#names.schema} for the tables of a rebuild`;
      findings.push({ severity: 'error', code: 'rebuild-create', what, remedy: `GRANT CREATE ON DATABASE ${ident(server.database)} TO ${ident(server.role)}` });
    }
    if (tables * LOCKS_PER_TABLE > server.each * server.sessions) {
      const what = `the server has room for ${server.each * server.sessions} locks, and the swap of ${tables} tables may take ${tables * LOCKS_PER_TABLE}`;
      const remedy = `ALTER SYSTEM SET max_locks_per_transaction = ${Math.ceil((tables * LOCKS_PER_TABLE) / server.sessions)}; then restart the server`;
      findings.push({ severity: 'warning', code: 'rebuild-locks', what, remedy });
    }
    return findings;
  }

  async #shapeFindings(shadow: ShadowSession, tables: readonly TableSchema[]): Promise<Finding[]> {
    const { client } = shadow.session;
    if (!(await hasCheckpoints(client))) return [];
    const live = await readCheckpoint(client, this.#names.sink, false);
    const pairsOf = (sameLog: boolean): Promise<TablePair[]> => readPairs(client, { shadow: this.#names, names: nameRules(this.#parts.config, POSTGRES_NAMES), tables, sameLog });
    const byId = await pairsOf(live !== null);
    // In another log the ids are those of other tables of the source.
    const isOther = byId.some(({ isSame, mirrored, schema }) => isSame && mirrored !== null && mirrored.sourceTableId !== schema.sourceTableId);
    const pairs = isOther ? await pairsOf(false) : byId;
    const found = await findInTheWay(shadow, pairs.filter((pair) => pair.live === null || pair.mirrored !== null));
    return found.map(({ pair, what, remedy }) => ({ severity: 'error', code: 'rebuild-in-the-way', what, remedy, table: tableName(pair.schema) }));
  }
}
