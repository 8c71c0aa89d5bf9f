import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseLsn, PositionWriter, lsnOfPosition, identityOfPosition } from '../../../connectors/postgres/position.ts';
import { NEVER, NEW_LOG } from '../../../contracts/kit/connector-kit-common.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { Captured } from './captured.ts';
import { TestSource } from './source-fixture.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, v text)';

/** Asks until it is true. */
async function eventually(ready: () => Promise<boolean>, what: string): Promise<void> {
  const limit = performance.now() + 20_000;
  while (!(await ready())) {
    if (performance.now() > limit) throw new Error(`not in time: ${what}`);
    await delay(30);
  }
}

/** How far the server has sent, keepalives included. */
async function sent({ source }: Captured): Promise<number> {
  const [row] = await source.query<{ lsn: string }>(
    `SELECT sent_lsn::text AS lsn FROM pg_stat_replication JOIN pg_replication_slots ON pid = active_pid WHERE slot_name = '${source.slot}'`,
  );
  return parseLsn(row?.lsn ?? '0/0');
}

describe('acknowledgement', () => {
  it('moves the slot to what is durable, never beyond, and on while idle', async () => {
    await using it = await Captured.begin(server, TABLE);
    await it.run(`INSERT INTO t VALUES (1)`);
    const durable = (): number => (it.test.log.position === null ? 0 : lsnOfPosition(Buffer.from(it.test.log.position, 'hex')));
    const told = durable();
    await eventually(async () => parseLsn(await it.source.confirmed()) >= told, 'the slot at the durable position');
    it.test.acknowledging = false;
    const before = await it.source.confirmed();
    await it.run('INSERT INTO t VALUES (2)');
    await delay(500);
    expect(await it.source.confirmed()).toBe(before);
    it.test.acknowledging = true;
    for (let round = 0; round < 3; round++) {
      const then = parseLsn(await it.source.confirmed());
      await it.source.elsewhere();
      await eventually(async () => parseLsn(await it.source.confirmed()) > then, 'the slot of an idle source');
      expect(parseLsn(await it.source.confirmed())).toBeLessThanOrEqual(durable());
    }
  });

  it('hands on at once, to somebody who waits, what the server has told by itself before', async () => {
    await using it = await Captured.begin(server, TABLE);
    await it.run('INSERT INTO t VALUES (1)');
    const started = performance.now();
    for (let round = 0; round < 5; round++) {
      await it.source.elsewhere();
      const head = parseLsn(await it.source.head());
      await eventually(async () => (await sent(it)) >= head, 'the keepalive');
      await it.test.caughtUp();
    }
    // Unasked, each round would take a second.
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  it('begins with a batch where nothing has happened since the last stream', async () => {
    await using it = await Captured.begin(server, TABLE);
    await it.run('INSERT INTO t VALUES (1)');
    await it.test.stop();
    const abort = new AbortController();
    const started = performance.now();
    await using stream = it.test.connector.stream(it.test.start, abort.signal);
    const first = await stream[Symbol.asyncIterator]().next();
    expect(first.done === true ? null : first.value.progress).not.toBeNull();
    expect(performance.now() - started).toBeLessThan(5_000);
    abort.abort();
  });

  it('goes on while nobody reads: the server does not end the connection', async () => {
    await using it = await TestSource.make(server);
    await it.query(TABLE);
    await it.query(`ALTER DATABASE ${it.database} SET wal_sender_timeout = '1s'`);
    await using connector = it.connector();
    await connector.prepare(NEW_LOG, NEVER);
    const abort = new AbortController();
    await using stream = connector.stream(NEW_LOG, abort.signal);
    const iterator = stream[Symbol.asyncIterator]();
    await iterator.next();
    await it.query(`INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) AS n`);
    await delay(4000);
    let rows = 0;
    while (rows < 20_000) {
      const next = await iterator.next();
      if (next.done === true) throw new Error('the stream has ended');
      rows += next.value.transactions.filter((one) => one.kind === 'source').reduce((sum, one) => sum + one.count, 0);
    }
    abort.abort();
  });

  it('lets the server shut down, and goes on when it is back', async () => {
    await using other = await startPostgres();
    await using it = await Captured.begin(other, TABLE);
    await it.run('INSERT INTO t VALUES (1)');
    const started = performance.now();
    const failure = it.test.failure();
    // The fixture's session ends with the server.
    await it.source.forget();
    await other.stop('fast');
    expect(performance.now() - started).toBeLessThan(10_000);
    expect((await failure).retry).toBe('auto');
    await other.start();
    await it.test.run();
    await it.run('INSERT INTO t VALUES (2)');
    expect(it.rows().map((row) => row.key)).toEqual([['1'], ['2']]);
  });
});

describe('a slot', () => {
  it('that is gone or was moved on is refused; released and begun anew it works', async () => {
    await using it = await Captured.begin(server, TABLE);
    await it.run('INSERT INTO t VALUES (1)');
    await it.test.stop();
    const { start, connector } = it.test;
    await it.source.query('INSERT INTO t VALUES (2)');
    await eventually(async () => (await it.source.query(`SELECT 1 FROM pg_replication_slots WHERE slot_name = '${it.source.slot}' AND active`)).length === 0, 'the slot to be free');
    await it.source.query(`SELECT pg_replication_slot_advance('${it.source.slot}', pg_current_wal_lsn())`);
    await expect(connector.prepare(start, NEVER)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_SLOT_AHEAD', retry: 'operator' }));
    await connector.release?.(NEVER);
    await connector.release?.(NEVER);
    await expect(connector.prepare(start, NEVER)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_SLOT_MISSING' }));
    it.test.log.position = null;
    await it.test.run();
    await it.run('INSERT INTO t VALUES (3)');
    expect(it.rows().map((row) => row.key)).toEqual([['1'], ['3']]);
  });

  it('of somebody else is refused', async () => {
    await using it = await TestSource.make(server);
    await it.query(TABLE);
    await it.query(`SELECT pg_create_logical_replication_slot('${it.slot}', 'test_decoding')`);
    await using connector = it.connector();
    await expect(connector.prepare(NEW_LOG, NEVER)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_SLOT_FOREIGN' }));
    expect(await connector.check(NEVER)).toContainEqual(expect.objectContaining({ severity: 'error', code: 'slot' }));
  });

  it('that somebody else reads is worth another try', async () => {
    await using it = await Captured.begin(server, TABLE);
    await it.run('INSERT INTO t VALUES (1)');
    await using second = it.source.connector();
    const { start } = it.test;
    await second.prepare(start, NEVER);
    await expect(second.stream(start, NEVER)[Symbol.asyncIterator]().next()).rejects.toThrow(
      expect.objectContaining({ code: 'POSTGRES_SLOT_ACTIVE', retry: 'auto' }),
    );
  });

  it('that was lost is named with what to do', async () => {
    await using other = await startPostgres({ settings: { max_slot_wal_keep_size: '1MB', min_wal_size: '32MB', max_wal_size: '48MB' } });
    await using it = await Captured.begin(other, TABLE);
    await it.test.stop();
    for (let segment = 0; segment < 4; segment++) await it.source.query(`INSERT INTO t VALUES (${segment}); SELECT pg_switch_wal()`);
    await it.source.query('CHECKPOINT');
    await expect(it.test.connector.prepare(it.test.start, NEVER)).rejects.toThrow(
      expect.objectContaining({ code: 'POSTGRES_SLOT_LOST', remedy: containing('pg_drop_replication_slot') }),
    );
    expect(await it.test.connector.check(NEVER)).toContainEqual(expect.objectContaining({ severity: 'warning', code: 'slot-wal-limit' }));
  });

  it('that nobody read for too long is named with the setting that took it', async () => {
    await using other = await startPostgres({ settings: { idle_replication_slot_timeout: '1s' } });
    await using it = await Captured.begin(other, TABLE);
    await it.test.stop();
    await eventually(async () => {
      await it.source.query('CHECKPOINT');
      return (await it.source.query(`SELECT 1 FROM pg_replication_slots WHERE invalidation_reason = 'idle_timeout'`)).length > 0;
    }, 'the slot to be invalidated');
    await expect(it.test.connector.prepare(it.test.start, NEVER)).rejects.toThrow(
      expect.objectContaining({ code: 'POSTGRES_SLOT_LOST', message: containing('idle_replication_slot_timeout'), remedy: containing('source resync') }),
    );
    expect(await it.test.connector.check(NEVER)).toContainEqual(expect.objectContaining({ severity: 'warning', code: 'slot-idle-limit' }));
  });
});

describe('the server', () => {
  it('is refused when it is another one, or behind the log', async () => {
    await using it = await Captured.begin(server, TABLE);
    await it.run('INSERT INTO t VALUES (1)');
    await it.test.stop();
    const { position, catalog } = it.test.start;
    const identity = identityOfPosition(position ?? new Uint8Array());
    const other = new PositionWriter({ systemId: '1', timeline: 1 }).at(5);
    await expect(it.test.connector.prepare({ position: other, catalog }, NEVER)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_SYSTEM_CHANGED' }));
    const future = { position: new PositionWriter(identity).at(2 ** 50), catalog };
    await eventually(async () => (await it.source.query(`SELECT 1 FROM pg_replication_slots WHERE slot_name = '${it.source.slot}' AND active`)).length === 0, 'the slot to be free');
    await it.test.connector.prepare(future, NEVER);
    await expect(it.test.connector.stream(future, NEVER)[Symbol.asyncIterator]().next()).rejects.toThrow(
      expect.objectContaining({ code: 'POSTGRES_REGRESSED', retry: 'operator' }),
    );
  });

  it('is followed through a promotion', async () => {
    await using other = await startPostgres();
    await using it = await Captured.begin(other, TABLE);
    await it.run('INSERT INTO t VALUES (1)');
    await it.test.stop();
    await it.source.forget();
    await other.stop('fast');
    await other.addFile('standby.signal', '');
    await other.start();
    await other.query('SELECT pg_promote()');
    await it.source.query('INSERT INTO t VALUES (2)');
    await it.test.run();
    await it.test.caughtUp();
    expect(it.rows().map((row) => row.key)).toEqual([['1'], ['2']]);
    expect(identityOfPosition(Buffer.from(it.test.log.position ?? '', 'hex')).timeline).toBe(2);
  });

  it('without logical WAL is named with what to do', async () => {
    await using other = await startPostgres({ settings: { wal_level: 'replica' } });
    await using it = await TestSource.make(other);
    await it.query(TABLE);
    await using connector = it.connector();
    await expect(connector.prepare(NEW_LOG, NEVER)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_WAL_LEVEL' }));
    expect(await connector.check(NEVER)).toContainEqual(expect.objectContaining({ severity: 'error', code: 'wal-level', remedy: containing('wal_level') }));
  });
});

describe('a publication', () => {
  it('that is there already is adopted, and must be whole', async () => {
    await using it = await TestSource.make(server, { options: { publication: 'mine' } });
    await it.query(`${TABLE}; CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION mine FOR TABLE t (id) WITH (publish = 'insert, update')`);
    await using connector = it.connector();
    for (let faults = 2; faults > 0; faults--) {
      const statement = await connector.prepare(NEW_LOG, NEVER).then(
        () => expect.unreachable('it is not whole yet'),
        (error: unknown) => (error instanceof Error && 'remedy' in error ? String(error.remedy).replace('Run: ', '') : ''),
      );
      for (const one of statement.split('; ')) await it.query(one);
    }
    await connector.prepare(NEW_LOG, NEVER);
    const members = await it.query<{ tablename: string }>(`SELECT tablename FROM pg_publication_tables WHERE pubname = 'mine' ORDER BY 1`);
    expect(members.map((row) => row.tablename)).toEqual(['t', 'u']);
  });

  it('that is gone cannot be made again under a log', async () => {
    await using it = await Captured.begin(server, TABLE);
    await it.run('INSERT INTO t VALUES (1)');
    await it.test.stop();
    await it.source.query(`DROP PUBLICATION ${it.source.slot}`);
    await expect(it.test.connector.prepare(it.test.start, NEVER)).rejects.toThrow(expect.objectContaining({ code: 'POSTGRES_PUBLICATION', retry: 'operator' }));
  });

  it('is not made for a table without identity', async () => {
    await using it = await TestSource.make(server);
    await it.query('CREATE TABLE bare (id int)');
    await using connector = it.connector();
    await expect(connector.prepare(NEW_LOG, NEVER)).rejects.toThrow(
      expect.objectContaining({ code: 'POSTGRES_IDENTITY', remedy: containing('ALTER TABLE "public"."bare" REPLICA IDENTITY FULL') }),
    );
    expect(await it.query(`SELECT 1 FROM pg_publication WHERE pubname = '${it.slot}'`)).toEqual([]);
  });
});

describe('limits and heartbeats', () => {
  it('a row above the limit stops its table, and the rest goes on', async () => {
    await using it = await Captured.begin(server, `${TABLE}; CREATE TABLE other (id int PRIMARY KEY)`, { options: { max_row_size: '1MiB' } });
    await it.run(`INSERT INTO t VALUES (1, 'small'); BEGIN; INSERT INTO t VALUES (2, repeat('x', 3000000)); INSERT INTO other VALUES (1); INSERT INTO t VALUES (3, 'c'); COMMIT`);
    expect(it.controls()).toMatchObject([{ type: 'stopped', code: 'POSTGRES_ROW_TOO_LARGE', recopy: false }]);
    expect(it.rows().map((row) => [row.table, row.key])).toEqual([['t', ['1']], ['other', ['1']], ['t', ['3']]]);
  });

  it('a row of 100 MB comes through', async () => {
    await using it = await Captured.begin(server, TABLE);
    await it.run(`INSERT INTO t VALUES (1, repeat('0123456789', 10000000))`);
    expect(String(it.rows()[0]?.after?.['v'])).toHaveLength(100_000_000);
  });

  it('a heartbeat moves the slot on, and stays out of the log', async () => {
    await using it = await Captured.begin(server, TABLE, { options: { heartbeat: { every: '1s' } } });
    await it.run('INSERT INTO t VALUES (1)');
    const before = parseLsn(await it.source.confirmed());
    await eventually(async () => parseLsn(await it.source.confirmed()) > before, 'the slot');
    expect(it.raw().filter((record) => record.op === 0x6d)).toEqual([]);
  });
});

/** A matcher, typed as what it stands for. */
function containing(text: string): unknown {
  return expect.stringContaining(text);
}
