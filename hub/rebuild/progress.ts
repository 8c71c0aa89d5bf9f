import type { Offset } from '../../contracts/offset.ts';
import type { Clock } from '../../contracts/runtime.ts';
import { tableName } from '../../contracts/schema.ts';
import type { SinkBatch } from '../../contracts/sink.ts';
import { Rate } from '../pipeline/rate.ts';
import type { LoadProgress } from '../pipeline/sink/progress.ts';

export type RebuildPhase = 'waiting' | 'loading' | 'catching up' | 'building indexes' | 'swapping' | 'clearing' | 'replaying' | 'discarding';

/** How far a rebuild is, for people. */
export interface ProgressView {
  readonly phase: RebuildPhase;
  /** The table that is loaded, the step of what is prepared; '' when there is nothing to name. */
  readonly what: string;
  /** Rows written since it was begun, or gone on with after a restart. */
  readonly rows: number;
  readonly rowsPerSecond: number;
  /** How much of the phase is done, 0 to 1; null: not known. */
  readonly part: number | null;
  readonly etaSeconds: number | null;
}

/** Below this an estimate of the time that is left says nothing. */
const LEAST_PART = 0.005;

/** Counts what a rebuild does, phase by phase. */
export class RebuildProgress {
  readonly #clock: Clock;
  readonly #rate: Rate;
  #phase: RebuildPhase = 'waiting';
  #what = '';
  #rows = 0;
  #from = 0;
  #at = 0;
  #end: number | null = null;
  /** Where catching up ends, also while the base is loaded. */
  #goal: number | null = null;
  #since = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#rate = new Rate(clock);
  }

  /** @param end where the phase ends; null: not known */
  enter(phase: RebuildPhase, from: Offset = 0, end: Offset | null = null): void {
    const goesOn = phase === this.#phase && from >= this.#from;
    this.#phase = phase;
    this.#goal = this.#end = end;
    if (goesOn) return;
    this.#what = '';
    this.#from = this.#at = from;
    this.#since = this.#clock.monotonic();
  }

  /** Rows of the base have been written: so many by now, of about so many. */
  loaded(batch: SinkBatch, { rows, estimatedRows }: LoadProgress): void {
    const goal = this.#goal;
    if (this.#phase !== 'loading') this.enter('loading', rows - batch.records);
    this.#at = rows;
    this.#end = estimatedRows;
    this.#goal = goal;
    for (const step of batch.steps) {
      const table = step.kind === 'rows' ? step.tables.at(-1) : undefined;
      if (table !== undefined) this.#what = tableName(table.schema);
    }
    this.#count(batch.records);
  }

  /** A batch of the history has been written. */
  applied(batch: SinkBatch): void {
    if (this.#phase === 'loading') this.enter('catching up', batch.after, this.#goal);
    this.#at = Math.max(this.#at, batch.to);
    this.#count(batch.records);
  }

  /** @param done of `of`, in whatever the step counts */
  stepped(step: string, done: number, of: number): void {
    if (step !== this.#what) this.#since = this.#clock.monotonic();
    this.#what = step;
    this.#from = 0;
    this.#at = done;
    this.#end = of;
  }

  view(): ProgressView {
    const whole = this.#end === null ? 0 : this.#end - this.#from;
    const part = whole <= 0 ? null : Math.min(1, Math.max(0, (this.#at - this.#from) / whole));
    const seconds = (this.#clock.monotonic() - this.#since) / 1000;
    return {
      phase: this.#phase,
      what: this.#what,
      rows: this.#rows,
      rowsPerSecond: this.#rate.perSecond(),
      part,
      etaSeconds: part === null || part < LEAST_PART ? null : Math.round((seconds * (1 - part)) / part),
    };
  }

  #count(rows: number): void {
    this.#rows += rows;
    this.#rate.add(rows);
  }
}
