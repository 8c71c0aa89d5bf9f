import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { DurableProgress } from '../../../contracts/log-engine.ts';
import type { Position, PositionCodec } from '../../../contracts/position.ts';

/**
 * Decides what a source may be told. Invariant: a position is acknowledged only after the log has named it durable, and
 * never goes back. If it broke, the source would throw away changes that no restart could get again.
 *
 * Two independent accounts are compared: what was handed to the log (`appended`), and what the log says is durable
 * (`durable`). Durable progress beyond what was handed over is a bug of the log, and nothing is acknowledged.
 */
export class Acker {
  readonly #positions: PositionCodec;
  readonly #voided: Position | null;
  #appended: Position | null;
  #acknowledged: Position | null = null;
  #durable: DurableProgress;

  /**
   * @param start durable progress of the log when the stream begins
   * @param voided the log's position from before a gap, which may be of another server: never compared nor acknowledged
   */
  constructor(positions: PositionCodec, start: DurableProgress, voided: Position | null = null) {
    this.#positions = positions;
    this.#voided = voided;
    this.#appended = voided === null ? start.position : null;
    this.#durable = voided === null ? start : { ...start, position: null };
  }

  /** The newest durable progress. */
  get progress(): DurableProgress {
    return this.#durable;
  }

  /** A batch that reaches `position` (its last commit, or a keepalive with no transaction open) is about to be appended. */
  appended(position: Position): void {
    if (this.#appended === null || this.#positions.compare(position, this.#appended) > 0) this.#appended = position;
  }

  /**
   * The log names progress durable; answers what to acknowledge, null when that would tell the source nothing new.
   * @throws TidemarkError `INTERNAL` when the log names what it was never given
   */
  durable(progress: DurableProgress): DurableProgress | null {
    if (progress.highWatermark < this.#durable.highWatermark) {
      throw new TidemarkError('INTERNAL', `the high watermark went back from ${this.#durable.highWatermark} to ${progress.highWatermark}`);
    }
    const { position } = progress;
    if (position === null || (this.#voided !== null && Buffer.compare(position, this.#voided) === 0)) return null;
    if (this.#appended === null || this.#positions.compare(position, this.#appended) > 0) {
      throw new TidemarkError('INTERNAL', 'the log names a position durable that it was never given', {
        where: { offset: progress.highWatermark, position: this.#positions.format(position) },
      });
    }
    const known = this.#durable.position;
    if (known !== null && this.#positions.compare(position, known) < 0) return null;
    this.#durable = progress;
    return this.pending();
  }

  /** What to acknowledge to a stream now: durable and not told yet. */
  pending(): DurableProgress | null {
    const { position } = this.#durable;
    if (position === null) return null;
    if (this.#acknowledged !== null && this.#positions.compare(position, this.#acknowledged) <= 0) return null;
    this.#acknowledged = position;
    return this.#durable;
  }
}
