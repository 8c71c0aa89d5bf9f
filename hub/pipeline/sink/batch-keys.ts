import { RecordView } from '../../../contracts/record.ts';
import type { SinkBatch } from '../../../contracts/sink.ts';

/** True of the keys that a batch has settled: it writes or deletes them, or empties their table. */
export function keysOf(batch: SinkBatch): (key: { readonly tableId: number; readonly key: Buffer }) => boolean {
  const emptied = new Set<number>();
  const written = new Set<string>();
  const view = new RecordView();
  for (const step of batch.steps) {
    if (step.kind !== 'rows') continue;
    for (const { schema, truncate, deletes, upserts, inserts } of step.tables) {
      if (truncate) emptied.add(schema.tableId);
      for (const { batch: held, at } of [...deletes, ...upserts, ...inserts]) {
        written.add(`${schema.tableId}/${view.seek(held.records, at).key().toString('latin1')}`);
      }
    }
  }
  return ({ tableId, key }) => emptied.has(tableId) || written.has(`${tableId}/${key.toString('latin1')}`);
}
