import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Swap } from '../../../contracts/rebuild.ts';
import type { Sink } from '../../../contracts/sink.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Connection } from '../../../sinks/redis/resp/connection.ts';
import { type RedisServer, startRedis } from '../../fixtures/redis.ts';
import { cacheSink } from './cache-place.ts';
import { CHECKPOINT, exchange, fill, request, shadowClient, shadowOf, shadowSettings, spoiltCache } from './shadow-stand.ts';
import { type CacheStand, never } from './stand.ts';

/** Of the rows, of which there are 50 fewer. */
const LAST = 210;

/** What happens to the process, or to the server, at one of the pieces that are sent. */
export type Fault = 'killed before' | 'killed after' | 'server crash';

let server: RedisServer;

/** @param steps for each fault: it happens at the first piece that is sent, and at every so manieth after it */
export function crashCases(steps: readonly (readonly [Fault, number])[]): void {
  beforeAll(async () => {
    server = await startRedis({ settings: { appendonly: 'yes', appendfsync: 'always' } });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  afterEach(() => vi.restoreAllMocks());
  describe.each(steps)('%s', (fault, step) => {
    cases(fault, step);
  });
}

/** Counts what is sent to the server, and lets the fault happen at the n-th. */
class Faults {
  happened = false;
  restarted: Promise<void> = Promise.resolve();
  #count = 0;

  constructor(at: number, fault: Fault) {
    const original = Reflect.get(Connection.prototype, 'send') as (this: Connection, chunk: unknown) => void;
    const next = (): boolean => !this.happened && ++this.#count === at;
    const strike = (connection: Connection): void => this.#strike(connection, fault);
    vi.spyOn(Connection.prototype, 'send').mockImplementation(function (this: Connection, chunk) {
      const isNext = next();
      if (isNext && fault === 'killed before') strike(this);
      Reflect.apply(original, this, [chunk]);
      if (isNext && fault !== 'killed before') strike(this);
    });
  }

  #strike(connection: Connection, fault: Fault): void {
    this.happened = true;
    const killed = new TidemarkError('SINK_UNREACHABLE', 'the process was killed');
    if (fault === 'killed before') connection.fail(killed);
    // What was written has been handed to the socket: the server has all of it, and nobody reads the answer.
    else if (fault === 'killed after') setTimeout(() => connection.fail(killed), 20);
    else this.restarted = server.stop('kill').then(() => server.start());
  }
}

/** Does the work with a fault at each of its steps in turn; then the same, or something else, by another process. */
async function struck(step: number, fault: Fault, prepare: () => Promise<Sink>, work: (sink: Sink) => Promise<unknown>, after: () => Promise<void>): Promise<number> {
  for (let at = 1; ; at += step) {
    const sink = await prepare();
    const faults = new Faults(at, fault);
    const outcome = await work(sink).then(() => null, (error: unknown) => error);
    await faults.restarted;
    vi.restoreAllMocks();
    if (outcome !== null) expect(outcome).toMatchObject({ retry: 'auto' });
    await after();
    if (!faults.happened) return at;
  }
}

function cases(fault: Fault, step: number): void {
  test('at any step of a swap: the same request again leaves the new set and nothing else', async () => {
    await using stand = await spoiltCache(server, {}, LAST);
    let swap: Swap;
    const prepare = async (): Promise<Sink> => {
      await spoil(stand);
      swap = await request(stand);
      return cacheSink(shadowSettings(server.port));
    };
    const after = async (): Promise<void> => {
      await expectOneSet(stand);
      await exchange(shadowOf(stand.sink), swap);
      await stand.compare();
      await expectNothingLeft(stand);
    };
    expect(await struck(step, fault, prepare, (sink) => exchange(shadowOf(sink), swap), after)).toBeGreaterThan(10);
  });

  test('at any step of a shadow that is filled, or given up: it is gone on with, or nothing is left of it', async () => {
    await using stand = await spoiltCache(server, {}, LAST);
    let isFilled = false;
    const work = async (sink: Sink): Promise<void> => {
      if (isFilled) await shadowOf(sink).discard(never);
      else await fill(stand, sink);
    };
    const after = async (): Promise<void> => {
      const sink = cacheSink(shadowSettings(server.port));
      if (!isFilled) {
        const swap = await request(stand, sink);
        await exchange(shadowOf(sink), swap);
        await stand.compare();
      } else await shadowOf(sink).discard(never);
      await expectNothingLeft(stand);
    };
    const prepare = async (): Promise<Sink> => {
      if (isFilled) await fill(stand);
      return cacheSink(shadowSettings(server.port));
    };
    expect(await struck(step, fault, prepare, work, after)).toBeGreaterThan(5);
    isFilled = true;
    expect(await struck(step, fault, prepare, work, after)).toBeGreaterThan(5);
  });
}

async function spoil(stand: CacheStand): Promise<void> {
  await stand.client.redis.del(`kit.things:${LAST}`, `kit.things:${LAST - 1}`);
}

/** What is served is all of the old or all of the new. */
async function expectOneSet(stand: CacheStand): Promise<void> {
  const { redis } = stand.client;
  const rows = (await redis.keys('kit.things:*')).length;
  expect([LAST - 52, LAST - 50]).toContain(rows);
  expect(await redis.hexists(CHECKPOINT, 'role')).toBe(0);
}

async function expectNothingLeft(stand: CacheStand): Promise<void> {
  using client = shadowClient(server.port);
  expect(await client.dbsize()).toBe(0);
  expect((await stand.client.redis.keys('*')).length).toBe(LAST - 50 + 3);
}
