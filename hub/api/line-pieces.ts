import type { Clock } from '../../contracts/runtime.ts';

/** Text is handed on in pieces of about this many characters, whole lines each. */
const PIECE = 64 << 10;
/** Longest time in ms without a word of progress. */
const PROGRESS_MS = 250;

/** Gathers lines into pieces. */
export class LinePieces {
  #lines: string[] = [];
  #length = 0;

  get isFull(): boolean {
    return this.#length >= PIECE;
  }

  add(line: string): void {
    this.#lines.push(line);
    this.#length += line.length;
  }

  /** What has been gathered; '' when that is nothing. */
  take(): string {
    const text = this.#lines.join('');
    this.#lines = [];
    this.#length = 0;
    return text;
  }
}

/**
 * The items of a generator and, while it lets wait, lines that tell how far it has come. Owns the generator: ends it when
 * it is itself ended.
 * @param line null: there is nothing new to tell
 */
export async function* reporting<T>(items: AsyncGenerator<T, void, void>, line: () => string | null, clock: Clock): AsyncGenerator<T | string, void, void> {
  let next = items.next();
  // Whoever ends this in the meantime does not wait for the failure.
  next.catch(() => undefined);
  try {
    for (;;) {
      const arrived = await within(next, clock);
      if (arrived === null) {
        const text = line();
        if (text !== null) yield text;
        continue;
      }
      if (arrived.done === true) return;
      yield arrived.value;
      next = items.next();
      next.catch(() => undefined);
    }
  } finally {
    await items.return();
  }
}

/** Null: it has not come within the time. */
async function within<T>(promise: Promise<T>, clock: Clock): Promise<T | null> {
  const enough = new AbortController();
  const timeout = clock.sleep(PROGRESS_MS, enough.signal).then(
    () => null,
    () => null,
  );
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    enough.abort();
    await timeout;
  }
}
