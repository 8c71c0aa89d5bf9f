import type { Checkpoint } from '../../contracts/checkpoint.ts';
import { asTidemarkError, TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { ShadowRebuild, SwapProgress } from '../../contracts/rebuild.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { TableSelector } from '../../contracts/sink.ts';
import { selectTables } from '../config/table-patterns.ts';
import { DeadLetters } from '../dead-letters/dead-letters.ts';
import { sourceFailure } from '../pipeline/error-policy.ts';
import type { LifeEnd, Work } from '../pipeline/part.ts';
import type { SinkPipeline } from '../pipeline/sink/sink-pipeline.ts';
import type { PrintPosition } from '../print-position.ts';
import { isNear, nextEnd, swapDecision, tablesAt } from './decisions.ts';
import { Filling } from './filling.ts';
import type { RebuildProgress } from './progress.ts';
import { isUnderWay, type RebuildFile, type RebuildRequest, type SwapPoints } from './request.ts';
import { keepLetters, shadowLettersPath } from './shadow-letters.ts';

export interface ShadowWorkParts {
  readonly pipeline: SinkPipeline;
  readonly shadow: ShadowRebuild;
  readonly file: RebuildFile;
  readonly progress: RebuildProgress;
  /** Of the sink's files. */
  readonly directory: string;
  readonly runtime: Runtime;
  readonly printPosition: PrintPosition;
  /** Bytes that the filling may hold in flight. */
  readonly bytes: number;
  /** These tables must be copied again: the log has none of their older rows. */
  readonly recopy: (tableIds: readonly number[]) => void;
}

/** The name of the lease that keeps the horizon from passing a rebuild. */
export function rebuildLeaseOf(sink: string): string {
  return `rebuild:${sink}`;
}

/**
 * A rebuild beside what the sink serves. The shadow is filled while the sink goes on, its indexes are made, it comes near;
 * then the sink is held where it stands, the shadow is led to exactly there, and takes its place. What has been done is at
 * the sink and in the rebuild's file: a life goes on where the one before it ended, whatever ended it.
 *
 * Until the swap is begun the sink is not touched: a failure, or a stop, lets it go on. From the moment at which the swap is
 * noted until it is known to have been made or not, nobody applies to the sink: not over a restart of the hub either. What
 * was replaced is removed while the sink goes on.
 */
export class ShadowWork implements Work {
  readonly kind = 'rebuild';
  readonly retries: Work['retries'];
  readonly judge = sourceFailure;
  readonly #parts: ShadowWorkParts;
  readonly #lettersPath: string;
  /** Since when the sink waits for the swap, monotonic milliseconds. */
  #heldAt = 0;
  /** The shadow has come near before: that it does so again says nothing, it is well once it was swapped in. */
  #hasComeNear = false;

  constructor(parts: ShadowWorkParts) {
    this.#parts = parts;
    this.#lettersPath = shadowLettersPath(parts.directory);
    this.retries = { metric: 'tidemark_rebuild_retries_total', labels: { sink: parts.pipeline.config.name } };
  }

  async live(signal: AbortSignal, atWork: () => void): Promise<LifeEnd> {
    const { file, pipeline } = this.#parts;
    const healthy = (): void => {
      if (!this.#hasComeNear) atWork();
    };
    try {
      for (;;) {
        signal.throwIfAborted();
        const { request } = file;
        if (request === null || !isUnderWay(request)) return 'done';
        if (request.stage === 'discarding') await this.#discard(request, signal);
        else if (request.stage === 'clearing') await this.#clear(request, signal, atWork);
        else if (request.stage === 'swapping' && request.swap !== null) await this.#resumeSwap(request, request.swap, signal);
        else await this.#build(request, signal, healthy).catch((failure: unknown) => this.#beginAgain(failure));
      }
    } catch (failure) {
      throw asTidemarkError(failure, signal.aborted ? 'ABORTED' : 'INTERNAL', { sink: pipeline.config.name, source: pipeline.config.from });
    }
  }

  /** Up to the moment at which the swap is noted. Ends without it where the shadow has to be filled anew. */
  async #build(asked: RebuildRequest, signal: AbortSignal, healthy: () => void): Promise<void> {
    const { shadow, pipeline, file, progress, runtime } = this.#parts;
    await pipeline.log.leaseHorizon(rebuildLeaseOf(pipeline.config.name));
    const request = asked.fresh ? await this.#begun(asked, signal) : asked;
    const selects = this.#selects(request);
    const { offset } = await this.#firstNear(request, selects, signal, healthy);
    this.#hasComeNear = true;
    progress.enter('building indexes');
    await shadow.finish(this.#tables(offset, selects), ({ step, done, of }) => progress.stepped(step, done, of), signal);
    await using stack = new AsyncDisposableStack();
    const filling = stack.use(await this.#filling(selects));
    const near = await this.#comeNear(filling, request, signal, healthy);
    progress.enter('swapping');
    const { hasFailed: failed } = pipeline;
    await this.#hold();
    let isNoted = false;
    try {
      const swap = await this.#meet({ filling, request, near, failed }, signal, healthy);
      await stack.disposeAsync();
      if (swap === null) {
        runtime.logger.log('info', 'rebuild.begun-again', { offset: near.offset });
        await file.save({ ...request, fresh: true });
      } else {
        await file.save({ ...request, stage: 'swapping', swap });
        isNoted = true;
        await this.#swap(file.request ?? request, swap, signal, 'first');
      }
    } finally {
      if (!isNoted) pipeline.release();
    }
  }

  /** The log cannot lead the shadow on from where it stands: its lease was broken for the last room on the disk. It is filled anew. */
  async #beginAgain(failure: unknown): Promise<void> {
    const { file, runtime } = this.#parts;
    const { request } = file;
    const isLost = failure instanceof TidemarkError && (failure.code === 'SINK_BEHIND' || failure.code === 'SINK_DIVERGED');
    if (!isLost || request?.stage !== 'filling') throw failure;
    runtime.logger.log('warn', 'rebuild.begun-again', { what: failure.message });
    await file.save({ ...request, fresh: true });
  }

  /** Removes what an earlier rebuild has left. */
  async #begun(asked: RebuildRequest, signal: AbortSignal): Promise<RebuildRequest> {
    const { shadow, file, runtime } = this.#parts;
    await shadow.discard(signal);
    await runtime.files.remove(this.#lettersPath);
    this.#hasComeNear = false;
    const request = { ...asked, fresh: false };
    await file.save(request);
    return request;
  }

  /** Before its indexes are made, for which the shadow is closed. */
  async #firstNear(request: RebuildRequest, selects: TableSelector, signal: AbortSignal, healthy: () => void): Promise<Checkpoint> {
    await using filling = await this.#filling(selects);
    return await this.#comeNear(filling, request, signal, healthy);
  }

  /** Leads the shadow towards the sink, which goes on, until there is hardly anything left between them. Answers where it is. */
  async #comeNear(filling: Filling, request: RebuildRequest, signal: AbortSignal, healthy: () => void): Promise<Checkpoint> {
    const { pipeline, progress, runtime } = this.#parts;
    const stretches: number[] = [];
    let at: Offset = 0;
    for (;;) {
      const standing = request.to === null ? await pipeline.standing(signal, { filled: request.tables !== null }) : null;
      const { horizon, highWatermark } = pipeline.log.state();
      const end = nextEnd({ to: request.to, standing, horizon, highWatermark });
      const began = runtime.clock.monotonic();
      progress.enter('catching up', at, end);
      const near = await filling.lead(end, signal, healthy);
      stretches.push(runtime.clock.monotonic() - began);
      if (request.to !== null || isNear(stretches)) return near;
      at = near.offset;
    }
  }

  /** With the sink held: leads the shadow to where it is to take the sink's place. Null: it has to be filled anew. */
  async #meet(meeting: Meeting, signal: AbortSignal, healthy: () => void): Promise<SwapPoints | null> {
    const { pipeline } = this.#parts;
    const { filling, request, near, failed } = meeting;
    const from = await pipeline.heldCheckpoint(signal);
    const plan = pipeline.log.plan(from);
    const whole = request.tables === null;
    if (!whole && from !== null && from.cursor !== null) throw new TidemarkError('REBUILD_MOVED', 'the sink is being given other tables', { retry: 'auto' });
    const decision = swapDecision({ to: request.to, whole, shadow: near.offset, checkpoint: from, plan, failed });
    if (decision.kind === 'again') return null;
    if (decision.kind === 'nowhere') {
      throw new TidemarkError('REBUILD_TABLES', 'the sink does not stand at an offset of this log, where single tables could join', { where: { offset: from?.offset ?? 0 } });
    }
    if (near.offset === decision.at) return { from, to: near };
    const to = await filling.lead(decision.at, signal, healthy);
    if (to.offset === decision.at) return { from, to };
    if (request.to === null) return null;
    // The lease was broken for the last room on the disk.
    throw new TidemarkError('LOG_BELOW_HORIZON', `offset ${request.to} lies below the horizon, from which the sink was filled`, { where: { offset: to.offset } });
  }

  async #resumeSwap(request: RebuildRequest, swap: SwapPoints, signal: AbortSignal): Promise<void> {
    await this.#hold();
    await this.#swap(request, swap, signal, 'again');
  }

  async #hold(): Promise<void> {
    this.#heldAt = this.#parts.runtime.clock.monotonic();
    await this.#parts.pipeline.hold();
  }

  /** @param time `again`: whether it has been made before is not known */
  async #swap(request: RebuildRequest, swap: SwapPoints, signal: AbortSignal, time: 'first' | 'again'): Promise<void> {
    const { shadow, pipeline, file, progress } = this.#parts;
    progress.enter('swapping');
    const { there, notYet } = tablesAt(pipeline.log.catalog(), swap.to.offset, this.#selects(request));
    const whole = request.tables === null;
    try {
      await shadow.swap({ ...swap, tables: there, whole, notYet: whole ? notYet : [] }, signal);
    } catch (failure) {
      const { code } = asTidemarkError(failure, 'INTERNAL');
      // Whether it was made is found out by the next life: by asking for the same again.
      if (signal.aborted || code === 'SINK_UNREACHABLE' || code === 'ABORTED') throw failure;
      // It may have been made before, and its shadow removed.
      const isUnknown = time === 'again' && code === 'REBUILD_MOVED';
      if (isUnknown) await keepLetters(this.#parts.runtime.files, this.#parts.directory, pipeline.letters);
      if (code !== 'INTERNAL') await file.save({ ...request, stage: 'filling', swap: null });
      pipeline.release();
      // It was noted, and then the sink has gone on without it: they meet anew.
      if (isUnknown) return;
      throw failure;
    }
    await this.#settle(request, swap);
  }

  /** Once the swap is made: what the hub knows of the sink follows, then the sink goes on. Done again after a crash. */
  async #settle(request: RebuildRequest, { from, to }: SwapPoints): Promise<void> {
    const { pipeline, shadow, runtime } = this.#parts;
    const selects = this.#selects(request);
    const shadowed = await DeadLetters.load(runtime.files, this.#lettersPath);
    await shadowed.closeSettled(to.offset);
    const ids = new Set(this.#tables(to.offset, selects).map(({ tableId }) => tableId));
    await pipeline.letters.close(pipeline.letters.list().filter(({ tableId, key }) => ids.has(tableId) && !shadowed.has(tableId, key)));
    await pipeline.letters.write(shadowed.list());
    if (request.tables === null) await pipeline.tables.settled({ after: to.offset, fence: from?.fence ?? 0 });
    const endedAt = new Date(runtime.clock.now()).toISOString();
    if (request.to !== null) await pipeline.restAt({ by: 'rebuild', offset: to.offset, at: endedAt });
    pipeline.standsAt({ after: to.offset, position: to.position, commitTime: 0 });
    const over = shadow.clear === undefined ? { stage: 'done' as const, endedAt } : { stage: 'clearing' as const };
    await this.#end({ ...request, ...over, swap: null, offset: to.offset });
    const heldMs = Math.round(runtime.clock.monotonic() - this.#heldAt);
    runtime.logger.log('info', 'rebuild.done', { offset: to.offset, rests: request.to !== null, heldMs });
    pipeline.release();
    await runtime.files.remove(this.#lettersPath);
  }

  /** Removes what was replaced. @param atWork called whenever some of it is gone */
  async #clear(request: RebuildRequest, signal: AbortSignal, atWork: () => void): Promise<void> {
    const { shadow, file, progress, runtime } = this.#parts;
    progress.enter('clearing');
    const onProgress = ({ step, done, of }: SwapProgress): void => {
      progress.stepped(step, done, of);
      atWork();
    };
    await shadow.clear?.(onProgress, signal);
    await runtime.files.remove(this.#lettersPath);
    await file.save({ ...request, stage: 'done', endedAt: new Date(runtime.clock.now()).toISOString() });
    runtime.logger.log('info', 'rebuild.cleared', { offset: request.offset });
  }

  /** Removes the shadow and what else was kept for it. */
  async #discard(request: RebuildRequest, signal: AbortSignal): Promise<void> {
    const { shadow, pipeline, progress, runtime } = this.#parts;
    progress.enter('discarding');
    await shadow.discard(signal);
    await runtime.files.remove(this.#lettersPath);
    const endedAt = new Date(runtime.clock.now()).toISOString();
    await this.#end({ ...request, stage: 'cancelled', swap: null, endedAt, offset: pipeline.status().offset });
    runtime.logger.log('info', 'rebuild.cancelled', { why: request.why });
  }

  async #end(request: RebuildRequest): Promise<void> {
    const { pipeline, file } = this.#parts;
    await pipeline.log.release(rebuildLeaseOf(pipeline.config.name));
    await file.save(request);
  }

  async #filling(selects: TableSelector): Promise<Filling> {
    const { pipeline, shadow, progress, runtime, printPosition, bytes, recopy } = this.#parts;
    const letters = await DeadLetters.load(runtime.files, this.#lettersPath);
    const { config, log } = pipeline;
    return new Filling({
      config: { ...config, tables: selects }, sink: shadow.open(selects), log, letters, runtime, printPosition, bytes, progress, recopy,
      lease: rebuildLeaseOf(config.name),
    });
  }

  #selects({ tables }: RebuildRequest): TableSelector {
    const { config } = this.#parts.pipeline;
    if (tables === null) return config.tables;
    const chosen = selectTables(tables);
    return (table) => config.tables(table) && chosen(table);
  }

  #tables(at: Offset, selects: TableSelector): TableSchema[] {
    return tablesAt(this.#parts.pipeline.log.catalog(), at, selects).there;
  }
}

interface Meeting {
  /** Open where the shadow stands. */
  readonly filling: Filling;
  readonly request: RebuildRequest;
  /** Where the shadow stands. */
  readonly near: Checkpoint;
  /** The sink had failed before it was held. */
  readonly failed: boolean;
}

