import { ChangeBatch } from '../../../contracts/change-batch.ts';
import { Flag } from '../../../contracts/op.ts';
import { readU32, RecordView } from '../../../contracts/record.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';

/**
 * A batch that ends inside a transaction, as the part up to its last commit and the part of the open transaction; null
 * when nothing in it commits before that. Both share the bytes.
 */
export function splitAtLastCommit(batch: ChangeBatch): readonly [ChangeBatch, ChangeBatch] | null {
  const { last: open, lastCommit } = batch.packed;
  if (open === null || open.commits || lastCommit === null) return null;
  const [committed, tailTransactions] = batch.packed.splitAtLast();
  const cut = byteOf(batch, open.first);
  const head = new ChangeBatch({
    baseOffset: batch.baseOffset,
    count: open.first,
    records: batch.records.subarray(0, cut),
    transactions: committed,
    progress: lastCommit.position.length > 0 ? lastCommit.position : null,
  });
  const tail = new ChangeBatch({
    baseOffset: batch.baseOffset === 0 ? 0 : batch.baseOffset + open.first,
    count: batch.count - open.first,
    records: batch.records.subarray(cut),
    transactions: tailTransactions,
    progress: null,
  });
  return [head, tail];
}

/**
 * The batch up to its incomplete record number `most`, and the rest; null when it has no more of them than that. An
 * incomplete record takes a few bytes and becomes as long as its row.
 */
export function splitAtIncomplete(batch: ChangeBatch, most: number): readonly [ChangeBatch, ChangeBatch] | null {
  const bytes = batch.records;
  let incomplete = 0;
  let index = 0;
  for (let at = 0; at < bytes.length; at += 4 + readU32(bytes, at), index++) {
    if (((bytes[at + 5] as number) & Flag.incomplete) === 0) continue;
    if (incomplete++ === most) return splitBefore(batch, index, at);
  }
  return null;
}

/** Two batches that are one when joined. @param at the byte at which record `index` begins */
function splitBefore(batch: ChangeBatch, index: number, at: number): readonly [ChangeBatch, ChangeBatch] {
  const first: TransactionEntry[] = [];
  const second: TransactionEntry[] = [];
  for (const entry of batch.transactions) {
    const end = entry.first + entry.count;
    // An entry that ends here commits here.
    if (end < index || (end === index && entry.commits)) first.push(entry);
    else if (entry.first >= index) second.push({ ...entry, first: entry.first - index });
    else {
      first.push({ ...entry, count: index - entry.first, commits: false, position: NO_POSITION });
      second.push({ ...entry, first: 0, count: end - index, begins: false });
    }
  }
  const endsOpen = first.at(-1)?.commits === false;
  const last = first.findLast((entry) => entry.position.length > 0);
  const placed = batch.baseOffset > 0;
  return [
    new ChangeBatch({ baseOffset: batch.baseOffset, count: index, records: batch.records.subarray(0, at), transactions: first, progress: endsOpen ? null : (last?.position ?? null) }),
    new ChangeBatch({ baseOffset: placed ? batch.baseOffset + index : 0, count: batch.count - index, records: batch.records.subarray(at), transactions: second, progress: batch.progress }),
  ];
}

const NO_POSITION = new Uint8Array(0);

function byteOf(batch: ChangeBatch, record: number): number {
  if (record === batch.count) return batch.records.length;
  const view = new RecordView().reset(batch.records);
  while (view.next()) if (view.index === record) return view.at;
  return batch.records.length;
}
