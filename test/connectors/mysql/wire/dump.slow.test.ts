import { isDeepStrictEqual } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GtidEvent } from '../../../../connectors/mysql/binlog/gtid-events.ts';
import type { QueryEvent } from '../../../../connectors/mysql/binlog/query-event.ts';
import type { Heartbeat, Rotate } from '../../../../connectors/mysql/binlog/small-events.ts';
import { GtidSet } from '../../../../connectors/mysql/gtid-set.ts';
import type { DumpStart } from '../../../../connectors/mysql/wire/dump.ts';
import { TESTED_VERSIONS, startMysql, type MysqlServer } from '../../../fixtures/mysql.ts';
import { startTcpProxy } from '../../../fixtures/tcp-proxy.ts';
import type { Heard, RawRow } from '../binlog/recorder.ts';
import { count, named, startDump } from './dumping.ts';

const refused = (code: string): unknown => expect.objectContaining({ code });

function insertedIds(heard: readonly Heard[], table: string): number[] {
  return heard.flatMap((one) => ('map' in one && one.map.table === table && one.kind === 'write' ? [idOf(one.after)] : []));
}

function idOf(row: RawRow | null): number {
  return Buffer.from(row?.[0] ?? '', 'hex').readInt32LE(0);
}

function inserted(id: number): (one: Heard) => boolean {
  return (one) => 'map' in one && one.kind === 'write' && idOf(one.after) === id;
}

/** Where the server is, as a place to start. */
async function now(server: MysqlServer): Promise<DumpStart> {
  if (server.flavor === 'mariadb') return { by: 'domains', last: (await server.query('SELECT @@gtid_binlog_pos AS gtids'))[0]?.['gtids'] ?? '' };
  return { by: 'gtids', executed: GtidSet.parse((await server.query('SELECT @@gtid_executed AS gtids'))[0]?.['gtids'] ?? '').encode() };
}

