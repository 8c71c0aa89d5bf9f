import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../../../contracts/schema.ts';
import { joinChunk, type CopyOf } from './chunk-join.ts';
import { stillCopying } from './session.ts';

/** What one reading of repair rows aims at: wide rows, so that few of them are many bytes. */
const AIM_BYTES = 4 << 20;
const MOST_KEYS = 2_000;
/** How often the same key may come back before something must be wrong. */
const SAME_KEY_LIMIT = 5;
/**
 * A change of part of a value may be in a snapshot or not, when it was committed at that moment. A row that changes so all
 * the time is read under a snapshot of which it is known.
 */
const EXACT_FROM = 2;

/**
 * Reads the rows of the repair set again, until it is empty: rows whose change came with placeholders before the row
 * itself had been copied. Called when every range is done: from then on every row has a whole image in the log, so that
 * the set hardly grows any more: by rows whose image is not in the index, since none had come without columns before.
 */
export async function repairRows(copy: CopyOf, signal: AbortSignal): Promise<void> {
  const { turns, repair, copier } = copy.session;
  let limit = 1;
  let first: Buffer | null = null;
  let same = 0;
  for (;;) {
    const { keys, schema } = await turns.turn(async (turn) => {
      const { schema: newest } = stillCopying(turn, copy.tableId, copy.since);
      await turn.flush();
      return { keys: await repair.repairKeys(copy.tableId, limit), schema: newest };
    });
    const [key] = keys;
    if (key === undefined) return;
    same = first?.equals(key) === true ? same + 1 : 0;
    first = key;
    if (same === SAME_KEY_LIMIT) throw stuck(schema);
    const from = copy.seen.offset;
    await using chunk = await copier.rows(schema, keys, signal, same >= EXACT_FROM);
    const { bytes } = await joinChunk(copy, chunk, from, null, signal);
    limit = Math.max(1, Math.min(limit * 8, MOST_KEYS, Math.floor((keys.length * AIM_BYTES) / Math.max(bytes, 1))));
  }
}

function stuck(schema: TableSchema): TidemarkError {
  return new TidemarkError('INTERNAL', 'a row was read again and still counts as incomplete', { where: { table: tableName(schema) } });
}
