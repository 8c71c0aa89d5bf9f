import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PostgresConnector } from '../../../connectors/postgres/connector.ts';
import { Endpoint } from '../../../connectors/postgres/session.ts';
import type { SourceConfig } from '../../../contracts/config.ts';
import { NEVER } from '../../../contracts/kit/connector-kit-common.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { freePort } from '../../fixtures/ports.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { startTcpProxy } from '../../fixtures/tcp-proxy.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { Captured } from './captured.ts';

let folder: TemporaryDirectory;
let server: PostgresServer;
let plain: PostgresServer;

const run = promisify(execFile);
const pem = (name: string): string => join(folder.path, `${name}.pem`);
const parameter = (name: string, file: string): string => `${name}=${encodeURIComponent(pem(file))}`;

/** A certificate of our own authority. */
async function certificate(name: string, subject: string, names: string): Promise<void> {
  const request = join(folder.path, `${name}.csr`);
  const extensions = join(folder.path, `${name}.ext`);
  await writeFile(extensions, names === '' ? '' : `subjectAltName=${names}`);
  await run('openssl', ['req', '-newkey', 'rsa:2048', '-nodes', '-subj', subject, '-keyout', pem(`${name}-key`), '-out', request]);
  await run('openssl', ['x509', '-req', '-in', request, '-CA', pem('ca'), '-CAkey', pem('ca-key'), '-CAcreateserial', '-days', '2', '-extfile', extensions, '-out', pem(name)]);
}

beforeAll(async () => {
  folder = await temporaryDirectory('certificates');
  await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test authority', '-keyout', pem('ca-key'), '-out', pem('ca')]);
  await certificate('server', '/CN=localhost', 'DNS:localhost');
  await certificate('client', '/CN=certified', '');
  [server, plain] = await Promise.all([
    startPostgres({
      hba: [
        'hostssl all certified all cert', 'hostssl replication certified all cert',
        'host all scrammed all scram-sha-256', 'host replication scrammed all scram-sha-256',
      ],
    }),
    startPostgres(),
  ]);
  await server.addFile('server.key', await readFile(pem('server-key')));
  await server.addFile('server.crt', await readFile(pem('server')));
  await server.addFile('ca.crt', await readFile(pem('ca')));
  await server.set({ ssl_ca_file: 'ca.crt', ssl: true });
}, 60_000);

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await plain?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

function config(url: string, more: Partial<SourceConfig> = {}): SourceConfig {
  return { name: 'shop', type: 'postgres', tables: () => true, tablePatterns: [], columns: new Map(), hashKey: null, options: { url }, ...more };
}

/** What the server says of the session. */
async function opened(url: string, more: Partial<SourceConfig> = {}, options: Readonly<Record<string, unknown>> = {}): Promise<Readonly<Record<string, string | null>>> {
  const endpoint = new Endpoint(config(url, { options: { url, ...options }, ...more }), createTestRuntime());
  await using session = await endpoint.open(NEVER);
  const [row] = await session.query(
    'SELECT current_user AS role, ssl, client_dn, inet_server_port() AS port, application_name FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()');
  return row ?? {};
}

