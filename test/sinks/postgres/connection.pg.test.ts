import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import { PostgresSink } from '../../../sinks/postgres/sink.ts';
import { selfSigned } from '../../fixtures/certificate.ts';
import { type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime, SimulatedClock } from '../../fixtures/runtime.ts';
import { startTcpProxy } from '../../fixtures/tcp-proxy.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../fixtures/temp.ts';
import { startTransactionPooler } from '../../fixtures/transaction-pooler.ts';
import { noticesSilence } from '../relational/silent-server.ts';
import { replicaPlace, sinkConfig } from './replica-place.ts';

let server: PostgresServer;
let secure: PostgresServer;
let folder: TemporaryDirectory;
const { signal } = new AbortController();

beforeAll(async () => {
  folder = await temporaryDirectory('certificates');
  const { key, certificate } = await selfSigned(folder.path, 'localhost');
  [server, secure] = await Promise.all([startPostgres({ hba: ['host all filed 127.0.0.1/32 scram-sha-256'] }), startPostgres()]);
  await secure.addFile('server.key', await readFile(key));
  await secure.addFile('server.crt', await readFile(certificate));
}, 60_000);

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await secure?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

async function open(url: string, options: Readonly<Record<string, unknown>> = {}): Promise<void> {
  await using sink = new PostgresSink(sinkConfig(url, { options }), createTestRuntime());
  await sink.open(new SinkModel().start(), signal);
}

test('TLS: asked for, checked, and done without only where that is allowed', async () => {
  await secure.set({ ssl: true });
  const url = (host: string, query: string): string => `postgres://postgres@${host}:${secure.port}/postgres?${query}`;
  const root = `sslrootcert=${encodeURIComponent(join(folder.path, 'localhost.pem'))}`;
  await open(url('127.0.0.1', 'sslmode=require'));
  await open(url('localhost', `sslmode=verify-full&${root}`));
  await open(url('127.0.0.1', `sslmode=verify-ca&${root}`));
  await expect(open(url('127.0.0.1', `sslmode=verify-full&${root}`))).rejects.toMatchObject({ code: 'POSTGRES_TLS' });
  await expect(open(url('localhost', 'sslmode=verify-full'))).rejects.toMatchObject({ code: 'POSTGRES_TLS' });
  await expect(open(url('localhost', 'sslmode=verify-full&sslrootcert=/no/such/file'))).rejects.toMatchObject({ code: 'POSTGRES_TLS' });
  await open(server.url('postgres'));
  await expect(open(`${server.url('postgres')}?sslmode=require`)).rejects.toMatchObject({ code: 'POSTGRES_TLS', retry: 'operator' });
  await expect(open(`${server.url('postgres')}?ssl=true`)).rejects.toMatchObject({ code: 'POSTGRES_URL' });
});

test('a pooler in transaction mode is refused before anything is set in it; check says so', async () => {
  await using pooler = await startTransactionPooler(server.port);
  const url = `postgres://postgres@127.0.0.1:${pooler.port}/postgres?sslmode=disable`;
  await expect(open(url)).rejects.toMatchObject({ code: 'REPLICA_POOLED', retry: 'operator', remedy: expect.stringContaining('pool_mode = session') as string });
  await using sink = new PostgresSink(sinkConfig(url), createTestRuntime());
  expect(await sink.check([], signal)).toMatchObject([{ severity: 'error', remedy: expect.stringContaining('pool_mode = session') as string }]);
  await using client = new AsyncDisposableStack();
  const other = new pg.Client(url);
  client.defer(() => other.end());
  await other.connect();
  expect((await other.query<Record<string, string>>('SHOW search_path')).rows).toEqual([{ search_path: '"$user", public' }]);
});

test('the first of several hosts that answers is taken', async () => {
  await open(`postgres://postgres@127.0.0.1:1,127.0.0.1:${server.port}/postgres`);
  await expect(open('postgres://postgres@127.0.0.1:1,127.0.0.1:2/postgres')).rejects.toMatchObject({ code: 'SINK_UNREACHABLE', retry: 'auto' });
});

test('target_session_attrs chooses among several hosts; without it the first that takes writes is taken', async () => {
  await using standby = await startPostgres();
  await standby.stop('fast');
  await standby.addFile('standby.signal', '');
  await standby.start();
  const hosts = `postgres://postgres@127.0.0.1:${standby.port},127.0.0.1:${server.port}/postgres`;
  await open(hosts);
  await open(`${hosts}?target_session_attrs=read-write`);
  await open(`${hosts}?target_session_attrs=primary`);
  await expect(open(`${hosts}?target_session_attrs=any`)).rejects.toMatchObject({ code: 'SINK_UNREACHABLE', message: expect.stringContaining('read-only') as string });
  await expect(open(`postgres://postgres@127.0.0.1:${standby.port}/postgres?target_session_attrs=primary`)).rejects.toMatchObject({
    code: 'SINK_UNREACHABLE', retry: 'auto', message: expect.stringContaining('target_session_attrs') as string,
  });
  for (const role of ['standby', 'read-only', 'prefer-standby']) {
    await expect(open(`${hosts}?target_session_attrs=${role}`)).rejects.toMatchObject({ code: 'POSTGRES_URL', retry: 'operator', remedy: expect.stringContaining('read-write') as string });
  }
  await server.query('CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only = on');
  await server.query('CREATE DATABASE reader OWNER reader');
  const asReader = `postgres://reader@127.0.0.1:${server.port}/reader?target_session_attrs=`;
  await expect(open(`${asReader}read-write`)).rejects.toMatchObject({ code: 'SINK_UNREACHABLE' });
  await open(`${asReader}primary`);
});

test('a password from a file, read at each opening', async () => {
  await server.query("CREATE ROLE filed LOGIN PASSWORD 'in file'");
  await server.query('CREATE DATABASE filed OWNER filed');
  const file = join(folder.path, 'password');
  await writeFile(file, 'in file\n');
  await open(server.url('filed', 'filed'), { password_file: file });
  await writeFile(file, 'wrong');
  await expect(open(server.url('filed', 'filed'), { password_file: file })).rejects.toMatchObject({ code: 'REPLICA_DENIED' });
  await expect(open(server.url('filed', 'filed'), { password_file: join(folder.path, 'none') })).rejects.toMatchObject({ code: 'REPLICA_DENIED' });
});

test('a replica that has gone without a word is noticed, one that takes its time is waited for', async () => {
  await using place = await replicaPlace(server);
  await using proxy = await startTcpProxy(server.port);
  const clock = new SimulatedClock();
  await using sink = new PostgresSink(sinkConfig(`postgres://postgres@127.0.0.1:${proxy.port}/${place.database}`), createTestRuntime({ clock }));
  await noticesSilence({
    sink, clock, proxy, namespace: 'public', nativeType: 'integer',
    lock: async () => void (await place.reader.query('BEGIN; LOCK TABLE public.things')),
    release: async () => void (await place.reader.query('COMMIT')),
    waiting: async () => (await place.reader.query('SELECT FROM pg_locks WHERE NOT granted')).rowCount ?? 0,
    watched: async () => {
      for (let minute = 0; minute < 3; minute++) {
        await clock.advance(60_000);
        await probesEnd(place.reader);
      }
    },
  });
});

/** Waits until no probe is connected: what it found has been weighed. */
async function probesEnd(reader: { query(sql: string): Promise<{ rowCount: number | null }> }): Promise<void> {
  await expect.poll(async () => (await reader.query("SELECT FROM pg_stat_activity WHERE application_name LIKE '%(probe)'")).rowCount).toBe(0);
}
