import type { Command } from '../test/fixtures/mysql-binaries.ts';
import { type MysqlReplica, replicaOf } from '../test/fixtures/mysql-replica.ts';
import type { MysqlServer } from '../test/fixtures/mysql.ts';
import { BENCH_SETTINGS } from './mysql-servers.ts';
import { timedCommand } from './servers.ts';

// What MySQL itself brings to copy and to replicate: the baselines of mysql-snapshot and mysql-mirror.

/** Seconds that mysqldump needs to pipe the table into the replica. Both programs come with the servers of the tests. */
export async function dumpInto(source: MysqlServer, replica: MysqlServer): Promise<number> {
  const reach = (server: MysqlServer): string[] => ['--no-defaults', '--protocol=tcp', `--host=${server.host}`, `--port=${server.port}`, '--user=root', '--ssl-mode=DISABLED'];
  const dump = source.binaries.client('mysqldump', [...reach(source), '--single-transaction', '--quick', '--set-gtid-purged=OFF', '--no-tablespaces', 'shop', 'bench']);
  const load = replica.binaries.client('mysql', [...reach(replica), 'shop']);
  const words = ({ command, args }: Command): string[] => [command, ...args];
  // The words of the first command, up to a mark, then those of the second.
  const pipe = 'set -o pipefail; n=$1; shift; "${@:1:n}" | "${@:n+1}"';
  const { seconds } = await timedCommand('bash', ['-c', pipe, 'copy', String(words(dump).length), ...words(dump), ...words(load)]);
  return seconds;
}

/** The newest servers have these by default, and no other way to find transactions that can be applied side by side than write sets. */
const REPLICA_SETTINGS = { ...BENCH_SETTINGS, replica_parallel_workers: 4, replica_preserve_commit_order: true, skip_replica_start: true };
const LIMIT_S = 15 * 60;

/** A replica that has all that the source has so far; its server is stopped. */
export async function prepareNativeReplica(source: MysqlServer): Promise<MysqlReplica> {
  const native = await replicaOf(source, { durable: true, settings: REPLICA_SETTINGS });
  try {
    await native.caughtUp();
    await native.server.query('STOP REPLICA');
    await native.server.stop();
    return native;
  } catch (error) {
    await native[Symbol.asyncDispose]();
    throw error;
  }
}

/** Seconds from START REPLICA until all up to `end` is executed. */
export async function catchUp(server: MysqlServer, end: string): Promise<number> {
  await server.start();
  await using session = await server.connect();
  const started = performance.now();
  await session.query('START REPLICA');
  const [answer] = await session.query('SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?) AS is_late', [end, LIMIT_S]);
  if (answer?.['is_late'] !== '0') throw new Error(`the native replica has not caught up after ${LIMIT_S} s:\n${await server.log()}`);
  return (performance.now() - started) / 1000;
}
