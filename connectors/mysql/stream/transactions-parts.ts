/** What reading transactions needs, and asks of the stream that it is part of. */
import type { Position } from '../../../contracts/position.ts';
import type { BinlogHandler } from '../binlog/binlog-handler.ts';
import type { PositionWriter } from '../position-writer.ts';
import type { PreparedXa } from '../prepared-xa.ts';
import type { SchemaTracking } from '../schema/schema-tracking.ts';
import type { Gate } from './gate.ts';
import type { RolledBack } from './group.ts';
import type { PreparedTransactions } from './kept-rows.ts';
import type { Outlet } from './outlet.ts';

/** What is called from within the handling of an event, but for `readAgain`. */
export interface TransactionsHost {
  /** The server sends: it has accepted the reader. */
  heard(): void;
  /** Nothing is open, and the position has moved, perhaps without a record. */
  boundary(): void;
  /** Nothing more of the binlog is handled until `work` is done. */
  hold(work: () => Promise<void>): void;
  /** Reads the events of a prepared transaction once more. */
  readAgain(xa: PreparedXa, handler: BinlogHandler): Promise<void>;
}

export interface TransactionsParts {
  readonly tracking: SchemaTracking;
  readonly outlet: Outlet;
  readonly positions: PositionWriter;
  /** The position of the log; empty: it has none. */
  readonly named: Position;
  /** As positions name it, and its server id. */
  readonly server: string;
  readonly serverId: number;
  /** The server gives its transactions GTIDs. */
  readonly isByGtid: boolean;
  readonly gate: Gate;
  readonly prepared: PreparedTransactions;
  readonly rolledBack: RolledBack;
  readonly host: TransactionsHost;
}
