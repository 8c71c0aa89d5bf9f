import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Logger } from '../../../contracts/runtime.ts';

/**
 * The commit time of the first transaction behind an offset, from the log: how long a sink that nothing is delivered to is
 * behind. Looked up once for each offset, in the background.
 */
export class WaitingSince implements Disposable {
  readonly #log: SourceLog;
  readonly #logger: Logger;
  readonly #closing = new AbortController();
  #offset: Offset | null = null;
  #commitTime: number | null = null;

  constructor(log: SourceLog, logger: Logger) {
    this.#log = log;
    this.#logger = logger;
  }

  /** Microseconds since 1970; null: not known, or not yet. There are records behind the offset. */
  after(offset: Offset): number | null {
    if (this.#offset !== offset) {
      this.#offset = offset;
      this.#commitTime = null;
      void this.#look(offset);
    }
    return this.#commitTime;
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
  }

  async #look(offset: Offset): Promise<void> {
    try {
      const { highWatermark } = this.#log.state();
      for await (const batch of this.#log.read({ after: offset, to: highWatermark, follow: false, signal: this.#closing.signal })) {
        const first = batch.transactions.find(({ first, count }) => batch.baseOffset + first + count - 1 > offset);
        if (first === undefined) continue;
        if (this.#offset === offset) this.#commitTime = first.commitTime;
        return;
      }
      this.#again(offset);
    } catch (error) {
      // What is behind the sink may be folded away; status goes without.
      const why = error instanceof Error ? error.message : String(error);
      if (!this.#closing.signal.aborted) this.#logger.log('debug', 'sink.lag-unknown', { offset, why });
      this.#again(offset);
    }
  }

  /** The next one who asks has the log looked at again. */
  #again(offset: Offset): void {
    if (this.#offset === offset) this.#offset = null;
  }
}
