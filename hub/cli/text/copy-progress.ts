import cliProgress, { type MultiBar, type SingleBar } from 'cli-progress';
import { formatDuration } from '../../../contracts/units.ts';
import type { HubStatus } from '../../service.ts';
import { copyPart } from './status-text.ts';
import { grouped, shortened } from './text-table.ts';

/** Bars side by side at most; the others are counted in the status only. */
const MOST_BARS = 10;
const STEPS = 1000;

/** A bar per table that is being copied, below the lines of the log. Owns the last lines of a terminal until disposed. */
export class CopyProgress implements Disposable {
  readonly #terminal: NodeJS.WritableStream;
  readonly #bars = new Map<string, SingleBar>();
  #all: MultiBar | null = null;

  constructor(terminal: NodeJS.WritableStream) {
    this.#terminal = terminal;
  }

  /** Writes a line above the bars. */
  log(line: string): void {
    if (this.#all === null) this.#terminal.write(`${line}\n`);
    else this.#all.log(`${line}\n`);
  }

  /** Bars for what is being copied now. */
  show(status: HubStatus): void {
    const copies = status.sources.flatMap(({ name, tables }) =>
      tables.flatMap(({ table, copy }) => (copy === null ? [] : [{ id: `${name} ${table}`, table, copy }])),
    );
    for (const [id, bar] of this.#bars) {
      if (copies.some((copy) => copy.id === id)) continue;
      this.#all?.remove(bar);
      this.#bars.delete(id);
    }
    if (copies.length === 0) return this[Symbol.dispose]();
    for (const { id, table, copy } of copies.slice(0, MOST_BARS)) {
      const payload = {
        name: shortened(table, 40).padEnd(40),
        amount: `${grouped(copy.rows)} of about ${grouped(copy.estimatedRows)} rows`,
        left: copy.waitingFor !== '' ? `waits: ${shortened(copy.waitingFor, 60)}` : copy.etaSeconds === null ? '' : `${formatDuration(copy.etaSeconds * 1000)} left`,
      };
      this.#bar(id, payload).update(Math.floor(copyPart(copy) * STEPS), payload);
    }
  }

  [Symbol.dispose](): void {
    this.#all?.stop();
    this.#all = null;
    this.#bars.clear();
  }

  #bar(id: string, payload: object): SingleBar {
    const known = this.#bars.get(id);
    if (known !== undefined) return known;
    this.#all ??= new cliProgress.MultiBar({
      stream: this.#terminal,
      format: '{name} {bar} {percentage}%  {amount}  {left}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 20,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false,
    });
    const bar = this.#all.create(STEPS, 0, payload);
    this.#bars.set(id, bar);
    return bar;
  }
}
