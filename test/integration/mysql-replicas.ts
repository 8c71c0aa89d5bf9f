/** A source, a hub in this process and a replica, of which one or both are MySQL or MariaDB. */
import type { SinkConfig, SourceConfig } from '../../contracts/config.ts';
import type { RebuildView, SinkStatusView } from '../../hub/service.ts';
import type { PostgresServer } from '../fixtures/embedded-postgres.ts';
import type { MysqlServer } from '../fixtures/mysql.ts';
import { startTestHub, testConfig, testSink, testSource, type TestHub } from '../fixtures/test-hub.ts';

const LIMIT_MS = 60_000;
/** It comes near to the sink in thirty steps at most, each of which takes seconds on a busy machine. */
const REBUILD_LIMIT_MS = 180_000;

/** One side of a pair: tables stand in `database`, which is a schema or a database of the server. */
export interface Side {
  readonly database: string;
  query(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
}

export interface ReplicaPair extends AsyncDisposable {
  readonly source: Side;
  readonly replica: Side;
  readonly running: TestHub;
  /** The sink has everything that is committed at the source. */
  caughtUp(): Promise<void>;
  sink(): Promise<SinkStatusView>;
  until(what: string, reached: (sink: SinkStatusView) => boolean, limitMs?: number): Promise<SinkStatusView>;
  /** Asks for a rebuild, and waits until it is over. */
  rebuilt(tables: readonly string[] | null): Promise<RebuildView>;
}

let pairs = 0;

export interface PairOptions {
  readonly directory: string;
  readonly from: MysqlServer | PostgresServer;
  readonly to: MysqlServer | PostgresServer;
  /** Made at the source before the hub starts. */
  readonly tables: readonly string[];
  readonly sink?: Partial<SinkConfig>;
  /** Default: the source's own. */
  readonly source?: Partial<SourceConfig>;
}

export async function openPair({ directory, from, to, tables, sink = {}, source = {} }: PairOptions): Promise<ReplicaPair> {
  const id = `pair${++pairs}`;
  const sides = [await openSide(from, `${id}_source`), await openSide(to, `${id}_replica`)] as const;
  for (const sql of tables) await sides[0].query(sql);
  const isOfSource = ({ namespace }: { readonly namespace: string }): boolean => namespace === namespaceOf(from, sides[0]);
  const read = testSource(isMysql(from) ? from.url() : from.url(sides[0].database), {
    type: isMysql(from) ? 'mysql' : 'postgres', tables: isOfSource, tablePatterns: [`${namespaceOf(from, sides[0])}.*`],
    ...source, options: { ...(isMysql(from) ? {} : { slot: id }), ...source.options },
  });
  const schemas = { [namespaceOf(from, sides[0])]: namespaceOf(to, sides[1]) };
  const written = testSink('replica', isMysql(to) ? 'mysql' : 'postgres', isMysql(to) ? to.url() : to.url(sides[1].database), {
    tables: isOfSource, tablePatterns: [`${namespaceOf(from, sides[0])}.*`],
    ...sink, options: { schemas, ...(isMysql(to) ? { own_database: `${id}_own` } : {}), ...sink.options },
  });
  const running = await startTestHub(testConfig(`${directory}/${id}`, read, [written]));
  return new Pair(sides, running);
}

class Pair implements ReplicaPair {
  readonly source: Side;
  readonly replica: Side;
  readonly running: TestHub;

  constructor([source, replica]: readonly [Side, Side], running: TestHub) {
    this.source = source;
    this.replica = replica;
    this.running = running;
  }

  caughtUp(): Promise<void> {
    return this.running.hub.untilCaughtUp(AbortSignal.timeout(LIMIT_MS));
  }

  async sink(): Promise<SinkStatusView> {
    const [sink] = (await this.running.hub.status()).sinks;
    if (sink === undefined) throw new Error('there is no sink');
    return sink;
  }

  async until(what: string, reached: (sink: SinkStatusView) => boolean, limitMs = LIMIT_MS): Promise<SinkStatusView> {
    const { clock } = this.running.runtime;
    const limit = clock.monotonic() + limitMs;
    for (;;) {
      const sink = await this.sink();
      if (reached(sink)) return sink;
      if (clock.monotonic() > limit) throw new Error(`${what}: it did not come to that; the sink is ${JSON.stringify(sink)}, the log ends with\n${this.running.runtime.lines.slice(-12).map((line) => JSON.stringify(line)).join('\n')}`);
      await clock.sleep(20);
    }
  }

  async rebuilt(tables: readonly string[] | null): Promise<RebuildView> {
    const { id, findings } = await this.running.hub.rebuildSink('replica', { tables, to: null, fromScratch: false }, AbortSignal.timeout(LIMIT_MS));
    if (id === null) throw new Error(`it was refused: ${JSON.stringify(findings)}`);
    const { rebuild } = await this.until('the rebuild is over', (sink) => sink.rebuild?.id === id && sink.rebuild.endedAt !== null, REBUILD_LIMIT_MS);
    if (rebuild === null) throw new Error('the rebuild is not known');
    return rebuild;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.running[Symbol.asyncDispose]();
  }
}

function isMysql(server: MysqlServer | PostgresServer): server is MysqlServer {
  return 'flavor' in server;
}

function namespaceOf(server: MysqlServer | PostgresServer, { database }: Side): string {
  return isMysql(server) ? database : 'public';
}

async function openSide(server: MysqlServer | PostgresServer, database: string): Promise<Side> {
  await server.query(isMysql(server) ? `CREATE DATABASE ${database} CHARACTER SET utf8mb4` : `CREATE DATABASE ${database}`);
  return { database, query: (sql) => (isMysql(server) ? server.query(sql, database) : server.query(sql, [], database)) };
}
