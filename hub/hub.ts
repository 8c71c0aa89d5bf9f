import { join } from 'node:path';
import type { ConnectorModule, HubConfig, LogSettings, SinkConfig, SinkModule, SourceConfig } from '../contracts/config.ts';
import type { SourceConnector } from '../contracts/connector.ts';
import { asTidemarkError, describeError, TidemarkError } from '../contracts/errors/error.ts';
import type { CompactionOptions } from '../contracts/log-engine.ts';
import type { Offset } from '../contracts/offset.ts';
import type { Runtime } from '../contracts/runtime.ts';
import type { Sink } from '../contracts/sink.ts';
import { Compaction } from './compaction/compaction.ts';
import { DiskGuard } from './compaction/disk-guard.ts';
import type { DiskRoom } from './compaction/disk-limit.ts';
import type { Retention } from './compaction/retention.ts';
import { DeadLetters } from './dead-letters/dead-letters.ts';
import { EmbeddedLogEngine } from './log/embedded/engine.ts';
import { Copies } from './pipeline/source/copy/copies.ts';
import { shareOf } from './pipeline/sink/budget.ts';
import { PauseFile } from './pipeline/sink/pause-file.ts';
import { SinkPipeline } from './pipeline/sink/sink-pipeline.ts';
import { leaseOf, SinkTables } from './pipeline/sink/sink-tables.ts';
import { SourcePipeline } from './pipeline/source/source-pipeline.ts';
import { Supervisor, type Supervised } from './pipeline/supervisor.ts';
import { WholeRows } from './pipeline/source/whole-rows/whole-rows.ts';
import { resolveMoment } from './moments/resolve.ts';
import { positionPrinter } from './print-position.ts';
import { rebuildLeaseOf } from './rebuild/shadow-work.ts';
import { SinkRebuild } from './rebuild/sink-rebuild.ts';
import { sameConfig } from './same-config.ts';
import type { CompactAnswer, DiskView, HubService, HubStatus, RebuildAnswer, RebuildQuestion, WaitTarget } from './service.ts';
import { unopenedSink, unopenedSource, type Unopened } from './unopened.ts';
import { hubParts } from './verify/hub-parts.ts';
import type { VerifyEvent, VerifyRequest } from './verify/report.ts';
import { Verifications } from './verify/verifications.ts';

/** A hub that closes ends within ten seconds: in-flight work first, then connections and files. */
const CLOSING_LIMITS = { drainMs: 6000, disposeMs: 2500 };

/** How long a reload waits for a rebuild to be cancelled that is not meant for the new configuration, in milliseconds. */
const REBUILD_CANCEL_MS = 10_000;

/** The implementations that a configuration can name. */
export interface Registry {
  readonly connectors: readonly ConnectorModule<SourceConnector>[];
  readonly sinks: readonly SinkModule<Sink>[];
}

/**
 * A running hub: a pipeline for each source and for each sink over one log engine. Owns all of them; disposing stops the
 * work at its next boundaries and gives everything up, in under ten seconds.
 */
export class Hub implements HubService, AsyncDisposable {
  /** For those who read the log. The hub's: not to be disposed. */
  readonly engine: EmbeddedLogEngine;
  readonly #runtime: Runtime;
  readonly #registry: Registry;
  readonly #version: string;
  readonly #startedAt: number;
  readonly #supervisor: Supervisor;
  readonly #disk: DiskGuard;
  readonly #sources = new Map<string, SourcePipeline>();
  readonly #sinks = new Map<string, SinkPipeline>();
  /** By the name of the sink. */
  readonly #rebuilds = new Map<string, SinkRebuild>();
  readonly #verifications = new Verifications();
  readonly #unopenedSources = new Map<string, Unopened<SourceConfig>>();
  readonly #unopenedSinks = new Map<string, Unopened<SinkConfig>>();
  #config: HubConfig;
  #changing: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | null = null;

