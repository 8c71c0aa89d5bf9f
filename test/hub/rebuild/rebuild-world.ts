/** A hub's part around one sink, over a real log and a sink in memory; it is killed and started as often as is wanted. */
import { join } from 'node:path';
import type { SinkConfig } from '../../../contracts/config.ts';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { LogWriter, SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { selectTables } from '../../../hub/config/table-patterns.ts';
import { DeadLetters } from '../../../hub/dead-letters/dead-letters.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import { PauseFile } from '../../../hub/pipeline/sink/pause-file.ts';
import { SinkPipeline } from '../../../hub/pipeline/sink/sink-pipeline.ts';
import { SinkTables } from '../../../hub/pipeline/sink/sink-tables.ts';
import { SinkRebuild } from '../../../hub/rebuild/sink-rebuild.ts';
import type { RebuildAnswer } from '../../../hub/service.ts';
import { createTestRuntime, type TestRuntime } from '../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../fixtures/temp.ts';
import { printPosition, TestLog } from '../pipeline/sink/delivering.ts';
import { Life, mortalFiles, mortalLog, type StepFault, type StepName } from './life.ts';
import { MemoryPlace } from './memory-place.ts';

export interface WorldOptions {
  readonly way?: 'shadow' | 'in-place' | 'either';
  readonly wholeTransactions?: boolean;
  readonly maxKeys?: number;
  readonly segmentBytes?: number;
}

type Changes = readonly { readonly table: number; readonly key: number; readonly value: number | null }[];

/** What runs in one life of the hub. */
interface Running {
  readonly life: Life;
  readonly pipeline: SinkPipeline;
  readonly rebuild: SinkRebuild;
  readonly letters: DeadLetters;
}

/** The pause of a delivery that is asked to stop is a real one; others take no time. */
const REAL_MS = 4000;

export class RebuildWorld implements AsyncDisposable {
  readonly place: MemoryPlace;
  readonly source: TestLog;
  readonly log: SourceLog;
  readonly runtime: TestRuntime;
  /** What the next steps of the hub meet. */
  fault: (step: StepName) => StepFault = () => 'none';
  /** What was wrong with the live rows at some moment. */
  readonly wrong: string[] = [];
  patterns: readonly string[] = ['public.*'];
  readonly #way: 'shadow' | 'in-place' | 'either';
  readonly #directory: TemporaryDirectory;
  readonly #engine: EmbeddedLogEngine;
  readonly #writer: LogWriter;
  /** The rows after each transaction, by its last offset. */
  readonly #states = new Map<Offset, ReadonlyMap<string, string>>();
  #commits: Promise<unknown> = Promise.resolve();
  #running: Running | null = null;
  /** Where the live sink was last seen. */
  #seen: Offset = 0;
  #kept: { readonly rows: ReadonlyMap<string, string>; readonly checkpoint: Checkpoint | null } | null = null;
  /** The rebuild whose shadow has taken the sink's place. */
  #swapped = '';

  private constructor(parts: { directory: TemporaryDirectory; engine: EmbeddedLogEngine; log: SourceLog; writer: LogWriter; source: TestLog; runtime: TestRuntime; options: WorldOptions }) {
    const { wholeTransactions = true, maxKeys = 7, way = 'shadow' } = parts.options;
    this.#directory = parts.directory;
    this.#engine = parts.engine;
    this.#writer = parts.writer;
    this.#way = way;
    this.log = parts.log;
    this.source = parts.source;
    this.runtime = parts.runtime;
    this.place = new MemoryPlace({ wholeTransactions, maxKeys });
    this.place.onChange = () => this.#look();
    this.place.onSwap = () => {
      this.#swapped = this.#running?.rebuild.status()?.id ?? '';
    };
  }

  static async create(options: WorldOptions = {}): Promise<RebuildWorld> {
    const directory = await temporaryDirectory('rebuild');
    const runtime = createTestRuntime();
    const engine = await EmbeddedLogEngine.create(join(directory.path, 'data'), runtime, { segmentBytes: options.segmentBytes ?? 600 });
    const log = await engine.open('shop', { create: true });
    const writer = await log.openWriter(() => undefined);
    const source = new TestLog(log, writer);
    await source.begin();
    const world = new RebuildWorld({ directory, engine, log, writer, source, runtime, options });
    world.#states.set(0, new Map());
    world.#states.set(writer.lastOffset, new Map());
    return world;
  }

  get pipeline(): SinkPipeline {
    return this.#alive.pipeline;
  }

  get rebuild(): SinkRebuild {
    return this.#alive.rebuild;
  }

  get letters(): DeadLetters {
    return this.#alive.letters;
  }

  get isDead(): boolean {
    return this.#running === null || this.#running.life.isDead;
  }

  get #alive(): Running {
    if (this.#running === null) throw new Error('the hub was not started');
    return this.#running;
  }

  /** Of the sink's files. */
  get directory(): string {
    return this.#directory.path;
  }

  /** Offsets at which transactions end, from the horizon on. */
  ends(): Offset[] {
    const { horizon } = this.log.state();
    return [...this.#states.keys()].filter((end) => end >= horizon && end > 0);
  }

  /** The source's rows as of an offset: of the last transaction up to there. */
  rowsAt(offset: Offset): ReadonlyMap<string, string> {
    let rows = this.#states.get(0);
    for (const [end, state] of this.#states) if (end <= offset) rows = state;
    return rows ?? new Map();
  }

  /** Without what the sink refuses. */
  taken(rows: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    return new Map([...rows].filter(([key]) => !this.place.live.refused.has(key)));
  }

  /** One after the other. */
  commit(changes: Changes): Promise<Offset> {
    const commit = this.#commits.then(() => this.#commit(changes));
    this.#commits = commit;
    return commit;
  }

  async #commit(changes: Changes): Promise<Offset> {
    const end = this.#writer.lastOffset + changes.length;
    const committed = this.source.commit(changes);
    // The sink may have it before whoever commits hears of it.
    this.#states.set(end, new Map(this.source.rows));
    if ((await committed) !== end) throw new Error('the log gives other offsets than were expected');
    return end;
  }

  /** @param force past readers and leases, as for the last room on the disk */
  async compact(signal: AbortSignal, force = false): Promise<Offset> {
    return this.log.compact(this.log.state().highWatermark, { memoryBytes: 1 << 20, share: 1, seals: force, force }, signal);
  }

  /** Starts the hub; it may be killed meanwhile. */
  async start(): Promise<void> {
    await this.#over();
    const life = new Life((step) => this.fault(step), failureOf);
    try {
      await this.#start(life);
    } catch (failure) {
      if (life.isDead) return;
      // A sink that could not be opened is nobody's to ask for anything.
      life.kill();
      throw failure;
    }
  }

  kill(): void {
    this.#running?.life.kill();
  }

  /** Kills it, and waits until this process has nothing left of it. */
  async stop(): Promise<void> {
    await this.#over();
  }

  /** What the sink's place has now may be put back later. */
  remember(): void {
    const { rows, checkpoint } = this.place.live;
    this.#kept = { rows: new Map(rows), checkpoint };
  }

  /** Only while no hub is at work. False: nothing is remembered, or something of a rebuild is under way there. */
  putBack(): boolean {
    const { live, stale } = this.place;
    if (this.#kept === null || stale !== null) return false;
    const { rows, checkpoint } = this.#kept;
    this.#kept = null;
    // A swap since then is undone with it.
    this.#swapped = '';
    live.rows.clear();
    for (const [key, row] of rows) live.rows.set(key, row);
    live.checkpoint = checkpoint;
    this.#seen = 0;
    return true;
  }

  begin(order: { tables?: readonly string[]; to?: Offset; fromScratch?: boolean } = {}): Promise<RebuildAnswer> {
    const { tables = null, to, fromScratch = false } = order;
    return this.rebuild.begin({ tables, to: to === undefined ? null : () => Promise.resolve(to), fromScratch }, AbortSignal.timeout(10_000));
  }

  /** Waits until it holds, or the hub is dead. @throws after two minutes, which is for a machine whose cores are elsewhere for seconds at a time */
  async until(what: string, holds: () => boolean): Promise<void> {
    const limit = performance.now() + 120_000;
    while (!this.isDead && !holds()) {
      if (performance.now() > limit) throw new Error(`not in time: ${what}; ${JSON.stringify(this.#running?.pipeline.status())}; ${JSON.stringify(this.#running?.rebuild.status())}; ${JSON.stringify(this.runtime.lines.slice(-5))}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.#over();
    await this.#commits;
    await this.#writer[Symbol.asyncDispose]();
    await this.#engine[Symbol.asyncDispose]();
    await this.#directory[Symbol.asyncDispose]();
  }

  async #start(life: Life): Promise<void> {
    const sleep = (ms: number, signal?: AbortSignal): Promise<void> => (ms === REAL_MS ? this.runtime.clock.sleep(ms, signal) : new Promise((resolve) => setImmediate(resolve)));
    const runtime = { ...this.runtime, files: mortalFiles(this.runtime.files, life), clock: { ...this.runtime.clock, sleep } };
    const { patterns } = this;
    const config: SinkConfig = {
      name: 'copy', type: 'memory', from: 'shop', tables: selectTables(patterns), tablePatterns: patterns, tableOptions: new Map(), onError: 'dead-letter', options: {},
    };
    const at = (name: string): string => join(this.#directory.path, name);
    const log = mortalLog(this.log, life);
    const letters = await DeadLetters.load(runtime.files, at('dead-letters.json'));
    const common = { runtime, printPosition, bytes: 1 << 20, recopy: () => undefined };
    const pipeline = new SinkPipeline({
      ...common, config, log, letters, onBehind: () => Promise.resolve(),
      tables: new SinkTables(runtime.files, at('tables.json'), config),
      pauses: await PauseFile.load(runtime.files, at('pause.json')),
      sink: this.place.sink(life, this.#way),
    });
    const rebuild = await SinkRebuild.load({ ...common, pipeline, directory: this.#directory.path });
    this.#running = { life, pipeline, rebuild, letters };
    await rebuild.prepare();
    pipeline.start();
    rebuild.start();
  }

  /** What the dead process has left of itself in this one. */
  async #over(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    if (running === null) return;
    running.life.kill();
    await Promise.all([running.rebuild.stop(), running.pipeline.stop()]);
    await running.rebuild[Symbol.asyncDispose]();
    await running.pipeline[Symbol.asyncDispose]();
  }

  /** The live rows are those of the source at the sink's own checkpoint, at every moment. */
  #look(): void {
    const { rows, checkpoint } = this.place.live;
    const rebuild = this.#running?.rebuild.status() ?? null;
    const at = checkpoint?.offset ?? 0;
    // What is written anew in place begins at the beginning.
    if (this.#way === 'shadow' && checkpoint !== null && at < this.#seen && rebuild?.to === null) this.wrong.push(`it went back from ${this.#seen} to ${at}`);
    // Once it has been put there it rests, whatever the hub has noted of that by then.
    const isPut = rebuild?.id === this.#swapped && rebuild.to !== null && rebuild.offset === 0;
    if (isPut && at > (rebuild.to ?? 0)) this.wrong.push(`it has gone on to ${at} and was put to ${rebuild.to}`);
    this.#seen = at;
    // A sink that stands nowhere is still being filled.
    if (this.place.stale !== null || checkpoint === null || checkpoint.offset === 0 || !this.place.limits.wholeTransactions) return;
    const wanted = this.taken(this.rowsAt(at));
    if (!sameRows(rows, wanted)) this.wrong.push(`at ${checkpoint.offset}: ${JSON.stringify([...rows])} instead of ${JSON.stringify([...wanted])}`);
  }
}

export function sameRows(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, row]) => b.get(key) === row);
}

function failureOf(step: StepName): TidemarkError {
  if (step === 'file' || step === 'lease') return new TidemarkError('LOG_DISK_FULL', `scripted: ${step}`);
  return new TidemarkError('SINK_UNREACHABLE', `scripted: ${step}`);
}
