import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../hub/runtime/clock.ts';
import { createLogger } from '../../../hub/runtime/logger.ts';
import { createMetrics } from '../../../hub/runtime/metrics.ts';
import { SimulatedClock, createTestRuntime, seededRandom } from '../../fixtures/runtime.ts';

describe.each([
  ['the clock of the machine', () => ({ clock: systemClock, pass: () => systemClock.sleep(30) })],
  ['a simulated clock', () => {
    const clock = new SimulatedClock();
    return { clock, pass: () => clock.advance(30) };
  }],
])('%s', (_name, make) => {
  test('a sleep ends after its time', async () => {
    const { clock, pass } = make();
    const begin = clock.monotonic();
    let over = -1;
    const sleep = clock.sleep(20).then(() => (over = clock.monotonic() - begin));
    await pass();
    await sleep;
    expect(over).toBeGreaterThanOrEqual(19);
  });

  test('an aborted sleep rejects with the reason, before and while it waits', async () => {
    const { clock } = make();
    const reason = new Error('enough');
    await expect(clock.sleep(1_000_000, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const sleep = clock.sleep(1_000_000, controller.signal);
    controller.abort(reason);
    await expect(sleep).rejects.toBe(reason);
  });

  test('a ticker ticks until it is disposed', async () => {
    const { clock, pass } = make();
    let ticks = 0;
    {
      using _ticker = clock.every(10, () => ticks++);
      // On a busy machine a tick comes late.
      while (ticks < 2) await pass();
    }
    expect(ticks).toBeGreaterThanOrEqual(2);
    const after = ticks;
    await pass();
    expect(ticks).toBe(after);
  });
});

test('simulated time runs what falls due in order, and knows what is pending', async () => {
  const clock = new SimulatedClock(1_000);
  const happened: string[] = [];
  const first = clock.sleep(50).then(async () => {
    happened.push(`50 at ${clock.now()}`);
    await clock.sleep(25);
    happened.push(`75 at ${clock.now()}`);
  });
  const second = clock.sleep(60).then(() => happened.push(`60 at ${clock.now()}`));
  expect(clock.pending).toBe(2);
  await clock.advance(3_600_000);
  await Promise.all([first, second]);
  expect(happened).toEqual(['50 at 1050', '60 at 1060', '75 at 1075']);
  expect(clock.now()).toBe(3_601_000);
  expect(clock.pending).toBe(0);
});

test('log lines are JSON with time, level, event and fields', () => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', to: { write: (line) => void lines.push(line) } });
  logger.log('debug', 'log.open');
  logger.child({ source: 'shop' }).log('warn', 'source.retained-wal', { bytes: 7 });
  logger.log('error', 'api.failed', { error: new Error('why') });
  expect(lines).toHaveLength(2);
  expect(JSON.parse(lines[0] ?? '')).toEqual({ level: 'warn', time: expect.stringMatching(/^\d{4}-.*Z$/) as unknown, event: 'source.retained-wal', source: 'shop', bytes: 7 });
  expect(JSON.parse(lines[1] ?? '')).toMatchObject({ event: 'api.failed', error: { type: 'Error', message: 'why' } });
});

test('metrics come out as text with the help of the one list', async () => {
  const metrics = createMetrics();
  metrics.add('tidemark_source_records_total', 3, { source: 'shop' });
  metrics.add('tidemark_source_records_total', 4, { source: 'shop' });
  metrics.set('tidemark_sink_offset', 12, { sink: 'replica' });
  metrics.observe('tidemark_log_sync_seconds', 0.003, { source: 'shop' });
  const text = await metrics.text();
  expect(text).toContain('# HELP tidemark_source_records_total Records taken from the source');
  expect(text).toContain('tidemark_source_records_total{source="shop"} 7');
  expect(text).toContain('tidemark_sink_offset{sink="replica"} 12');
  expect(text).toMatch(/tidemark_log_sync_seconds_bucket\{le="0.005",source="shop"\} 1/);
  expect(() => metrics.add('tidemark_source_records_total', 1, { sink: 'x' })).toThrow('sink');
});

test('the runtime of tests remembers lines and metrics, and its randomness repeats', () => {
  const runtime = createTestRuntime({ seed: 5 });
  runtime.logger.child({ sink: 'a' }).log('info', 'sink.opened', { offset: 3 });
  expect(runtime.lines).toEqual([{ level: 'info', event: 'sink.opened', fields: { sink: 'a', offset: 3 } }]);
  runtime.metrics.add('n', 2, { b: '1', a: '2' });
  runtime.metrics.add('n', 2, { a: '2', b: '1' });
  expect(runtime.metric('n', { a: '2', b: '1' })).toBe(4);
  expect(runtime.random.bytes(40)).toEqual(seededRandom(5).bytes(40));
  expect(seededRandom(5).unit()).not.toBe(seededRandom(6).unit());
});
