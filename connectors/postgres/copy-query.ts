import type pg from 'pg';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { postgresError } from './errors.ts';

/** What `pg` hands to a query for each CopyData message. */
interface CopyDataMessage {
  readonly chunk: Buffer;
}

/**
 * Runs a `COPY ... TO STDOUT` and calls `row` for each row, as it comes from the server; the buffer is valid during the
 * call. Resolves with `ended` when the server has ended the statement, with `enough` as soon as `row` answers false: the
 * session is then in the middle of a statement, and only good for disposing.
 * @throws TidemarkError what `row` throws (the session is then only good for disposing), or the server's error
 */
export function copyOut(client: pg.Client, statement: string, row: (row: Buffer) => boolean): Promise<'ended' | 'enough'> {
  return startCopyOut(client, statement, row).ended;
}

/** A COPY under way whose rows can be held back. */
export interface RunningCopy {
  /** As {@link copyOut}. */
  readonly ended: Promise<'ended' | 'enough'>;
  /** No more bytes are read from the server; some rows that were read already may still come. */
  pause(): void;
  resume(): void;
}

export function startCopyOut(client: pg.Client, statement: string, row: (row: Buffer) => boolean): RunningCopy {
  const { promise, resolve, reject } = Promise.withResolvers<'ended' | 'enough'>();
  const copy = new CopyOut(statement, row, resolve, reject);
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
  readonly #resolve: (how: 'ended' | 'enough') => void;
  readonly #reject: (error: TidemarkError) => void;
  #connection: pg.Connection | null = null;
  #over = false;
  #failure: TidemarkError | null = null;

  constructor(
    statement: string,
    row: (row: Buffer) => boolean,
    resolve: (how: 'ended' | 'enough') => void,
    reject: (error: TidemarkError) => void,
  ) {
    this.#statement = statement;
    this.#row = row;
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
    this.#failure ??= postgresError(error);
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
