import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { SinkBatch } from '../../../contracts/sink.ts';
import { type MysqlServer, startMysql } from '../../fixtures/mysql.ts';
import { ahead, bigTable, copied, deliverRest, expectRows, insertRows, oneDeath, row } from './loose-load.ts';
import { replicaPlace } from './replica-place.ts';

/** Each time others of them; the long tests take each. */
const SOME = 2;

describe('rows of a copy that several sessions load', () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ version: 'mysql-9' });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  afterEach(() => vi.restoreAllMocks());

  test('are loaded by more than one, and the end is exact', async () => {
    await using place = await replicaPlace(server);
    const loading = new Set<number>();
    ahead('load', ({ id }) => void loading.add(id));
    await using sink = place.sink();
    const scenario = copied('parts');
    await deliverRest(sink, scenario);
    await expectRows(place, scenario.model);
    expect(loading.size).toBeGreaterThan(2);
  });

  test('a hub that is cut off at some statement', { timeout: 60_000 }, async () => {
    const { count } = await oneDeath(server, 0, 'lost before');
    for (let n = 0; n < SOME; n++) {
      const at = 1 + Math.floor(Math.random() * count);
      await oneDeath(server, at, n % 2 === 0 ? 'lost before' : 'lost after').catch((error: unknown) => {
        throw new Error(`statement ${at} of ${count}: ${String(error)}`, { cause: error });
      });
    }
  });

  test('of a hub that wakes after another has taken the sink over are refused', async () => {
    await using place = await replicaPlace(server);
    const { model, batches } = twoOwners();
    const [first, second, third] = batches;
    if (first === undefined || second === undefined || third === undefined) throw new Error('the scenario has three batches');
    const { signal } = new AbortController();
    await using asleep = place.sink();
    await asleep.open(model.start(), signal);
    await asleep.apply(first, signal).durable;
    const { promise: awake, resolve: wake } = Promise.withResolvers<void>();
    const { promise: isAsleep, resolve: sleeps } = Promise.withResolvers<void>();
    ahead('rows', async (_session, sql) => {
      if (!sql.includes('LOCK IN SHARE MODE') || !sql.includes(' fence = 1 ')) return;
      sleeps();
      await awake;
    });
    const late = asleep.apply(second, signal).durable;
    late.catch(() => undefined);
    await isAsleep;
    await using owner = place.sink();
    await owner.open(model.start(), signal);
    await owner.apply(second, signal).durable;
    await owner.apply(third, signal).durable;
    wake();
    await expect(late).rejects.toMatchObject({ code: 'SINK_FENCED' });
    await expectRows(place, model);
  });
});

/** Rows of a copy, then what has become of them. */
function twoOwners(): { readonly model: SinkModel; readonly batches: readonly SinkBatch[] } {
  const model = new SinkModel();
  const big = bigTable(model);
  const batches = [model.batch()];
  insertRows(model, big, 0);
  batches.push(model.batch());
  for (let id = 0; id < 4_000; id += 3) model.update(big, row(id), row(id, 'newer'));
  for (let id = 1; id < 4_000; id += 3) model.delete(big, row(id));
  batches.push(model.batch());
  return { model, batches };
}
