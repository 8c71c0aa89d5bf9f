import { fork } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, link, mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { EmbeddedLogEngine } from '../hub/log/embedded/engine.ts';
import { createRuntime } from '../hub/runtime/runtime.ts';
import { temporaryDirectory } from '../test/fixtures/temp.ts';
import type { CompactAsk, CompactReply } from './compact-entry.ts';
import { CompactLoad } from './compact-load.ts';
import { peakRssMb } from './rss.ts';
import type { Bench } from './runner.ts';

const SOURCE = 'shop';
const BYTES = 10e9;
const KEYS = 50_000_000;
const MEMORY_BYTES = 128 << 20;
/** The default of hub.log.compaction.share. */
const SHARE = 0.25;
const APPEND_SECONDS = 6;
const CHUNK = 4 << 20;
const FOUND_ROWS = 5000;

/** A log of updates folded into its base, against `zstd -1` of the same bytes on one core. */
export const compactBench: Bench = {
  name: 'compact',
  baselineName: 'zstd -1',
  units: ['MB/s'],
  goal: { target: 0.25, sense: 'at-least', rssMb: 500 },
  async prepare({ scale, profile }, say) {
    const stack = new AsyncDisposableStack();
    try {
      const folder = stack.use(await temporaryDirectory('bench-compact')).path;
      const made = join(folder, 'made');
      const keys = Math.ceil(KEYS * scale);
      say(`writing ${(BYTES * scale) / 1e9} GB of updates of ${keys} keys`);
      await write(made, keys, BYTES * scale);
      const { files, bytes } = await segmentsOf(made);
      return {
        async baseline() {
          const started = performance.now();
          let packed = 0;
          for (const file of files) {
            const content = await readFile(file);
            for (let at = 0; at < content.length; at += CHUNK) {
              packed += zstdCompressSync(content.subarray(at, at + CHUNK), { params: { [constants.ZSTD_c_compressionLevel]: 1 } }).length;
            }
          }
          const seconds = (performance.now() - started) / 1000;
          say(`zstd -1 makes ${(bytes / packed).toFixed(2)} times less of it`);
          return { figures: [bytes / 1e6 / seconds], rssMb: 0 };
        },
        async tidemark(index) {
          const directory = await copyOf(made, join(folder, `fold${index}`));
          const { value, rssMb } = await ask({ kind: 'fold', directory, memoryBytes: MEMORY_BYTES, share: 1 }, profile);
          const { bytes: folded } = await runsOf(directory);
          say(`the base takes ${(folded / 1e6).toFixed(0)} MB of ${(bytes / 1e6).toFixed(0)} MB of history`);
          const { value: p99 } = await ask({ kind: 'find', directory, keys, rows: FOUND_ROWS }, null);
          say(`a row by its key, of ${keys}: ${p99.toFixed(2)} ms (p99)`);
          await rm(directory, { recursive: true });
          if (index === 0) await slowDown(made, folder, say);
          return { figures: [bytes / 1e6 / value], rssMb };
        },
        [Symbol.asyncDispose]: () => stack.disposeAsync(),
      };
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  },
};

/** How much slower a log takes what is appended while it is folded. */
async function slowDown(made: string, folder: string, say: (line: string) => void): Promise<void> {
  const rates: number[] = [];
  for (const share of [0, SHARE, SHARE, 0]) {
    const directory = await copyOf(made, join(folder, 'append'));
    const { value } = await ask({ kind: 'append', directory, memoryBytes: MEMORY_BYTES, share, seconds: APPEND_SECONDS }, null);
    rates.push(value / 1e6);
    await rm(directory, { recursive: true });
  }
  const [first = 0, second = 0, third = 0, last = 0] = rates;
  const slower = 1 - (second + third) / (first + last);
  say(`appending: ${rates.map((rate) => rate.toFixed(0)).join(', ')} MB/s (alone, while folding, while folding, alone): ${(slower * 100).toFixed(1)} % slower while folding (limit 15 %)`);
}

async function write(directory: string, keys: number, bytes: number): Promise<void> {
  await using engine = await EmbeddedLogEngine.create(directory, createRuntime({ logLevel: 'warn' }));
  const log = await engine.open(SOURCE, { create: true });
  await using writer = await log.openWriter(() => undefined);
  const load = new CompactLoad(keys, 1);
  await writer.append(load.schema());
  for (let written = 0; written < bytes; ) {
    const batch = load.next();
    await writer.append(batch);
    written += batch.records.length;
  }
}

const logFolder = (directory: string): string => join(directory, 'log', SOURCE);

async function segmentsOf(directory: string): Promise<{ files: string[]; bytes: number }> {
  return filesOf(directory, '.segment');
}

async function runsOf(directory: string): Promise<{ files: string[]; bytes: number }> {
  return filesOf(directory, '.run');
}

async function filesOf(directory: string, end: string): Promise<{ files: string[]; bytes: number }> {
  const files = (await readdir(logFolder(directory))).filter((name) => name.endsWith(end)).map((name) => join(logFolder(directory), name));
  let bytes = 0;
  for (const file of files) bytes += (await readFile(file)).length;
  return { files, bytes };
}

/** What is never written to again is linked. */
async function copyOf(made: string, directory: string): Promise<string> {
  await mkdir(logFolder(directory), { recursive: true });
  for (const name of await readdir(logFolder(made))) {
    const isFixed = name.endsWith('.segment') || name.endsWith('.index');
    await (isFixed ? link : copyFile)(join(logFolder(made), name), join(logFolder(directory), name));
  }
  return directory;
}

async function ask(question: CompactAsk, profile: string | null): Promise<{ value: number; rssMb: number }> {
  const execArgv = profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  const child = fork(join(import.meta.dirname, 'compact-entry.ts'), { execArgv, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  child.send(question);
  const [reply] = (await Promise.race([once(child, 'message'), ended])) as [CompactReply | number];
  if (typeof reply !== 'object' || reply === null) throw new Error(`the process with the log has ended with code ${reply}`);
  const rssMb = await peakRssMb(child.pid ?? 0);
  child.send('end');
  await ended;
  if ('error' in reply) throw new Error(reply.error);
  return { value: reply.value, rssMb };
}
