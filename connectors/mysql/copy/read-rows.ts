/** Runs a SELECT of a table and makes records of its rows. */
import { ChangeBatch } from '../../../contracts/change-batch.ts';
import { asTidemarkError, type TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import type { Spool } from '../../relational/spooled-chunk.ts';
import type { Bound } from './key-ranges.ts';
import type { ReadTable } from './read-table.ts';
import { RowRecords } from './row-records.ts';
import type { RowSession } from './row-session.ts';

/** Batches that wait to be taken before the server is held back. */
const MOST_WAITING = 4;

export interface Spooled {
  /** `enough`: the spool was full before the last row; the session is then only good for disposing. */
  readonly how: 'ended' | 'enough';
  /** Where the last row stands in the server's order; null: there was none. */
  readonly last: Bound | null;
}

/** @throws TidemarkError what the server or a value says */
export async function spoolRows(session: RowSession, table: ReadTable, statement: string, spool: Spool, bufferBytes?: number): Promise<Spooled> {
  const records = new RowRecords(table.layout, (bytes, count) => spool.add(bytes, count), bufferBytes);
  try {
    const { ended } = session.rows(statement, (bytes, start, end) => {
      records.row(bytes, start, end);
      return !spool.isFull;
    });
    const how = await ended;
    records.flush();
    return { how, last: records.lastPlace() };
  } catch (error) {
    throw asTidemarkError(error, 'INTERNAL', { table: tableName(table.schema) });
  }
}

export interface SpooledSome {
  /** Where the last row of the spool stands in the server's order; null: there was none. */
  readonly last: Bound | null;
  /** Rows that the statement gave; those that the spool had no room for were passed over. */
  readonly rows: number;
}

/** As {@link spoolRows}, to the end of the statement, whatever the spool has room for: the session stays usable. */
export async function spoolSome(session: RowSession, table: ReadTable, statement: string, spool: Spool): Promise<SpooledSome> {
  const records = new RowRecords(table.layout, (bytes, count) => spool.add(bytes, count));
  let rows = 0;
  await session.rows(statement, (bytes, start, end) => {
    rows++;
    if (!spool.isFull) records.row(bytes, start, end);
    return true;
  }).ended;
  records.flush();
  return { last: records.lastPlace(), rows };
}

export interface StreamedRows {
  /** In batches of about 1 MiB. The server is held back while nobody takes them. */
  readonly batches: AsyncGenerator<ChangeBatch, void, void>;
  /** The statement has ended. */
  readonly ended: Promise<'ended' | 'enough'>;
}

/**
 * @param whenLeft what becomes of the statement when the loop over the batches is left early. `drop`: the session is cut off,
 *   and only good for disposing. `drain`: its rows are passed over until it ends, for which the caller sees to it.
 */
export function streamRows(session: RowSession, table: ReadTable, statement: string, whenLeft: 'drop' | 'drain'): StreamedRows {
  const waiting: ChangeBatch[] = [];
  const failures: TidemarkError[] = [];
  let wake = (): void => undefined;
  let isOver = false;
  let isLeft = false;
  const records = new RowRecords(table.layout, (bytes, count) => {
    waiting.push(new ChangeBatch({ count, records: bytes, transactions: [], progress: null }));
    if (waiting.length >= MOST_WAITING) running.pause();
    wake();
  });
  const running = session.rows(statement, (bytes, start, end) => {
    if (isLeft) return whenLeft === 'drain';
    records.row(bytes, start, end);
    return true;
  });
  void running.ended
    .then(() => records.flush())
    .catch((error: unknown) => {
      failures.push(asTidemarkError(error, 'INTERNAL', { table: tableName(table.schema) }));
    })
    .finally(() => {
      isOver = true;
      wake();
    });
  const batches = async function* taking(): AsyncGenerator<ChangeBatch, void, void> {
    try {
      for (;;) {
        const batch = waiting.shift();
        if (batch !== undefined) {
          if (waiting.length < MOST_WAITING) running.resume();
          yield batch;
        } else if (isOver) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      isLeft = true;
      running.resume();
    }
    const [failure] = failures;
    if (failure !== undefined) throw failure;
  };
  return { batches: batches(), ended: running.ended };
}
