import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type PostgresServer, type Session, startPostgres } from '../test/fixtures/embedded-postgres.ts';

/** The servers of the benches: settings of a small production server, nothing of their own in the background. */
export function startBenchPostgres(databases: readonly string[], durable = true): Promise<PostgresServer> {
  return startPostgres({
    databases,
    durable,
    settings: { autovacuum: false, shared_buffers: '1GB', max_wal_size: '16GB', checkpoint_timeout: '1h', max_worker_processes: 32 },
  });
}

const POLL_MS = 5;
const LIMIT_MS = 15 * 60_000;

/** Resolves as soon as the consumer of the slot has confirmed the position. */
export async function confirmed(session: Session, slot: string, lsn: string): Promise<void> {
  const limit = performance.now() + LIMIT_MS;
  for (;;) {
    const { rows } = await session.query<{ done: boolean | null }>(
      { name: 'confirmed', text: 'SELECT confirmed_flush_lsn >= $2::pg_lsn AS done FROM pg_replication_slots WHERE slot_name = $1', values: [slot, lsn] },
    );
    if (rows[0]?.done === true) return;
    if (performance.now() > limit) throw new Error(`slot ${slot} has not reached ${lsn} in ${LIMIT_MS / 60_000} minutes`);
    await delay(POLL_MS);
  }
}

/** Rows of the table, and a sum over all their values: equal on both sides when the tables are. */
export async function fingerprint(server: PostgresServer, database: string, table = 'bench'): Promise<string> {
  const [row] = await server.query<{ rows: string; sum: string }>(
    `SELECT count(*)::text AS rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text AS sum FROM ${table} AS t`,
    [],
    database,
  );
  return `${row?.rows} rows, sum ${row?.sum}`;
}

export async function mustBeEqual(source: PostgresServer, from: string, replica: PostgresServer, to: string, table = 'bench'): Promise<void> {
  const [wanted, got] = [await fingerprint(source, from, table), await fingerprint(replica, to, table)];
  if (wanted !== got) throw new Error(`the replica ${to} differs: ${got} instead of ${wanted}`);
}

export interface TimedCommand {
  readonly seconds: number;
  readonly output: string;
}

/** Runs a command to its end and takes the time. @throws Error when it fails, with what it printed */
export async function timedCommand(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<TimedCommand> {
  const started = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  if (status !== 0) throw new Error(`${command} ended with ${status}:\n${output}`);
  return { seconds: (performance.now() - started) / 1000, output };
}
