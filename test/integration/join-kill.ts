/** Tables that join the selections of a replica and of a cache while the hub is killed and the source is written to. */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { readKey } from '../../contracts/key.ts';
import type { Random } from '../../contracts/runtime.ts';
import { DeadLetters } from '../../hub/dead-letters/dead-letters.ts';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { type PostgresServer, startPostgres } from '../fixtures/embedded-postgres.ts';
import { type HubProcess, startHubProcess, writeHubConfig } from '../fixtures/hub-process.ts';
import { type RedisServer, startRedis } from '../fixtures/redis.ts';
import { createTestRuntime, seededRandom } from '../fixtures/runtime.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { JoinWriter } from './join-writer.ts';

const LIMIT_MS = 300_000;
const CHECKPOINT = 'tidemark:{cache}:checkpoint';
/** The last of them is never selected. */
export const TABLES = ['a', 'b', 'c', 'never'] as const;
const SELECTABLE = TABLES.slice(0, -1);

export interface JoinKillOptions {
  readonly seed: number;
  /** What is selected, one selection after the other; a number: so many that the seed chooses. */
  readonly selections: readonly (readonly string[])[] | number;
  readonly rows: number;
  /** Hubs that are killed after each change of the selection, at most. */
  readonly mostKills: number;
  /** How often a transaction breaks or mends a rule of the replica; one row of each table that joins breaks it from the beginning. */
  readonly breaks: number;
  /** What the networks to the sinks carry while tables join. */
  readonly bytesPerSecond: number;
}

export interface JoinKillOutcome {
  readonly kills: number;
  /** Kills that left a join in its middle at one of the sinks. */
  readonly cut: number;
  /** Joins that went on where an earlier hub had come to. */
  readonly goneOn: number;
  readonly letters: number;
}

/**
 * Throws unless, at the end of each selection, both sinks have of every selected table what the source has, nothing of the
 * one that is never selected, nothing new of one that has been given up, and a dead letter for each row that the replica
 * refuses, and for no other.
 */
export async function joinsUnderKills(options: JoinKillOptions): Promise<JoinKillOutcome> {
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(await temporaryDirectory('join-kill'));
  const [server, redis] = await Promise.all([startPostgres({ databases: ['source', 'replica'], settings: { max_wal_size: '4GB' } }), startRedis()]);
  opened.use(server);
  opened.use(redis);
  const networks = { replica: opened.use(await startTcpProxy(server.port)), cache: opened.use(await startTcpProxy(redis.port)) };
  const random = seededRandom(options.seed);
  const run = new JoinRun({ directory: folder.path, server, redis, networks, random, options });
  opened.defer(() => run.close());
  await run.begin();
  const { selections } = options;
  const list = typeof selections === 'number' ? Array.from({ length: selections }, () => null) : selections;
  for (const selected of list) await run.select(selected ?? some(random));
  return run.outcome;
}

function some(random: Random): string[] {
  const chosen = SELECTABLE.filter(() => random.unit() < 0.6);
  return chosen.length > 0 ? chosen : ['a'];
}

interface JoinRunParts {
  readonly directory: string;
  readonly server: PostgresServer;
  readonly redis: RedisServer;
  readonly networks: Readonly<Record<'replica' | 'cache', Awaited<ReturnType<typeof startTcpProxy>>>>;
  readonly random: Random;
  readonly options: JoinKillOptions;
}

class JoinRun {
  readonly #parts: JoinRunParts;
  readonly #writer: JoinWriter;
  #selected: readonly string[] = ['a'];
  #hub: HubProcess | null = null;
  /** The hub that runs works with the selection that was made last. */
  #knowsSelection = true;
  #kills = 0;
  #cut = 0;
  #letters = 0;
  #goneOn = 0;
  /** What the replica has of tables that were given up. */
  readonly #left = new Map<string, string>();

  constructor(parts: JoinRunParts) {
    this.#parts = parts;
    const { server, random, options } = parts;
    this.#writer = new JoinWriter({ server, random, rows: options.rows, tables: TABLES, breaks: options.breaks });
  }

