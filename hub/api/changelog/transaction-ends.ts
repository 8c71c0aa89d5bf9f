import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { BEFORE_ALL, type Offset } from '../../../contracts/offset.ts';
import type { PrintPosition } from '../../print-position.ts';

/** Where the transactions end that are larger than a batch: their positions stand in their last one. */
export class TransactionEnds {
  readonly #log: SourceLog;
  readonly #printPosition: PrintPosition;
  readonly #signal: AbortSignal;
  /** The end found last: of the transaction that is open at every offset before it. */
  #known: { readonly until: Offset; readonly position: string | null } = { until: BEFORE_ALL, position: null };

  constructor(log: SourceLog, printPosition: PrintPosition, signal: AbortSignal) {
    this.#log = log;
    this.#printPosition = printPosition;
    this.#signal = signal;
  }

  /** The end of the transaction that is open where the batch ends. Reads the rest of it once, whatever its size. */
  async after({ lastOffset }: Pick<ChangeBatch, 'lastOffset'>): Promise<string | null> {
    if (lastOffset <= this.#known.until) return this.#known.position;
    for await (const batch of this.#log.read({ after: lastOffset, follow: false, signal: this.#signal })) {
      const end = batch.transactions.find(({ commits }) => commits);
      if (end === undefined) continue;
      this.#known = { until: batch.baseOffset + end.first + end.count - 1, position: this.#printPosition(end.position) };
      return this.#known.position;
    }
    return null;
  }
}
