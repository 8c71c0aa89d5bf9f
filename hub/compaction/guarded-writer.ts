import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { DurableProgress, LogWriter, WriterStart } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';

type Place = Awaited<ReturnType<LogWriter['append']>>;

/** Who says whether there is room. A promise only where it takes a while to find out; rejects or throws when there is none. */
export type Admits = (bytes: number) => void | Promise<void>;

/**
 * A writer that takes nothing for which there is no room: a batch is refused before anything of it is written, and every
 * later one until `rollback`, so that nothing stands behind a hole. Owns the writer.
 */
export class GuardedWriter implements LogWriter {
  readonly start: WriterStart;
  readonly #writer: LogWriter;
  readonly #admits: Admits;
  /** The last batch that waits to be admitted; resolves when it has been handed on. */
  #waiting: Promise<void> | null = null;
  #refusal: { readonly why: unknown } | null = null;

  constructor(writer: LogWriter, admits: Admits) {
    this.start = writer.start;
    this.#writer = writer;
    this.#admits = admits;
  }

  get lastOffset(): Offset {
    return this.#writer.lastOffset;
  }

  append(batch: ChangeBatch): Promise<Place> {
    const bytes = batch.records.length + batch.packed.bytes.length;
    if (this.#waiting === null && this.#refusal === null) {
      const admission = this.#admit(bytes);
      if (admission === undefined) return this.#writer.append(batch);
      return this.#after(admission, batch);
    }
    return this.#after((this.#waiting ?? Promise.resolve()).then(() => this.#admit(bytes)), batch);
  }

  async rollback(): Promise<Offset> {
    await this.#settled();
    this.#refusal = null;
    return this.#writer.rollback();
  }

  async flush(): Promise<DurableProgress> {
    await this.#settled();
    return this.#writer.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#settled();
    await this.#writer[Symbol.asyncDispose]();
  }

  #admit(bytes: number): void | Promise<void> {
    if (this.#refusal !== null) return Promise.reject(asError(this.#refusal.why));
    return this.#admits(bytes);
  }

  /** Batches are handed on in the order in which they came. */
  #after(admission: void | Promise<void>, batch: ChangeBatch): Promise<Place> {
    let appending: Promise<Place> | null = null;
    const handed = Promise.resolve(admission).then(
      () => {
        appending = this.#writer.append(batch);
      },
      (why: unknown) => {
        this.#refusal ??= { why };
        throw why;
      },
    );
    const waiting = handed
      .catch(() => undefined)
      .then(() => {
        if (this.#waiting === waiting) this.#waiting = null;
      });
    this.#waiting = waiting;
    return handed.then(() => appending ?? Promise.reject(new Error('a batch was not handed on')));
  }

  async #settled(): Promise<void> {
    while (this.#waiting !== null) await this.#waiting;
  }
}

function asError(why: unknown): Error {
  return why instanceof Error ? why : new Error(String(why));
}