  private constructor(config: HubConfig, runtime: Runtime, registry: Registry, version: string, engine: EmbeddedLogEngine) {
    this.#config = config;
    this.#runtime = runtime;
    this.#registry = registry;
    this.#version = version;
    this.#startedAt = runtime.clock.now();
    this.engine = engine;
    this.#supervisor = new Supervisor(runtime, CLOSING_LIMITS);
    this.#disk = new DiskGuard({
      data: config.data, limit: config.limits.disk, runtime,
      logBytes: () => [...this.#sources.values()].reduce((sum, { log }) => sum + log.state().bytes, 0),
      onLevel: () => this.#sources.forEach((source) => source.roomChanged()),
    });
  }

  /**
   * Opens the data folder and starts every source and sink; does not wait for them to get anywhere.
   * @param options.locked looks, once the folder is this hub's, at what else has to be there before anything is begun
   * @throws TidemarkError `LOG_LOCKED`, `FOLDER_DENIED`, `LOG_CORRUPT`, what a module says of its settings, what `locked` throws
   */
  static async start(config: HubConfig, runtime: Runtime, options: { registry: Registry; version?: string; locked?: () => Promise<void> }): Promise<Hub> {
    const engine = await EmbeddedLogEngine.create(config.data, runtime);
    const hub = new Hub(config, runtime, options.registry, options.version ?? '0.0.0', engine);
    try {
      await options.locked?.();
      hub.#disk.start();
      for (const source of config.sources.values()) await hub.#openSource(source);
      for (const sink of config.sinks.values()) await hub.#openSink(sink);
    } catch (failure) {
      await hub[Symbol.asyncDispose]();
      throw failure;
    }
    return hub;
  }

  status(): Promise<HubStatus> {
    return Promise.resolve({
      version: this.#version,
      startedAt: new Date(this.#startedAt).toISOString(),
      disk: diskView(this.#disk.room),
      sources: [...this.#sources.values()].map((source) => source.status()).concat([...this.#unopenedSources.values()].map(unopenedSource)),
      sinks: [...this.#sinks].map(([name, sink]) => ({ ...sink.status(), rebuild: this.#rebuilds.get(name)?.status() ?? null })).concat([...this.#unopenedSinks.values()].map(unopenedSink)),
    });
  }

  async wait(sink: string, target: WaitTarget, signal: AbortSignal): Promise<Offset> {
    const pipeline = this.#sink(sink);
    for (;;) {
      const pause = pipeline.pausedBy;
      if (pause !== null) return pipeline.restsBeyond(await this.#known(pipeline, target, signal), pause, described(target));
      try {
        return await pipeline.unlessPaused((either) => this.#reached(pipeline, target, either), signal);
      } catch (failure) {
        if (failure instanceof TidemarkError && failure.code === 'SINK_PAUSED') continue;
        if (!signal.aborted) throw failure;
        const { offset, state } = pipeline.status();
        throw new TidemarkError('WAIT_TIMEOUT', `the sink is ${state} at offset ${offset} and has not been seen at ${described(target)}`, { where: { sink, offset } });
      }
    }
  }

  async #reached(pipeline: SinkPipeline, target: WaitTarget, signal: AbortSignal): Promise<Offset> {
    if ('offset' in target && target.offset <= pipeline.log.state().highWatermark) return pipeline.reached(target.offset, signal);
    // What is not in the log yet comes only while the source is at work.
    const source = this.#source(pipeline.config.from);
    if ('offset' in target) return source.unlessFailed((either) => pipeline.reached(target.offset, either), signal);
    return pipeline.reached(await source.passed(target.position, signal), signal);
  }

  /** Where the log has the target; beyond everything: it has not come to that. */
  async #known(pipeline: SinkPipeline, target: WaitTarget, signal: AbortSignal): Promise<Offset> {
    if ('offset' in target) return target.offset;
    return (await this.#source(pipeline.config.from).known(target.position, signal)) ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Resolves when every source has been copied and followed to where it was at the call, and every sink has applied that
   * which is not paused.
   * @throws TidemarkError the failure on which a source or sink has stopped, `ABORTED`
   */
  async untilCaughtUp(signal: AbortSignal): Promise<void> {
    const ends = new Map<string, Offset>();
    for (const { error } of [...this.#unopenedSources.values(), ...this.#unopenedSinks.values()]) throw error;
    await Promise.all([...this.#sources].map(async ([name, source]) => void ends.set(name, await source.caughtUp(signal))));
    const active = [...this.#sinks.values()].filter(({ pausedBy }) => pausedBy === null);
    const reached = (sink: SinkPipeline): Promise<Offset> => sink.unlessPaused((either) => sink.reached(ends.get(sink.config.from) ?? 0, either), signal);
    await Promise.all(active.map((sink) => reached(sink).catch((failure: unknown) => {
      if (!(failure instanceof TidemarkError) || failure.code !== 'SINK_PAUSED') throw failure;
    })));
  }

  async pauseSink(sink: string): Promise<void> {
    await this.#sink(sink).pause();
  }

  async resumeSink(sink: string): Promise<void> {
    await this.#sink(sink).resume();
  }

  retrySink(sink: string): Promise<void> {
    this.#sink(sink).retry();
    return Promise.resolve();
  }

  async rebuildSink(sink: string, { tables, to, fromScratch }: RebuildQuestion, signal: AbortSignal): Promise<RebuildAnswer> {
    const { log } = this.#sink(sink);
    const codecs = this.#registry.connectors.map(({ positions }) => positions);
    const find = to === null ? null : (end: AbortSignal) => resolveMoment(to, log, { codecs, now: this.#runtime.clock.now(), signal: end });
    return this.#rebuild(sink).begin({ tables, to: find, fromScratch }, signal);
  }

  async cancelRebuild(sink: string, signal: AbortSignal): Promise<string> {
    return this.#rebuild(sink).cancel('', AbortSignal.any([signal, this.#deadline()]));
  }

  verify(sink: string, request: VerifyRequest, signal: AbortSignal): AsyncGenerator<VerifyEvent, void, void> {
    const pipeline = this.#sink(sink);
    const parts = hubParts({
      pipeline, source: this.#sources.get(pipeline.config.from) ?? null, runtime: this.#runtime, data: this.#config.data,
      printPosition: positionPrinter(this.#registry.connectors),
    });
    return this.#verifications.run(parts, request, signal);
  }

  async addTable(source: string, table: string): Promise<void> {
    await this.#source(source).addTable(table, this.#deadline());
  }

  recopy(source: string, table: string): Promise<void> {
    this.#source(source).recopy(table);
    return Promise.resolve();
  }

  compactSource(source: string, to: string | null, signal: AbortSignal): Promise<CompactAnswer> {
    return this.#source(source).compact(to, signal);
  }

  async resync(source: string): Promise<void> {
    await this.#source(source).resync('the source was resynchronized on demand');
  }

  reload(config: HubConfig): Promise<string[]> {
    const change = this.#changing.then(() => this.#reload(config));
    this.#changing = change.catch(() => undefined);
    return change;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#verifications.close();
    try {
      // A reload under way may itself wait for a part that does not end: it opens nothing more, and neither waits for the other.
      const closed = await Promise.allSettled([this.#supervisor[Symbol.asyncDispose](), this.#changing]);
      await this.#supervisor[Symbol.asyncDispose]();
      for (const each of closed) if (each.status === 'rejected') throw each.reason;
    } finally {
      await this.#disk.stop();
      await this.engine[Symbol.asyncDispose]();
    }
  }

  async #reload(config: HubConfig): Promise<string[]> {
    const done: string[] = [];
    const before = this.#config;
    this.#config = config;
    for (const name of this.#unopenedSinks.keys()) if (!config.sinks.has(name)) this.#unopenedSinks.delete(name);
    for (const name of this.#unopenedSources.keys()) if (!config.sources.has(name)) this.#unopenedSources.delete(name);
    const isSame = (pipeline: SinkPipeline): boolean =>
      sameConfig(config.sinks.get(pipeline.config.name), pipeline.config) && config.sources.has(pipeline.config.from);
    const sinks = [...this.#sinks].filter(([, pipeline]) => !isSame(pipeline));
    const rebuilds = [...this.#rebuilds].filter(([name]) => sinks.some(([changed]) => changed === name));
    const ends = await Promise.all(rebuilds.map(([name, rebuild]) => rebuild.reconfigured(config.sinks.get(name) ?? null, AbortSignal.timeout(REBUILD_CANCEL_MS))));
    done.push(...ends.filter((end) => end !== null));
    await this.#removeAll(rebuilds, this.#rebuilds);
    await this.#removeAll(sinks, this.#sinks);
    for (const [name, pipeline] of sinks) {
      if (config.sinks.has(name)) continue;
      await pipeline.log.release(leaseOf(name));
      await pipeline.forget();
      await rebuilds.find(([of]) => of === name)?.[1].forget();
      done.push(`sink ${name} removed`);
    }
    const sources = [...this.#sources].filter(([name, pipeline]) => !sameConfig(config.sources.get(name), pipeline.config));
    await this.#removeAll(sources, this.#sources);
    for (const [name] of sources) if (!config.sources.has(name)) done.push(`source ${name} removed (its log stays)`);
    for (const [name, source] of config.sources) {
      if (this.#sources.has(name) || this.#closing !== null) continue;
      await this.#openSource(source);
      done.push(`source ${name} ${before.sources.has(name) ? 'changed' : 'added'}`);
    }
    for (const [name, sink] of config.sinks) {
      if (this.#sinks.has(name) || this.#closing !== null) continue;
      await this.#openSink(sink);
      done.push(`sink ${name} ${before.sinks.has(name) ? 'changed' : 'added'}`);
    }
    return done;
  }

  /** All at once: one that does not end in its time holds nobody up. */
  async #removeAll<T extends Supervised>(gone: readonly (readonly [string, T])[], from: Map<string, T>): Promise<void> {
    for (const [name] of gone) from.delete(name);
    await Promise.all(gone.map(([, pipeline]) => this.#supervisor.remove(pipeline)));
  }

  /** A source that cannot be opened shows in the status; a configuration that names nothing is refused. */
  async #openSource(config: SourceConfig): Promise<void> {
    this.#unopenedSources.delete(config.name);
    try {
      await this.#addSource(config);
    } catch (failure) {
      const error = asTidemarkError(failure, 'INTERNAL', { source: config.name });
      if (error.code.startsWith('CONFIG_')) throw error;
      this.#runtime.logger.log('error', 'source.not-opened', { source: config.name, code: error.code, what: error.message });
      this.#unopenedSources.set(config.name, { config, error, at: this.#runtime.clock.now() });
    }
  }

  async #openSink(config: SinkConfig): Promise<void> {
    this.#unopenedSinks.delete(config.name);
    try {
      await this.#addSink(config);
    } catch (failure) {
      const error = asTidemarkError(failure, 'INTERNAL', { sink: config.name });
      if (error.code.startsWith('CONFIG_')) throw error;
      this.#runtime.logger.log('error', 'sink.not-opened', { sink: config.name, code: error.code, what: error.message });
      this.#unopenedSinks.set(config.name, { config, error, at: this.#runtime.clock.now() });
    }
  }

  async #addSource(config: SourceConfig): Promise<void> {
    const module = this.#registry.connectors.find(({ type }) => type === config.type);
    if (module === undefined) throw new TidemarkError('CONFIG_REFERENCE', `there is no connector of type ${config.type}`, { where: { source: config.name } });
    const runtime = { ...this.#runtime, logger: this.#runtime.logger.child({ source: config.name }) };
    const log = await this.engine.open(config.name, { create: true });
    // A sink that was removed while it was being filled would keep the horizon for ever.
    const held = new Set([...this.#config.sinks.values()].filter(({ from }) => from === config.name).flatMap(({ name }) => [leaseOf(name), rebuildLeaseOf(name)]));
    for (const lease of log.leases()) if (!held.has(lease)) await log.release(lease);
    const directory = join(this.#config.data, 'sources', encodeURIComponent(config.name));
    await runtime.files.makeDirectory(directory);
    await using opened = new AsyncDisposableStack();
    const connector = opened.use(module.create(config, runtime));
    const rows = opened.use(await WholeRows.open({ directory: join(directory, 'whole-rows'), files: runtime.files, log, logger: runtime.logger }));
    const pipeline = new SourcePipeline({
      config, log, rows, runtime, connector,
      compaction: new Compaction({ log, runtime, retention: retentionOf(this.#config.log), options: optionsOf(this.#config.log), disk: this.#disk }),
      limits: this.#config.limits,
      disk: this.#disk,
      keep: (table) => this.#config.log.keep?.(table).kind ?? 'compact',
      copies: new Copies(),
      directory: join(directory, 'copies'),
    });
    opened.move();
    this.#supervisor.add(pipeline);
    this.#sources.set(config.name, pipeline);
    pipeline.start();
  }

  async #addSink(config: SinkConfig): Promise<void> {
    const module = this.#registry.sinks.find(({ type }) => type === config.type);
    if (module === undefined) throw new TidemarkError('CONFIG_REFERENCE', `there is no sink of type ${config.type}`, { where: { sink: config.name } });
    const runtime = { ...this.#runtime, logger: this.#runtime.logger.child({ sink: config.name }) };
    const directory = join(this.#config.data, 'sinks', encodeURIComponent(config.name));
    await runtime.files.makeDirectory(directory);
    const bytes = shareOf(this.#config.limits.pipelineBytes, this.#config.sinks.size);
    const printPosition = positionPrinter(this.#registry.connectors);
    const recopy = (tableIds: readonly number[]): void => this.#sources.get(config.from)?.recopyIds(tableIds);
    await using opened = new AsyncDisposableStack();
    const pipeline = opened.use(new SinkPipeline({
      config, runtime, bytes, printPosition, recopy,
      onBehind: (why, signal) => this.#rebuildBehind(config.name, why, signal),
      letters: await DeadLetters.load(runtime.files, join(directory, 'dead-letters.json')),
      tables: new SinkTables(runtime.files, join(directory, 'tables.json'), config),
      pauses: await PauseFile.load(runtime.files, join(directory, 'pause.json')),
      sink: module.create(config, runtime),
      log: await this.engine.open(config.from, { create: true }),
    }));
    const rebuild = opened.use(await SinkRebuild.load({ pipeline, directory, runtime, printPosition, bytes, recopy }));
    await rebuild.prepare();
    opened.move();
    this.#supervisor.add(pipeline);
    this.#sinks.set(config.name, pipeline);
    this.#supervisor.add(rebuild);
    this.#rebuilds.set(config.name, rebuild);
    pipeline.start();
    rebuild.start();
  }

  /**
   * A sink cannot go on, and is to be rebuilt then. One that is being rebuilt as a whole already is left alone.
   * @throws TidemarkError with `retry: 'auto'` what passes
   */
  async #rebuildBehind(sink: string, why: TidemarkError, signal: AbortSignal): Promise<void> {
    const rebuild = this.#rebuilds.get(sink);
    const logger = this.#runtime.logger.child({ sink });
    if (rebuild === undefined || this.#closing !== null) return;
    // Single tables have nowhere to join.
    const isOfTables = rebuild.isAwaited && rebuild.status()?.tables !== null;
    if (rebuild.isAwaited && !isOfTables) return;
    logger.log('warn', 'sink.behind', { code: why.code, what: why.message });
    try {
      const { id, findings } = await rebuild.begin({ tables: null, to: null, fromScratch: isOfTables }, AbortSignal.any([signal, this.#deadline()]));
      if (id === null) logger.log('error', 'sink.rebuild-refused', { what: findings.map(({ what }) => what).join('; ') });
    } catch (failure) {
      logger.log('error', 'sink.rebuild-refused', { what: describeError(failure) });
      if (failure instanceof TidemarkError && failure.retry === 'auto') throw failure;
    }
  }

  #rebuild(sink: string): SinkRebuild {
    this.#sink(sink);
    const rebuild = this.#rebuilds.get(sink);
    if (rebuild === undefined) throw new TidemarkError('SINK_UNKNOWN', `sink ${sink} has not been opened`, { where: { sink } });
    return rebuild;
  }

  #source(name: string): SourcePipeline {
    const source = this.#sources.get(name);
    const unopened = this.#unopenedSources.get(name);
    if (unopened !== undefined) throw unopened.error;
    if (source === undefined) throw new TidemarkError('SOURCE_UNKNOWN', `there is no source ${name}`, { where: { source: name } });
    return source;
  }

  #sink(name: string): SinkPipeline {
    const sink = this.#sinks.get(name);
    const unopened = this.#unopenedSinks.get(name);
    if (unopened !== undefined) throw unopened.error;
    if (sink === undefined) throw new TidemarkError('SINK_UNKNOWN', `there is no sink ${name}`, { where: { sink: name } });
    return sink;
  }

  #deadline(): AbortSignal {
    return AbortSignal.timeout(30_000);
  }
}

function retentionOf({ historyMs, historyBytes }: LogSettings): Retention {
  return { ageMs: historyMs, bytes: historyBytes };
}

function optionsOf({ compactionBytes, compactionShare, compactionRate, keep }: LogSettings): CompactionOptions {
  return { memoryBytes: compactionBytes, share: compactionShare, bytesPerSecond: compactionRate, ...(keep === undefined ? {} : { keep }) };
}

function diskView({ used, limit, level }: DiskRoom): DiskView {
  return { used, limit: Number.isFinite(limit) ? limit : null, level };
}

function described(target: WaitTarget): string {
  return 'offset' in target ? `offset ${target.offset}` : target.position;
}
