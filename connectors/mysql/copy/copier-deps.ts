/** What the connector gives its copier and its snapshots. */
import type { SourceConfig } from '../../../contracts/config.ts';
import type { Clock, Logger } from '../../../contracts/runtime.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { BinlogPlace } from '../position.ts';
import type { Session } from '../session.ts';
import type { ValueOptions } from '../values/value-options.ts';

/** Where the stream stands. */
export interface StreamProgress {
  /** All that ends there has been handed to the hub, and its statements to whoever follows shapes. Null: no stream stands anywhere yet. */
  readonly place: BinlogPlace | null;
  /** Resolves when `place` has moved on, or may have. @throws TidemarkError `ABORTED`; what the stream has ended with */
  moved(signal: AbortSignal): Promise<void>;
}

/** A table as the stream has followed it so far. Another object as soon as a statement has changed its name or its shape. */
export interface FollowedShape {
  readonly schema: TableSchema;
  /** False: its columns are not known for sure just now. */
  readonly isKnown: boolean;
}

export interface CopierDeps {
  readonly config: SourceConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly stream: StreamProgress;
  readonly values: ValueOptions;
  /** The most bytes that the image of a row may have. */
  readonly maxRowBytes: number;
  /** A raw session with the server that the stream comes from; the caller disposes it. Aborting ends it. */
  open(signal: AbortSignal): Promise<Session>;
  /** Null: the log has no such table, or not any more. */
  table(sourceTableId: string): FollowedShape | null;
  /** True: rows of the table may come with columns left out later, so that the whole-row index must know each. */
  isWide(schema: TableSchema): boolean;
  /** Canonical value to its hash as hexadecimal text. */
  hash(value: Uint8Array): Buffer;
}
