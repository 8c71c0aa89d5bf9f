import { BatchBuilder, ChangeBatch } from '../../../contracts/change-batch.ts';
import type { ModelTable } from '../../../contracts/kit/sink-model.ts';
import { Op } from '../../../contracts/op.ts';
import { RecordView } from '../../../contracts/record.ts';
import { buildImage, readImage, type CellValue } from '../../../contracts/row-image.ts';

/** The rows of a table as the log would give them. */
export function logRows(table: ModelTable): ChangeBatch {
  const builder = new BatchBuilder(1 << 12);
  builder.begin('hub', 0, 0);
  for (const row of table.expected()) builder.record(Op.read, 0, 0, 0, table.keyOf(row), Buffer.alloc(0), buildImage(row));
  const { count, records } = builder.take();
  return new ChangeBatch({ count, records, transactions: [], progress: null });
}

/** Cells of all rows, by key (hexadecimal). */
export async function cellsOf(batches: AsyncIterable<ChangeBatch> | readonly ChangeBatch[]): Promise<Map<string, readonly CellValue[]>> {
  const rows = new Map<string, readonly CellValue[]>();
  const view = new RecordView();
  for await (const { records } of batches) {
    for (view.reset(records); view.next(); ) rows.set(view.key().toString('hex'), readImage(view.after()));
  }
  return new Map([...rows].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Keys in the order of the batch. */
export function keysOf({ records }: ChangeBatch): Buffer[] {
  const keys: Buffer[] = [];
  const view = new RecordView();
  for (view.reset(records); view.next(); ) keys.push(Buffer.from(view.key()));
  return keys;
}
