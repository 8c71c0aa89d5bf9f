import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { DisasterStand, fileCopy } from './disaster-stand.ts';

// Processes start and servers restart: on a busy machine that takes its time.
vi.setConfig({ testTimeout: 120_000 });

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

const begin = (source = server): Promise<DisasterStand> => DisasterStand.begin({ source, replica: server, calm: server });

describe('the slot', () => {
  it('was moved on by somebody else while the hub was down', async () => {
    await using stand = await begin();
    await stand.hub.stop();
    await stand.slotFree();
    await stand.change();
    await server.query(`SELECT pg_replication_slot_advance('${stand.slot}', pg_current_wal_lsn())`, [], stand.sourceDatabase);
    const job = await stand.runJob();
    expect(job).toMatchObject({ code: 1, stderr: expect.stringMatching(/POSTGRES_SLOT_AHEAD[^]*where: [^]*position [0-9A-F]+\/[0-9A-F]+[^]*to do: .*resync/) as string });
    await stand.slotFree();
    await stand.startHub();
    await stand.expectSourceFailed('POSTGRES_SLOT_AHEAD');
    await stand.change();
    await stand.resync();
    await stand.expectEqual();
    await stand.change();
    await stand.expectEqual();
  });

  it('was dropped by somebody else while the hub runs', async () => {
    await using stand = await begin();
    await expect.poll(async () => {
      await server.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1', [stand.slot]);
      return server.query('SELECT pg_drop_replication_slot($1)', [stand.slot], stand.sourceDatabase).then(() => 'dropped', () => 'in use');
    }, { timeout: 20_000, interval: 1 }).toBe('dropped');
    await stand.change();
    await stand.expectSourceFailed('POSTGRES_SLOT_MISSING');
    await stand.resync();
    await stand.expectEqual();
  });

  it('was invalidated since the WAL that it needs was removed', async () => {
    await using small = await startPostgres({ settings: { max_slot_wal_keep_size: '1MB', min_wal_size: '32MB', max_wal_size: '48MB' } });
    await using stand = await begin(small);
    await stand.hub.stop();
    for (let segment = 0; segment < 4; segment++) await stand.atSource('UPDATE items SET n = n + 1; SELECT pg_switch_wal()');
    await small.query('CHECKPOINT');
    expect(await stand.runJob()).toMatchObject({ code: 1, stderr: expect.stringMatching(/POSTGRES_SLOT_LOST[^]*to do: .*resync/) as string });
    await stand.startHub();
    const { error } = await stand.expectSourceFailed('POSTGRES_SLOT_LOST');
    expect(error?.message).toContain('WAL that it needs was removed');
    await stand.resync();
    await stand.expectEqual();
  });

  it('was invalidated for being idle', async () => {
    await using impatient = await startPostgres({ settings: { idle_replication_slot_timeout: '1s' } });
    await using stand = await begin(impatient);
    await stand.hub.stop();
    await stand.change();
    await expect.poll(async () => {
      await impatient.query('CHECKPOINT');
      return impatient.query<{ why: string | null }>('SELECT invalidation_reason AS why FROM pg_replication_slots WHERE slot_name = $1', [stand.slot]);
    }, { timeout: 20_000, interval: 500 }).toEqual([{ why: 'idle_timeout' }]);
    await stand.startHub();
    const { error } = await stand.expectSourceFailed('POSTGRES_SLOT_LOST');
    expect(error?.message).toContain('idle_replication_slot_timeout');
    await stand.resync();
    await stand.expectEqual();
  });
});

describe('the source', () => {
  it('was restored to an earlier moment, and is behind the log', async () => {
    await using source = await startPostgres();
    await using stand = await begin(source);
    const copy = await fileCopy(source);
    await stand.expectEqual();
    await stand.atSource("DELETE FROM items WHERE id % 2 = 0; INSERT INTO items VALUES (9999, 1, 'of a future that never was')");
    await stand.expectEqual();
    await copy.restore();
    await source.start();
    await stand.expectSourceFailed('POSTGRES_REGRESSED');
    await stand.resync();
    await stand.expectEqual();
    expect(await stand.atReplica('SELECT count(*)::int AS n FROM items WHERE id = 9999')).toEqual([{ n: 0 }]);
    await stand.change();
    await stand.expectEqual();
  });

  it('was restored to an earlier moment, and follows another timeline', async () => {
    await using source = await startPostgres();
    await using stand = await begin(source);
    const copy = await fileCopy(source);
    await stand.atSource('DELETE FROM items WHERE id % 2 = 0');
    await stand.expectEqual();
    await copy.restore();
    await source.addFile('standby.signal', '');
    await source.start();
    await source.query('SELECT pg_promote()');
    await stand.change();
    await stand.expectSourceFailed('POSTGRES_TIMELINE_FORKED');
    await stand.resync();
    await stand.expectEqual();
    await stand.change();
    await stand.expectEqual();
  });

  it('is another cluster behind the same address', async () => {
    await using first = await startPostgres();
    await using other = await startPostgres();
    await using proxy = await startTcpProxy(first.port);
    await using stand = await DisasterStand.begin({
      source: first, replica: server, calm: server, sourceUrl: (database) => first.url(database).replace(`:${first.port}/`, `:${proxy.port}/`),
    });
    await other.query(`CREATE DATABASE ${stand.sourceDatabase}`);
    await other.query("CREATE TABLE notes (id int PRIMARY KEY, text text); INSERT INTO notes VALUES (1, 'of another cluster'); CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL, body text)", [], stand.sourceDatabase);
    proxy.retarget(other.port);
    proxy.cut();
    await stand.expectSourceFailed('POSTGRES_SYSTEM_CHANGED');
    expect(await stand.atReplica('SELECT count(*)::int AS n FROM items')).toEqual([{ n: 300 }]);
    await stand.resync();
    await stand.expectEqual(other);
    expect(await stand.atReplica('SELECT id, text FROM notes')).toEqual([{ id: 1, text: 'of another cluster' }]);
    expect(await stand.atReplica('SELECT count(*)::int AS n FROM items')).toEqual([{ n: 0 }]);
  });
});
