/** What a stream does where GTIDs are tagged, are turned on and off, or are not those of the log. */
import { expect, test } from 'vitest';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../../fixtures/mysql.ts';
import { replicaOf } from '../../../fixtures/mysql-replica.ts';
import { serverRows, StreamRig } from './stream-rig.ts';

const LIMIT_MS = 60_000;
const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, v text)';

async function begun(server: MysqlServer): Promise<StreamRig> {
  const rig = new StreamRig(server.url());
  rig.run();
  await rig.until(() => rig.position !== null, 'the first position');
  return rig;
}

async function expectSame(rig: StreamRig, server: MysqlServer): Promise<void> {
  await rig.caughtUp(server);
  expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
}

async function again(rig: StreamRig, url = rig.url): Promise<void> {
  await rig.stop();
  rig.url = url;
  rig.run();
}

export function taggedTests(): void {
  test('tagged GTIDs come through the stream, are part of the position, and a stream goes on behind them, at a replica too', async () => {
    await using primary = await startMysql({ version: 'mysql-9', databases: ['shop'] });
    await primary.query(TABLE, 'shop');
    await using replica = await replicaOf(primary);
    await using rig = await begun(primary);
    const tagged = (tag: string, id: number): Promise<unknown> => primary.query(`SET SESSION gtid_next = 'AUTOMATIC:${tag}'; INSERT INTO t VALUES (${id}, '${tag}'); SET SESSION gtid_next = 'AUTOMATIC'`, 'shop');
    await tagged('orders', 1);
    await primary.query(`INSERT INTO t VALUES (2, 'plain')`, 'shop');
    await tagged('orders', 3);
    await tagged('billing', 4);
    await expectSame(rig, primary);
    const [row] = await primary.query('SELECT @@GLOBAL.gtid_executed AS gtids');
    expect(rig.place?.executed.toString()).toBe((row?.['gtids'] ?? '').replaceAll(/\s/g, ''));
    expect(rig.place?.executed.toString()).toMatch(/:billing:1:orders:1-2/);
    await rig.stop();
    await tagged('orders', 5);
    await primary.query(`INSERT INTO t VALUES (6, 'plain')`, 'shop');
    rig.run();
    await expectSame(rig, primary);
    await tagged('shipping', 7);
    await rig.stop();
    await replica.caughtUp();
    await replica.promote();
    await again(rig, replica.server.url());
    await expectSame(rig, replica.server);
    expect(rig.records('t')).toHaveLength(7);
    expect(rig.failures).toEqual([]);
  });
}

export function modeTests(version: MysqlVersion): void {
  test(`${version}: gtid_mode is turned on and off again on the way`, async () => {
    await using server = await startMysql({ version, databases: ['shop'], settings: { gtid_mode: 'OFF', enforce_gtid_consistency: 'OFF' } });
    await server.query(TABLE, 'shop');
    await using rig = await begun(server);
    let id = 0;
    const write = (): Promise<unknown> => server.query(`INSERT INTO t VALUES (${++id}, 'v'); UPDATE t SET v = 'w${id}' WHERE id = 1`, 'shop');
    const to = async (mode: string): Promise<void> => {
      await server.query(`SET GLOBAL gtid_mode = ${mode}`);
      await write();
    };
    // What the server calls its place changes with the mode: each row has been written once, and changed row 1 once.
    const has = (): Promise<void> => rig.until(() => rig.rows('t').size === id && rig.records('t').length === 2 * id, `${id} rows`);
    await write();
    await server.query('SET GLOBAL enforce_gtid_consistency = ON');
    for (const mode of ['OFF_PERMISSIVE', 'ON_PERMISSIVE', 'ON']) await to(mode);
    await has();
    await rig.stop();
    await write();
    rig.run();
    await has();
    await server.query('FLUSH BINARY LOGS');
    await write();
    await has();
    await again(rig);
    await write();
    await has();
    expect(rig.place?.isByGtid).toBe(true);
    // Off and on again beside a stream: what comes between has no GTID.
    for (const mode of ['ON_PERMISSIVE', 'OFF_PERMISSIVE', 'OFF', 'OFF_PERMISSIVE', 'ON_PERMISSIVE', 'ON']) {
      await to(mode);
      await has();
    }
    expect(new Set(rig.failures.map(({ code }) => code))).toEqual(new Set(['MYSQL_GTIDS_OFF']));
    await again(rig);
    await write();
    await has();
    for (const mode of ['ON_PERMISSIVE', 'OFF_PERMISSIVE', 'OFF']) {
      await to(mode);
      await again(rig);
      await has();
    }
    expect(rig.place?.isByGtid).toBe(false);
    // On before the stream has read what has none: the server sends it to nobody.
    await rig.stop();
    await write();
    for (const mode of ['OFF_PERMISSIVE', 'ON_PERMISSIVE', 'ON']) await to(mode);
    rig.run();
    const refused = await rig.failure();
    expect(refused).toMatchObject({ code: 'MYSQL_GTID_MODE', retry: 'operator' });
    await to('ON_PERMISSIVE');
    await again(rig);
    await has();
    await to('ON');
    await has();
    expect(rig.rows('t')).toEqual(await serverRows(server, 't'));
  });
}

