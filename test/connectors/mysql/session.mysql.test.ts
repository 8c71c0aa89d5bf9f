import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { selfSigned } from '../../fixtures/certificate.ts';
import { TESTED_VERSIONS, startMysql, type MysqlServer } from '../../fixtures/mysql.ts';
import { freePort } from '../../fixtures/ports.ts';
import { endpointOf, never } from './mysql-source.ts';

const refused = (code: string): unknown => expect.objectContaining({ code });

describe.each(TESTED_VERSIONS)('%s', (version) => {
  let server: MysqlServer;

  beforeAll(async () => {
    server = await startMysql({ version, databases: ['shop'], settings: { sql_mode: 'ANSI,PAD_CHAR_TO_FULL_LENGTH', default_time_zone: '+05:00', net_write_timeout: 5, wait_timeout: 60 } });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('a session has fixed settings, whatever the server\'s', async () => {
    await using session = await endpointOf(server.url()).open(never);
    expect(session.version).toMatchObject({ flavor: server.flavor });
    const [row] = await session.query(
      `SELECT @@time_zone AS zone, @@sql_mode AS mode, @@autocommit AS autocommit, @@net_write_timeout AS net, @@wait_timeout AS wait, @@character_set_results AS results,
              @@character_set_client AS client, FROM_UNIXTIME(1) AS epoch, CONNECTION_ID() AS id`);
    expect(row).toMatchObject({ zone: '+00:00', mode: '', autocommit: '1', net: '86400', wait: '86400', results: 'utf8mb4', client: 'utf8mb4', epoch: '1970-01-01 00:00:01', id: String(session.id) });
    const isolation = server.version === 'mariadb-10.11' ? '@@tx_isolation' : '@@transaction_isolation';
    expect((await session.query(`SELECT ${isolation} AS level`))[0]?.['level']).toBe('REPEATABLE-READ');
  });

  test('values come as text, and as the bytes that are stored where the session is raw', async () => {
    await server.query(`CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9) CHARACTER SET latin1, b VARBINARY(9), c CHAR(4), d BIGINT UNSIGNED, e DATETIME(6));
      INSERT INTO t VALUES (1, 'é', x'00ff', 'x', 18446744073709551615, '2026-11-21 12:00:00.123456'), (2, NULL, NULL, NULL, NULL, NULL)`, 'shop');
    await using session = await endpointOf(server.url()).open(never);
    expect(await session.query('SELECT id, a, c, d, e FROM shop.t WHERE id IN (?) ORDER BY id', [[1, 2]])).toEqual([
      { id: '1', a: 'é', c: 'x', d: '18446744073709551615', e: '2026-11-21 12:00:00.123456' }, { id: '2', a: null, c: null, d: null, e: null },
    ]);
    await using raw = await endpointOf(server.url()).open(never, { isRaw: true });
    const [first, second] = await raw.buffers('SELECT a, b FROM shop.t ORDER BY id');
    expect(first).toEqual([Buffer.from([0xe9]), Buffer.from([0, 255])]);
    expect(second).toEqual([null, null]);
    expect(await session.query('DO 1')).toEqual([]);
  });

  test('an error of the server keeps its number, and the session goes on', async () => {
    await using session = await endpointOf(server.url()).open(never);
    await expect(session.query('SELEC 1')).rejects.toEqual(refused('MYSQL_QUERY'));
    expect(await session.query('SELECT 1 AS one')).toEqual([{ one: '1' }]);
  });

  test('a refused login says so', async () => {
    await server.query(`CREATE USER known@'%' IDENTIFIED BY 'right'`);
    const { port } = server;
    await expect(endpointOf(`mysql://known:wrong@127.0.0.1:${port}?get-server-public-key=true`).open(never)).rejects.toMatchObject({ code: 'MYSQL_ACCESS', retry: 'operator', where: { source: 'shop' } });
    await expect(endpointOf(`mysql://nobody:x@127.0.0.1:${port}?get-server-public-key=true`).open(never)).rejects.toEqual(refused('MYSQL_ACCESS'));
    await expect(endpointOf(`mysql://root@127.0.0.1:${port}/nowhere`).open(never)).rejects.toEqual(refused('MYSQL_ACCESS'));
    // The oldest one has no cipher in common with a current client.
    const mode = version === 'mysql-8.0.15' ? 'ssl-mode=disabled&get-server-public-key=true' : 'ssl-mode=required';
    await using session = await endpointOf(`mysql://known:right@127.0.0.1:${port}?${mode}`).open(never);
    expect((await session.query('SELECT CURRENT_USER() AS user'))[0]?.['user']).toBe('known@%');
  });

  test('aborting ends a statement that is under way, and the session', async () => {
    const stop = new AbortController();
    await using session = await endpointOf(server.url()).open(stop.signal);
    const sleeping = session.query('SELECT SLEEP(60)');
    stop.abort();
    await expect(sleeping).rejects.toEqual(refused('ABORTED'));
    await expect(endpointOf(server.url()).open(stop.signal)).rejects.toEqual(refused('ABORTED'));
  });
});

describe('TLS', () => {
  test.each(['mysql-9', 'mysql-8.0', 'mariadb-11.8', 'mariadb-10.11'] as const)('%s: as ssl-mode asks for', async (version) => {
    await using server = await startMysql({ version });
    const other = await selfSigned(server.directory, 'other');
    const cipher = async (parameters: string, host = '127.0.0.1'): Promise<string> => {
      await using session = await endpointOf(`mysql://root@${host}:${server.port}?${parameters}`).open(never);
      return (await session.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))[0]?.['Value'] ?? '';
    };
    expect(await cipher('ssl-mode=disabled')).toBe('');
    for (const parameters of ['', 'ssl-mode=required', `ssl-ca=${server.authority}`]) expect(await cipher(parameters), parameters).toMatch(/^TLS_/);
    expect(await cipher(`ssl-mode=verify_identity&ssl-ca=${server.authority}`, 'localhost')).toMatch(/^TLS_/);
    // The certificate is for localhost.
    await expect(cipher(`ssl-mode=verify_identity&ssl-ca=${server.authority}`)).rejects.toEqual(refused('MYSQL_TLS'));
    await expect(cipher(`ssl-ca=${other.certificate}`)).rejects.toEqual(refused('MYSQL_TLS'));
    await expect(cipher('ssl-ca=/no/such/file.pem')).rejects.toEqual(refused('MYSQL_TLS'));
  });

  test('a server without it: preferred goes on, required does not', async () => {
    await using server = await startMysql({ version: 'mariadb-10.11', settings: { ssl_ca: null, ssl_cert: null, ssl_key: null } });
    await using session = await endpointOf(server.url()).open(never);
    expect((await session.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))[0]?.['Value']).toBe('');
    await expect(endpointOf(`${server.url()}?ssl-mode=required`).open(never)).rejects.toEqual(refused('MYSQL_TLS'));
  });
});

