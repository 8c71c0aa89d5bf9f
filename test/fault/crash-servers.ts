import { MysqlReplica, MysqlSource } from './mysql/servers.ts';
import { PostgresReplica, PostgresSource } from './postgres/servers.ts';
import type { ReplicaServer, SourceServer } from './source-world.ts';

export const CRASH_SOURCES = ['postgres', 'mysql', 'mariadb'] as const;
export type CrashSource = (typeof CRASH_SOURCES)[number];

/** A source, and the replicas that the crash test has of one of its kind. Disposing ends them. */
export interface CrashServers extends AsyncDisposable {
  readonly source: SourceServer;
  readonly replicas: readonly ReplicaServer[];
}

export async function startServers(kind: CrashSource): Promise<CrashServers> {
  await using starting = new AsyncDisposableStack();
  const source = starting.use(await startSource(kind));
  const replicas: ReplicaServer[] = [starting.use(await PostgresReplica.start('replica', source.namespace))];
  if (kind !== 'postgres') replicas.push(starting.use(await MysqlReplica.start('mirror', kind)));
  const started = starting.move();
  return { source, replicas, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

function startSource(kind: CrashSource): Promise<SourceServer> {
  return kind === 'postgres' ? PostgresSource.start() : MysqlSource.start(kind);
}
