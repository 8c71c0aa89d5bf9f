import { Redis } from 'ioredis';
import pg from 'pg';
import { expect, test } from 'vitest';
import { startPostgresContainer, startRedisContainer } from '../fixtures/containers.ts';

test('postgres in a container has logical decoding on, and takes settings', async () => {
  await using server = await startPostgresContainer(['-c', 'max_replication_slots=7']);
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    const { rows } = await client.query<{ wal: string; slots: string }>(
      "SELECT current_setting('wal_level') AS wal, current_setting('max_replication_slots') AS slots",
    );
    expect(rows).toEqual([{ wal: 'logical', slots: '7' }]);
    await client.query("SELECT pg_create_logical_replication_slot('probe', 'pgoutput')");
  } finally {
    await client.end();
  }
});

test('redis in a container answers and takes settings', async () => {
  await using server = await startRedisContainer(['--maxmemory', '64mb']);
  const client = new Redis(server.url, { retryStrategy: () => null });
  try {
    expect(await client.set('key', 'value')).toBe('OK');
    expect(await client.get('key')).toBe('value');
    expect(await client.config('GET', 'maxmemory')).toEqual(['maxmemory', String(64 * 1024 * 1024)]);
  } finally {
    client.disconnect();
  }
});
