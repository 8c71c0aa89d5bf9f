/** One result of `check`: what is wrong (or worth knowing), and the statement or setting that mends it. */
export interface Finding {
  readonly severity: 'error' | 'warning' | 'ok';
  /** Stable, for scripts: `wal-level`, `replica-identity`, ... */
  readonly code: string;
  readonly what: string;
  /** The statement to run or the line to change; '' for `ok`. */
  readonly remedy: string;
  readonly table?: string;
}
