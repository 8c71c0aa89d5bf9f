/** What a verification is asked for, and what it tells. */
import type { Offset } from '../../contracts/offset.ts';
import type { Sides } from './compare.ts';
import type { ReadRate } from './pace.ts';

export interface VerifyRequest {
  /** Patterns of the tables; empty: all that the sink mirrors. */
  readonly tables: readonly string[];
  /** `source`: source = log = sink. `log`: log = sink only, and the source is not read. */
  readonly against: 'log' | 'source';
  /** Rewrite what differs at the sink; copy tables again whose log differs from the source. */
  readonly repair: boolean;
  /** How fast the source, and the sink, may each be read; null: as fast as they give. */
  readonly rate: ReadRate | null;
}

/** A row that differs, in one column of it. Values as canonical text, cut where they are long; null: SQL NULL. */
export interface WrongColumn {
  readonly column: string;
  readonly expected: string | null;
  readonly found: string | null;
}

/**
 * `missing`: expected, and not there. `extra`: there, and not expected. `changed`: other values. `count`: there, but not as
 * often as expected (a row of a keyless table, or a key that stands twice).
 */
export type WrongKind = 'missing' | 'extra' | 'changed' | 'count';

export interface Difference {
  readonly kind: WrongKind;
  /** `id=7`; of a keyless table the row itself. */
  readonly key: string;
  readonly columns: readonly WrongColumn[];
  /** How often the row stands where. */
  readonly counts: { readonly expected: number; readonly found: number };
  /** `still`: it differed when it was looked at again, at a later moment. `once`: it no longer did, or was not looked at again. */
  readonly seen: 'still' | 'once';
  /** Offset at which it was seen last. */
  readonly offset: Offset;
  readonly repaired: boolean;
}

/** Two sides of one table. */
export interface Comparison {
  readonly sides: Sides;
  /** Why they were not compared; null: they were. */
  readonly skipped: string | null;
  /** The moment: where the sink stood; up to where the source was seen. */
  readonly offset: Offset;
  /** The source position there, as the source prints it; null: not known. */
  readonly position: string | null;
  readonly rows: { readonly expected: number; readonly found: number };
  readonly buckets: number;
  /** Those of them whose sums differed. */
  readonly differingBuckets: number;
  /** Rows that differ. */
  readonly differences: number;
  /** Of them: looked at again at a later moment, and still so. */
  readonly still: number;
  readonly repaired: number;
  /** Rows that are wrong at the sink, and known to be: it refused them, and they are open dead letters. */
  readonly deadLetters: number;
  /** Rows that the sink does not have and need not: they may expire there. */
  readonly expired: number;
  /** Rows that the log has dropped, since it keeps a window of the table. */
  readonly outside: number;
  /** The first of the differences. */
  readonly first: readonly Difference[];
}

export interface TableReport {
  readonly table: string;
  readonly tableId: number;
  readonly comparisons: readonly Comparison[];
  /** It is copied again, since its log differed from the source. */
  readonly recopied: boolean;
  readonly seconds: number;
}

/**
 * `different`: a row differs that was not repaired. `incomplete`: none does, and something that was asked for was not
 * compared. `equal`: all was compared, and is the same.
 */
export type VerifyOutcome = 'equal' | 'different' | 'incomplete';

export interface VerifyReport {
  readonly sink: string;
  readonly source: string;
  readonly against: VerifyRequest['against'];
  readonly outcome: VerifyOutcome;
  readonly seconds: number;
  readonly tables: readonly TableReport[];
}

export interface VerifyProgress {
  readonly table: string;
  /** Of the tables, from 1 on. */
  readonly index: number;
  readonly tables: number;
  readonly phase: 'opening' | 'log' | 'rows' | 'differences' | 'again' | 'repair' | 'copy';
  /** Rows read in this phase, at all places. */
  readonly rows: number;
  /** Of so many; null: not known yet. */
  readonly ofRows: number | null;
  readonly etaSeconds: number | null;
}

export type VerifyEvent = { readonly progress: VerifyProgress } | { readonly report: VerifyReport };
