/** Runs a SELECT of a table and makes records of its rows. */
import { ChangeBatch } from '../../../contracts/change-batch.ts';
import { asTidemarkError, type TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import type { Spool } from './copied-chunk.ts';
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

/**
 * The rows in batches of about 1 MiB. The server is held back while nobody takes them. When the loop is left early, the
 * session is in the middle of a result, and only good for disposing.
 */
export async function* streamRows(session: RowSession, table: ReadTable, statement: string): AsyncGenerator<ChangeBatch, void, void> {
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
    if (isLeft) return false;
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
  }
  const [failure] = failures;
  if (failure !== undefined) throw failure;
}
