import type { Offset } from '../../../../contracts/offset.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { archivedRecord, archiveEntry, readTransaction, transactionAt } from '../base/archive-entry.ts';
import type { ArchiveRun } from '../manifest.ts';
import type { EntryFault } from './run-check.ts';

/** What is odd about an entry of a run of the archive: its offset, its record, its transaction. */
export function archiveEntryFault({ after, to }: Pick<ArchiveRun, 'after' | 'to'>): EntryFault {
  const view = new RecordView();
  let transaction: { readonly tableId: number; readonly offset: Offset } | null = null;
  return (entry) => {
    const { tableId, bytes, keyEnd, valueEnd } = entry;
    const { offset, isRecord } = archiveEntry(entry);
    if (offset <= after || offset > to) return `an entry of the archive is of an offset outside of (${after}, ${to}]`;
    if (!isRecord) {
      readTransaction(bytes, keyEnd, valueEnd);
      transaction = { tableId, offset };
      return null;
    }
    if (transaction?.tableId !== tableId || transaction.offset !== transactionAt(entry)) return 'a record of the archive stands without its transaction';
    view.seek(archivedRecord(entry), 0);
    return view.tableId === tableId ? null : 'a record of the archive is of another table';
  };
}
