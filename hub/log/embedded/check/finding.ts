import type { Offset } from '../../../../contracts/offset.ts';

/**
 * `damage`: bytes are not the ones that were written. `order`: the bytes are whole, and what they say does not fit
 * together. `index`: something that is only kept for speed and is made again.
 */
export type FindingKind = 'damage' | 'order' | 'index';

/** A stretch, both ends included. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** Something in a log that is not as it was written. */
export interface LogFinding {
  readonly source: string;
  readonly kind: FindingKind;
  /** Name of the file in the log's folder. */
  readonly file: string;
  /** Bytes of the file; null: all of it. */
  readonly bytes: Stretch | null;
  /** Offsets whose records are in question; null: none, or of the base as a whole. */
  readonly offsets: Stretch | null;
  /** Names of the tables that it may concern; null: any. */
  readonly tables: readonly string[] | null;
  readonly what: string;
  /** What to do about it. */
  readonly mend: string;
}

/** What the checks of one log share: how far they are, where findings go, and who may stop them. */
export interface CheckContext {
  readonly source: string;
  readonly signal: AbortSignal;
  found(finding: LogFinding): void;
  /** So many bytes more have been read. May be called often. */
  progress(bytes: number): void;
}

/** Tables that are named one by one. */
const SHOWN_TABLES = 20;

/** What mends a finding. @param tables null: any @param isOpen it is the newest segment, which no backup has as it is */
export function mendOf(source: string, kind: FindingKind, file: string, tables: readonly string[] | null, isOpen = false): string {
  if (kind === 'index') return `stop the hub and remove ${file}: it is made again from its segment when the hub starts`;
  if (kind === 'damage' && isOpen) {
    return (
      'stop the hub and restore a whole backup into an empty folder (`tidemark restore BACKUPS --to DATA`): no backup has this file, the newest of the log, as it is; ' +
      `or \`tidemark source recopy ${source} --past-damage\` gives up what the log holds: the hub then copies every table again`
    );
  }
  if (kind === 'damage') {
    return (
      `stop the hub and put ${file} back from a backup (\`tidemark restore BACKUPS --damaged --to DATA\`); without one, ` +
      `\`tidemark source recopy ${source} --past-damage\` gives up what the log holds: the hub then copies every table again`
    );
  }
  if (tables === null || tables.length === 0 || tables.length > SHOWN_TABLES) return `\`tidemark source resync ${source}\` copies every table again`;
  return tables.map((table) => `\`tidemark source recopy ${source} ${table}\``).join(', ');
}

/** Null when it is empty. */
export function stretch(from: Offset, to: Offset): Stretch | null {
  return to < from ? null : { from, to };
}
