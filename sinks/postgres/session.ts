import pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { canonicalSettingsSql } from '../../contracts/types/postgres-session.ts';
import { sinkError } from './errors.ts';
import type { SynchronousCommit } from './options.ts';
import { Pipeline, StatementCache } from './pipeline.ts';
import { literal } from './sql.ts';

const CONNECT_LIMIT_MS = 15_000;
const KEEPALIVE_IDLE_MS = 30_000;

export interface SessionSettings {
  readonly url: string;
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
  readonly synchronousCommit: SynchronousCommit;
}

/** One connection to the replica. Owned by who opened it; disposing ends it, whatever it is doing. */
export class Session implements AsyncDisposable {
  readonly client: pg.Client;
  readonly statements = new StatementCache();
  #lost: TidemarkError | null = null;
  #ending = false;

  private constructor(client: pg.Client) {
    this.client = client;
    client.on('error', (error) => {
      this.#lost ??= sinkError(error);
    });
    client.on('end', () => {
      if (!this.#ending) this.#lost ??= new TidemarkError('SINK_UNREACHABLE', 'the replica closed the connection');
    });
  }

  /** Why the connection is gone; null while it stands. */
  get lost(): TidemarkError | null {
    return this.#lost;
  }

  /**
   * Connects. Nothing is set yet but that statements have no time limit.
   * @throws TidemarkError `SINK_UNREACHABLE`, `REPLICA_DENIED`, `ABORTED`
   */
  static async open(settings: SessionSettings, signal: AbortSignal): Promise<Session> {
    if (signal.aborted) throw new TidemarkError('ABORTED', 'asked to stop before connecting');
    const client = new pg.Client({
      connectionString: settings.url,
      application_name: settings.applicationName,
      connectionTimeoutMillis: CONNECT_LIMIT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEPALIVE_IDLE_MS,
    });
    const session = new Session(client);
    const stop = (): void => session.cut();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await client.connect();
      await client.query(`${SESSION_SQL}; SET synchronous_commit = ${literal(settings.synchronousCommit)}`);
      return session;
    } catch (error) {
      await session[Symbol.asyncDispose]();
      if (signal.aborted) throw new TidemarkError('ABORTED', 'asked to stop while connecting', { cause: error });
      throw sinkError(error);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  pipeline(): Pipeline {
    return new Pipeline(this.statements);
  }

  /** Breaks the connection at once: what is under way fails. */
  cut(): void {
    this.#ending = true;
    this.client.connection.stream.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    if (this.#lost === null) await this.client.end();
    else this.client.connection.stream.destroy();
  }
}

/**
 * Besides canonical text: no limits that are meant for people, and plans that are made once. Where rows are to be found
 * by an index the planner, who may know nothing of a table that was just filled, must not read the whole of it instead.
 */
const SESSION_SQL = [
  canonicalSettingsSql(),
  `SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')`,
  'SET default_transaction_read_only = off',
  "SET default_transaction_isolation = 'read committed'",
  'SET plan_cache_mode = force_generic_plan',
  'SET enable_hashjoin = off',
  'SET enable_mergejoin = off',
  'SET enable_seqscan = off',
  'SET jit = off',
].join('; ');
