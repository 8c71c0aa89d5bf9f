import type { SourceConfig } from '../../../contracts/config.ts';
import type { Clock, Logger } from '../../../contracts/runtime.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { ColumnAction } from '../../../contracts/types/postgres-copy-text.ts';
import type { WalIdentity } from '../position.ts';
import type { RowWidth } from '../stream/row-width.ts';
import type { Session, WireConnection } from '../session.ts';
import type { HostAddress } from '../../../contracts/types/postgres-address.ts';

/** A table as the catalog shows it now, with what a copy must know of it. */
export interface DescribedTable {
  /** As the stream would emit it; table id and version 0. Its columns are the list to copy, in order. */
  readonly schema: TableSchema;
  /** One for each column of the schema. */
  readonly actions: readonly ColumnAction[];
  /** Tells the rows that may hold an out-of-line value; null: the table never does, or rows come whole anyhow. */
  readonly width: RowWidth | null;
  readonly partitioned: boolean;
  /** Changes when rows are rewritten, truncated, or partitions come and go. */
  readonly storage: string;
}

/** What the connector gives its copier. */
export interface CopierDeps {
  readonly config: SourceConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The slot that the stream reads. */
  readonly slot: string;
  /** A session with the canonical settings; the caller disposes it. Aborting ends it. */
  open(signal: AbortSignal): Promise<Session>;
  /** One more connection to a host, for a replication session; nothing is connected yet (Endpoint.wire). */
  wire(host: HostAddress): Promise<WireConnection>;
  /** The tables of these OIDs (sourceTableId); those that are gone are left out. Runs in the session's transaction. */
  describe(session: Session, sourceTableIds: readonly string[]): Promise<DescribedTable[]>;
  /** System identifier and timeline of the server behind the session. */
  identity(session: Session): Promise<WalIdentity>;
  /** Canonical value to its hash as hexadecimal text. */
  hash(value: Uint8Array): Buffer;
}
