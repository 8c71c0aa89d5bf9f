import type pg from 'pg';
import { bindMessage, closeStatementMessage, COPY_DONE, copyDataMessages, EXECUTE, type Parameter, parseMessage, SYNC } from './wire.ts';

/** Statements that a session keeps prepared; beyond, the one unused for longest is closed. */
const MAX_PREPARED = 300;

/** Chunks are joined into pieces of at most this many bytes. */
const JOINED_BYTES = 16 << 10;

/** What one statement of a pipeline did. */
export interface Completion {
  /** Rows inserted, updated, deleted or copied; 0 for a statement that counts none. */
  readonly rows: number;
}

/** A statement of a pipeline failed; those before it were run, those after it were not. */
export class PipelineFailure extends Error {
  override readonly name = 'PipelineFailure';
  /** Index of the statement that failed, in the order they were added. */
  readonly index: number;
  override readonly cause: unknown;

  constructor(index: number, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause));
    this.index = index;
    this.cause = cause;
  }
}

interface PreparedStatement {
  readonly name: string;
  /** The pipeline that parses it and is not answered yet, and the statement's place in it; null when it is known to stand. */
  pending: { readonly by: object; readonly index: number } | null;
}

/** The prepared statements of one session, by their text. */
export class StatementCache {
  readonly #bySql = new Map<string, PreparedStatement>();
  #names = 0;

  get size(): number {
    return this.#bySql.size;
  }

  /**
   * The statement's name, and what must be sent before it can be bound. The least recently used is closed when there
   * are too many. What another pipeline parses, which may fail before it comes to that, is parsed again.
   * @param by the pipeline that is filled
   */
  use(sql: string, by: object, index: number): { name: string; messages: Buffer[] } {
    const known = this.#bySql.get(sql);
    if (known !== undefined) this.#bySql.delete(sql);
    if (known !== undefined && (known.pending === null || known.pending.by === by)) {
      this.#bySql.set(sql, known);
      return { name: known.name, messages: [] };
    }
    const messages: Buffer[] = known === undefined ? [] : [closeStatementMessage(known.name)];
    if (this.#bySql.size >= MAX_PREPARED) {
      const [oldSql, old] = this.#bySql.entries().next().value ?? [];
      if (oldSql !== undefined && old !== undefined) {
        this.#bySql.delete(oldSql);
        messages.push(closeStatementMessage(old.name));
      }
    }
    const name = `t${this.#names++}`;
    messages.push(parseMessage(name, sql));
    this.#bySql.set(sql, { name, pending: { by, index } });
    return { name, messages };
  }

  /** A pipeline was answered: all its statements (null), or those before `failedIndex`. */
  settle(by: object, failedIndex: number | null): void {
    for (const [sql, statement] of this.#bySql) {
      if (statement.pending?.by !== by) continue;
      if (failedIndex !== null && statement.pending.index >= failedIndex) this.#bySql.delete(sql);
      else statement.pending = null;
    }
  }
}

/**
 * Statements that go to the server in one go, without waiting for an answer in between, ended by one Sync. Filled by
 * one owner, run once. A COPY's data follow its statement at once: a server that refuses it skips them.
 */
export class Pipeline {
  readonly #statements: StatementCache;
  #chunks: Uint8Array[] = [];
  #count = 0;
  #bytes = 0;

  constructor(statements: StatementCache) {
    this.#statements = statements;
  }

  /** Statements so far: the index that the next one gets. */
  get count(): number {
    return this.#count;
  }

  /** Bytes to send so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a statement that stays prepared for the next time. Answers its index. */
  prepared(sql: string, parameters: readonly Parameter[] = []): number {
    const { name, messages } = this.#statements.use(sql, this, this.#count);
    this.#push(...messages, ...bindMessage(name, parameters), EXECUTE);
    return this.#count++;
  }

  /** Adds a statement that is run once. Answers its index. */
  once(sql: string, parameters: readonly Parameter[] = []): number {
    this.#push(parseMessage('', sql), ...bindMessage('', parameters), EXECUTE);
    return this.#count++;
  }

  /** Adds a `COPY ... FROM STDIN` with its data. Answers its index. */
  copyIn(sql: string, data: readonly Uint8Array[]): number {
    this.#push(parseMessage('', sql), ...bindMessage('', []), EXECUTE);
    for (const bytes of data) this.#push(...copyDataMessages(bytes));
    this.#push(COPY_DONE);
    return this.#count++;
  }

  /**
   * Sends everything and resolves with what each statement did.
   * @throws PipelineFailure with the server's error, or the connection's, as its cause
   */
  async run(client: pg.Client): Promise<Completion[]> {
    if (this.#count === 0) return [];
    const chunks = this.#chunks;
    chunks.push(SYNC);
    this.#chunks = [];
    try {
      const completions = await new Promise<Completion[]>((resolve, reject) => {
        client.query(new Submission(chunks, resolve, reject));
      });
      if (completions.length !== this.#count) {
        throw new PipelineFailure(completions.length, new Error(`${completions.length} of ${this.#count} statements were answered`));
      }
      this.#statements.settle(this, null);
      return completions;
    } catch (error) {
      if (error instanceof PipelineFailure) this.#statements.settle(this, error.index);
      throw error;
    }
  }

  #push(...chunks: Uint8Array[]): void {
    for (const chunk of chunks) {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
    }
  }
}

/** One pipeline as the driver's queue takes it. */
class Submission implements pg.Submittable {
  #chunks: readonly Uint8Array[];
  readonly #completions: Completion[] = [];
  readonly #resolve: (completions: Completion[]) => void;
  readonly #reject: (error: PipelineFailure) => void;

  constructor(chunks: readonly Uint8Array[], resolve: (completions: Completion[]) => void, reject: (error: PipelineFailure) => void) {
    this.#chunks = chunks;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: pg.Connection): void {
    const { stream } = connection;
    stream.cork();
    for (const piece of joined(this.#chunks)) stream.write(piece);
    stream.uncork();
    // The socket holds what it has not sent; a long statement need not hold the rest.
    this.#chunks = [];
  }

  handleCommandComplete(message: { readonly text: string }): void {
    this.#completions.push({ rows: rowsOf(message.text) });
  }

  handleEmptyQuery(): void {
    this.#completions.push({ rows: 0 });
  }

  handleError(error: Error): void {
    this.#reject(new PipelineFailure(this.#completions.length, error));
  }

  handleReadyForQuery(): void {
    this.#resolve(this.#completions);
  }

  // Answers that carry nothing that is needed here.
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}

/**
 * The same bytes in fewer pieces: a write costs more than copying what is small. What is large is sent where it lies.
 */
export function joined(chunks: readonly Uint8Array[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let first = 0;
  let bytes = 0;
  const close = (end: number): void => {
    if (end - first === 1) pieces.push(chunks[first] as Uint8Array);
    else if (end > first) pieces.push(Buffer.concat(chunks.slice(first, end), bytes));
    first = end;
    bytes = 0;
  };
  for (const [index, { length }] of chunks.entries()) {
    if (bytes + length > JOINED_BYTES) close(index);
    bytes += length;
  }
  close(chunks.length);
  return pieces;
}

/** `INSERT 0 5`, `UPDATE 7`, `COPY 9`, `BEGIN`: the last word, where it is a number. */
export function rowsOf(tag: string): number {
  const last = tag.slice(tag.lastIndexOf(' ') + 1);
  return /^[0-9]+$/.test(last) ? Number(last) : 0;
}
