/** Whether a connection reaches one and the same process of the server for as long as it lasts. */
import type pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';

/** How often both connections are asked: a pooler that is busy gives out another process now and then only. */
const ROUNDS = 4;

/** The process that serves the connection now. */
export async function backendOf(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid');
  return rows[0]?.pid ?? 0;
}

/** True when the process is the one of which the connection was told as it began. A pooler tells of none that exists. */
export function isDirect(client: pg.Client, backend: number): boolean {
  return 'processID' in client && client.processID === backend;
}

/**
 * Refuses a pooler that takes a process of the server for each transaction: what a session sets would be lost, and reach
 * others. Two connections that are open side by side never have the same process, nor does one of them change it.
 * @param other opens a second connection, which is ended here
 * @throws TidemarkError `REPLICA_POOLED`
 */
export async function refusePooler(client: pg.Client, other: () => Promise<pg.Client>): Promise<void> {
  const second = await other();
  try {
    const [own, others] = [new Set<number>(), new Set<number>()];
    for (let round = 0; round < ROUNDS; round++) {
      own.add(await backendOf(client));
      others.add(await backendOf(second));
    }
    if (own.size === 1 && others.size === 1 && ![...own].some((pid) => others.has(pid))) return;
  } finally {
    second.connection.stream.destroy();
  }
  throw new TidemarkError('REPLICA_POOLED', 'transactions of one connection are run by several processes of the server');
}
