import { CATALOGUE, type ErrorCode } from './catalogue.ts';

/** Where a failure happened. Every field that is known is filled in. */
export interface ErrorWhere {
  readonly source?: string;
  readonly sink?: string;
  readonly table?: string;
  /** Of a row, for people: the values of its key columns. */
  readonly key?: string;
  readonly offset?: number;
  /** The source position as its connector prints it. */
  readonly position?: string;
  readonly file?: string;
  readonly line?: number;
  /** Of a file: its number; of a table: its name. */
  readonly column?: number | string;
}

/**
 * What a caller may do: `auto`: try again by itself, with back-off; `operator`: somebody must change something first;
 * `never`: the same input fails for ever.
 */
export type RetryPolicy = 'auto' | 'operator' | 'never';

export interface ErrorOptions {
  readonly where?: ErrorWhere;
  /** What to do, where it is more exact than the catalogue's text (the statement that mends it). */
  readonly remedy?: string;
  readonly cause?: unknown;
  readonly retry?: RetryPolicy;
}

/** The one error class of Tidemark: a stable code, what happened, where, and what to do. */
export class TidemarkError extends Error {
  override readonly name = 'TidemarkError';
  readonly code: ErrorCode;
  readonly where: ErrorWhere;
  readonly remedy: string;
  readonly retry: RetryPolicy;

  constructor(code: ErrorCode, what: string, options: ErrorOptions = {}) {
    super(what, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.where = options.where ?? {};
    this.remedy = options.remedy ?? CATALOGUE[code].remedy;
    this.retry = options.retry ?? CATALOGUE[code].retry;
  }

  /** The same error with more of its place known; fields already set are kept. */
  at(where: ErrorWhere): TidemarkError {
    return new TidemarkError(this.code, this.message, {
      where: { ...where, ...this.where },
      remedy: this.remedy,
      retry: this.retry,
      cause: this.cause ?? this,
    });
  }
}

/** `error` as a TidemarkError: itself, or wrapped under `code` with itself as the cause. */
export function asTidemarkError(error: unknown, code: ErrorCode, where: ErrorWhere = {}): TidemarkError {
  if (error instanceof TidemarkError) return error.at(where);
  const what = error instanceof Error ? error.message : String(error);
  return new TidemarkError(code, what, { where, cause: error });
}

/** One line for people: `CODE: what (source shop, table public.orders, offset 7). What to do.` */
export function describeError(error: unknown): string {
  if (!(error instanceof TidemarkError)) return error instanceof Error ? error.message : String(error);
  const where = Object.entries(error.where)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
  return `${error.code}: ${error.message}${where === '' ? '' : ` (${where})`}. ${error.remedy}`;
}
