import cliProgress, { type SingleBar } from 'cli-progress';
import { formatSize, formatDuration } from '../../../contracts/units.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import type { CliContext } from '../context.ts';

const REDRAW_MS = 200;

/** How much of a known amount of bytes is done, and how long the rest takes: a bar on a terminal, nothing elsewhere. */
export class ByteProgress implements Disposable {
  readonly #bar: SingleBar | null;
  readonly #clock: Clock;
  readonly #total: number;
  readonly #began: number;
  #done = 0;
  #drawn = 0;

  constructor(context: CliContext, clock: Clock, what: string, total: number) {
    this.#clock = clock;
    this.#total = total;
    this.#began = clock.monotonic();
    this.#bar = context.stderrIsTty
      ? new cliProgress.SingleBar({
          stream: context.stderr,
          format: `${what} {bar} {percentage}%  {amount}  {left}`,
          barCompleteChar: '█',
          barIncompleteChar: '░',
          barsize: 20,
          hideCursor: true,
          clearOnComplete: true,
          gracefulExit: false,
        })
      : null;
    this.#bar?.start(Math.max(total, 1), 0, { amount: '', left: '' });
  }

  add(bytes: number): void {
    this.#done += bytes;
    const now = this.#clock.monotonic();
    if (this.#bar === null || now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    const seconds = (now - this.#began) / 1000;
    const left = (Math.max(this.#total - this.#done, 0) / Math.max(this.#done, 1)) * seconds;
    this.#bar.update(Math.min(this.#done, this.#total), {
      amount: `${formatSize(this.#done)} of ${formatSize(this.#total)}, ${formatSize(this.#done / Math.max(seconds, 0.001))}/s`,
      left: `${formatDuration(Math.round(left) * 1000)} left`,
    });
  }

  [Symbol.dispose](): void {
    this.#bar?.stop();
  }
}
