import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';

/**
 * The last offset up to `at` that ends a transaction: where a sink that keeps transactions whole can stand.
 * @param at from the horizon to the high watermark
 * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
 */
export async function transactionEnd(log: SourceLog, at: Offset, signal: AbortSignal): Promise<Offset> {
  const { horizon, highWatermark } = log.state();
  if (at === horizon || at === highWatermark) return at;
  // Transactions of the hub, which copy tables, end between those of the source.
  const before = await log.lastCommit(({ offset }) => offset <= at, signal);
  let end = Math.max(horizon, before?.offset ?? 0);
  // One record more: what ends the transaction may stand alone in the batch after it.
  for await (const batch of log.read({ after: end, to: at + 1, follow: false, signal })) {
    for (const entry of batch.transactions) {
      const last = batch.baseOffset + entry.first + entry.count - 1;
      if (entry.commits && last <= at) end = Math.max(end, last);
    }
  }
  return end;
}
