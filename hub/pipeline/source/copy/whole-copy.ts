import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { CopiedChunk, CopyPlan } from '../../../../contracts/connector.ts';
import { Op } from '../../../../contracts/op.ts';
import { RowStamp, windowOf, writeWindow, type CopyOf } from './chunk-join.ts';
import { HubTransaction } from './hub-transaction.ts';
import { awaitSchema } from './schema-fit.ts';
import { stillCopying } from './session.ts';

/** Rows of one hub transaction. */
const TRANSACTION_BYTES = 8 << 20;

const NONE = new Uint8Array(0);

/**
 * The copy of a keyless table: a bag of rows, in which a row that stands in the log twice is two rows. So the snapshot
 * is an exact prefix of the commit order (the connector sees to it), the stream's records of the table are held back
 * (`notApplied`, whole-rows/) while the rows are written, and the last hub transaction writes those again that the
 * snapshot does not contain, and ends the copy: what follows it is applied as it comes.
 */
export async function copyWhole(copy: CopyOf, plan: CopyPlan, counted: (rows: number) => void, signal: AbortSignal): Promise<void> {
  const [range] = plan.ranges;
  if (range === undefined || plan.ranges.length > 1) throw new TidemarkError('INTERNAL', 'a whole copy has exactly one range');
  const from = copy.seen.offset;
  await using chunk = await copy.session.copier.chunk(plan, range, signal);
  await awaitSchema(copy.session, copy.tableId, copy.since, chunk.schema, signal);
  let rows = 0;
  for await (const group of groups(chunk)) {
    rows += await writeGroup(copy, chunk, group, rows === 0);
    counted(group.reduce((sum, batch) => sum + batch.count, 0));
  }
  if (rows === 0) await writeGroup(copy, chunk, [], true);
  const window = await windowOf(copy, chunk, from, signal);
  await copy.session.turns.turn(async (turn) => {
    const { schema } = stillCopying(turn, copy.tableId, copy.since);
    await turn.flush();
    const end = turn.lastOffset;
    const transaction = new HubTransaction(turn);
    await writeWindow(transaction, turn, window, end, schema, signal);
    transaction.control(copy.tableId, { type: 'chunk', range: chunk.range, rows });
    transaction.control(copy.tableId, { type: 'copied', rows });
    await transaction.commit();
  });
}

/** One hub transaction of rows; the first empties the table before. */
function writeGroup(copy: CopyOf, chunk: CopiedChunk, group: readonly ChangeBatch[], first: boolean): Promise<number> {
  return copy.session.turns.turn(async (turn) => {
    const { schema } = stillCopying(turn, copy.tableId, copy.since);
    const transaction = new HubTransaction(turn);
    if (first) transaction.builder.record(Op.truncate, 0, copy.tableId, schema.version, NONE, NONE, NONE);
    const stamp = new RowStamp(chunk.schema, schema);
    let rows = 0;
    for (const batch of group) {
      rows += batch.count;
      const stamped = stamp.apply(batch);
      await transaction.records(stamped.records, stamped.count);
    }
    await transaction.commit();
    return rows;
  });
}

async function* groups(chunk: CopiedChunk): AsyncGenerator<ChangeBatch[], void, void> {
  let group: ChangeBatch[] = [];
  let bytes = 0;
  for await (const batch of chunk.batches()) {
    group.push(batch);
    bytes += batch.records.length;
    if (bytes < TRANSACTION_BYTES) continue;
    yield group;
    group = [];
    bytes = 0;
  }
  if (group.length > 0) yield group;
}