export function rotationTests(version: MysqlVersion): void {
  test(`${version}: files end in the middle of transactions, and stand still`, async () => {
    await using server = await startMysql({ version, databases: ['shop'], settings: { max_binlog_size: 4096 } });
    await server.query(TABLE, 'shop');
    await using rig = await begun(server);
    await using session = await server.connect('shop');
    for (let id = 0; id < 20; id += 2) {
      await session.query(`BEGIN; INSERT INTO t VALUES (${id}, REPEAT('x', ${id * 300}))`);
      await server.query('FLUSH BINARY LOGS');
      await session.query(`INSERT INTO t VALUES (${id + 1}, 'y'); COMMIT`);
      if (id % 6 === 0) await server.query('FLUSH BINARY LOGS');
      if (id % 4 === 0) {
        await expectSame(rig, server);
        await again(rig);
      }
    }
    await expectSame(rig, server);
    expect(rig.transactionSizes()).toEqual(Array.from({ length: 10 }, () => 2));
    expect(rig.failures).toEqual([]);
  });
}

/** Until the server's oldest file is that: one that a stream which has ended still holds, or that the engine needs, is left where it is. */
export async function purgeTo(server: MysqlServer, file: string): Promise<void> {
  await expect.poll(async () => {
    await server.query(`PURGE BINARY LOGS TO '${file}'`);
    return (await server.query('SHOW BINARY LOGS'))[0]?.['Log_name'];
  }, { timeout: LIMIT_MS, interval: 100 }).toBe(file);
}

export const RESET = { mysql: 'RESET BINARY LOGS AND GTIDS', mariadb: 'RESET MASTER' } as const;

export function lostTests(version: MysqlVersion): void {
  test(`${version}: binlogs that are purged, and reset: said so, with what to do`, async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await server.query(TABLE, 'shop');
    await using rig = await begun(server);
    const newest = async (): Promise<string> => (await server.query('SHOW BINARY LOGS')).at(-1)?.['Log_name'] ?? '';
    await server.query(`INSERT INTO t VALUES (1, 'a')`, 'shop');
    await expectSame(rig, server);
    await rig.stop();
    // What is purged is in the log: that is no loss.
    await server.query('FLUSH BINARY LOGS');
    await purgeTo(server, await newest());
    rig.run();
    await server.query(`INSERT INTO t VALUES (2, 'b')`, 'shop');
    await expectSame(rig, server);
    await rig.stop();
    await server.query(`INSERT INTO t VALUES (3, 'c'); FLUSH BINARY LOGS; INSERT INTO t VALUES (4, 'd')`, 'shop');
    await purgeTo(server, await newest());
    rig.run();
    const purged = await rig.failure();
    expect(purged).toMatchObject({ code: 'MYSQL_BINLOG_PURGED', retry: 'operator' });
    expect(purged.remedy).toContain('tidemark source resync');
    await rig.stop();
    await server.query(RESET[server.flavor]);
    rig.run();
    const gone = await rig.failure();
    expect(gone).toMatchObject({ code: 'MYSQL_DIVERGED', retry: 'operator' });
    expect(gone.remedy).toContain('tidemark source resync');
    // Other transactions get the GTIDs that the log has.
    await rig.stop();
    for (let id = 10; id < 20; id++) await server.query(`INSERT INTO t VALUES (${id}, 'again')`, 'shop');
    rig.run();
    expect(await rig.failure()).toMatchObject({ code: 'MYSQL_DIVERGED', retry: 'operator' });
    expect(rig.rows('t').size).toBe(2);
  });

  test(`${version}: a binlog that is reset, and told what was executed before: the log goes on behind it`, async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await server.query(TABLE, 'shop');
    await using rig = await begun(server);
    await server.query(`INSERT INTO t VALUES (1, 'a'); FLUSH BINARY LOGS; INSERT INTO t VALUES (2, 'b')`, 'shop');
    await expectSame(rig, server);
    await rig.stop();
    const [variable, place] = server.flavor === 'mysql' ? ['gtid_purged', 'gtid_executed'] : ['gtid_binlog_state', 'gtid_binlog_state'];
    const [row] = await server.query(`SELECT @@GLOBAL.${place} AS gtids`);
    await server.query(`${RESET[server.flavor]}; SET GLOBAL ${variable} = '${row?.['gtids'] ?? ''}'`);
    await server.query(`INSERT INTO t VALUES (3, 'c')`, 'shop');
    rig.run();
    await expectSame(rig, server);
    expect(rig.records('t')).toHaveLength(3);
    expect(rig.failures).toEqual([]);
  });
}

