/** Reading rows by `COPY ... TO STDOUT` on a session of `pg`: what a connector and a sink for Postgres share. */
import type pg from 'pg';
import { ChangeBatch } from '../change-batch.ts';
import { asTidemarkError, TidemarkError } from '../errors/error.ts';
import { CopyTextDecoder, type RowLayout } from './postgres-copy-text.ts';

/** The session of a COPY, which is its own until it has ended, and what the errors of its server mean. */
export interface CopySession {
  readonly client: pg.Client;
  readonly toError: (error: unknown) => TidemarkError;
}

/** What `pg` hands to a query for each CopyData message. */
interface CopyDataMessage {
  readonly chunk: Buffer;
}

/** Buffers of rows that wait to be taken before the server is held back. */
const MOST_WAITING = 4;

/**
 * Runs a `COPY ... TO STDOUT` and calls `row` for each row, as it comes from the server; the buffer is valid during the
 * call. Resolves with `ended` when the server has ended the statement, with `enough` as soon as `row` answers false: the
 * session is then in the middle of a statement, and only good for disposing.
 * @throws TidemarkError what `row` throws (the session is then only good for disposing), or the server's error
 */
export function copyOut(session: CopySession, statement: string, row: (row: Buffer) => boolean): Promise<'ended' | 'enough'> {
  return startCopyOut(session, statement, row).ended;
}

/**
 * The rows of a `COPY ... TO STDOUT` in text format as `r` records, in batches of about 1 MiB. The server is held back
 * while nobody takes them. When the loop is left early, the session is in the middle of a statement, and only good for
 * disposing.
 * @throws TidemarkError `POSTGRES_COPY_MALFORMED`, or the server's error
 */
export async function* copyBatches(session: CopySession, statement: string, layout: RowLayout): AsyncGenerator<ChangeBatch, void, void> {
  const waiting: ChangeBatch[] = [];
  let wake = (): void => undefined;
  let over = false;
  let left = false;
  const failures: TidemarkError[] = [];
  const decoder = new CopyTextDecoder(layout, (records, count) => {
    waiting.push(new ChangeBatch({ count, records, transactions: [], progress: null }));
    if (waiting.length >= MOST_WAITING) copy.pause();
    wake();
  });
  const copy: RunningCopy = startCopyOut(session, statement, (row) => {
    if (left) return false;
    decoder.row(row);
    return true;
  });
  void copy.ended
    .then(() => decoder.flush())
    .catch((error: unknown) => {
      failures.push(asTidemarkError(error, 'INTERNAL'));
    })
    .finally(() => {
      over = true;
      wake();
    });
  try {
    for (;;) {
      const batch = waiting.shift();
      if (batch !== undefined) {
        if (waiting.length < MOST_WAITING) copy.resume();
        yield batch;
      } else if (over) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    left = true;
  }
  const [failure] = failures;
  if (failure !== undefined) throw failure;
}

/** A COPY under way whose rows can be held back. */
interface RunningCopy {
  /** As {@link copyOut}. */
  readonly ended: Promise<'ended' | 'enough'>;
  /** No more bytes are read from the server; some rows that were read already may still come. */
  pause(): void;
  resume(): void;
}

function startCopyOut({ client, toError }: CopySession, statement: string, row: (row: Buffer) => boolean): RunningCopy {
  const { promise, resolve, reject } = Promise.withResolvers<'ended' | 'enough'>();
  const copy = new CopyOut(statement, row, toError, resolve, reject);
  client.query(copy);
  return { ended: promise, pause: () => copy.pause(), resume: () => copy.resume() };
}

/**
 * A query of its own kind, by pg's interface for them (as pg-cursor and pg-copy-streams do). The parser of `pg` gives one
 * message per row, at about a tenth of a microsecond each, so that nobody has to look for the rows' ends.
 */
class CopyOut {
  readonly #statement: string;
  readonly #row: (row: Buffer) => boolean;
  readonly #toError: (error: unknown) => TidemarkError;
  readonly #resolve: (how: 'ended' | 'enough') => void;
  readonly #reject: (error: TidemarkError) => void;
  #connection: pg.Connection | null = null;
  #over = false;
  #failure: TidemarkError | null = null;

  constructor(
    statement: string,
    row: (row: Buffer) => boolean,
    toError: (error: unknown) => TidemarkError,
    resolve: (how: 'ended' | 'enough') => void,
    reject: (error: TidemarkError) => void,
  ) {
    this.#statement = statement;
    this.#row = row;
    this.#toError = toError;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: pg.Connection): void {
    this.#connection = connection;
    connection.query(this.#statement);
  }

  pause(): void {
    this.#connection?.stream.pause();
  }

  resume(): void {
    this.#connection?.stream.resume();
  }

  handleCopyData(message: CopyDataMessage): void {
    if (this.#over) return;
    try {
      if (this.#row(message.chunk)) return;
      this.#over = true;
      this.#resolve('enough');
    } catch (error) {
      this.#over = true;
      this.#reject(error instanceof TidemarkError ? error : new TidemarkError('INTERNAL', String(error), { cause: error }));
    }
  }

  handleError(error: unknown): void {
    // The client may tell of a lost connection and never of ReadyForQuery.
    this.#failure ??= this.#toError(error);
    if (!this.#over) this.#reject(this.#failure);
    this.#over = true;
  }

  handleReadyForQuery(): void {
    if (this.#over) return;
    this.#over = true;
    this.#resolve('ended');
  }

  handleCommandComplete(): void {
    // ReadyForQuery follows, and says that the session is free.
  }

  handleEmptyQuery(): void {
    this.handleError(new Error('an empty COPY'));
  }
}
