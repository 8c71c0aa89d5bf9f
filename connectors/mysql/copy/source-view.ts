/**
 * Which transactions a snapshot shows, and where the stream must come to for the log to have all of it. Pure.
 *
 * MySQL with GTIDs. A transaction is written to the binlog, then committed by its engine (from there on snapshots show it),
 * then its GTID goes into `gtid_executed`; with `binlog_order_commits=OFF` in no common order. So what is in `gtid_executed`
 * before the snapshot is taken is in the snapshot, and what is in the snapshot is in the binlog before the end that is read
 * after it. What is in between may be in it or not. Only when nothing was under way (no GTID is owned after the
 * snapshot, and `gtid_executed` has not changed) is it known of every transaction.
 *
 * MariaDB commits in the engine and notes the place in the binlog under one lock, which START TRANSACTION WITH CONSISTENT
 * SNAPSHOT takes, too: `binlog_snapshot_file` and `_position` tell the place of exactly that snapshot. Elsewhere a lock of the
 * table, under which nobody has changed it without having committed, makes any place of its duration such a place.
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Position } from '../../../contracts/position.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';
import type { ChunkSight } from '../../relational/spooled-chunk.ts';
import type { ServerPlace } from '../catalog/catalog-reading.ts';
import type { GtidSet } from '../gtid-set.ts';
import { decodePlace, parseBinlogFile, type BinlogPlace } from '../position.ts';

/** What is certainly seen. */
export type Seen =
  /** Transactions that end within this set of GTIDs. */
  | { readonly executed: GtidSet }
  /** What ends up to there. Of another server, whose log this one's goes on from: everything. */
  | { readonly upTo: ServerPlace };

export interface SourceView {
  /** As positions name it. */
  readonly server: string;
  readonly seen: Seen;
  /** All that is seen ends up to there. */
  readonly end: ServerPlace;
  /** As {@link end}, where it is known by GTIDs, too: a stream may stand in a newer file, or at another server. */
  readonly endGtids: GtidSet | string | null;
  /** What is not certainly seen is certainly not. */
  readonly isExact: boolean;
}

export function seesTransaction(view: SourceView, { position }: Pick<TransactionEntry, 'position'>): boolean {
  const place = decodePlace(position);
  if ('executed' in view.seen) return place.flavor === 'mysql' && place.executed.isSubsetOf(view.seen.executed);
  return place.server !== view.server || comparePlaces(place, view.seen.upTo) <= 0;
}

/**
 * True where it was written to the binlog behind the end that was read after the snapshot. Of a transaction in several batches
 * only the last part says where it stands.
 */
export function lacksTransaction({ server, end }: Pick<SourceView, 'server' | 'end'>, { position, commits }: Pick<TransactionEntry, 'position' | 'commits'>): boolean {
  if (!commits) return false;
  const place = decodePlace(position);
  return place.server === server && place.file !== '' && comparePlaces(place, end) > 0;
}

export function passedBy(view: SourceView, position: Position): boolean {
  return hasPassed(view, decodePlace(position));
}

export function sightOf(view: SourceView): ChunkSight {
  return {
    sees: (transaction) => seesTransaction(view, transaction),
    lacks: (transaction) => lacksTransaction(view, transaction),
    passedBy: (position) => passedBy(view, position),
  };
}

export function hasPassed({ server, end, endGtids }: Pick<SourceView, 'server' | 'end' | 'endGtids'>, place: BinlogPlace): boolean {
  if (place.server === server && place.file !== '' && comparePlaces(place, end) >= 0) return true;
  if (endGtids === null || !place.isByGtid) return false;
  // Of MariaDB only the very same place: numbers of a domain may go back.
  return typeof endGtids === 'string' ? place.flavor === 'mariadb' && place.executed.toString() === endGtids : place.flavor === 'mysql' && endGtids.isSubsetOf(place.executed);
}

/** Of one server. @throws TidemarkError `POSITION_SYNTAX` */
export function comparePlaces(a: ServerPlace, b: ServerPlace): number {
  return parseBinlogFile(a.file).number - parseBinlogFile(b.file).number || a.offset - b.offset;
}

/** @throws TidemarkError `MYSQL_PROTOCOL` where a server gives none */
export function placeOf(file: string | null | undefined, offset: string | null | undefined): ServerPlace {
  const place = { file: file ?? '', offset: Number(offset ?? NaN) };
  if (place.file === '' || !Number.isSafeInteger(place.offset)) throw new TidemarkError('MYSQL_PROTOCOL', 'the server does not say where its binlog ends');
  return place;
}
