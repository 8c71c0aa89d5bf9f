import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { DisasterStand, follow } from './disaster-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

describe('the source fails over to its standby', () => {
  async function pair(failover: boolean) {
    const stack = new AsyncDisposableStack();
    const primary = stack.use(await startPostgres());
    const standby = stack.use(await startPostgres());
    await follow(standby, primary);
    const stand = stack.use(await DisasterStand.begin({
      source: primary, replica: server, calm: server, sourceOptions: { failover },
      sourceUrl: (database) => `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/${database}?target_session_attrs=read-write`,
    }));
    /** The standby has all, and takes over. */
    const takeOver = async (): Promise<void> => {
      const [row] = await primary.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
      await expect.poll(() => standby.query('SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS there', [row?.lsn]), { timeout: 180_000 }).toEqual([{ there: true }]);
      await primary.stop('immediate');
      await standby.query('SELECT pg_promote()');
    };
    return { primary, standby, stand, takeOver, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  }

  it('goes on with a failover slot', async () => {
    await using test = await pair(true);
    const { primary, standby, stand } = test;
    await primary.set({ synchronized_standby_slots: 'standby' });
    await expect.poll(async () => {
      await stand.change();
      await primary.query('SELECT pg_log_standby_snapshot()');
      return standby.query('SELECT synced AND NOT temporary AS ready FROM pg_replication_slots WHERE slot_name = $1', [stand.slot]);
    }, { timeout: 180_000, interval: 300 }).toEqual([{ ready: true }]);
    await stand.expectEqual();
    await test.takeOver();
    await standby.query('UPDATE items SET n = n + 1; DELETE FROM notes WHERE id < 10', [], stand.sourceDatabase);
    await stand.expectEqual(standby);
    expect(await stand.hub.output()).not.toContain('source.gap');
  });

  it('is refused without one, and copied again on demand', async () => {
    await using test = await pair(false);
    const { standby, stand } = test;
    await stand.change();
    await stand.expectEqual();
    await test.takeOver();
    await standby.query('UPDATE items SET n = n + 1; DELETE FROM notes WHERE id < 10', [], stand.sourceDatabase);
    await stand.expectSourceFailed('POSTGRES_SLOT_MISSING');
    await stand.resync();
    await stand.expectEqual(standby);
  });
});
