import type { RepairSet } from './copy/session.ts';
import type { RowCompleter } from './stream-feed.ts';

/** Whole rows for one source: completes rows before they enter the log, and names those that a copy must read again. */
export interface RowCompletion extends RowCompleter, RepairSet, AsyncDisposable {}
