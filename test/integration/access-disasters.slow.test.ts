import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../fixtures/temp.ts';
import { DisasterStand } from './disaster-stand.ts';

// Processes start and servers restart: on a busy machine that takes its time.
vi.setConfig({ testTimeout: 120_000 });

let server: PostgresServer;
let folder: TemporaryDirectory;

beforeAll(async () => {
  folder = await temporaryDirectory('access');
  const [key, certificate] = [join(folder.path, 'key.pem'), join(folder.path, 'server.pem')];
  await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate]);
  server = await startPostgres({ hba: ['host all source,sink all scram-sha-256'] });
  await server.addFile('server.key', await readFile(key));
  await server.addFile('server.crt', await readFile(certificate));
  await server.set({ ssl: true });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

describe('a password from ${file:...}', () => {
  it.each([
    ['source', 'sourceUrl', 'POSTGRES_ACCESS'],
    ['sink', 'replicaUrl', 'REPLICA_DENIED'],
  ] as const)('that is changed at the server before the file is waited for: %s', async (part, url, code) => {
    const file = join(folder.path, `password-${part}`);
    await writeFile(file, 'first\n');
    await server.query(`CREATE ROLE ${part} SUPERUSER LOGIN PASSWORD 'first'`);
    await using stand = await DisasterStand.begin({
      source: server, replica: server, calm: server, [url]: (database: string) => `postgres://${part}:\${file:${file}}@127.0.0.1:${server.port}/${database}`,
    });
    await server.query(`ALTER ROLE ${part} PASSWORD 'second'`);
    await server.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [part]);
    await stand.change();
    await stand.hub.until('it is refused, and tried again', ({ sources, sinks }) => [...sources, ...sinks].some(({ state, error }) => state === 'retrying' && error?.code === code), 30_000);
    await stand.expectCalm();
    await writeFile(file, 'second\n');
    await stand.expectEqual();
  });
});

describe('sslmode=verify-full', () => {
  const secure = (host: string, database: string): string =>
    `postgres://postgres@${host}:${server.port}/${database}?sslmode=verify-full&sslrootcert=${encodeURIComponent(join(folder.path, 'server.pem'))}`;

  it('carries everything where name and certificate fit', async () => {
    const url = (database: string): string => secure('localhost', database);
    await using stand = await DisasterStand.begin({ source: server, replica: server, calm: server, sourceUrl: url, replicaUrl: url });
    const plain = await server.query("SELECT 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = ANY ($1) AND application_name LIKE 'tidemark%' AND NOT ssl", [[stand.sourceDatabase, stand.replicaDatabase]]);
    expect(plain).toEqual([]);
    await stand.change();
    await stand.expectEqual();
  });

  it('is refused where the name does not fit, and says so', async () => {
    await server.query('CREATE DATABASE misnamed');
    await writeFile(join(folder.path, 'tidemark.yaml'), JSON.stringify({
      hub: { data: './data' }, sources: { shop: { type: 'postgres', url: secure('127.0.0.1', 'misnamed'), tables: ['public.*'] } }, sinks: {},
    }));
    const main = join(import.meta.dirname, '../../hub/cli/main.ts');
    const job = promisify(execFile)(process.execPath, [main, 'run', '--until-caught-up', '--log-level', 'error'], { cwd: folder.path });
    await expect(job).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(/POSTGRES_TLS[^]*to do: Check `sslmode`, `sslrootcert`/) as string });
  });
});

describe('the disk of the hub', () => {
  it('is full, and then has room: the hub goes on by itself', async () => {
    await using stand = await DisasterStand.begin({ source: server, replica: server, calm: server, diskBytes: 2 ** 28 });
    if (stand.disk === null) return;
    await stand.disk.fill();
    // What fits into room that was set aside before still gets through between two tries.
    await expect.poll(async () => {
      await stand.atSource("UPDATE items SET n = n + 1, body = repeat('y', 1000)");
      return (await stand.status()).sources.find(({ name }) => name === 'shop');
    }, { timeout: 30_000, interval: 50 }).toMatchObject({
      state: 'retrying', error: { code: 'LOG_DISK_LIMIT', remedy: expect.stringContaining('Free space') as string },
    });
    await stand.disk.free();
    await stand.expectEqual();
  });
});
