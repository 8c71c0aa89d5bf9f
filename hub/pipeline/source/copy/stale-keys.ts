import type { SourceLog } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';

/** What is known of one key at one offset. */
export interface KeyFact {
  readonly key: Buffer;
  readonly offset: Offset;
  /** The row exists after that record. */
  readonly live: boolean;
}

/** Sorts facts by key in bounded memory and merges them. Disposing removes what it put on disk. */
export interface KeySort extends AsyncDisposable {
  /** The key is copied. The offsets of one key grow from call to call. */
  add(key: Uint8Array, offset: Offset, live: boolean): Promise<void> | void;
  /** The newest fact of each key, in key order. Called once, after the last `add`. */
  newest(): AsyncIterable<KeyFact>;
}

/**
 * The records of one table that a fold applies: rows and truncates, whoever wrote them. What is folded into the base
 * already comes as its rows, each with the offset of its last change.
 */
async function forApplied(
  log: SourceLog,
  tableId: number,
  after: Offset,
  to: Offset,
  signal: AbortSignal,
  each: (view: RecordView, offset: Offset) => Promise<void> | void,
): Promise<void> {
  if (to <= after) return;
  const view = new RecordView();
  await using base = after < log.state().horizon ? await log.openBase() : null;
  if (base !== null) {
    for await (const { batch, offsets } of base.rows(tableId, { signal })) {
      for (view.reset(batch.records); view.next(); ) {
        const wait = each(view, offsets[view.index] ?? base.horizon);
        if (wait !== undefined) await wait;
      }
    }
  }
  const from = Math.max(after, base?.horizon ?? 0);
  if (to <= from) return;
  for await (const batch of log.read({ after: from, to, follow: false, signal })) {
    for (view.reset(batch.records); view.next(); ) {
      if (view.tableId !== tableId || (view.flags & Flag.notApplied) !== 0) continue;
      if (!isRowOp(view.op) && view.op !== Op.truncate) continue;
      const wait = each(view, batch.baseOffset + view.index);
      if (wait !== undefined) await wait;
    }
  }
}

/** True when the table may have rows in the log from before `since`: a copy that begins there must look for stale ones. */
export async function hasOlderRows(log: SourceLog, tableId: number, first: Offset, since: Offset, signal: AbortSignal): Promise<boolean> {
  let rows = false;
  await forApplied(log, tableId, first - 1, since - 1, signal, (view) => {
    rows = view.op !== Op.truncate;
  });
  return rows;
}

/**
 * The keys whose newest record up to `to` is a row from before `since`, in key order: rows that the copy did not find at
 * the source. The log is read once from `first` (the table's first record) on.
 */
export async function* staleKeys(
  log: SourceLog,
  tableId: number,
  range: { readonly first: Offset; readonly since: Offset; readonly to: Offset },
  sort: KeySort,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  let truncated: Offset = 0;
  await forApplied(log, tableId, range.first - 1, range.to, signal, (view, offset) => {
    if (view.op !== Op.truncate) return sort.add(view.key(), offset, view.op !== Op.delete);
    truncated = offset;
  });
  for await (const fact of sort.newest()) {
    if (fact.live && fact.offset < range.since && fact.offset > truncated) yield fact.key;
  }
}