describe.each(TESTED_VERSIONS)('%s', (version) => {
  let server: MysqlServer;

  beforeAll(async () => {
    server = await startMysql({ version, databases: ['shop'], settings: { max_allowed_packet: 64 << 20 } });
    await server.query('CREATE TABLE t (id int PRIMARY KEY, v longblob); INSERT INTO t VALUES (1, NULL); INSERT INTO t VALUES (2, NULL)', 'shop');
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('the first file, and the next, then what is written while it is read', async () => {
    await using dumping = await startDump(server);
    await dumping.until(inserted(2));
    await server.query('FLUSH BINARY LOGS; INSERT INTO t VALUES (3, NULL)', 'shop');
    await dumping.until(inserted(3));
    expect(insertedIds(dumping.heard, 't').filter((id) => id <= 3)).toEqual([1, 2, 3]);
    expect(dumping.reader.file).toMatch(/^binlog\.0/);
    const statements = dumping.heard.flatMap((one) => (one.what === 'query' && 'detail' in one ? [(one.detail as QueryEvent & { statement: string }).statement] : []));
    expect(statements).toContain('CREATE TABLE t (id int PRIMARY KEY, v longblob)');
  });

  test('behind a set of transactions, and at a place in a file', async () => {
    const start = await now(server);
    const logs = await server.query('SHOW BINARY LOGS');
    const { Log_name: file, File_size: size } = logs.at(-1) ?? {};
    await server.query('INSERT INTO t VALUES (10, NULL)', 'shop');
    for (const from of [start, { by: 'file', file: file ?? '', offset: Number(size) } satisfies DumpStart]) {
      await using dumping = await startDump(server, { start: from });
      await dumping.until(inserted(10));
      expect(insertedIds(dumping.heard, 't')).toEqual([10]);
      const position = (await server.query('SHOW BINARY LOGS')).at(-1);
      await dumping.until(() => dumping.reader.position === Number(position?.['File_size']));
      expect(dumping.reader.file).toBe(position?.['Log_name']);
    }
  });

  test('heartbeats, when there is nothing else, say where the server is', async () => {
    await using dumping = await startDump(server, { start: await now(server), heartbeatMs: 200 });
    const position = (await server.query('SHOW BINARY LOGS')).at(-1);
    const end: Heartbeat = { file: position?.['Log_name'] ?? '', position: Number(position?.['File_size']) };
    // Those that come while the server looks for the start name places before it.
    await dumping.until((one) => one.what === 'heartbeat' && 'detail' in one && isDeepStrictEqual(one.detail, end));
    expect(dumping.heard.filter((one) => 'map' in one)).toEqual([]);
  });

  test('a row over several packets; one above the limit is passed over', async () => {
    const start = await now(server);
    const size = 20 << 20;
    await server.query(`INSERT INTO t VALUES (20, REPEAT('x', ${size})); INSERT INTO t VALUES (21, REPEAT('y', ${size * 2})); INSERT INTO t VALUES (22, NULL)`, 'shop');
    await using dumping = await startDump(server, { start, maxEventBytes: size + 1_000 });
    await dumping.until(inserted(22));
    expect(insertedIds(dumping.heard, 't')).toEqual([20, 22]);
    const row = dumping.heard.find((one) => 'after' in one && idOf(one.after) === 20);
    const value = Buffer.from(('after' in (row ?? {}) ? (row as { after: RawRow }).after[1] : null) ?? '', 'hex');
    expect(value.length).toBe(4 + size);
    expect(value.subarray(4).every((byte) => byte === 0x78)).toBe(true);
    expect(dumping.heard.find(({ what }) => what === 'rowsTooLarge')).toMatchObject({ detail: { table: 't' } });
  });

  test('while it is paused nothing is handled; then all of it', async () => {
    const start = await now(server);
    await server.query(`${Array.from({ length: 50 }, (_, index) => `INSERT INTO t VALUES (${100 + index}, REPEAT('z', 500000))`).join(';')}`, 'shop');
    await using dumping = await startDump(server, {
      start,
      onHeard: (one, dump) => {
        if ('map' in one && idOf(one.after) === 110) dump().pause();
      },
    });
    await dumping.until(inserted(110));
    const before = dumping.heard.length;
    await delay(300);
    expect(dumping.heard.length).toBe(before);
    dumping.dump.resume();
    await dumping.until(inserted(149));
    expect(insertedIds(dumping.heard, 't')).toEqual(Array.from({ length: 50 }, (_, index) => 100 + index));
  });

  test('purged logs, and a file that is not there', async () => {
    await server.query('FLUSH BINARY LOGS');
    const file = (await server.query('SHOW BINARY LOGS')).at(-1)?.['Log_name'] ?? '';
    const beginning: DumpStart = server.flavor === 'mysql' ? { by: 'gtids', executed: new GtidSet().encode() } : { by: 'domains', last: `0-${server.serverId}-1` };
    await server.query(`PURGE BINARY LOGS TO '${file}'`);
    for (const start of [beginning, { by: 'file', file: 'binlog.000001', offset: 4 } satisfies DumpStart]) {
      await using dumping = await startDump(server, { start });
      await expect(dumping.dump.ended).rejects.toEqual(refused('MYSQL_BINLOG_PURGED'));
    }
  });

  test('a user who may not read it', async () => {
    await server.query(`CREATE USER reader@'%' IDENTIFIED BY 'secret'`);
    // The oldest has no TLS that today's clients speak.
    const url = `mysql://reader:secret@127.0.0.1:${server.port}?${version === 'mysql-8.0.15' ? 'ssl-mode=disabled&get-server-public-key=true' : 'ssl-mode=required'}`;
    await expect(startDump(server, { url })).rejects.toEqual(refused('MYSQL_ACCESS'));
    await server.query(`GRANT REPLICATION SLAVE ON *.* TO reader@'%'`);
    await using dumping = await startDump(server, { url, start: await now(server) });
    await server.query('INSERT INTO t VALUES (30, NULL)', 'shop');
    await dumping.until(inserted(30));
    expect(count(dumping.heard, 'format')).toBe(1);
  });

  test('an abort ends it, also while it is paused', async () => {
    for (const pauses of [false, true]) {
      const stop = new AbortController();
      const { dump } = await startDump(server, { start: await now(server), signal: stop.signal });
      if (pauses) dump.pause();
      stop.abort();
      await dump.ended;
    }
    const stop = new AbortController();
    stop.abort();
    await expect(startDump(server, { signal: stop.signal })).rejects.toEqual(refused('ABORTED'));
  });
});

describe('connections that fail', () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version: 'mariadb-11.8', databases: ['shop'] });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('one that is cut, one that falls silent, a server that ends', async () => {
    await using proxy = await startTcpProxy(server.port);
    const url = `mysql://root@127.0.0.1:${proxy.port}?ssl-mode=disabled`;
    {
      await using dumping = await startDump(server, { url });
      await dumping.until(named('format'));
      proxy.cut();
      await expect(dumping.dump.ended).rejects.toEqual(refused('MYSQL_UNREACHABLE'));
    }
    {
      await using dumping = await startDump(server, { url, heartbeatMs: 200 });
      await dumping.until(named('heartbeat'));
      proxy.hold();
      await expect(dumping.dump.ended).rejects.toMatchObject({ code: 'MYSQL_UNREACHABLE', message: expect.stringContaining('heartbeat') as unknown });
      proxy.resume();
    }
    await using dumping = await startDump(server);
    await dumping.until(named('format'));
    await Promise.all([server.restart(), expect(dumping.dump.ended).rejects.toEqual(refused('MYSQL_UNREACHABLE'))]);
  });
});

