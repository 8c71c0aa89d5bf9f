import type { Clock } from '../../contracts/runtime.ts';
import type { VerifyProgress } from './report.ts';

const TELL_MS = 250;

/** How far a verification is, told a few times a second at most. */
export class Meter {
  readonly #clock: Clock;
  readonly #tell: (progress: VerifyProgress) => void;
  readonly #tables: number;
  #index = 0;
  #table = '';
  #phase: VerifyProgress['phase'] = 'opening';
  #rows = 0;
  #ofRows: number | null = null;
  #since: number;
  #told = 0;

  constructor(clock: Clock, tables: number, tell: (progress: VerifyProgress) => void) {
    this.#clock = clock;
    this.#tables = tables;
    this.#tell = tell;
    this.#since = clock.monotonic();
  }

  /** The next table. */
  table(name: string): void {
    this.#table = name;
    this.#index = Math.min(this.#index + 1, this.#tables);
    this.phase('log');
  }

  /** @param ofRows rows that will be read; null: not known */
  phase(phase: VerifyProgress['phase'], ofRows: number | null = null): void {
    this.#phase = phase;
    this.#rows = 0;
    this.#ofRows = ofRows;
    this.#since = this.#clock.monotonic();
    this.#say();
  }

  read(rows: number): void {
    this.#rows += rows;
    if (this.#clock.monotonic() - this.#told >= TELL_MS) this.#say();
  }

  #say(): void {
    const now = this.#clock.monotonic();
    this.#told = now;
    const left = this.#ofRows === null ? null : Math.max(0, this.#ofRows - this.#rows);
    const etaSeconds = left === null || this.#rows === 0 ? null : Math.round(((now - this.#since) / 1000) * (left / this.#rows));
    this.#tell({ table: this.#table, index: this.#index, tables: this.#tables, phase: this.#phase, rows: this.#rows, ofRows: this.#ofRows, etaSeconds });
  }
}
