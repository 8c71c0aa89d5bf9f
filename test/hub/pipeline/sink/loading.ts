/** Sinks in memory behind one log of which a part has been folded into its base: what tests of their filling stand on. */
import { join } from 'node:path';
import type { LogWriter, SourceLog } from '../../../../contracts/log-engine.ts';
import type { SinkConfig } from '../../../../contracts/config.ts';
import { selectTables } from '../../../../hub/config/table-patterns.ts';
import { DeadLetters } from '../../../../hub/dead-letters/dead-letters.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { Deliver } from '../../../../hub/pipeline/sink/deliver.ts';
import { Part } from '../../../../hub/pipeline/part.ts';
import { leaseOf, SinkTables } from '../../../../hub/pipeline/sink/sink-tables.ts';
import { createTestRuntime, type TestRuntime } from '../../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import { patience, printPosition, TestLog } from './delivering.ts';
import type { MemorySink } from './memory-sink.ts';

/** Small segments, so that nearly all of a log can be folded. */
const SEGMENT_BYTES = 600;

/** A hub's life with one sink. */
export interface Life extends AsyncDisposable {
  readonly deliver: Deliver;
  readonly part: Part;
  readonly letters: DeadLetters;
}

export class LoadWorld implements AsyncDisposable {
  readonly log: SourceLog;
  readonly source: TestLog;
  readonly runtime: TestRuntime;
  readonly #directory: TemporaryDirectory;
  readonly #engine: EmbeddedLogEngine;
  readonly #writer: LogWriter;

  private constructor(log: SourceLog, writer: LogWriter, runtime: TestRuntime, engine: EmbeddedLogEngine, directory: TemporaryDirectory) {
    this.log = log;
    this.source = new TestLog(log, writer);
    this.runtime = runtime;
    this.#writer = writer;
    this.#engine = engine;
    this.#directory = directory;
  }

  static async open(): Promise<LoadWorld> {
    const directory = await temporaryDirectory('load');
    const runtime = createTestRuntime();
    const engine = await EmbeddedLogEngine.create(directory.path, runtime, { segmentBytes: SEGMENT_BYTES });
    const log = await engine.open('shop', { create: true });
    const world = new LoadWorld(log, await log.openWriter(() => undefined), runtime, engine, directory);
    await world.source.begin();
    return world;
  }

  /** Folds as much as may be. Answers the horizon. */
  fold(): Promise<number> {
    return this.log.compact(this.log.state().highWatermark, { memoryBytes: 1 << 20, share: 1 }, patience());
  }

  /** A hub that delivers to the sink, begun. What the hub keeps of a sink is found again by its name. */
  async life(name: string, sink: MemorySink, { patterns = ['public.*'], bytes = 1 << 20, ...options }: { patterns?: readonly string[]; bytes?: number } & Partial<SinkConfig> = {}): Promise<Life> {
    const { log, runtime } = this;
    const config: SinkConfig = {
      name, type: 'memory', from: 'shop', tables: selectTables(patterns), tablePatterns: patterns, tableOptions: new Map(), onError: 'stop', options: {}, ...options,
    };
    const letters = await DeadLetters.load(runtime.files, join(this.#directory.path, `${name}-letters.json`));
    const tables = new SinkTables(runtime.files, join(this.#directory.path, `${name}-tables.json`), config);
    const deliver = new Deliver({
      config, sink, log, letters, tables, runtime, bytes, printPosition, heldLease: null, rests: () => false, onLoaded: () => undefined,
      onApplied: () => undefined, onJoined: () => undefined,
    });
    const part = new Part(`sink ${name}`, deliver, { ...runtime, clock: { ...runtime.clock, sleep: () => Promise.resolve() } });
    part.start();
    return { deliver, part, letters, [Symbol.asyncDispose]: () => part.stop() };
  }

  /** Begins a life, waits until the sink has the whole log, and ends it. */
  async fill(name: string, sink: MemorySink, options: Parameters<LoadWorld['life']>[2] = {}): Promise<void> {
    await using life = await this.life(name, sink, options);
    await life.deliver.reached(this.log.state().highWatermark, patience());
  }

  /** What holds the horizon for a sink goes, as when it is configured no more, or the disk is full. */
  async releaseLease(name: string): Promise<void> {
    await this.log.release(leaseOf(name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
    await this.#engine[Symbol.asyncDispose]();
    await this.#directory[Symbol.asyncDispose]();
  }
}
