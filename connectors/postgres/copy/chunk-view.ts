import type { Position } from '../../../contracts/position.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';
import type { ChunkSight } from '../../relational/spooled-chunk.ts';
import { identityOfPosition, lsnOfPosition, type Lsn } from '../position.ts';
import type { Snapshot } from './xid-snapshot.ts';

/** How a snapshot stands to the stream. */
export interface ChunkView {
  readonly systemId: string;
  /** What the snapshot sees: by transaction id, or everything up to an LSN (a standby, an exported snapshot). */
  readonly sees: { readonly snapshot: Snapshot } | { readonly upTo: Lsn };
  /** Everything that the snapshot sees lies before this LSN. */
  readonly end: Lsn;
}

/** True when the snapshot sees a transaction of the stream. */
export function seesTransaction(view: ChunkView, transaction: TransactionEntry): boolean {
  if ('snapshot' in view.sees) return view.sees.snapshot.sees(transaction.xid);
  return lsnOfPosition(transaction.position) <= view.sees.upTo;
}

/** Transaction ids tell exactly; of an LSN, what ends behind all that the snapshot can see. */
export function lacksTransaction(view: ChunkView, transaction: TransactionEntry): boolean {
  if ('snapshot' in view.sees) return !view.sees.snapshot.sees(transaction.xid);
  return transaction.commits && lsnOfPosition(transaction.position) > view.end;
}

/** Never true for a stream from another system, which the stream itself finds out and says. */
export function passedBy(view: ChunkView, position: Position): boolean {
  return identityOfPosition(position).systemId === view.systemId && lsnOfPosition(position) >= view.end;
}

export function sightOf(view: ChunkView): ChunkSight {
  return {
    sees: (transaction) => seesTransaction(view, transaction),
    lacks: (transaction) => lacksTransaction(view, transaction),
    passedBy: (position) => passedBy(view, position),
  };
}
