import { Op } from '../../../../contracts/op.ts';
import { readAhead, writeWindow, type CopyOf } from './chunk-join.ts';
import type { FirstRows } from './first-rows.ts';
import { HubTransaction } from './hub-transaction.ts';
import { stillCopying } from './session.ts';
import { runKeySort } from './key-sort.ts';
import { hasOlderRows, staleKeys } from './stale-keys.ts';

/** Deletes of one hub transaction. */
const MOST_KEYS = 50_000;
const MOST_BYTES = 4 << 20;

const NONE = new Uint8Array(0);

/**
 * Deletes the rows that the log holds from before the copy and that the copy did not find: `d` for every key whose
 * newest record up to A_M is older than the copy. What the stream has brought since A_M comes again behind each batch.
 * Called when every row at the source has a record in the log that is not older than the copy.
 */
export async function deleteStale(copy: CopyOf, firstRows: FirstRows, signal: AbortSignal): Promise<void> {
  const { turns, log, directory, runtime } = copy.session;
  const { first, to } = await turns.turn(async (turn) => {
    const { table } = stillCopying(turn, copy.tableId, copy.since);
    await turn.flush();
    return { first: table.versions[0]?.offset ?? copy.since, to: turn.lastOffset };
  });
  if (!(await firstRows.mayPrecede(copy.since, log, { tableId: copy.tableId, first }, signal))) return;
  if (!(await hasOlderRows(log, copy.tableId, first, copy.since, signal))) return;
  await using sort = await runKeySort(runtime.files, directory, copy.tableId);
  let keys: Buffer[] = [];
  let bytes = 0;
  for await (const key of staleKeys(log, copy.tableId, { first, since: copy.since, to }, sort, signal)) {
    keys.push(key);
    bytes += key.length;
    if (keys.length < MOST_KEYS && bytes < MOST_BYTES) continue;
    await deleteKeys(copy, keys, to, signal);
    keys = [];
    bytes = 0;
  }
  if (keys.length > 0) await deleteKeys(copy, keys, to, signal);
}

async function deleteKeys(copy: CopyOf, keys: readonly Buffer[], after: number, signal: AbortSignal): Promise<void> {
  const window = await readAhead(copy, after, () => false, signal);
  await copy.session.turns.turn(async (turn) => {
    const { schema } = stillCopying(turn, copy.tableId, copy.since);
    await turn.flush();
    const end = turn.lastOffset;
    const transaction = new HubTransaction(turn);
    for (const key of keys) {
      transaction.builder.record(Op.delete, 0, copy.tableId, schema.version, key, NONE, NONE);
      await transaction.drain();
    }
    await writeWindow(transaction, turn, window, end, schema, signal);
    await transaction.commit();
  });
}
