import { TidemarkError } from '../../contracts/errors/error.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../contracts/op.ts';
import { RecordView } from '../../contracts/record.ts';

/** A row as of some offset. */
export interface RowAt {
  /** The offset of its last change. */
  readonly offset: Offset;
  readonly schemaVersion: number;
  /** A copy of the row image. */
  readonly image: Buffer;
}

/**
 * The row of a key as of an offset from the horizon to the high watermark; null: there was none. Reads the history from
 * there back, as far as the row was last changed, and of the base a few blocks.
 * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
 */
export async function rowAt(log: SourceLog, tableId: number, key: Uint8Array, at: Offset, signal: AbortSignal): Promise<RowAt | null> {
  await using base = await log.openBase();
  const horizon = base?.horizon ?? 0;
  if (at < horizon) {
    throw new TidemarkError('LOG_BELOW_HORIZON', `the state at offset ${at} was asked for; the horizon is ${horizon}`, { where: { source: log.source, offset: at } });
  }
  const found = await log.newest(tableId, key, { notBelow: horizon + 1, atMost: at, signal, accepts: (record) => saysOf(record, key) });
  if (found !== null) {
    const view = new RecordView().seek(found.record, 0);
    return isGone(view) ? null : { offset: found.offset, schemaVersion: view.schemaVersion, image: Buffer.from(view.after()) };
  }
  return (await base?.find(tableId, key)) ?? null;
}

/** True of a record that counts in a fold, of a table known to be the right one, and that says what the key is from there on. */
export function saysOf(view: RecordView, key: Uint8Array): boolean {
  if ((view.flags & (Flag.notApplied | Flag.incomplete)) !== 0) return false;
  if (view.op === Op.truncate) return true;
  if (!isRowOp(view.op) || (view.op !== Op.delete && !view.hasAfter)) return false;
  return view.keyEnd - view.keyStart === key.length && view.bytes.compare(key, 0, key.length, view.keyStart, view.keyEnd) === 0;
}

/** True of a record, that says of a key what it is, when that is: nothing. */
export function isGone(view: RecordView): boolean {
  return view.op === Op.truncate || view.op === Op.delete;
}
