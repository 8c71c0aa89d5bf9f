import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type PostgresServer } from '../fixtures/embedded-postgres.ts';
import { DisasterStand } from './disaster-stand.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

describe('WAL that the source holds back beyond hub.limits.retainedWal', () => {
  /** Somebody's open transaction keeps WAL from being given up, whatever the hub does. */
  async function heldBack(onRetainedWal: string) {
    const source = await startPostgres();
    const stand = await DisasterStand.begin({ source, replica: server, calm: server, hub: { limits: { retainedWal: '64MiB', on_retained_wal: onRetainedWal } } });
    const holder = await source.connect(stand.sourceDatabase);
    await holder.query('BEGIN; SELECT pg_current_xact_id()');
    for (let segment = 0; segment < 6; segment++) await stand.atSource('UPDATE items SET n = n + 1; SELECT pg_switch_wal()');
    const over = async (): Promise<void> => {
      await holder[Symbol.asyncDispose]();
      await stand[Symbol.asyncDispose]();
      await source[Symbol.asyncDispose]();
    };
    return { stand, holder, [Symbol.asyncDispose]: over };
  }

  it('is warned of', async () => {
    await using held = await heldBack('warn');
    const { stand } = held;
    await stand.hub.until('a warning', ({ sources }) => sources.some(({ waitingFor }) => waitingFor.includes('holds back')), 180_000);
    expect((await stand.status()).sources.find(({ name }) => name === 'shop')).toMatchObject({ state: 'streaming' });
    expect(await stand.hub.output()).toContain('retained-wal');
  });

  it('stops the source', async () => {
    await using held = await heldBack('stop');
    const { stand } = held;
    await stand.expectSourceFailed('RETAINED_WAL', /raise the limit/);
    expect(await stand.source.query('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [stand.slot])).toEqual([{ active: false }]);
  });

  it('gives up the slot and copies again', async () => {
    await using held = await heldBack('drop-slot-and-recopy');
    const { stand, holder } = held;
    await stand.hub.until('the slot is made anew', ({ sources }) => sources.some(({ waitingFor }) => /transactions that run/.test(waitingFor)), 180_000);
    await stand.change();
    await stand.expectCalm();
    await holder.query('COMMIT');
    await stand.expectEqual();
    expect(await stand.hub.output()).toContain('source.gap');
  });
});
