import type { Clock } from '../../contracts/runtime.ts';
import type { VerifyProgress } from './report.ts';

const TELL_MS = 250;

/** How far a verification is, told when a phase begins and a few times a second while something moves. Owns a timer. */
export class Meter implements Disposable {
  readonly #clock: Clock;
  readonly #tell: (progress: VerifyProgress) => void;
  readonly #tables: number;
  readonly #ticking: Disposable;
  #index = 0;
  #table = '';
  #phase: VerifyProgress['phase'] = 'opening';
  #rows = 0;
  /** Of these, those that were read before the phase began. */
  #already = 0;
  #ofRows: number | null = null;
  #since: number;
  #isTold = true;

  constructor(clock: Clock, tables: number, tell: (progress: VerifyProgress) => void) {
    this.#clock = clock;
    this.#tables = tables;
    this.#tell = tell;
    this.#since = clock.monotonic();
    this.#ticking = clock.every(TELL_MS, () => {
      if (!this.#isTold) this.#say();
    });
  }

  /** The next table. */
  table(name: string): void {
    this.#table = name;
    this.#index = Math.min(this.#index + 1, this.#tables);
    this.phase('log');
  }

  /** @param ofRows rows that will be read; null: not known. @param rows of them that have been read already */
  phase(phase: VerifyProgress['phase'], ofRows: number | null = null, rows = 0): void {
    this.#phase = phase;
    this.#rows = rows;
    this.#already = rows;
    this.#ofRows = ofRows;
    this.#since = this.#clock.monotonic();
    this.#say();
  }

  read(rows: number): void {
    this.#rows += rows;
    this.#isTold = false;
  }

  [Symbol.dispose](): void {
    this.#ticking[Symbol.dispose]();
  }

  #say(): void {
    this.#isTold = true;
    const left = this.#ofRows === null ? null : Math.max(0, this.#ofRows - this.#rows);
    const seconds = (this.#clock.monotonic() - this.#since) / 1000;
    const read = this.#rows - this.#already;
    const etaSeconds = left === null || read === 0 ? null : Math.round(seconds * (left / read));
    this.#tell({ table: this.#table, index: this.#index, tables: this.#tables, phase: this.#phase, rows: this.#rows, ofRows: this.#ofRows, etaSeconds });
  }
}
