import { expect } from 'vitest';
import { recordsOf, type ReferenceRecord } from '../../../../contracts/kit/reference-log.ts';
import type { SourceLog } from '../../../../contracts/log-engine.ts';

/** Follows a log from an offset on and keeps what it was given: that must never change again, whatever happens. */
export class TailReader {
  readonly after: number;
  readonly records: ReferenceRecord[] = [];
  readonly #abort = new AbortController();
  readonly #following: Promise<Error | null>;

  /** @param log read until it is closed, a read fails, or `end` */
  constructor(log: SourceLog, after: number) {
    this.after = after;
    this.#following = this.#follow(log).then(
      () => null,
      (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
    );
  }

  /** Ends reading; answers with what it ended, which is the caller's to judge. */
  async end(): Promise<Error | null> {
    this.#abort.abort();
    return await this.#following;
  }

  /** @param all every record of the log after `from`, as another reader was given them */
  expectUnchanged(all: readonly ReferenceRecord[], from = 0): void {
    const mine = this.records.filter(({ offset }) => offset > from);
    const at = Math.max(this.after - from, 0);
    expect(all.slice(at, at + mine.length)).toEqual(mine);
  }

  async #follow(log: SourceLog): Promise<void> {
    for await (const batch of log.read({ after: this.after, follow: true, signal: this.#abort.signal })) {
      expect(batch.baseOffset).toBe(this.after + this.records.length + 1);
      this.records.push(...recordsOf(batch));
    }
  }
}
