import type { LoadCursor } from '../../../contracts/load-cursor.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Logger } from '../../../contracts/runtime.ts';
import type { SinkBatch } from '../../../contracts/sink.ts';
import type { DeadLetter, DeadLetters } from '../../dead-letters/dead-letters.ts';
import { keysOf } from './batch-keys.ts';

/** Open letters whose keys are written by batches on their way: a later success of a key closes its letter. */
export class SettlingLetters {
  readonly #letters: DeadLetters;
  readonly #logger: Logger;
  /** By the end of a batch: its offset, or its cursor where it moves no offset. */
  readonly #settling = new Map<Offset | LoadCursor, readonly DeadLetter[]>();

  constructor(letters: DeadLetters, logger: Logger) {
    this.#letters = letters;
    this.#logger = logger;
  }

  /** The sink is opened again: what was on its way does not count. */
  clear(): void {
    this.#settling.clear();
  }

  /**
   * Notes which open letters a batch settles, while its rows are at hand. Null: none; else the batch is to be applied once it
   * has resolved: a sink that was killed right after it knows of the letters by its checkpoint.
   */
  handed(batch: SinkBatch): Promise<void> | null {
    if (this.#letters.count === 0) return null;
    const settled = this.#letters.list().filter(keysOf(batch));
    if (settled.length === 0) return null;
    this.#settling.set(endOf(batch), settled);
    // Letters are tried again behind a load.
    return batch.cursor === null ? this.#letters.settling(settled, batch.to).catch((failure: unknown) => this.#notSaved(failure)) : null;
  }

  durable(batch: SinkBatch): void {
    const settled = this.#settling.get(endOf(batch));
    if (settled === undefined) return;
    this.#settling.delete(endOf(batch));
    this.#letters.close(settled).catch((failure: unknown) => this.#notSaved(failure));
  }

  #notSaved(failure: unknown): void {
    this.#logger.log('warn', 'sink.dead-letters-not-saved', { what: String(failure) });
  }
}

function endOf({ cursor, to }: SinkBatch): Offset | LoadCursor {
  return cursor ?? to;
}
