import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Endpoint, type Session } from '../../../connectors/postgres/session.ts';
import { SessionPool, type Lease } from '../../../connectors/relational/session-pool.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime, SimulatedClock } from '../../fixtures/runtime.ts';
import { testSource } from '../../fixtures/test-hub.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres({});
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const never = (): AbortSignal => new AbortController().signal;

function poolOf() {
  const clock = new SimulatedClock();
  const endpoint = new Endpoint(testSource(server.url()), createTestRuntime());
  return { clock, pool: new SessionPool((signal) => endpoint.open(signal), clock) };
}

async function pidOf({ session }: Lease<Session>): Promise<string> {
  const [row] = await session.query('SELECT pg_backend_pid()::text AS pid');
  return row?.['pid'] ?? '';
}

/** A session that has done its work and is given back, to be kept or not. */
async function used(pool: SessionPool<Session>, keep: boolean, signal = never()): Promise<string> {
  await using lease = await pool.lease(signal);
  const pid = await pidOf(lease);
  if (keep) lease.keep();
  return pid;
}

async function lives(pid: string): Promise<boolean> {
  const rows = await server.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid]);
  return rows.length > 0;
}

describe('sessions that are kept', () => {
  it('serve one use after the other, and only when they were given back as good', async () => {
    const { pool } = poolOf();
    await using _pool = pool;
    const first = await used(pool, true);
    expect(await used(pool, false)).toBe(first);
    const second = await used(pool, true);
    expect(second).not.toBe(first);
    expect(await lives(first)).toBe(false);
  });

  it('are two for two uses at a time', async () => {
    const { pool } = poolOf();
    await using _pool = pool;
    await using a = await pool.lease(never());
    await using b = await pool.lease(never());
    expect(await pidOf(a)).not.toBe(await pidOf(b));
  });

  it('end when the use that has them is aborted, also when they were opened for another; and are not kept then', async () => {
    const { pool } = poolOf();
    await using _pool = pool;
    const opener = new AbortController();
    const pid = await used(pool, true, opener.signal);
    const user = new AbortController();
    const lease = await pool.lease(user.signal);
    opener.abort();
    expect(await pidOf(lease)).toBe(pid);
    const query = lease.session.query('SELECT pg_sleep(60)');
    user.abort();
    await expect(query).rejects.toMatchObject({ retry: 'auto' });
    lease.keep();
    await lease[Symbol.asyncDispose]();
    expect(await used(pool, true)).not.toBe(pid);
    await expect(pool.lease(AbortSignal.abort())).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('are not given out any more when the server has ended them', async () => {
    const { pool } = poolOf();
    await using _pool = pool;
    const ended = Promise.withResolvers<void>();
    const pid = await (async () => {
      await using lease = await pool.lease(never());
      lease.session.client.once('end', () => ended.resolve());
      lease.keep();
      return await pidOf(lease);
    })();
    await server.query('SELECT pg_terminate_backend($1)', [pid]);
    await ended.promise;
    expect(await used(pool, false)).not.toBe(pid);
  });

  it('end after a while without use, and with the pool', async () => {
    const { pool, clock } = poolOf();
    const ended = Promise.withResolvers<void>();
    const idle = await pool.lease(never());
    idle.session.client.once('end', () => ended.resolve());
    const pid = await pidOf(idle);
    idle.keep();
    await idle[Symbol.asyncDispose]();
    await clock.advance(10_000);
    await ended.promise;
    const next = await used(pool, true);
    expect(next).not.toBe(pid);
    await pool[Symbol.asyncDispose]();
    expect(await lives(next)).toBe(false);
  });

  it('are all new ones after a renewal, those that were in use when it came included', async () => {
    const { pool } = poolOf();
    await using _pool = pool;
    const lease = await pool.lease(never());
    const idle = await used(pool, true);
    const busy = await pidOf(lease);
    await pool.renew();
    expect(await lives(idle)).toBe(false);
    lease.keep();
    await lease[Symbol.asyncDispose]();
    expect(await lives(busy)).toBe(false);
    expect([idle, busy]).not.toContain(await used(pool, true));
  });
});
