import cliProgress, { type SingleBar } from 'cli-progress';
import type { CliContext } from '../context.ts';
import { grouped } from '../text-table.ts';

const STEPS = 1000;
/** Milliseconds between two looks of the counter. */
const COUNT_EVERY_MS = 200;

/**
 * How far a table of another moment, or a difference, has come: a bar while the history is read, of which the end is
 * known, and then a count of the rows. On a terminal only, and only where rows are not printed to it, too.
 */
export class ReadProgress implements Disposable {
  readonly #context: CliContext;
  readonly #isShown: boolean;
  readonly #countsRows: boolean;
  #bar: SingleBar | null = null;
  #rows = 0;
  #counted = Number.NEGATIVE_INFINITY;
  #hasCount = false;

  /** @param countsRows standard output is not the terminal that the progress is on */
  constructor(context: CliContext, countsRows: boolean) {
    this.#context = context;
    this.#isShown = context.stderrIsTty;
    this.#countsRows = countsRows;
  }

  /** True when it is worth being told of. */
  get isShown(): boolean {
    return this.#isShown;
  }

  readonly history = (done: number, total: number): void => {
    if (!this.#isShown || this.#rows > 0) return;
    const payload = { amount: `${grouped(done)} of ${grouped(total)} records` };
    const step = total === 0 ? STEPS : Math.floor((done / total) * STEPS);
    if (this.#bar === null) this.#bar = this.#begun(step, payload);
    else this.#bar.update(step, payload);
  };

  rows(count: number): void {
    this.#rows += count;
    this.#end();
    const now = this.#context.now();
    if (!this.#isShown || !this.#countsRows || now - this.#counted < COUNT_EVERY_MS) return;
    this.#counted = now;
    this.#hasCount = true;
    this.#context.stderr.write(`\r${grouped(this.#rows)} rows`);
  }

  /** Leaves nothing on the terminal. */
  [Symbol.dispose](): void {
    this.#end();
    if (this.#hasCount) this.#context.stderr.write('\r\u001b[K');
    this.#hasCount = false;
  }

  #begun(step: number, payload: object): SingleBar {
    const bar = new cliProgress.SingleBar({
      stream: this.#context.stderr,
      format: 'history {bar} {percentage}%  {amount}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 20,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false,
    });
    bar.start(STEPS, step, payload);
    return bar;
  }

  #end(): void {
    this.#bar?.stop();
    this.#bar = null;
  }
}