describe('TLS', () => {
  const url = (host: string, query: string, user = 'postgres'): string => `postgres://${user}@${host}:${server.port}/postgres?${query}`;

  it('is used when it is there, and demanded when it is asked for', async () => {
    expect(await opened(url('localhost', ''))).toMatchObject({ ssl: 't', application_name: 'tidemark' });
    expect(await opened(url('localhost', 'sslmode=require'))).toMatchObject({ ssl: 't' });
    expect(await opened(url('localhost', 'sslmode=disable'))).toMatchObject({ ssl: 'f' });
    expect(await opened(plain.url())).toMatchObject({ ssl: 'f' });
    await expect(opened(`${plain.url()}?sslmode=require`)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_TLS', retry: 'operator' }));
  });

  it('checks the chain and the name as far as asked', async () => {
    const ca = parameter('sslrootcert', 'ca');
    expect(await opened(url('localhost', `sslmode=verify-full&${ca}`))).toMatchObject({ ssl: 't' });
    expect(await opened(url('127.0.0.1', `sslmode=verify-ca&${ca}`))).toMatchObject({ ssl: 't' });
    await expect(opened(url('127.0.0.1', `sslmode=verify-full&${ca}`))).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_TLS' }));
    await expect(opened(url('localhost', 'sslmode=verify-full'))).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_TLS' }));
    await expect(opened(url('localhost', `sslmode=verify-full&${parameter('sslrootcert', 'client')}`))).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_TLS' }));
  });

  it('shows a certificate of the client', async () => {
    await server.query('CREATE ROLE certified LOGIN REPLICATION');
    const asked = `sslmode=verify-full&${parameter('sslrootcert', 'ca')}`;
    const shown = `${asked}&${parameter('sslcert', 'client')}&${parameter('sslkey', 'client-key')}`;
    expect(await opened(url('localhost', shown, 'certified'))).toMatchObject({ role: 'certified', client_dn: '/CN=certified' });
    await expect(opened(url('localhost', asked, 'certified'))).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_ACCESS' }));
  });

  it('begins at once where the server can', async () => {
    const direct = `sslmode=verify-full&sslnegotiation=direct&${parameter('sslrootcert', 'ca')}`;
    expect(await opened(url('localhost', direct))).toMatchObject({ ssl: 't' });
  });

  it('carries a stream, with back-pressure', async () => {
    await using it = await Captured.begin(server, 'CREATE TABLE t (id int PRIMARY KEY, v text)', {
      url: (database) => `${server.url(database).replace('127.0.0.1', 'localhost')}?sslmode=verify-full&${parameter('sslrootcert', 'ca')}`,
    });
    await it.run(`INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(1, 20000) AS n`);
    expect(it.rows()).toHaveLength(20_000);
    const rows = await it.source.query<{ ssl: boolean }>(`SELECT ssl FROM pg_stat_ssl JOIN pg_replication_slots ON pid = active_pid WHERE slot_name = '${it.source.slot}'`);
    expect(rows).toEqual([{ ssl: true }]);
  });
});

describe('passwords', () => {
  it('go by SCRAM, and are read again before each connection', async () => {
    await server.query(`CREATE ROLE scrammed LOGIN REPLICATION PASSWORD 'first'`);
    const url = (password: string): string => `postgres://scrammed${password}@127.0.0.1:${server.port}/postgres`;
    expect(await opened(url(':first'))).toMatchObject({ role: 'scrammed' });
    await expect(opened(url(':wrong'))).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_ACCESS', retry: 'operator' }));
    await expect(opened(url(''))).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_ACCESS' }));
    const file = join(folder.path, 'password');
    await writeFile(file, 'first\n');
    const runtime = createTestRuntime();
    const endpoint = new Endpoint(config(url(''), { options: { url: url(''), password_file: file } }), runtime);
    await (await endpoint.open(NEVER))[Symbol.asyncDispose]();
    await server.query(`ALTER ROLE scrammed PASSWORD 'second'`);
    // It may be there in a moment: worth another try.
    await expect(endpoint.open(NEVER)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_ACCESS', retry: 'auto' }));
    await writeFile(file, 'second\n');
    await (await endpoint.open(NEVER))[Symbol.asyncDispose]();
    let secret = 'wrong';
    const fresh = new Endpoint(config(url(''), { freshOptions: () => Promise.resolve({ url: url(`:${secret}`) }) }), runtime);
    await expect(fresh.open(NEVER)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_ACCESS', retry: 'auto' }));
    secret = 'second';
    await (await fresh.open(NEVER))[Symbol.asyncDispose]();
  });
});

describe('hosts', () => {
  it('are tried in order until one has the role', async () => {
    const closed = await freePort();
    const several = `postgres://postgres@127.0.0.1:${closed},127.0.0.1:${plain.port}/postgres`;
    expect(await opened(several)).toMatchObject({ port: String(plain.port) });
    for (const target of ['primary', 'read-write', 'any', 'prefer-standby']) {
      expect(await opened(`${several}?target_session_attrs=${target}`)).toMatchObject({ port: String(plain.port) });
    }
    await expect(opened(`postgres://postgres@127.0.0.1:${plain.port}/postgres?target_session_attrs=standby`)).rejects.toThrow(
      expect.objectContaining({ code: 'POSTGRES_NO_HOST', retry: 'auto' }),
    );
    await expect(opened(`postgres://postgres@127.0.0.1:${closed}/postgres`)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_UNREACHABLE', retry: 'auto' }));
  });

  it('are not changed by a copy: it reads where the stream comes from, since others may be behind', async () => {
    await using proxy = await startTcpProxy(plain.port);
    await using it = await Captured.begin(plain, 'CREATE TABLE t (id int PRIMARY KEY)', {
      url: (database) => plain.url(database).replace(`127.0.0.1:${plain.port}`, `127.0.0.1:${proxy.port},127.0.0.1:${plain.port}`),
    });
    const { connector } = it.test;
    proxy.refuse();
    const unreachable = { code: 'POSTGRES_UNREACHABLE', retry: 'auto' };
    await expect(connector.copier().plan(it.schema('t'), null, NEVER)).rejects.toMatchObject(unreachable);
    await expect(connector.tables(NEVER)).rejects.toMatchObject(unreachable);
    proxy.resume();
    const plan = await connector.copier().plan(it.schema('t'), null, NEVER);
    expect(plan.ranges).toHaveLength(1);
  });

  it('that do not answer are left after the time that was given', async () => {
    await using proxy = await startTcpProxy(plain.port);
    proxy.hold();
    const started = performance.now();
    await expect(opened(`postgres://postgres@127.0.0.1:${proxy.port}/postgres?connect_timeout=2`)).rejects.toThrow(
      expect.objectContaining({ code: 'POSTGRES_UNREACHABLE' }),
    );
    expect(performance.now() - started).toBeLessThan(8000);
  });

  it('opening ends when it is asked to', async () => {
    await using proxy = await startTcpProxy(plain.port);
    proxy.hold();
    const abort = new AbortController();
    const opening = new Endpoint(config(`postgres://postgres@127.0.0.1:${proxy.port}/postgres`), createTestRuntime()).open(abort.signal);
    setTimeout(() => abort.abort(), 100);
    await expect(opening).rejects.toThrow(expect.objectContaining({ code: 'ABORTED' }));
  });
});

describe('check', () => {
  it('names what a weak role lacks, and the statements mend it', async () => {
    await plain.query('CREATE ROLE weak LOGIN');
    await plain.query('CREATE DATABASE weak');
    await using owner = await plain.connect('weak');
    await owner.query('REVOKE USAGE ON SCHEMA public FROM PUBLIC; CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE bare (id int); ALTER TABLE t ENABLE ROW LEVEL SECURITY');
    await using connector = new PostgresConnector(config(plain.url('weak', 'weak')), createTestRuntime());
    const codes = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const faults = (await connector.check(NEVER)).filter((finding) => finding.severity === 'error');
      if (faults.length === 0) break;
      for (const fault of faults) {
        codes.add(fault.code);
        await owner.query(fault.remedy.replace(/^Run as [^:]*: /, '').replace(/; or .*$/, ''));
      }
    }
    expect([...codes].toSorted()).toEqual(['privilege', 'publication', 'replica-identity', 'role', 'row-security']);
    expect((await connector.check(NEVER)).filter((finding) => finding.severity === 'error')).toEqual([]);
    await connector.prepare({ position: null, catalog: (await import('../../../contracts/catalog.ts')).Catalog.from([]) }, NEVER);
    await connector.release?.(NEVER);
  });
});
