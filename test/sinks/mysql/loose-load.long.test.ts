import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import { type MysqlServer, type MysqlVersion, startMysql } from '../../fixtures/mysql.ts';
import { ahead, bigTable, copied, type Cut, deliverRest, expectRows, insertRows, oneDeath } from './loose-load.ts';
import { replicaPlace } from './replica-place.ts';

const KILLS = Number(process.env['KILLS'] ?? 20);

describe.each<MysqlVersion>(['mysql-9', 'mariadb-11.8'])('rows of a copy that several sessions load, on %s', (version) => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  afterEach(() => vi.restoreAllMocks());

  test.each(['lost before', 'lost after'] as const)('a hub that is %s, at each statement', async (fault) => {
    const every = Number(process.env['EVERY'] ?? 1);
    let at = 1;
    for (; (await oneDeath(server, at, fault)).happened; at += every);
    expect(at).toBeGreaterThan(40);
  });

  test('the server is killed at any moment', async () => {
    const begun = performance.now();
    {
      await using place = await replicaPlace(server);
      await using sink = place.sink();
      await deliverRest(sink, copied('parts'));
    }
    const usual = performance.now() - begun;
    for (let n = 0; n < KILLS; n++) await oneCrash(server, Math.random() * usual, n % 2 === 0 ? 'whole' : 'parts');
  });

  test('of a hub that hangs while it loads, it is ended by the next owner', async () => {
    await using place = await replicaPlace(server);
    const model = new SinkModel();
    const big = bigTable(model);
    const begin = model.batch();
    insertRows(model, big, 0);
    const rows = model.batch();
    const { signal } = new AbortController();
    await using hung = place.sink();
    await hung.open(model.start(), signal);
    await hung.apply(begin, signal).durable;
    const { promise: isHung, resolve: hangs } = Promise.withResolvers<void>();
    const { promise: awake, resolve: wake } = Promise.withResolvers<void>();
    const restore = ahead('load', async () => {
      hangs();
      await awake;
    });
    const late = hung.apply(rows, signal).durable;
    late.catch(() => undefined);
    await isHung;
    restore();
    await using owner = place.sink();
    await owner.open(model.start(), signal);
    await owner.apply(rows, signal).durable;
    wake();
    await expect(late).rejects.toMatchObject({ code: /SINK_FENCED|SINK_UNREACHABLE/ });
    await expectRows(place, model);
  });
});

/** @param next how the log is cut for the hub that comes after the crash */
async function oneCrash(server: MysqlServer, afterMs: number, next: Cut): Promise<void> {
  const before = await replicaPlace(server);
  {
    await using sink = before.sink();
    const delivered = deliverRest(sink, copied('parts')).catch(() => undefined);
    await delay(afterMs);
    await server.restart('kill');
    await delivered;
  }
  await using place = await replicaPlace(server, {}, before);
  await using sink = place.sink();
  const scenario = copied(next);
  await deliverRest(sink, scenario);
  await expectRows(place, scenario.model);
}