/** A GTID that leaves others out before it. */
export async function writeAhead(server: MysqlServer, id: number, number: number): Promise<void> {
  if (server.flavor === 'mariadb') {
    await server.query(`SET SESSION gtid_seq_no = ${number}; INSERT INTO t VALUES (${id}, 'ahead')`, 'shop');
    return;
  }
  const [row] = await server.query('SELECT @@server_uuid AS uuid');
  await server.query(`SET SESSION gtid_next = '${row?.['uuid'] ?? ''}:${number}'; INSERT INTO t VALUES (${id}, 'ahead'); SET SESSION gtid_next = 'AUTOMATIC'`, 'shop');
}

export function gapTests(version: MysqlVersion): void {
  test(`${version}: GTIDs with gaps, which MySQL fills later`, async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await server.query(TABLE, 'shop');
    await using rig = await begun(server);
    await server.query(`INSERT INTO t VALUES (1, 'a')`, 'shop');
    await writeAhead(server, 2, 1_000);
    await expectSame(rig, server);
    await rig.stop();
    // Automatic ones go into the first gap; MariaDB's go on from the last.
    await server.query(`INSERT INTO t VALUES (3, 'c'); INSERT INTO t VALUES (4, 'd')`, 'shop');
    await writeAhead(server, 5, 2_000);
    rig.run();
    await expectSame(rig, server);
    if (server.flavor === 'mysql') await writeAhead(server, 6, 500);
    await again(rig);
    await server.query(`INSERT INTO t VALUES (7, 'g')`, 'shop');
    await expectSame(rig, server);
    expect(rig.records('t')).toHaveLength(server.flavor === 'mysql' ? 7 : 6);
    const [row] = await server.query(`SELECT @@GLOBAL.${server.flavor === 'mysql' ? 'gtid_executed' : 'gtid_binlog_pos'} AS gtids`);
    expect(rig.place?.executed.toString()).toBe((row?.['gtids'] ?? '').replaceAll(/\s/g, ''));
    expect(rig.failures).toEqual([]);
  });
}

export function failoverTests(version: MysqlVersion): void {
  test(`${version}: a replica that is behind is refused until it has caught up; one with transactions of its own is gone on with, and not back from`, async () => {
    await using primary = await startMysql({ version, databases: ['shop'] });
    await primary.query(TABLE, 'shop');
    await using replica = await replicaOf(primary);
    await replica.caughtUp();
    const word = primary.flavor === 'mysql' ? 'REPLICA' : 'SLAVE';
    await using rig = await begun(primary);
    await replica.server.query(`STOP ${word}`);
    await primary.query(`INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'b')`, 'shop');
    await rig.caughtUp(primary);
    await again(rig, replica.server.url());
    expect(await rig.failure()).toMatchObject({ code: 'MYSQL_DIVERGED', retry: 'operator' });
    await replica.server.query(`START ${word}`);
    await replica.caughtUp();
    // Errant: nobody else has it.
    await replica.server.query(`INSERT INTO t VALUES (3, 'errant')`, 'shop');
    await again(rig);
    await expectSame(rig, replica.server);
    expect([...rig.rows('t').keys()]).toEqual(['1', '2', '3']);
    await again(rig, primary.url());
    const back = await rig.failure();
    expect(back).toMatchObject({ code: 'MYSQL_DIVERGED', retry: 'operator' });
    expect(back.remedy).toContain('server that has them');
    // At the server that has it the log goes on, whatever it refused before.
    await replica.promote();
    await replica.server.query(`INSERT INTO t VALUES (4, 'new primary')`, 'shop');
    await again(rig, replica.server.url());
    await expectSame(rig, replica.server);
    expect(rig.records('t')).toHaveLength(4);
  });
}

export function liveTests(version: MysqlVersion): void {
  test(`${version}: a server that has nothing to say is not one that is silent`, async () => {
    await using server = await startMysql({ version, databases: ['shop'] });
    await server.query(TABLE, 'shop');
    // Silence of fifteen seconds is the end of a server: longer than a busy machine stands still.
    await using rig = new StreamRig(`${server.url()}?connect-timeout=2`, { heartbeat: '5s' });
    rig.run();
    await rig.until(() => rig.position !== null, 'the first position');
    const idle = performance.now() + 18_000;
    await rig.until(() => performance.now() > idle, 'a while');
    expect(rig.failures).toEqual([]);
    server.freeze();
    await rig.until(() => rig.failures.length > 0, 'the silence is noticed');
    expect(rig.failures[0]).toMatchObject({ code: 'MYSQL_UNREACHABLE', retry: 'auto' });
    server.thaw();
    await server.query(`INSERT INTO t VALUES (1, 'a')`, 'shop');
    await expectSame(rig, server);
    expect(rig.failures.filter(({ retry }) => retry !== 'auto')).toEqual([]);
  });
}