  get outcome(): JoinKillOutcome {
    return { kills: this.#kills, cut: this.#cut, goneOn: this.#goneOn, letters: this.#letters };
  }

  get #living(): HubProcess {
    if (this.#hub === null) throw new Error('no hub was started');
    return this.#hub;
  }

  /** All tables are in the log, most of it folded; the sinks have the first one. */
  async begin(): Promise<void> {
    const { server } = this.#parts;
    await this.#writer.create();
    // A rule of the replica's own, which some rows will break.
    for (const table of SELECTABLE) await server.query(`CREATE TABLE ${table} (id bigint PRIMARY KEY, n int NOT NULL CHECK (n >= 0), body text NOT NULL)`, [], 'replica');
    await this.#configure();
    await this.#start();
    await this.#living.until('the tables are copied', ({ sources: [shop] }) => shop?.tables.length === TABLES.length && shop.tables.every(({ state }) => state === 'consistent'), LIMIT_MS);
    await this.#caughtUp();
    await this.#living.stop();
    await this.#fold();
    await this.#start();
    // What tables that join have after the base.
    await this.#writer.burst();
  }

  /** With the hub stopped: all that has been sealed goes into the base. */
  async #fold(): Promise<void> {
    await using engine = await EmbeddedLogEngine.create(join(this.#parts.directory, 'data'), createTestRuntime({ seed: randomInt(2 ** 40) }));
    const log = await engine.open('shop', { create: false });
    expect(await log.compact(log.state().highWatermark, { memoryBytes: 8 << 20, share: 1 }, AbortSignal.timeout(LIMIT_MS))).toBeGreaterThan(0);
  }

  async close(): Promise<void> {
    await this.#writer.stop();
    await this.#hub?.[Symbol.asyncDispose]();
  }

  /** Has other tables selected, kills the hub meanwhile, then lets the sinks catch up and compares. */
  async select(tables: readonly string[]): Promise<void> {
    const { networks, random, options } = this.#parts;
    this.#selected = tables;
    await this.#configure();
    this.#writer.start();
    for (const network of Object.values(networks)) network.slow(options.bytesPerSecond);
    this.#knowsSelection = false;
    const reloaded = this.#reload();
    // Heard below, once the hubs have been killed.
    reloaded.catch(() => undefined);
    for (let kills = 1 + Math.floor(random.unit() * options.mostKills); kills > 0; kills--) {
      await Promise.race([this.#momentToKill(), this.#writer.failed]);
      await this.#living.kill();
      // The next one reads it as it starts.
      this.#knowsSelection = true;
      this.#kills++;
      if (Object.values(await this.#cursors()).includes(true)) this.#cut++;
      await this.#start();
    }
    await reloaded;
    for (const network of Object.values(networks)) network.resume();
    await this.#writer.stop();
    await this.#caughtUp();
    await this.#compare();
  }

  /** At random, or as soon as a join has come to somewhere. */
  async #momentToKill(): Promise<void> {
    const { random } = this.#parts;
    const ms = random.unit() * 1500;
    const wanted = (['replica', 'cache', null] as const)[Math.floor(random.unit() * 3)] ?? null;
    if (wanted === null) return delay(ms);
    const limit = performance.now() + 60_000;
    while (performance.now() < limit && !(await this.#cursors())[wanted] && !(await this.#hasJoined(wanted))) await delay(10);
    await delay(random.unit() * 200);
  }

  /** Nothing is left to be cut of this sink's join. */
  async #hasJoined(sink: string): Promise<boolean> {
    return this.#knowsSelection && (await this.#living.sink(sink)).state === 'caught-up';
  }

  /** Whether a join, or a filling, is in its middle. */
  async #cursors(): Promise<{ replica: boolean; cache: boolean }> {
    const { server, redis } = this.#parts;
    await using client = redis.client();
    const [row] = await server.query<{ cut: boolean }>('SELECT load_cursor IS NOT NULL AS cut FROM tidemark.checkpoint', [], 'replica');
    return { replica: row?.cut ?? false, cache: ((await client.hget(CHECKPOINT, 'cursor')) ?? '') !== '' };
  }

  async #configure(): Promise<void> {
    const { directory, server, networks } = this.#parts;
    const replica = `postgres://postgres@127.0.0.1:${networks.replica.port}/replica`;
    const cache = `redis://127.0.0.1:${networks.cache.port}`;
    await writeHubConfig(directory, {
      sources: { shop: { type: 'postgres', url: server.url('source'), tables: ['public.*'], catalog_poll: '200ms' } },
      sinks: {
        replica: { type: 'postgres', from: 'shop', url: replica, tables: this.#selected.map((table) => `public.${table}`), on_error: 'dead-letter' },
        cache: { type: 'redis', from: 'shop', url: cache, tables: Object.fromEntries(this.#selected.map((table) => [`public.${table}`, { key: `${table}:{id}` }])) },
      },
    });
  }

  async #start(): Promise<void> {
    this.#hub = await startHubProcess({ directory: this.#parts.directory, config: null });
  }

  /** Resolves also when the hub is killed meanwhile. */
  async #reload(): Promise<void> {
    try {
      await this.#living.api.reload(AbortSignal.timeout(LIMIT_MS));
      this.#knowsSelection = true;
    } catch (failure) {
      if (!(failure instanceof TidemarkError) || !['API_UNREACHABLE', 'API_ANSWER'].includes(failure.code)) throw failure;
    }
  }

  async #caughtUp(): Promise<void> {
    const [end] = await this.#parts.server.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], 'source');
    for (const sink of ['replica', 'cache']) await this.#living.api.wait(sink, `lsn:${end?.lsn}`, LIMIT_MS, AbortSignal.timeout(LIMIT_MS));
  }

  async #compare(): Promise<void> {
    const { server, directory } = this.#parts;
    const says = `${this.#selected.join()} selected`;
    const refused: string[] = [];
    for (const table of this.#selected) {
      expect(await this.#digest('replica', table), `${table}, ${says}`).toBe(await this.#digest('source', table));
      await this.#cacheHas(table, says);
      const rows = await server.query<{ id: string }>(`SELECT id::text FROM ${table} WHERE n < 0`, [], 'source');
      refused.push(...rows.map(({ id }) => `public.${table} ${id}`));
      this.#left.delete(table);
    }
    expect(await server.query("SELECT to_regclass('public.never') AS never", [], 'replica')).toEqual([{ never: null }]);
    for (const table of TABLES) {
      if (this.#selected.includes(table)) continue;
      await using client = this.#parts.redis.client();
      expect(await client.keys(`${table}:*`), `keys of ${table}, ${says}`).toEqual([]);
      if (table === 'never') continue;
      const left = await this.#digest('replica', table);
      expect(left, `${table} was written to, ${says}`).toBe(this.#left.get(table) ?? left);
      this.#left.set(table, left);
    }
    const letters = await DeadLetters.load(createTestRuntime().files, join(directory, 'data/sinks/replica/dead-letters.json'));
    const open = letters.list().filter(({ table }) => this.#selected.includes(table.slice('public.'.length)));
    expect(open.map(({ table, key }) => `${table} ${readKey(key).map(String).join()}`).toSorted(), `letters, ${says}`).toEqual(refused.toSorted());
    this.#letters += refused.length;
    const output = await this.#living.output();
    this.#goneOn = output.split('\n').filter((line) => line.includes('"sink.tables-joining"') && line.includes('"goesOn":true')).length;
  }

  /** Of the rows that the replica's rule lets in, in the source's columns; and how many of the others there are. */
  async #digest(database: 'source' | 'replica', table: string): Promise<string> {
    const { server } = this.#parts;
    const columns = await server.query<{ name: string }>('SELECT column_name AS name FROM information_schema.columns WHERE table_name = $1 ORDER BY 1', [table], database);
    const listed = columns.map(({ name }) => name).join(', ');
    const others = database === 'replica' ? 'count(*) FILTER (WHERE n < 0)' : '0';
    const [row] = await server.query<{ digest: string }>(
      `SELECT '${listed}: ' || count(*) FILTER (WHERE n >= 0) || ' rows, ' || coalesce(sum(hashtextextended(ROW(${listed})::text, 0)) FILTER (WHERE n >= 0), 0) || ', ' || ${others} AS digest FROM ${table}`, [], database,
    );
    return row?.digest ?? '';
  }

  async #cacheHas(table: string, says: string): Promise<void> {
    const { server, redis } = this.#parts;
    await using client = redis.client();
    const rows = await server.query<{ id: string; n: string; body: string }>(`SELECT id::text, n::text, body FROM ${table}`, [], 'source');
    expect((await client.keys(`${table}:*`)).length, `keys of ${table}, ${says}`).toBe(rows.length);
    const cached = await Promise.all(rows.map(({ id }) => client.hmget(`${table}:${id}`, 'n', 'body')));
    const wrong = rows.filter(({ n, body }, index) => cached[index]?.[0] !== n || cached[index]?.[1] !== body);
    expect(wrong.slice(0, 3), `${table} in the cache, ${says}`).toEqual([]);
  }
}
