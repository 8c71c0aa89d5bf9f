import type { Offset } from '../../contracts/offset.ts';
import type { Clock, Logger } from '../../contracts/runtime.ts';
import type { InPlaceRebuilding } from '../pipeline/sink/deliver.ts';
import type { SinkPipeline } from '../pipeline/sink/sink-pipeline.ts';
import type { RebuildFile, RebuildRequest } from './request.ts';
import { rebuildLeaseOf } from './shadow-work.ts';

export interface InPlaceParts {
  readonly pipeline: SinkPipeline;
  readonly file: RebuildFile;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Runs it while nobody asks for another rebuild, or cancels this one: what either notes would undo the other. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
  /** It is over. */
  readonly onEnd: () => void;
}

/**
 * A rebuild in place that was asked for: the delivery of the sink itself leads through it, replays the log over what is
 * served and removes at the end what it did not write. This keeps what was asked, and how far it is, over a restart.
 */
export class InPlaceWork implements InPlaceRebuilding {
  readonly #parts: InPlaceParts;
  readonly #id: string;

  constructor(parts: InPlaceParts, id: string) {
    this.#parts = parts;
    this.#id = id;
  }

  get to(): Offset | null {
    return this.#request?.to ?? null;
  }

  get begun(): boolean {
    return this.#request?.stage !== 'asked';
  }

  async onBegun(): Promise<void> {
    // Whoever has replaced it may be waiting for this delivery to end.
    if (this.#request === null) return;
    await this.#parts.alone(async () => {
      const request = this.#request;
      if (request !== null) await this.#parts.file.save({ ...request, stage: 'replaying' });
    });
  }

  async onSwept(offset: Offset): Promise<void> {
    if (this.#request === null) return;
    await this.#parts.alone(() => this.#end(offset));
  }

  async #end(offset: Offset): Promise<void> {
    const request = this.#request;
    if (request === null) return;
    const { pipeline, file, clock, logger, onEnd } = this.#parts;
    const endedAt = new Date(clock.now()).toISOString();
    const rests = request.rests || request.to !== null;
    if (rests) await pipeline.restAt({ by: 'rebuild', offset, at: endedAt });
    await pipeline.log.release(rebuildLeaseOf(pipeline.config.name));
    const why = request.to === null || offset <= request.to ? '' : `the log keeps nothing of before offset ${pipeline.log.state().horizon} any more`;
    await file.save({ ...request, stage: 'done', endedAt, offset, why });
    logger.log('info', 'rebuild.done', { offset, rests });
    onEnd();
  }

  /** Null: it was cancelled, or another one was asked for. */
  get #request(): RebuildRequest | null {
    const { request } = this.#parts.file;
    return request?.id === this.#id && (request.stage === 'asked' || request.stage === 'replaying') ? request : null;
  }
}
