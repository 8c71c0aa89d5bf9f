import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HubConfig, SinkConfig } from '../../../contracts/config.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Hub } from '../../../hub/hub.ts';
import type { RebuildQuestion, RebuildView } from '../../../hub/service.ts';
import { createTestRuntime, type TestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { testConfig, testSink, testSource } from '../../fixtures/test-hub.ts';
import { emptyCopier } from '../pipeline/source/empty-copier.ts';
import { ScriptedSource } from '../pipeline/source/scripted-source.ts';
import { Life, type StepFault, type StepName } from './life.ts';
import { MemoryPlace } from './memory-place.ts';

const WHOLE: RebuildQuestion = { tables: null, to: null, fromScratch: false };

let folder: TemporaryDirectory;
let source: ScriptedSource;
let places: Map<string, MemoryPlace>;
let runtime: TestRuntime;
let hub: Hub;
let fault: (step: StepName) => StepFault;

beforeEach(async () => {
  folder = await temporaryDirectory('hub-rebuild');
  source = new ScriptedSource();
  const copier = emptyCopier();
  source.copier = () => copier;
  places = new Map();
  runtime = createTestRuntime();
  fault = () => 'none';
});
afterEach(async () => {
  await hub[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function place(name: string): MemoryPlace {
  const present = places.get(name) ?? new MemoryPlace({ wholeTransactions: true, maxKeys: 100 });
  places.set(name, present);
  return present;
}

function sink(name: string, options: Partial<SinkConfig> = {}): SinkConfig {
  return testSink(name, 'memory', 'x', options);
}

function config(...configured: readonly SinkConfig[]): HubConfig {
  return testConfig(folder.path, testSource('x', { type: 'scripted' }), configured);
}

async function start(...configured: readonly SinkConfig[]): Promise<void> {
  const life = new Life((step) => fault(step), (step) => new TidemarkError('SINK_UNREACHABLE', `scripted: ${step}`));
  hub = await Hub.start(config(...configured), runtime, {
    registry: {
      connectors: [{ type: 'scripted', positions: source.positions, options: {}, create: () => source }],
      sinks: [
        { type: 'memory', options: {}, tableOptions: null, create: ({ name }) => place(name).sink(life, 'shadow') },
        { type: 'bare', options: {}, tableOptions: null, create: ({ name }) => place(name).live },
      ],
    },
  });
  // Those that the log cannot bring up to date have failed.
  if (configured.every(({ whenBehind }) => whenBehind === undefined)) await hub.untilCaughtUp(patience());
}

function patience(): AbortSignal {
  return AbortSignal.timeout(10_000);
}

async function rebuildOf(name: string): Promise<RebuildView | null> {
  return (await hub.status()).sinks.find((each) => each.name === name)?.rebuild ?? null;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}; ${JSON.stringify((await hub.status()).sinks)}`);
    await runtime.clock.sleep(5);
  }
}

async function leases(): Promise<readonly string[]> {
  return (await hub.engine.open('shop', { create: false })).leases();
}

const stuck = (step: StepName): StepFault => (step === 'finish' ? 'fail-before' : 'none');

describe('rebuilds of a hub', () => {
  it('of one sink leave the others alone, and go on when the hub is started again', async () => {
    await start(sink('a'), sink('b'));
    for (let n = 1; n <= 20; n++) source.commit([{ table: 1, key: n, value: n }]);
    await hub.untilCaughtUp(patience());
    fault = stuck;
    const { id } = await hub.rebuildSink('a', WHOLE, patience());
    await until('it is tried again', async () => (await rebuildOf('a'))?.state === 'retrying');
    expect(await rebuildOf('b')).toBeNull();
    source.commit([{ table: 1, key: 100, value: 100 }]);
    await hub.untilCaughtUp(patience());
    expect(place('b').live.rows).toEqual(place('a').live.rows);
    await hub[Symbol.asyncDispose]();
    fault = () => 'none';
    await start(sink('a'), sink('b'));
    expect(await leases()).toContain('rebuild:a');
    await until('it has ended', async () => (await rebuildOf('a'))?.endedAt !== null);
    expect(await rebuildOf('a')).toMatchObject({ id, state: 'done' });
    await hub.untilCaughtUp(patience());
    expect(place('a').swaps).toBe(1);
    expect(place('a').live.rows).toEqual(place('b').live.rows);
    expect(await leases()).toEqual([]);
  });

  it('are put to a position of the source, and stay there until the sink is resumed', async () => {
    await start(sink('a'), sink('b'));
    for (let n = 1; n <= 10; n++) source.commit([{ table: 1, key: n, value: n }]);
    await hub.untilCaughtUp(patience());
    const { to } = await hub.rebuildSink('a', { ...WHOLE, to: 'lsn:4' }, patience());
    await until('it has ended', async () => (await rebuildOf('a'))?.endedAt !== null);
    expect([...place('a').live.rows.keys()].toSorted()).toEqual(['public.t1/1', 'public.t1/2', 'public.t1/3', 'public.t1/4']);
    // Sinks that rest are nobody's to wait for.
    source.commit([{ table: 1, key: 11, value: 11 }]);
    await hub.untilCaughtUp(patience());
    expect((await hub.status()).sinks[0]).toMatchObject({ state: 'paused', offset: to, pause: { by: 'rebuild', offset: to } });
    await hub[Symbol.asyncDispose]();
    await start(sink('a'), sink('b'));
    // Who waits for more is told so, and not left waiting.
    await expect(hub.wait('a', { position: 'lsn:5' }, patience())).rejects.toMatchObject({
      code: 'SINK_PAUSED', message: expect.stringContaining(`was put to offset ${to}`) as string, where: { sink: 'a', offset: to },
    });
    expect(await hub.wait('a', { position: 'lsn:4' }, patience())).toBe(to);
    await hub.resumeSink('a');
    await hub.untilCaughtUp(patience());
    expect(place('a').live.rows).toEqual(place('b').live.rows);
    await expect(hub.rebuildSink('a', { ...WHOLE, to: 'yesterday' }, patience())).rejects.toMatchObject({ code: 'MOMENT_SYNTAX' });
    await expect(hub.rebuildSink('a', { ...WHOLE, to: '99999' }, patience())).rejects.toMatchObject({ code: 'OFFSET_RANGE' });
    await expect(hub.rebuildSink('a', { ...WHOLE, to: '1' }, patience())).rejects.toMatchObject({ code: 'OFFSET_RANGE', message: expect.stringContaining('offset 1 ') as string });
    await expect(hub.rebuildSink('nobody', WHOLE, patience())).rejects.toMatchObject({ code: 'SINK_UNKNOWN' });
    expect(await leases()).toEqual([]);
  });

  it('are cancelled when their sink is given other tables, go on when it is not, and are forgotten with it', async () => {
    await start(sink('a'), sink('b'), sink('c'));
    for (let n = 1; n <= 10; n++) source.commit([{ table: 1, key: n, value: n }]);
    await hub.untilCaughtUp(patience());
    fault = stuck;
    for (const name of ['a', 'b', 'c']) {
      await hub.rebuildSink(name, WHOLE, patience());
      await until('it is tried again', async () => (await rebuildOf(name))?.state === 'retrying');
    }
    const kept = (await rebuildOf('b'))?.id;
    const done = await hub.reload(config(sink('a', { tablePatterns: ['public.t1'], tables: (table) => table.name === 't1' }), sink('b', { onError: 'dead-letter' })));
    expect(done).toContain('the rebuild of sink a was cancelled; nothing of it is left, and the sink goes on as before');
    expect(done).toContain('sink c removed');
    expect(await rebuildOf('a')).toMatchObject({ state: 'cancelled', why: 'the configuration of the sink has changed' });
    expect(place('a').shadow).toBeNull();
    expect(place('c').shadow).toBeNull();
    expect(await readdir(join(folder.path, 'sinks', 'c'))).not.toContain('rebuild.json');
    expect(await leases()).toEqual(['rebuild:b']);
    fault = () => 'none';
    await until('it has ended', async () => (await rebuildOf('b'))?.endedAt !== null);
    expect(await rebuildOf('b')).toMatchObject({ id: kept, state: 'done' });
  });

  it('begin by themselves for a sink that the log cannot bring up to date, as soon as that can be done', async () => {
    const behind = sink('a', { whenBehind: 'rebuild' });
    await start(behind, sink('b'));
    for (let n = 1; n <= 5; n++) source.commit([{ table: 1, key: n, value: n }]);
    await hub.untilCaughtUp(patience());
    await hub[Symbol.asyncDispose]();
    const { live } = place('a');
    if (live.checkpoint !== null) live.checkpoint = { ...live.checkpoint, epoch: 'f'.repeat(32) };
    // What is in the way of it passes.
    let tries = 0;
    fault = (step) => (step === 'check' && ++tries <= 2 ? 'fail-before' : 'none');
    await start(behind, sink('b'));
    await until('it has ended', async () => (await rebuildOf('a'))?.endedAt !== undefined && (await rebuildOf('a'))?.endedAt !== null);
    expect(await rebuildOf('a')).toMatchObject({ state: 'done' });
    expect(tries).toBe(3);
    source.commit([{ table: 1, key: 6, value: 6 }]);
    await hub.untilCaughtUp(patience());
    expect(live.rows.size).toBeGreaterThan(0);
    expect(live.rows).toEqual(place('b').live.rows);
  });

  it('of single tables make room for one of the whole sink when the log cannot bring it up to date', async () => {
    const behind = sink('a', { whenBehind: 'rebuild' });
    await start(behind, sink('b'));
    for (let n = 1; n <= 5; n++) source.commit([{ table: 1, key: n, value: n }]);
    await hub.untilCaughtUp(patience());
    fault = stuck;
    await hub.rebuildSink('a', { ...WHOLE, tables: ['public.t1'] }, patience());
    await until('it is tried again', async () => (await rebuildOf('a'))?.state === 'retrying');
    await hub[Symbol.asyncDispose]();
    const { live } = place('a');
    if (live.checkpoint !== null) live.checkpoint = { ...live.checkpoint, epoch: 'f'.repeat(32) };
    fault = () => 'none';
    await start(behind, sink('b'));
    await until('the sink was rebuilt', async () => (await rebuildOf('a'))?.state === 'done');
    expect(await rebuildOf('a')).toMatchObject({ tables: null });
    await hub.untilCaughtUp(patience());
    expect(live.rows).toEqual(place('b').live.rows);
  });

  it('are not for a sink that has no way to be rebuilt', async () => {
    await start(sink('a', { type: 'bare' }));
    await expect(hub.rebuildSink('a', WHOLE, patience())).rejects.toMatchObject({ code: 'REBUILD_KIND' });
    expect(await rebuildOf('a')).toBeNull();
    await expect(hub.cancelRebuild('a', patience())).rejects.toMatchObject({ code: 'REBUILD_NONE' });
  });

  it('end with the hub in time, wherever they are', async () => {
    for (const where of ['apply', 'finish', 'swap', 'discard'] as const) {
      await start(sink('a'));
      source.commit([{ table: 1, key: 1, value: 1 }]);
      await hub.untilCaughtUp(patience());
      const reached = Promise.withResolvers<void>();
      fault = (step) => {
        if (step === where) reached.resolve();
        return 'none';
      };
      await hub.rebuildSink('a', { ...WHOLE, fromScratch: true }, patience());
      await reached.promise;
      const begun = performance.now();
      await hub[Symbol.asyncDispose]();
      expect(performance.now() - begun).toBeLessThan(5000);
    }
    await start(sink('a'));
    await until('it has ended', async () => (await rebuildOf('a'))?.endedAt !== null);
    await hub.untilCaughtUp(patience());
    expect([...place('a').live.rows.keys()]).toEqual(['public.t1/1']);
  });
});
