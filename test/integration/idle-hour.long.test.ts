import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Options } from '../../contracts/config.ts';
import { Hub } from '../../hub/hub.ts';
import { registry } from '../../hub/registry.ts';
import { type PostgresServer, startPostgres } from '../fixtures/embedded-postgres.ts';
import { createTestRuntime, SimulatedClock } from '../fixtures/runtime.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { testConfig, testSink, testSource } from '../fixtures/test-hub.ts';

const MINUTES = 60;
/** Simulated time moves in steps of this, and the servers have so much real time to answer in each. */
const STEP_MS = 1_000;
const ANSWER_MS = 5;

interface Idle {
  /** `confirmed_flush_lsn`, in bytes of WAL, after each simulated minute. */
  readonly confirmed: readonly number[];
  /** What the slot holds back, in bytes of WAL, at most after a simulated minute. */
  readonly mostRetained: number;
  /** Sleeps and tickers that are pending after each simulated minute. */
  readonly pending: readonly number[];
  readonly logGrowth: number;
}

describe('an idle hour', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres({ databases: ['source', 'plain', 'message', 'statement', 'busy'] });
    await server.query("CREATE TABLE quiet (id int PRIMARY KEY, v text); INSERT INTO quiet VALUES (1, 'one'); CREATE TABLE beat (id int PRIMARY KEY, n bigint); INSERT INTO beat VALUES (1, 0)", [], 'source');
    await server.query('CREATE TABLE busy (id bigserial PRIMARY KEY, v text)', [], 'busy');
  });

  afterAll(() => server?.[Symbol.asyncDispose]());

  /** An hour of the hub's clock, in which the captured tables do not change. `busy`: another database of the server does. */
  async function idle(name: string, options: Options, busy: boolean): Promise<Idle> {
    await using directory = await temporaryDirectory('idle');
    const clock = new SimulatedClock(Date.now());
    const runtime = createTestRuntime({ clock, seed: Date.now() });
    const source = testSource(server.url('source'), { name, tables: (table) => table.name === 'quiet', options });
    const sink = testSink('replica', 'postgres', server.url(name), { from: name, tables: (table) => table.name === 'quiet' });
    const hub = await Hub.start(testConfig(directory.path, source, [sink]), runtime, { registry });
    await using disposed = new AsyncDisposableStack();
    disposed.use(hub);
    await using session = await server.connect('busy');
    const elapse = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += STEP_MS) {
        await clock.advance(STEP_MS);
        await delay(ANSWER_MS);
      }
    };
    const caughtUp = hub.untilCaughtUp(AbortSignal.timeout(60_000));
    let done = false;
    void caughtUp.finally(() => (done = true)).catch(() => undefined);
    while (!done) await elapse(STEP_MS);
    await caughtUp;
    const confirmed: number[] = [];
    const retained: number[] = [];
    const pending: number[] = [];
    const before = (await hub.status()).sources[0]?.logBytes ?? 0;
    for (let minute = 0; minute < MINUTES; minute++) {
      if (busy) await session.query("INSERT INTO busy (v) SELECT repeat('x', 1000) FROM generate_series(1, 200)");
      await elapse(60_000);
      const { rows } = await session.query<{ at: string; behind: string }>(
        `SELECT confirmed_flush_lsn - '0/0' AS at, pg_current_wal_lsn() - confirmed_flush_lsn AS behind FROM pg_replication_slots WHERE slot_name = $1`,
        [`tidemark_${name}`],
      );
      confirmed.push(Number(rows[0]?.at));
      retained.push(Number(rows[0]?.behind));
      pending.push(clock.pending);
    }
    const { sources, sinks } = await hub.status();
    expect(sources).toMatchObject([{ state: 'streaming', error: null }]);
    expect(sinks).toMatchObject([{ state: 'caught-up', error: null }]);
    const logGrowth = (sources[0]?.logBytes ?? 0) - before;
    await server.query("UPDATE quiet SET v = v || '!'", [], 'source');
    const follows = hub.untilCaughtUp(AbortSignal.timeout(60_000));
    done = false;
    void follows.finally(() => (done = true)).catch(() => undefined);
    while (!done) await elapse(STEP_MS);
    await follows;
    const closing = disposed.disposeAsync();
    done = false;
    void closing.finally(() => (done = true)).catch(() => undefined);
    while (!done) await elapse(STEP_MS);
    await closing;
    expect(clock.pending).toBe(0);
    const [mine] = await server.query<{ v: string }>('SELECT v FROM quiet', [], 'source');
    expect(await server.query('SELECT v FROM quiet', [], name)).toEqual([mine]);
    console.log(`${name}: slot moved by ${((confirmed.at(-1) ?? 0) - (confirmed[0] ?? 0))} bytes, held back ${Math.max(...retained)} at most, log grew by ${logGrowth} bytes, ${pending.at(0)} to ${pending.at(-1)} timers`);
    return { confirmed, mostRetained: Math.max(...retained), pending, logGrowth };
  }

  function expectSteady({ pending, logGrowth }: Idle): void {
    expect(Math.max(...pending)).toBeLessThanOrEqual((pending[0] ?? 0) + 3);
    expect(logGrowth).toBeLessThan(10 << 20);
  }

  it('moves the slot on every minute while another database of the server is busy', async () => {
    const result = await idle('plain', {}, true);
    expect(result.confirmed.every((at, index) => index === 0 || at > (result.confirmed[index - 1] ?? 0))).toBe(true);
    expect(result.mostRetained).toBeLessThan(1 << 20);
    expectSteady(result);
  });

  it('writes a message into the WAL where that is asked for, and no table', async () => {
    const result = await idle('message', { heartbeat: { every: '30s' } }, false);
    expect(result.confirmed.every((at, index) => index === 0 || at > (result.confirmed[index - 1] ?? 0))).toBe(true);
    expectSteady(result);
  });

  it('runs the statement that is configured', async () => {
    const result = await idle('statement', { heartbeat: { every: '60s', statement: 'UPDATE public.beat SET n = n + 1' } }, false);
    expect(result.confirmed.every((at, index) => index === 0 || at > (result.confirmed[index - 1] ?? 0))).toBe(true);
    const [beat] = await server.query<{ n: string }>('SELECT n FROM beat', [], 'source');
    expect(Number(beat?.n)).toBeGreaterThanOrEqual(MINUTES - 2);
    expect(Number(beat?.n)).toBeLessThanOrEqual(MINUTES + 5);
    expectSteady(result);
  });
});
