import { ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { readU32 } from '../../contracts/record.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { SinkSnapshot } from '../../contracts/verify.ts';

/** Rows of the log, and what the sink should have for them. */
export interface Expected {
  readonly log: ChangeBatch;
  readonly expected: ChangeBatch;
}

export interface ExpectedOptions {
  /** The rows come one for one: the batch is divided where the sink keeps nothing of some. */
  readonly aligned: boolean;
  readonly signal: AbortSignal;
}

/**
 * What a sink should have for rows of the log. Rows that it cannot have are left out: there they are an error or dead
 * letters, and missing.
 * @throws TidemarkError `VERIFY_TABLE`, `ABORTED`
 */
export async function* expectedOf(sink: SinkSnapshot, schema: TableSchema, log: ChangeBatch, options: ExpectedOptions): AsyncGenerator<Expected, void, void> {
  let expected: ChangeBatch;
  try {
    expected = await sink.expected(schema, log, options.signal);
  } catch (failure) {
    if (!(failure instanceof TidemarkError) || failure.code !== 'SINK_DATA') throw failure;
    if (log.count > 1) for (const half of halves(log)) yield* expectedOf(sink, schema, half, options);
    return;
  }
  if (!options.aligned || expected.count === log.count) yield { log, expected };
  else if (expected.count > 0) for (const half of halves(log)) yield* expectedOf(sink, schema, half, options);
}

/** Two batches of about as many rows. They share the bytes. */
function halves({ records, count }: ChangeBatch): readonly ChangeBatch[] {
  const middle = count >> 1;
  let at = 0;
  for (let index = 0; index < middle; index++) at += 4 + readU32(records, at);
  return [rowsOf(records.subarray(0, at), middle), rowsOf(records.subarray(at), count - middle)];
}

/** Rows as a batch that is in no log. */
export function rowsOf(records: Buffer, count: number): ChangeBatch {
  return new ChangeBatch({ count, records, transactions: [], progress: null });
}