describe('MySQL', () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version: 'mysql-9', databases: ['shop'], settings: { max_allowed_packet: 64 << 20 } });
    await server.query('CREATE TABLE t (id int PRIMARY KEY, v longblob)', 'shop');
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('compressed transactions: at once, decompressed in pieces, and read in pieces', async () => {
    const start = await now(server);
    const many = (first: number, rows: number, value: string): string =>
      `SET SESSION cte_max_recursion_depth = 1000000; INSERT INTO t WITH RECURSIVE n (i) AS (SELECT ${first} UNION ALL SELECT i + 1 FROM n WHERE i < ${first + rows - 1}) SELECT i, ${value} FROM n`;
    await server.query(
      `SET SESSION binlog_transaction_compression = ON; ${many(1, 10, `'x'`)}; ${many(1_000, 20_000, `REPEAT('y', 1000)`)};
       ${many(100_000, 4_000, 'RANDOM_BYTES(1000)')}; SET SESSION binlog_transaction_compression = OFF; INSERT INTO t VALUES (999999, NULL)`,
      'shop',
    );
    await using dumping = await startDump(server, {
      start,
      onHeard: (one, dump) => {
        if (!('map' in one) || idOf(one.after) % 1_500 !== 0) return;
        dump().pause();
        setImmediate(() => dump().resume());
      },
    });
    await dumping.until(inserted(999_999));
    const expected = [...range(1, 10), ...range(1_000, 20_000), ...range(100_000, 4_000), 999_999];
    expect(insertedIds(dumping.heard, 't')).toEqual(expected);
    const payloads = await server.query(`SHOW BINLOG EVENTS IN '${dumping.reader.file}'`);
    expect(payloads.filter((row) => row['Event_type'] === 'Transaction_payload').length).toBeGreaterThanOrEqual(3);
    expect(count(dumping.heard, 'xid')).toBe(4);
  });

  test('tagged GTIDs', async () => {
    const start = await now(server);
    await server.query(`SET gtid_next = 'AUTOMATIC:shop'; INSERT INTO t VALUES (5000000, NULL)`, 'shop');
    await using dumping = await startDump(server, { start });
    await dumping.until(inserted(5_000_000));
    const gtids = dumping.heard.flatMap((one) => (one.what === 'gtid' && 'detail' in one ? [one.detail as GtidEvent] : []));
    expect(gtids).toMatchObject([{ tag: 'shop', number: 1 }]);
    await server.query(`SET gtid_next = 'AUTOMATIC'; INSERT INTO t VALUES (5000001, NULL)`, 'shop');
    await using later = await startDump(server, { start: await now(server) });
    await server.query('INSERT INTO t VALUES (5000002, NULL)', 'shop');
    await later.until(named('row'));
    expect(insertedIds(later.heard, 't')).toEqual([5_000_002]);
  });

  test('the same reader again: the connection that the server still has is ended', async () => {
    const replicaUuid = '00000000-0000-4000-8000-00000000abcd';
    await using first = await startDump(server, { replicaUuid, serverId: 777 });
    await first.until(named('format'));
    await using second = await startDump(server, { replicaUuid, serverId: 777 });
    await second.until(named('format'));
    await expect(first.dump.ended).rejects.toEqual(refused('MYSQL_SERVER_ID'));
  });

  test('a set that has transactions which the server never had', async () => {
    const { gtids } = (await server.query('SELECT @@gtid_executed AS gtids'))[0] ?? {};
    const ahead = GtidSet.parse(`${(gtids ?? '').split(':')[0]}:1-1000000`);
    await using dumping = await startDump(server, { start: { by: 'gtids', executed: ahead.encode() } });
    await expect(dumping.dump.ended).rejects.toEqual(refused('MYSQL_DIVERGED'));
  });

  test('a rotation says which file follows', async () => {
    await using dumping = await startDump(server, { start: await now(server) });
    await server.query('FLUSH BINARY LOGS; INSERT INTO t VALUES (6000000, NULL)', 'shop');
    await dumping.until(inserted(6_000_000));
    const rotations = dumping.heard.flatMap((one) => (one.what === 'rotate' && 'detail' in one ? [one.detail as Rotate] : []));
    expect(rotations.some(({ isArtificial }) => !isArtificial)).toBe(true);
    expect(rotations.at(-1)?.file).toBe(dumping.reader.file);
  });
});

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}
