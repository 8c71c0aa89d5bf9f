import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HubConfig, SinkConfig } from '../../contracts/config.ts';
import type { TableCopier } from '../../contracts/connector.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { Hub } from '../../hub/hub.ts';
import { createTestRuntime, type TestRuntime } from '../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../fixtures/temp.ts';
import { testConfig, testSink, testSource } from '../fixtures/test-hub.ts';
import { MemorySink } from './pipeline/sink/memory-sink.ts';
import { emptyCopier } from './pipeline/source/empty-copier.ts';
import { positionOf } from './pipeline/source/numbered-positions.ts';
import { ScriptedSource } from './pipeline/source/scripted-source.ts';

const NEVER = new Promise<never>(() => undefined);

let folder: TemporaryDirectory;
let source: ScriptedSource;
let copier: TableCopier;
let sinks: Map<string, MemorySink>;
let runtime: TestRuntime;
let hub: Hub;

beforeEach(async () => {
  folder = await temporaryDirectory('hub');
  source = new ScriptedSource();
  copier = emptyCopier();
  source.copier = () => copier;
  sinks = new Map();
  runtime = createTestRuntime();
});
afterEach(async () => {
  await hub[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function sink(name: string, options: Partial<SinkConfig> = {}): SinkConfig {
  return testSink(name, 'memory', 'x', options);
}

function config(...configured: readonly SinkConfig[]): HubConfig {
  return testConfig(folder.path, testSource('x', { type: 'scripted' }), configured);
}

async function start(...configured: readonly SinkConfig[]): Promise<void> {
  hub = await Hub.start(config(...configured), runtime, {
    registry: {
      connectors: [{ type: 'scripted', positions: source.positions, options: {}, create: () => source }],
      sinks: [{ type: 'memory', options: {}, tableOptions: null, create: ({ name }) => sinkOf(name) }],
    },
  });
}

/** The sink that the hub gets, also before it asks. */
function sinkOf(name: string): MemorySink {
  const known = sinks.get(name) ?? new MemorySink();
  sinks.set(name, known);
  return known;
}

function patience(ms = 10_000): AbortSignal {
  return AbortSignal.timeout(ms);
}

async function stateOf(name: string): Promise<string | undefined> {
  return (await hub.status()).sinks.find((each) => each.name === name)?.state;
}

async function until(state: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await state())) {
    if (Date.now() > deadline) throw new Error(`it did not come to that: ${JSON.stringify(runtime.lines.slice(-5))}`);
    await runtime.clock.sleep(5);
  }
}

async function seconds(work: Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work;
  return (performance.now() - begun) / 1000;
}

describe('a hub', () => {
  it('answers for its status although the source is another server than the one that the log was read from', async () => {
    await start();
    await hub.untilCaughtUp(patience());
    source.commit([{ table: 1, key: 1, value: 10 }]);
    source.status = () => Promise.resolve({ head: positionOf(99), retainedBytes: null, connected: true, waitingFor: '' });
    Object.assign(source, { positions: { ...source.positions, compare: () => { throw new TidemarkError('POSITION_FOREIGN', 'scripted'); } } });
    const [status] = (await hub.status()).sources;
    expect(status?.name).toBe('shop');
  });

  it('lets a dead sink, a wrong one and a blocked one hold back nobody else', async () => {
    sinkOf('dead').fault = () => 'before';
    sinkOf('wrong').refused.add('public.t1/1');
    sinkOf('blocked').gate = NEVER;
    await start(sink('dead'), sink('wrong'), sink('blocked'), sink('good'));
    for (let n = 1; n <= 50; n++) source.commit([{ table: 1, key: n % 7, value: n }]);
    await hub.wait('good', { position: 'lsn:50' }, patience());
    expect(source.acknowledged).toBe(50);
    await until(async () => (await stateOf('dead')) === 'retrying' && (await stateOf('wrong')) === 'failed');
    const { sinks: views } = await hub.status();
    expect(views.find(({ name }) => name === 'good')).toMatchObject({ state: 'caught-up', position: '50', lag: { records: 0 } });
    const wrong = views.find(({ name }) => name === 'wrong');
    expect(wrong?.error?.where).toMatchObject({ table: 'public.t1', key: 'id=1', position: expect.stringMatching(/^\d+$/) as string });
    // What was applied while the row was looked for counts.
    expect(wrong?.offset).toBe(sinkOf('wrong').checkpoint?.offset ?? 0);
    expect(views.find(({ name }) => name === 'blocked')?.lag.records).toBeGreaterThan(0);
    expect(await seconds(hub[Symbol.asyncDispose]())).toBeLessThan(10);
  }, 30_000);

  it('never tells a waiter that a paused, failed or removed sink is there', async () => {
    sinkOf('wrong').refused.add('public.t1/1');
    await start(sink('paused'), sink('wrong'), sink('gone'));
    await hub.untilCaughtUp(patience());
    await hub.pauseSink('paused');
    sinkOf('gone').gate = NEVER;
    source.commit([{ table: 1, key: 1, value: 10 }]);
    const removed = hub.wait('gone', { position: 'lsn:1' }, patience()).catch((failure: unknown) => failure);
    await expect(hub.wait('paused', { position: 'lsn:1' }, patience())).rejects.toMatchObject({ code: 'SINK_PAUSED' });
    await expect(hub.wait('wrong', { position: 'lsn:1' }, patience())).rejects.toMatchObject({ code: 'SINK_DATA' });
    expect(await hub.reload(config(sink('paused'), sink('wrong')))).toEqual(['sink gone removed']);
    expect(await removed).toMatchObject({ code: 'ABORTED' });
    await hub.resumeSink('paused');
    await hub.wait('paused', { position: 'lsn:1' }, patience());
  }, 30_000);

  it('answers at once for a paused sink, wherever it rests, and for one that is paused while somebody waits', async () => {
    await start(sink('good'), sink('other'));
    source.commit([{ table: 1, key: 1, value: 10 }]);
    const first = await hub.wait('good', { position: 'lsn:1' }, patience());
    await hub.pauseSink('good');
    source.commit([{ table: 1, key: 2, value: 20 }]);
    const second = await hub.wait('other', { position: 'lsn:2' }, patience());
    const refused = { code: 'SINK_PAUSED', retry: 'operator', where: { sink: 'good', offset: first }, remedy: expect.stringContaining('tidemark sink resume good') as string };
    const refusal = hub.wait('good', { offset: second }, patience()).catch((failure: unknown) => failure);
    expect(await seconds(refusal)).toBeLessThan(5);
    expect(await refusal).toMatchObject(refused);
    await expect(hub.wait('good', { position: 'lsn:2' }, patience())).rejects.toMatchObject(refused);
    await expect(hub.wait('good', { position: 'lsn:99' }, patience())).rejects.toMatchObject(refused);
    await expect(hub.wait('good', { offset: 10_000 }, patience())).rejects.toMatchObject(refused);
    // What it has is there to be read.
    expect(await hub.wait('good', { offset: first }, patience())).toBe(first);
    expect(await hub.wait('good', { position: 'lsn:1' }, patience())).toBe(first);
    const waiting = hub.wait('other', { position: 'lsn:99' }, patience()).catch((failure: unknown) => failure);
    const ends = hub.untilCaughtUp(patience());
    await hub.pauseSink('other');
    expect(await waiting).toMatchObject({ code: 'SINK_PAUSED', where: { sink: 'other', offset: second } });
    await ends;
    await hub[Symbol.asyncDispose]();
    await start(sink('good'), sink('other'));
    // It may have been changed by others since: only who resumes it finds out.
    await expect(hub.wait('good', { offset: first }, patience())).rejects.toMatchObject(refused);
    await hub.resumeSink('good');
    expect(await hub.wait('good', { offset: second }, patience())).toBe(second);
  }, 30_000);

  it('ends in time while a reload waits for sinks that do not end, and opens nothing afterwards', async () => {
    for (const name of ['a', 'b', 'c']) sinkOf(name).gate = NEVER;
    await start(sink('a'), sink('b'), sink('c'));
    source.commit([{ table: 1, key: 1, value: 10 }]);
    await until(() => Promise.resolve(['a', 'b', 'c'].every((name) => sinkOf(name).handed > 0)));
    const reloaded = hub.reload(config(sink('late')));
    await runtime.clock.sleep(100);
    expect(await seconds(hub[Symbol.asyncDispose]())).toBeLessThan(10);
    await reloaded;
    expect(sinks.has('late')).toBe(false);
  }, 30_000);

  it('takes a sink away while it is tried again, and a source away while it is copied', async () => {
    sinkOf('dead').fault = () => 'before';
    const planned = Promise.withResolvers<void>();
    copier = {
      ...emptyCopier(),
      chunk: (_plan, _range, signal) => {
        planned.resolve();
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new TidemarkError('ABORTED', 'the copy was asked to stop')), { once: true }));
      },
    };
    await start(sink('dead'), sink('good'));
    await planned.promise;
    await until(async () => (await stateOf('dead')) === 'retrying');
    expect(await seconds(hub.reload(config(sink('good'))))).toBeLessThan(5);
    expect(await stateOf('dead')).toBeUndefined();
    copier = emptyCopier();
    const changed = { ...config(sink('good')), sources: new Map([['shop', testSource('y', { type: 'scripted' })]]) };
    expect(await hub.reload(changed)).toEqual(['source shop changed']);
    source.commit([{ table: 1, key: 1, value: 10 }]);
    await hub.wait('good', { position: 'lsn:1' }, patience());
    await hub.untilCaughtUp(patience());
    expect(sinkOf('good').rows).toEqual(new Map([['public.t1/1', '1,10']]));
  }, 30_000);
});
