import { join } from 'node:path';
import type { SinkConfig } from '../../contracts/config.ts';
import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import { errorView } from '../error-view.ts';
import { Part } from '../pipeline/part.ts';
import type { SinkPipeline } from '../pipeline/sink/sink-pipeline.ts';
import type { Supervised } from '../pipeline/supervisor.ts';
import type { PrintPosition } from '../print-position.ts';
import type { RebuildAnswer, RebuildView } from '../service.ts';
import { Waiters } from '../waiters.ts';
import { fingerprint } from './fingerprint.ts';
import { InPlaceWork } from './in-place.ts';
import { nothingAt, planOf, selectsOf, type RebuildOrder } from './order.ts';
import { RebuildProgress, type ProgressView } from './progress.ts';
import { isAwaited, isUnderWay, RebuildFile, type RebuildRequest } from './request.ts';
import { keepLetters, shadowLettersPath } from './shadow-letters.ts';
import { rebuildLeaseOf, ShadowWork } from './shadow-work.ts';
import { transactionEnd } from './transaction-end.ts';

export interface SinkRebuildParts {
  readonly pipeline: SinkPipeline;
  /** Of the sink's files. */
  readonly directory: string;
  readonly runtime: Runtime;
  readonly printPosition: PrintPosition;
  /** Bytes that a rebuild may hold in flight. */
  readonly bytes: number;
  /** These tables must be copied again: the log has none of their older rows. */
  readonly recopy: (tableIds: readonly number[]) => void;
}

const FILE = 'rebuild.json';
const CONFIG_CHANGED = 'the configuration of the sink has changed';
const LOG_GONE = 'the log that it was asked of is not there any more';

/**
 * Rebuilds of one sink, one at a time: asked for, gone on with after a restart, cancelled. Each is noted in a file of the
 * sink before anything is done. The sink's pipeline is the caller's, and is started after `prepare`.
 */
export class SinkRebuild implements Supervised {
  readonly name: string;
  readonly #parts: SinkRebuildParts;
  readonly #file: RebuildFile;
  readonly #progress: RebuildProgress;
  /** Null: the sink has no shadow. */
  readonly #part: Part | null;
  readonly #ended = new Waiters<RebuildRequest | null>();
  #asking: Promise<unknown> = Promise.resolve();
  readonly #closing = new AbortController();

  private constructor(parts: SinkRebuildParts, file: RebuildFile) {
    this.#parts = parts;
    this.#file = file;
    const { pipeline, runtime, directory, printPosition, bytes, recopy } = parts;
    this.name = `rebuild of sink ${pipeline.config.name}`;
    this.#progress = new RebuildProgress(runtime.clock);
    const { shadow } = pipeline.sink;
    if (shadow === undefined) this.#part = null;
    else {
      const progress = this.#progress;
      const work = new ShadowWork({ pipeline, shadow, file, progress, directory, runtime, printPosition, bytes, recopy });
      const live = async (signal: AbortSignal, healthy: () => void): Promise<'done'> => {
        await work.live(signal, healthy);
        this.#ended.test(file.request);
        return 'done';
      };
      this.#part = new Part(this.name, { kind: work.kind, retries: work.retries, judge: work.judge, live }, runtime);
    }
  }

  /** @throws TidemarkError `REBUILD_FILE` */
  static async load(parts: SinkRebuildParts): Promise<SinkRebuild> {
    return new SinkRebuild(parts, await RebuildFile.load(parts.runtime.files, join(parts.directory, FILE)));
  }

