import { TidemarkError } from './errors/error.ts';
import type { Offset } from './offset.ts';

/**
 * What an `h` record says: what the hub itself did to the log. Stored as JSON in the after image; bytes as base64.
 * The state of every table (copying, consistent, stopped) and of every copy is the fold of these (catalog.ts).
 */
export type Control =
  /** A copy of the table begins; records of it below this offset are void for completing rows. */
  | { readonly type: 'copying'; readonly reason: 'first' | 'added' | 'recopy'; readonly copyState: string }
  /** A part of the table has been copied; in the same hub transaction as its rows. `range` is the connector's. */
  | { readonly type: 'chunk'; readonly range: string; readonly rows: number }
  /** The ranges done so far are void (the table was rewritten while it was copied). */
  | { readonly type: 'chunks-void'; readonly why: string; readonly copyState: string }
  /** The copy is complete: the table is consistent from this offset. */
  | { readonly type: 'copied'; readonly rows: number }
  /**
   * The log no longer follows the table; it was last known good at `consistentUntil`. Only a re-copy brings it back;
   * `recopy`: the hub starts one by itself (values were rewritten without row events).
   */
  | { readonly type: 'stopped'; readonly code: string; readonly why: string; readonly consistentUntil: Offset; readonly recopy: boolean }
  /** The table has left the source's configuration. */
  | { readonly type: 'removed' }
  /** The source's changes between the position before and after are not in the log: every table must be re-copied. */
  | { readonly type: 'gap'; readonly why: string };

export type ControlType = Control['type'];

export function encodeControl(control: Control): Buffer {
  return Buffer.from(JSON.stringify(control), 'utf8');
}

const TYPES: ReadonlySet<string> = new Set<ControlType>([
  'copying', 'chunk', 'chunks-void', 'copied', 'stopped', 'removed', 'gap',
]);

/** @throws TidemarkError `RECORD_CORRUPT` for anything that is not a control record of this version. */
export function decodeControl(payload: Uint8Array): Control {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('RECORD_CORRUPT', 'a control record is not JSON', { cause });
  }
  if (!isControl(value)) throw new TidemarkError('RECORD_CORRUPT', 'a control record of unknown type');
  return value;
}

function isControl(value: unknown): value is Control {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string' && TYPES.has(value.type);
}
