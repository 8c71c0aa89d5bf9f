import '../hub/runtime/young-generation.ts';
import '../hub/runtime/old-generation.ts';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../contracts/errors/error.ts';
import type { HubConfig } from '../contracts/config.ts';
import { withHashKeys } from '../hub/config/hash-key.ts';
import { loadConfig } from '../hub/config/load.ts';
import { Hub } from '../hub/hub.ts';
import { registry } from '../hub/registry.ts';
import { createRuntime } from '../hub/runtime/runtime.ts';
import type { Answer, Ask } from './tidemark-process.ts';

/** The hub of a bench, in a process of its own: loads everything, says that it is ready, and does what it is asked. */
const runtime = createRuntime({ logLevel: 'warn' });
const LIMIT_MS = 30 * 60_000;
const POLL_MS = 20;

async function answer(work: () => Promise<number>): Promise<void> {
  let result: Answer;
  try {
    result = { ok: true, offset: await work() };
  } catch (error) {
    result = { ok: false, error: describeError(error) };
  }
  process.send?.(result);
}

async function serve(config: HubConfig): Promise<void> {
  let hub: Hub | null = null;
  for (;;) {
    const [ask] = (await once(process, 'message')) as [Ask];
    if (ask.kind === 'stop') break;
    await answer(async () => {
      hub ??= await Hub.start(config, runtime, { registry });
      return carryOut(hub, ask);
    });
  }
  await answer(async () => {
    await hub?.[Symbol.asyncDispose]();
    return 0;
  });
}

async function carryOut(hub: Hub, ask: Exclude<Ask, { kind: 'stop' }>): Promise<number> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  switch (ask.kind) {
    case 'start':
      return 0;
    case 'wait':
      return hub.wait(ask.sink, { position: ask.position }, signal);
    case 'wait-offset':
      return hub.wait(ask.sink, { offset: ask.offset }, signal);
    case 'caught-up':
      await hub.untilCaughtUp(signal);
      return 0;
    case 'offset':
      return durableOffset(hub, ask.source);
    case 'durable':
      for (;;) {
        const offset = await durableOffset(hub, ask.source);
        if (offset >= ask.offset) return offset;
        await delay(POLL_MS, undefined, { signal });
      }
    case 'compact': {
      const { horizon, hold } = await hub.compactSource(ask.source, null, signal);
      if (horizon === 0) throw new Error(`nothing was folded: ${JSON.stringify(hold)}`);
      return horizon;
    }
    case 'verify':
      return rowsCompared(hub, ask.sink, signal);
  }
}

async function durableOffset(hub: Hub, name: string): Promise<number> {
  const { sources } = await hub.status();
  const source = sources.find((one) => one.name === name);
  if (source === undefined) throw new Error(`the hub has no source ${name}`);
  if (source.error !== null) throw new Error(`${source.error.code}: ${source.error.message}`);
  return source.highWatermark;
}

async function rowsCompared(hub: Hub, sink: string, signal: AbortSignal): Promise<number> {
  for await (const event of hub.verify(sink, { tables: [], against: 'source', repair: false, rate: null }, signal)) {
    if (!('report' in event)) continue;
    const comparisons = event.report.tables.flatMap((table) => table.comparisons);
    const bad = comparisons.filter(({ skipped, differences }) => skipped !== null || differences > 0);
    if (bad.length > 0) throw new Error(`not equal: ${JSON.stringify(bad).slice(0, 1000)}`);
    return comparisons.filter(({ sides }) => sides === 'log-sink').reduce((sum, { rows }) => sum + rows.expected, 0);
  }
  throw new Error('a verification without a report');
}

// A bench that is gone leaves nobody to work for.
process.on('disconnect', () => process.exit(1));
const [file = 'tidemark.yaml'] = process.argv.slice(2);
const config = await withHashKeys(await loadConfig(file, process.env, registry), runtime.files, runtime.random);
await answer(() => Promise.resolve(0));
await serve(config);
process.disconnect();