  /** Before the sink is started: it is not, where it is not known whether its tables have been swapped. */
  async prepare(): Promise<void> {
    const { pipeline } = this.#parts;
    const { request } = this.#file;
    if (request === null || !isUnderWay(request)) {
      if (request !== null) await this.#parts.runtime.files.remove(shadowLettersPath(this.#parts.directory));
      return this.#releaseLease();
    }
    if (request.stage === 'clearing') return this.#prepareClearing(request);
    if (request.config !== fingerprint(pipeline.config)) return this.#giveUp(request, CONFIG_CHANGED);
    const { logId, highWatermark } = pipeline.log.state();
    // Its offsets mean other moments there, or none.
    if ((request.logId ?? logId) !== logId || (request.to ?? 0) > highWatermark) return this.#giveUp(request, LOG_GONE);
    if (request.way === 'in-place') await this.#prepareInPlace(request);
    else if (request.stage === 'swapping') await pipeline.hold();
  }

  /** What was replaced is removed whatever the sink is like by now: it is found by its mark. */
  async #prepareClearing(request: RebuildRequest): Promise<void> {
    await this.#releaseLease();
    if (this.#part === null) await this.#cleared(request);
  }

  async #cleared(request: RebuildRequest): Promise<void> {
    await this.#file.save({ ...request, stage: 'done', endedAt: new Date(this.#parts.runtime.clock.now()).toISOString() });
  }

  async #prepareInPlace({ id, stage, pausedAt }: RebuildRequest): Promise<void> {
    const { pipeline } = this.#parts;
    const work = this.#inPlace(id);
    const pause = pipeline.pausedBy;
    // The pause that it was to end: that the sink goes on was not noted. Any other one is newer.
    const isOlder = pause !== null && pause.at === pausedAt;
    // It had come to its end: only that was not noted.
    if (stage === 'replaying' && pause?.by === 'rebuild' && !isOlder) return work.onSwept(pause.offset);
    pipeline.rebuildInPlace(work);
    if (isOlder) await pipeline.resume();
  }

  /** Goes on with what is under way. */
  start(): void {
    const { request } = this.#file;
    if (request !== null && isUnderWay(request) && request.way === 'shadow') this.#part?.start();
  }

  async stop(): Promise<void> {
    await this.#part?.close();
  }

  /** Resolves when nothing is being written any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new TidemarkError('ABORTED', 'the hub is closing', { where: { sink: this.#parts.pipeline.config.name } }));
    await this.#asking;
  }

  /**
   * Before the sink goes on with another configuration, or is removed: cancels a rebuild that it was not meant for. Answers
   * what was done, for people; null: nothing.
   * @param config null: the sink is removed
   */
  async reconfigured(config: SinkConfig | null, signal: AbortSignal): Promise<string | null> {
    if (!this.isAwaited) {
      const { name } = this.#parts.pipeline.config;
      return config === null && this.isUnderWay ? `what the rebuild of sink ${name} has replaced is not all removed, and stays where it is` : null;
    }
    if (config !== null && this.#file.request?.config === fingerprint(config)) return null;
    try {
      return await this.cancel(config === null ? 'the sink is removed' : CONFIG_CHANGED, signal);
    } catch (failure) {
      const { message } = asTidemarkError(failure, 'INTERNAL');
      return `the rebuild of sink ${this.#parts.pipeline.config.name} could not be cancelled: ${message}`;
    }
  }

  /** The sink is gone: nothing is remembered of it. Closed before. */
  async forget(): Promise<void> {
    await this.#releaseLease();
    await this.#parts.runtime.files.remove(join(this.#parts.directory, FILE));
  }

  /** True until the sink is as the rebuild is to leave it, or it was cancelled; also after it has failed. */
  get isAwaited(): boolean {
    return this.#file.request !== null && isAwaited(this.#file.request);
  }

  /** True until it is done, with nothing left to be removed, or cancelled; also after it has failed. */
  get isUnderWay(): boolean {
    return this.#file.request !== null && isUnderWay(this.#file.request);
  }

  status(): RebuildView | null {
    const { request } = this.#file;
    if (request === null) return null;
    const { pipeline } = this.#parts;
    const { id, tables, to, startedAt, endedAt, why, stage, way } = request;
    const own = this.#part?.error ?? null;
    const live = pipeline.status();
    const inPlace = way === 'in-place';
    const error = !isUnderWay(request) ? null : inPlace ? live.error : own === null ? null : errorView(own, this.#part?.failedAt ?? 0);
    const progress = inPlace ? this.#inPlaceProgress(live.offset, live.recordsPerSecond, to) : this.#shadowProgress();
    const partState = inPlace ? live.state : this.#part?.state;
    const active = partState === 'retrying' || partState === 'failed' ? partState : 'running';
    const state = stage === 'done' || stage === 'cancelled' ? stage : active;
    return { id, state, ...progress, tables, to, offset: request.offset, startedAt, endedAt, why, error };
  }

  /**
   * Begins a rebuild, or goes on with the same one that is under way. What one that is in place has replaced, and is still
   * there, is removed first.
   * @throws TidemarkError `REBUILD_KIND`, `REBUILD_TABLES`, `REBUILD_UNDER_WAY`, `TABLE_UNKNOWN`, `CONFIG_TABLE_PATTERN`,
   *   `OFFSET_RANGE` at offset 0, what `order.to` throws, `ABORTED`; nothing has happened then
   */
  begin(order: RebuildOrder, signal: AbortSignal): Promise<RebuildAnswer> {
    return this.#alone(() => this.#begin(order, this.#orClosing(signal)));
  }

  /**
   * Gives up what is under way and removes what it has made; resolves when that is gone, or with what is still to come.
   * Answers what was done, for people.
   * @throws TidemarkError `REBUILD_NONE`, `REBUILD_UNDER_WAY` when the tables are being swapped
   */
  cancel(why: string, signal: AbortSignal): Promise<string> {
    return this.#alone(() => this.#cancel(why, this.#orClosing(signal)));
  }

  async #begin(order: RebuildOrder, signal: AbortSignal): Promise<RebuildAnswer> {
    const { pipeline } = this.#parts;
    const { sink, config, log } = pipeline;
    const where = { sink: config.name };
    if (sink.kind !== 'state') throw new TidemarkError('REBUILD_KIND', `the sink ${config.name} is of kind ${sink.kind}`, { where });
    if (sink.shadow === undefined && sink.inPlace === null) throw new TidemarkError('REBUILD_KIND', `a sink of type ${config.type} has no way to be rebuilt`, { where });
    const selects = selectsOf(order, pipeline);
    const before = this.isAwaited ? this.#file.request : null;
    if (before?.stage === 'swapping') throw this.#underWay('is being put in place');
    const lease = rebuildLeaseOf(config.name);
    try {
      await log.leaseHorizon(lease);
      const asked = order.to === null ? null : await order.to(signal);
      const to = asked === null ? null : await transactionEnd(log, asked, signal);
      if ((to ?? log.state().highWatermark) === 0) throw nothingAt(asked ?? 0, where);
      const isSame = before !== null && before.to === to && JSON.stringify(before.tables) === JSON.stringify(order.tables) && before.stage !== 'discarding';
      if (before !== null && isSame && !order.fromScratch) return this.#again(before);
      if (before !== null && !order.fromScratch) throw this.#underWay('is under way, and asks for something else');
      const { way, findings } = await planOf(pipeline, selects, to, signal);
      if (findings.some(({ severity }) => severity === 'error')) {
        if (before === null) await this.#releaseLease();
        return { id: null, to, findings };
      }
      const request = this.#request(order, way, to);
      await this.#part?.stop();
      if (this.#file.request?.stage === 'swapping') {
        this.#part?.start();
        throw this.#underWay('is being put in place');
      }
      // What an earlier one has filled beside the sink is of no use in place.
      if (this.isUnderWay && this.#file.request?.way === 'shadow' && way === 'in-place') await sink.shadow?.discard(signal);
      await this.#file.save(request).catch(async (failure: unknown) => {
        await this.#putBack();
        // What was under way goes on.
        this.start();
        throw failure;
      });
      this.#parts.runtime.logger.log('info', 'rebuild.asked', { id: request.id, way, to: request.to, tables: request.tables });
      await this.#set(request);
      return { id: request.id, to, findings };
    } catch (failure) {
      if (before === null && !this.isAwaited) await this.#releaseLease();
      throw failure;
    }
  }

  /** What was asked for and could not be noted does not begin with the next start of the hub either; where that cannot be made sure, it is said. */
  async #putBack(): Promise<void> {
    try {
      await this.#file.putBack();
    } catch (failure) {
      this.#parts.runtime.logger.log('warn', 'rebuild.may-begin', { what: asTidemarkError(failure, 'INTERNAL').message });
    }
  }

  /** One that waits for its next try, or has failed, tries again. */
  #again(request: RebuildRequest): RebuildAnswer {
    this.#part?.retry();
    this.#part?.start();
    if (request.way === 'in-place') this.#parts.pipeline.retry();
    return { id: request.id, to: request.to, findings: [] };
  }

  #request(order: RebuildOrder, way: RebuildRequest['way'], to: Offset | null): RebuildRequest {
    const { pipeline, runtime } = this.#parts;
    const paused = pipeline.pausedBy;
    // A cache that is paused is rebuilt to where it stands; one that has nothing yet, to the end of the log.
    const rests = way === 'in-place' && to === null && paused !== null;
    const { horizon } = pipeline.log.state();
    const place = rests && paused.offset > 0 && paused.offset >= horizon ? paused.offset : to;
    return {
      id: runtime.random.bytes(8).toString('hex'), way, tables: order.tables, to: place, rests, config: fingerprint(pipeline.config),
      logId: pipeline.log.state().logId, pausedAt: way === 'in-place' ? (paused?.at ?? null) : null,
      stage: way === 'shadow' ? 'filling' : 'asked', fresh: true, swap: null, startedAt: new Date(runtime.clock.now()).toISOString(), endedAt: null,
      offset: 0, why: '',
    };
  }

  /** Has it done. */
  async #set({ way, id }: RebuildRequest): Promise<void> {
    const { pipeline } = this.#parts;
    if (way === 'shadow') {
      pipeline.rebuildInPlace(null);
      this.#part?.start();
    } else {
      pipeline.rebuildInPlace(this.#inPlace(id));
      await pipeline.resume();
    }
  }

  #inPlace(id: string): InPlaceWork {
    const { pipeline, runtime } = this.#parts;
    const { clock, logger } = runtime;
    const onEnd = (): void => this.#ended.test(this.#file.request);
    return new InPlaceWork({ pipeline, file: this.#file, clock, logger, onEnd, alone: (work) => this.#alone(work) }, id);
  }

  async #cancel(why: string, signal: AbortSignal): Promise<string> {
    const before = this.#file.request;
    const { name } = this.#parts.pipeline.config;
    if (before === null || !isUnderWay(before)) throw new TidemarkError('REBUILD_NONE', `no rebuild of sink ${name} is under way`, { where: { sink: name } });
    if (before.way === 'in-place') return this.#cancelInPlace(before, why);
    if (before.stage === 'clearing') return this.#cancelClearing();
    if (before.stage === 'swapping' && this.#part?.state !== 'failed') throw this.#underWay('is being put in place');
    await this.#part?.stop();
    const { request } = this.#file;
    if (request === null || !isAwaited(request)) {
      this.start();
      return `the rebuild of sink ${name} has ended meanwhile: the sink was rebuilt`;
    }
    if (request.stage === 'swapping' && before.stage !== 'swapping') {
      this.#part?.start();
      throw this.#underWay('is being put in place');
    }
    await this.#giveUp(request, why);
    this.#parts.pipeline.release();
    this.#part?.start();
    return this.#untilCancelled(request.id, signal);
  }

  /** One that cannot be cleared is given up: what is left is removed when the next one begins. */
  async #cancelClearing(): Promise<string> {
    if (this.#part?.state !== 'failed') throw this.#underWay('is in place, and removes what it has replaced');
    const { request } = this.#file;
    if (request?.stage === 'clearing') await this.#cleared(request);
    return `sink ${this.#parts.pipeline.config.name} was rebuilt; what was replaced is not all removed, which the next rebuild does before it begins`;
  }

  async #untilCancelled(id: string, signal: AbortSignal): Promise<string> {
    const { name } = this.#parts.pipeline.config;
    const isOver = (request: RebuildRequest | null): boolean => request?.id !== id || !isUnderWay(request);
    try {
      if (!isOver(this.#file.request)) await this.#part?.unlessFailed((either) => this.#ended.wait(isOver, either), signal);
      return `the rebuild of sink ${name} was cancelled; nothing of it is left, and the sink goes on as before`;
    } catch (failure) {
      const { message } = asTidemarkError(this.#part?.error ?? failure, 'INTERNAL');
      return `the rebuild of sink ${name} is cancelled and the sink goes on as before; what it has made is removed as soon as that can be done (${message})`;
    }
  }

  /** What was begun in place cannot be taken back: what it replaces is gone. */
  async #cancelInPlace(request: RebuildRequest, why: string): Promise<string> {
    const { pipeline, runtime } = this.#parts;
    const { name } = pipeline.config;
    const endedAt = new Date(runtime.clock.now()).toISOString();
    await this.#file.save({ ...request, stage: 'cancelled', endedAt, why, offset: pipeline.status().offset });
    pipeline.rebuildInPlace(null);
    await this.#releaseLease();
    runtime.logger.log('info', 'rebuild.cancelled', { why });
    this.#ended.test(this.#file.request);
    if (request.stage === 'asked') return `the rebuild of sink ${name} was cancelled before it began`;
    return `sink ${name} is being written anew in place, which cannot be taken back: it goes on to the end of the log`;
  }

  async #giveUp(request: RebuildRequest, why: string): Promise<void> {
    if (request.stage === 'swapping') await keepLetters(this.#parts.runtime.files, this.#parts.directory, this.#parts.pipeline.letters);
    // Without a part there is nobody who could remove what it has made.
    if (request.way === 'in-place' || this.#part === null) {
      await this.#file.save({ ...request, stage: 'cancelled', endedAt: new Date(this.#parts.runtime.clock.now()).toISOString(), why });
      await this.#releaseLease();
    } else await this.#file.save({ ...request, stage: 'discarding', swap: null, why });
  }

  /** What cannot be written keeps the horizon until the hub starts again, and is said. */
  async #releaseLease(): Promise<void> {
    const { pipeline, runtime } = this.#parts;
    try {
      await pipeline.log.release(rebuildLeaseOf(pipeline.config.name));
    } catch (failure) {
      runtime.logger.log('warn', 'sink.lease-not-released', { what: asTidemarkError(failure, 'INTERNAL').message });
    }
  }

  #underWay(what: string): TidemarkError {
    const { name } = this.#parts.pipeline.config;
    return new TidemarkError('REBUILD_UNDER_WAY', `a rebuild of sink ${name} ${what}`, { where: { sink: name } });
  }

  #shadowProgress(): ProgressView {
    const view = this.#progress.view();
    const isStuck = view.phase === 'waiting' && this.#parts.pipeline.pausedBy !== null;
    return isStuck ? { ...view, what: 'the sink is paused, and was not filled yet: resume it' } : view;
  }

  /** How a rebuild in place is, by what the sink itself says. */
  #inPlaceProgress(offset: Offset, rowsPerSecond: number, to: Offset | null) {
    const end = to ?? this.#parts.pipeline.log.state().highWatermark;
    return { phase: 'replaying' as const, what: '', rows: 0, rowsPerSecond, part: end === 0 ? null : Math.min(1, offset / end), etaSeconds: null };
  }

  #orClosing(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }

  /** One question after the other. */
  #alone<T>(ask: () => Promise<T>): Promise<T> {
    const asked = this.#asking.then(ask);
    this.#asking = asked.catch(() => undefined);
    return asked;
  }
}
