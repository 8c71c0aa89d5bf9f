import { ChangeBatch } from '../../../contracts/change-batch.ts';
import { RecordView } from '../../../contracts/record.ts';

/**
 * A batch that ends inside a transaction, as the part up to its last commit and the part of the open transaction; null
 * when nothing in it commits before that. Both share the bytes.
 */
export function splitAtLastCommit(batch: ChangeBatch): readonly [ChangeBatch, ChangeBatch] | null {
  const open = batch.transactions.at(-1);
  const last = batch.transactions.at(-2);
  if (open === undefined || open.commits || last === undefined) return null;
  const cut = byteOf(batch, open.first);
  const head = new ChangeBatch({
    baseOffset: batch.baseOffset,
    count: open.first,
    records: batch.records.subarray(0, cut),
    transactions: batch.transactions.slice(0, -1),
    progress: last.position.length > 0 ? last.position : null,
  });
  const tail = new ChangeBatch({
    baseOffset: batch.baseOffset === 0 ? 0 : batch.baseOffset + open.first,
    count: batch.count - open.first,
    records: batch.records.subarray(cut),
    transactions: [{ ...open, first: 0 }],
    progress: null,
  });
  return [head, tail];
}

function byteOf(batch: ChangeBatch, record: number): number {
  if (record === batch.count) return batch.records.length;
  const view = new RecordView().reset(batch.records);
  while (view.next()) if (view.index === record) return view.at;
  return batch.records.length;
}
