import { NEVER } from '../../../../contracts/kit/log-engine-kit-common.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';
import { opLetter } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { TransactionEntry } from '../../../../contracts/transaction.ts';

/** Everything that readers can see of a log, a JSON object a line: what two logs must have in common to be the same. */
export async function* logLines(log: SourceLog): AsyncGenerator<string> {
  const { logId, horizon, highWatermark, epochs, commitTime, horizonTime, position } = log.state();
  yield JSON.stringify({ logId, horizon, highWatermark, epochs, commitTime, horizonTime, position: hex(position ?? []) });
  for (const table of log.catalog().tables()) yield JSON.stringify({ table });
  yield* baseLines(log);
  for await (const batch of log.read({ after: horizon, follow: false, signal: NEVER })) yield* batchLines(batch.records, (index) => batch.baseOffset + index, batch.transactions);
}

async function* baseLines(log: SourceLog): AsyncGenerator<string> {
  await using base = await log.openBase();
  if (base === null) return;
  const { horizon, position, catalog } = base;
  yield JSON.stringify({ base: { horizon, position: hex(position ?? []) } });
  for (const { tableId, state } of catalog.tables()) {
    yield JSON.stringify({ asOf: horizon, tableId, state });
    for await (const { batch, offsets } of base.rows(tableId, { signal: NEVER })) yield* batchLines(batch.records, (index) => offsets[index] ?? 0, []);
    const { recordsAfter, rowsAfter } = log.extent(tableId);
    if (recordsAfter >= horizon) continue;
    yield JSON.stringify({ kept: { tableId, recordsAfter, rowsAfter } });
    for await (const { batch, offsets } of log.readTables([tableId], { after: recordsAfter, to: horizon, follow: false, signal: NEVER })) {
      yield* batchLines(batch.records, (index) => offsets?.[index] ?? batch.baseOffset + index, batch.transactions);
    }
  }
}

/** Transactions by themselves: how they are cut into batches is nobody's business. */
function* batchLines(records: Buffer, offsetOf: (index: number) => number, transactions: readonly TransactionEntry[]): Generator<string> {
  const view = new RecordView().reset(records);
  while (view.next()) {
    const { op, flags, tableId, schemaVersion } = view;
    yield JSON.stringify({ offset: offsetOf(view.index), op: opLetter(op), flags, tableId, schemaVersion, key: hex(view.key()), before: hex(view.before()), after: hex(view.after()) });
  }
  for (const { kind, first, count, commits, xid, commitTime, origin, position } of transactions) {
    if (commits) yield JSON.stringify({ commit: { last: offsetOf(first + count - 1), kind, xid, commitTime, origin, position: hex(position) } });
  }
}

/** All lines as one text. */
export async function logText(log: SourceLog): Promise<string> {
  const lines: string[] = [];
  for await (const line of logLines(log)) lines.push(line);
  return `${lines.join('\n')}\n`;
}

function hex(bytes: Uint8Array | readonly number[]): string {
  return Buffer.from(bytes).toString('hex');
}
