import '../hub/runtime/young-generation.ts';
import '../hub/runtime/old-generation.ts';
import { once } from 'node:events';
import { describeError } from '../contracts/errors/error.ts';
import type { SourceLog } from '../contracts/log-engine.ts';
import { EmbeddedLogEngine } from '../hub/log/embedded/engine.ts';
import { createRuntime } from '../hub/runtime/runtime.ts';
import { CompactLoad, TABLE } from './compact-load.ts';
import { percentile } from './report.ts';

/** What a process with a log in it is asked; it answers once, and ends. */
export type CompactAsk =
  /** Folds all of it; answers seconds. */
  | { readonly kind: 'fold'; readonly directory: string; readonly memoryBytes: number; readonly share: number }
  /** Looks up so many rows of the base by their keys, one after the other; answers the milliseconds below which 99 % of them take. */
  | { readonly kind: 'find'; readonly directory: string; readonly keys: number; readonly rows: number }
  /** Appends as fast as it goes, for so long; answers bytes/s. With `share` above 0 the log is folded meanwhile. */
  | { readonly kind: 'append'; readonly directory: string; readonly memoryBytes: number; readonly share: number; readonly seconds: number };

export type CompactReply = { readonly value: number } | { readonly error: string };

const SOURCE = 'shop';
const NEVER = new AbortController().signal;
/** Of what is appended meanwhile: few keys, so that making it costs little. */
const APPENDED_KEYS = 1_000_000;
const PREPARED_BATCHES = 32;

async function carryOut(ask: CompactAsk): Promise<number> {
  await using engine = await EmbeddedLogEngine.create(ask.directory, createRuntime({ logLevel: 'warn' }));
  const log = await engine.open(SOURCE, { create: false });
  if (ask.kind === 'find') return await find(log, ask.keys, ask.rows);
  const { memoryBytes, share } = ask;
  if (ask.kind === 'fold') {
    const started = performance.now();
    const { highWatermark } = log.state();
    const horizon = await log.compact(highWatermark, { memoryBytes, share }, NEVER);
    if (horizon !== highWatermark) throw new Error(`the horizon is ${horizon} instead of ${highWatermark}`);
    return (performance.now() - started) / 1000;
  }
  const stop = new AbortController();
  const folding = share > 0 ? log.compact(log.state().highWatermark, { memoryBytes, share }, stop.signal).catch(() => 0) : Promise.resolve(0);
  const rate = await append(log, ask.seconds);
  if (share > 0 && log.compaction().running === null) throw new Error('folding had ended before the appending did: too little to fold');
  stop.abort();
  await folding;
  return rate;
}

async function find(log: SourceLog, keys: number, rows: number): Promise<number> {
  await using base = await log.openBase();
  if (base === null) throw new Error('there is no base');
  const load = new CompactLoad(keys, 11);
  const took = new Float64Array(rows);
  for (let index = 0; index < rows; index++) {
    const key = load.key();
    const started = performance.now();
    await base.find(TABLE, key);
    took[index] = performance.now() - started;
  }
  return percentile(took, 0.99);
}

async function append(log: SourceLog, seconds: number): Promise<number> {
  await using writer = await log.openWriter(() => undefined);
  const load = new CompactLoad(APPENDED_KEYS, 7);
  const batches = Array.from({ length: PREPARED_BATCHES }, () => load.next());
  const started = performance.now();
  let bytes = 0;
  for (let index = 0; performance.now() - started < seconds * 1000; index++) {
    const batch = batches[index % batches.length];
    if (batch === undefined) break;
    await writer.append(batch);
    bytes += batch.records.length;
    if (index % 64 === 63) await writer.flush();
  }
  await writer.flush();
  return bytes / ((performance.now() - started) / 1000);
}

const [ask] = (await once(process, 'message')) as [CompactAsk];
let reply: CompactReply;
try {
  reply = { value: await carryOut(ask) };
} catch (error) {
  reply = { error: describeError(error) };
}
process.send?.(reply);
await once(process, 'message');
process.disconnect();
