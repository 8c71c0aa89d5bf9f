/** The transaction of the binlog that is being read: from its GTID event to what ends it. */
import type { BatchMark } from '../../../contracts/change-batch.ts';
import type { GtidEvent, MariadbGtidEvent } from '../binlog/gtid-events.ts';
import { formatUuid } from '../gtid-set.ts';
import { formatMariadbGtid } from '../mariadb-gtid.ts';
import type { PendingRecord } from '../schema/pending-record.ts';
import type { KeptRows } from './kept-rows.ts';

/** `take`: it is news. `prepared`: an XA transaction that the log's position names, whose rows are wanted. `skip`: the log has it. */
export type Fate = 'take' | 'prepared' | 'skip';

/** Rows events of a transaction, by their number in it, from `first` up to, not including, `after`. */
export interface EventRange {
  readonly first: number;
  readonly after: number;
}

export interface Savepoint {
  readonly name: string;
  /** The number of the next rows event. */
  readonly event: number;
  /** Where the transaction stood, and in which batch; null: it had no record. */
  readonly mark: BatchMark | null;
  readonly batch: number;
  /** So many schema and control records had been written. */
  readonly written: number;
}

export class Group {
  readonly fate: Fate;
  /** Where it begins. */
  readonly file: string;
  readonly offset: number;
  readonly gtid: GtidEvent | null;
  readonly mariadb: MariadbGtidEvent | null;
  /** Microseconds since 1970. */
  readonly commitTime: number;
  /** More than one statement: something at its end says what becomes of it. */
  isOpen = false;
  /** Where the batch stood when its first record was added, and in which batch that was; null: it has none. */
  base: BatchMark | null = null;
  batch = 0;
  /** Rows events so far. */
  events = 0;
  /** Schema and control records that were written in it: they stay when it is rolled back. */
  readonly written: PendingRecord[] = [];
  savepoints: Savepoint[] = [];
  /** Rows events that are known to be rolled back within it. */
  dropped: readonly EventRange[] = [];
  /** Of an XA transaction: its rows, which are not in the log before its commit. */
  kept: KeptRows | null = null;

  constructor(fate: Fate, file: string, offset: number, commitTime: number, gtid: GtidEvent | null, mariadb: MariadbGtidEvent | null) {
    this.fate = fate;
    this.file = file;
    this.offset = offset;
    this.commitTime = commitTime;
    this.gtid = gtid;
    this.mariadb = mariadb;
  }

  /** For people. */
  get place(): string {
    return `${this.file}:${this.offset}`;
  }

  /** The same when it is sent again, and of no other transaction. */
  get name(): string {
    return `${gtidText(this.gtid, this.mariadb)}@${this.place}@${this.commitTime}`;
  }

  isDropped(event: number): boolean {
    return this.dropped.length > 0 && this.dropped.some(({ first, after }) => event >= first && event < after);
  }

  /** The newest savepoint of that name; those set after it are gone. */
  backTo(name: string): Savepoint | null {
    const at = this.savepoints.findLastIndex((savepoint) => savepoint.name === name);
    if (at < 0) return null;
    this.savepoints.length = at + 1;
    return this.savepoints[at] ?? null;
  }

  /** A savepoint of a name that exists replaces it. */
  setSavepoint(savepoint: Savepoint): void {
    this.savepoints = this.savepoints.filter(({ name }) => name !== savepoint.name);
    this.savepoints.push(savepoint);
  }
}

/** Transactions that are remembered as rolled back. */
const MAX_REMEMBERED = 1_000;

/**
 * Which rows of which transactions are rolled back by their own end. A transaction that is too large to be held until its
 * end is in the log already when it turns out to be rolled back: the stream then fails, the log cuts it off, and the
 * next stream knows from here what to leave out. Outlives streams.
 */
export class RolledBack {
  readonly #events = new Map<string, readonly EventRange[]>();

  /** Of the transaction that begins where the group does. */
  of(group: Pick<Group, 'name'>): readonly EventRange[] {
    return this.#events.size === 0 ? NONE : (this.#events.get(group.name) ?? NONE);
  }

  add({ name }: Pick<Group, 'name'>, range: EventRange): void {
    const known = this.of({ name });
    this.#events.delete(name);
    this.#events.set(name, [...known, range]);
    const [oldest] = this.#events.keys();
    if (this.#events.size > MAX_REMEMBERED && oldest !== undefined) this.#events.delete(oldest);
  }

  /** The transaction is done. */
  forget(group: Pick<Group, 'name'>): void {
    if (this.#events.size > 0) this.#events.delete(group.name);
  }
}

const NONE: readonly EventRange[] = [];

/** `uuid:tag:number` or `0-1-77`; '' where it has none. */
export function gtidText(gtid: GtidEvent | null, mariadb: MariadbGtidEvent | null): string {
  if (mariadb !== null) return formatMariadbGtid(mariadb.gtid);
  if (gtid === null || gtid.uuid === null) return '';
  const uuid = formatUuid(gtid.uuid, 0);
  return gtid.tag === '' ? `${uuid}:${gtid.number}` : `${uuid}:${gtid.tag}:${gtid.number}`;
}
