import type pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Clock, FileSystem } from '../../contracts/runtime.ts';
import { canonicalSettingsSql } from '../../contracts/types/postgres-session.ts';
import { connectClient, type ConnectSettings } from './connect.ts';
import { sinkError } from './errors.ts';
import type { SynchronousCommit } from './options.ts';
import { Pipeline, StatementCache } from './pipeline.ts';
import { backendOf, isDirect, refusePooler } from './pooler.ts';
import { literal } from './sql.ts';

/** How long a server may take to close its side before the connection is broken. */
const END_LIMIT_MS = 2_000;

export interface SessionSettings extends ConnectSettings {
  readonly synchronousCommit: SynchronousCommit;
}

/** What sessions need of the world. */
export interface SessionPorts {
  readonly clock: Clock;
  readonly files: FileSystem;
}

/** One connection to the replica. Owned by who opened it; disposing ends it, whatever it is doing. */
export class Session implements AsyncDisposable {
  readonly client: pg.Client;
  readonly statements = new StatementCache();
  readonly #clock: Clock;
  #lost: TidemarkError | null = null;
  #ending = false;
  #backend = 0;

  private constructor(client: pg.Client, clock: Clock) {
    this.client = client;
    this.#clock = clock;
  }

  /** Why the connection is gone; null while it stands. */
  get lost(): TidemarkError | null {
    return this.#lost;
  }

  /** The process id of the server's side. */
  get backend(): number {
    return this.#backend;
  }

  /** Bytes that wait to be sent. */
  get unsent(): number {
    return this.client.connection.stream.writableLength;
  }

  /**
   * Connects and sets what makes values canonical.
   * @throws TidemarkError `SINK_UNREACHABLE`, `REPLICA_DENIED`, `REPLICA_POOLED`, `POSTGRES_URL`, `POSTGRES_TLS`, `ABORTED`
   */
  static async open(settings: SessionSettings, ports: SessionPorts, signal: AbortSignal): Promise<Session> {
    let session: Session | null = null;
    const lose = (error: TidemarkError): void => session?.lose(error);
    const client = await connectClient(settings, ports.files, signal, (attempt) => {
      attempt.on('error', (error) => lose(sinkError(error)));
      attempt.on('end', () => lose(new TidemarkError('SINK_UNREACHABLE', 'the replica closed the connection')));
    });
    session = new Session(client, ports.clock);
    return session.#begin(settings, ports, signal);
  }

  pipeline(): Pipeline {
    return new Pipeline(this.statements);
  }

  /** Notes that the connection is gone; the first reason counts. */
  lose(reason: TidemarkError): void {
    if (!this.#ending) this.#lost ??= reason;
  }

  /** Breaks the connection at once: what is under way fails with `reason`. */
  cut(reason: TidemarkError): void {
    this.#lost ??= reason;
    this.client.connection.stream.destroy();
  }

  /** Runs `work`; when `signal` aborts meanwhile the connection is broken. @throws TidemarkError `ABORTED` then */
  async within<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const stop = (): void => this.cut(new TidemarkError('ABORTED', 'asked to stop'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await work();
    } catch (error) {
      throw signal.aborted && this.#lost !== null ? this.#lost : error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    const { stream } = this.client.connection;
    if (this.#lost !== null) {
      stream.destroy();
      return;
    }
    const ended = new AbortController();
    stream.once('close', () => ended.abort());
    this.client.end().catch(() => stream.destroy());
    // Nobody must wait for a server that is stuck or behind a network that is.
    await this.#clock.sleep(END_LIMIT_MS, ended.signal).then(() => stream.destroy(), () => undefined);
  }

  async #begin(settings: SessionSettings, { files }: SessionPorts, signal: AbortSignal): Promise<this> {
    try {
      await this.within(signal, async () => {
        this.#backend = await backendOf(this.client);
        // Before anything is set: it would reach other clients of a pooler.
        if (!isDirect(this.client, this.#backend)) {
          await refusePooler(this.client, () => connectClient(settings, files, signal, (second) => second.on('error', () => undefined)));
        }
        await this.client.query(`${SESSION_SQL}; SET synchronous_commit = ${literal(settings.synchronousCommit)}`);
      });
      return this;
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw sinkError(error);
    }
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