test.each(['mysql-9', 'mysql-8.0'] as const)('%s: caching_sha2_password over TLS, or under a key that is known or accepted', async (version) => {
  await using server = await startMysql({ version });
  await server.query(`CREATE USER app@'%' IDENTIFIED WITH caching_sha2_password BY 'pä:ss@word'`);
  const logIn = async (parameters: string): Promise<void> => {
    // What the server remembers of earlier logins goes.
    await server.query('FLUSH PRIVILEGES');
    await using _session = await endpointOf(`mysql://app:${encodeURIComponent('pä:ss@word')}@127.0.0.1:${server.port}?${parameters}`).open(never);
  };
  await logIn('ssl-mode=required');
  await expect(logIn('ssl-mode=disabled')).rejects.toMatchObject({ code: 'MYSQL_AUTH_PLUGIN', retry: 'operator' });
  await logIn(`ssl-mode=disabled&server-public-key=${join(server.dataDir, 'public_key.pem')}`);
  await logIn('ssl-mode=disabled&get-server-public-key=true');
  await using _remembered = await endpointOf(`mysql://app:${encodeURIComponent('pä:ss@word')}@127.0.0.1:${server.port}?ssl-mode=disabled`).open(never);
});

describe('who is asked', () => {
  test('the first host that answers; nobody: all are named, and it is tried again', async () => {
    await using server = await startMysql({ version: 'mariadb-11.8' });
    const [closed, other] = [await freePort(), await freePort()];
    await using session = await endpointOf(`mysql://root@127.0.0.1:${closed},127.0.0.1:${server.port}`).open(never);
    expect(session.host.port).toBe(server.port);
    await expect(endpointOf(`mysql://root@127.0.0.1:${closed},127.0.0.1:${other}`).open(never)).rejects.toMatchObject({
      code: 'MYSQL_UNREACHABLE', retry: 'auto', message: expect.stringMatching(new RegExp(`${closed}.*${other}`)) as unknown,
    });
    await expect(endpointOf(server.url()).open(never, { only: { host: '127.0.0.1', port: closed, socket: null } })).rejects.toEqual(refused('MYSQL_UNREACHABLE'));
  });

  test('a server by its socket, and one that hangs or dies', async () => {
    await using server = await startMysql({ version: 'mariadb-11.8' });
    await using local = await endpointOf(`mysql://root@/?socket=${join(server.directory, 'socket')}`).open(never);
    expect(await local.query('SELECT 1 AS one')).toEqual([{ one: '1' }]);
    await using session = await endpointOf(server.url()).open(never);
    await server.stop('kill');
    await expect(session.query('SELECT 1')).rejects.toEqual(refused('MYSQL_UNREACHABLE'));
    await server.start();
    server.freeze();
    await expect(endpointOf(`${server.url()}?connect-timeout=1`).open(never)).rejects.toEqual(refused('MYSQL_UNREACHABLE'));
    server.thaw();
  });

  test('a password from a file is read each time, and tried again while it is wrong', async () => {
    await using server = await startMysql({ version: 'mysql-9' });
    await server.query(`CREATE USER app@'%' IDENTIFIED BY 'new'`);
    const file = join(server.directory, 'password');
    const endpoint = endpointOf(`mysql://app@127.0.0.1:${server.port}`, { options: { url: `mysql://app@127.0.0.1:${server.port}`, password_file: file } });
    await writeFile(file, 'old\n');
    await expect(endpoint.open(never)).rejects.toMatchObject({ code: 'MYSQL_ACCESS', retry: 'auto' });
    await writeFile(file, 'new\n');
    await using _session = await endpoint.open(never);
    await rm(file);
    await expect(endpoint.open(never)).rejects.toEqual(refused('MYSQL_ACCESS'));
  });

  test('what is no MySQL', async () => {
    await expect(endpointOf('postgres://u@h').open(never)).rejects.toEqual(refused('MYSQL_URL'));
  });
});
