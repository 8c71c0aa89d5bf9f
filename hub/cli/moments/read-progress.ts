import cliProgress, { type SingleBar } from 'cli-progress';
import type { ProgressJson } from '../../api/moments/schemas.ts';
import type { CliContext } from '../context.ts';
import { grouped } from '../text/text-table.ts';

const STEPS = 1000;
/** Milliseconds between two looks of the counter. */
const COUNT_EVERY_MS = 200;

/**
 * How far a table of another moment, or a difference, has come: a bar while the history is read, then one of the rows where
 * it is known about how many there are, else their count. On a terminal only, and of rows only where they are not printed
 * to it, too.
 */
export class ReadProgress implements Disposable {
  readonly #context: CliContext;
  readonly #isShown: boolean;
  readonly #countsRows: boolean;
  #bar: SingleBar | null = null;
  #of: ProgressJson['of'] = 'history';
  #rows = 0;
  /** About how many rows there will be; 0: nobody can tell. */
  #estimated = 0;
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

  readonly show = ({ of, done, total }: ProgressJson): void => {
    if (of === 'rows') this.#estimated = total;
    else if (this.#isShown && this.#rows === 0) this.#draw('history', done, total, `${grouped(done)} of ${grouped(total)} records`);
  };

  rows(count: number): void {
    this.#rows += count;
    if (this.#of === 'history') this.#end();
    const now = this.#context.now();
    if (!this.#isShown || !this.#countsRows || now - this.#counted < COUNT_EVERY_MS) return;
    this.#counted = now;
    if (this.#estimated > 0) {
      this.#draw('rows', Math.min(this.#rows, this.#estimated), this.#estimated, `${grouped(this.#rows)} of about ${grouped(this.#estimated)} rows`);
      return;
    }
    this.#hasCount = true;
    this.#context.stderr.write(`\r${grouped(this.#rows)} rows`);
  }

  /** Leaves nothing on the terminal. */
  [Symbol.dispose](): void {
    this.#end();
    if (this.#hasCount) this.#context.stderr.write('\r\u001b[K');
    this.#hasCount = false;
  }

  #draw(of: ProgressJson['of'], done: number, total: number, amount: string): void {
    const payload = { of, amount };
    const step = total === 0 ? STEPS : Math.floor((done / total) * STEPS);
    if (this.#bar === null) this.#begin(step, payload);
    else this.#bar.update(step, payload);
    this.#of = of;
  }

  #begin(step: number, payload: object): void {
    this.#bar = new cliProgress.SingleBar({
      stream: this.#context.stderr,
      format: '{of} {bar} {percentage}%  {amount}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 20,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false,
    });
    this.#bar.start(STEPS, step, payload);
  }

  #end(): void {
    this.#bar?.stop();
    this.#bar = null;
  }
}
