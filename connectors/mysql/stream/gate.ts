/**
 * Where a stream begins, and which transactions of what the server then sends are news. Where XA transactions are prepared,
 * it begins before the log's position, at the first of them. Pure.
 */
import type { GtidEvent, MariadbGtidEvent } from '../binlog/gtid-events.ts';
import { GtidSet } from '../gtid-set.ts';
import { formatMariadbGtid, type MariadbGtid } from '../mariadb-gtid.ts';
import { parseBinlogFile, type BinlogPlace, type MysqlPlace } from '../position.ts';
import type { PreparedXa } from '../prepared-xa.ts';
import type { DumpStart } from '../wire/dump.ts';
import { gtidText, type Fate } from './group.ts';

export interface Gate {
  /** Of a transaction that begins at that place of the server. */
  fate(gtid: GtidEvent | null, mariadb: MariadbGtidEvent | null, file: string, offset: number): Fate;
}

export interface Resume {
  readonly start: DumpStart;
  readonly gate: Gate;
}

/** `isByGtid`: the server finds places by GTIDs. `place.prepared` can be read at the server. */
export function resumeAt(place: BinlogPlace, isByGtid: boolean): Resume {
  const prepared = place.prepared ?? [];
  if (place.flavor === 'mariadb') {
    const [first] = prepared;
    const last = first === undefined ? place.executed.toString() : first.after;
    return { start: { by: 'domains', last }, gate: first === undefined ? ALL : new DomainGate(place.executed.all, first.after, prepared) };
  }
  if (place.isByGtid && isByGtid) {
    return { start: { by: 'gtids', executed: withoutPrepared(place).encode() }, gate: prepared.length === 0 ? ALL : new SetGate(prepared) };
  }
  const [first] = prepared;
  if (first === undefined) return { start: { by: 'file', file: place.file, offset: place.offset }, gate: ALL };
  return { start: { by: 'file', file: first.file, offset: first.offset }, gate: new FileGate(place, prepared) };
}

/** What has been executed, but for what is only prepared: its rows are wanted again. */
function withoutPrepared({ executed, prepared = [] }: MysqlPlace): GtidSet {
  return prepared.length === 0 ? executed : executed.subtract(GtidSet.parse(prepared.map(({ gtid }) => gtid).join(',')));
}

const ALL: Gate = { fate: () => 'take' };

/** The server sends what is not in the set it was given. */
class SetGate implements Gate {
  readonly #wanted: Set<string>;

  constructor(prepared: readonly PreparedXa[]) {
    this.#wanted = new Set(prepared.map(({ gtid }) => gtid));
  }

  fate(gtid: GtidEvent | null): Fate {
    return this.#wanted.size > 0 && this.#wanted.delete(gtidText(gtid, null)) ? 'prepared' : 'take';
  }
}

class FileGate implements Gate {
  readonly #place: { readonly number: number; readonly offset: number };
  readonly #wanted: Set<string>;
  #isPassed = false;

  constructor(place: BinlogPlace, prepared: readonly PreparedXa[]) {
    this.#place = { number: parseBinlogFile(place.file).number, offset: place.offset };
    this.#wanted = new Set(prepared.map(({ file, offset }) => `${file}:${offset}`));
  }

  fate(_gtid: GtidEvent | null, _mariadb: MariadbGtidEvent | null, file: string, offset: number): Fate {
    if (this.#isPassed) return 'take';
    const { number } = parseBinlogFile(file);
    this.#isPassed = number > this.#place.number || (number === this.#place.number && offset >= this.#place.offset);
    if (this.#isPassed) return 'take';
    return this.#wanted.has(`${file}:${offset}`) ? 'prepared' : 'skip';
  }
}

/** Numbers of a domain may go back; that the position's own transaction of it comes by, never does. */
class DomainGate implements Gate {
  readonly #wanted: Set<string>;
  /** By domain: the last transaction that the log has, until it has come by. */
  readonly #ahead: Map<number, string>;

  constructor(executed: readonly MariadbGtid[], after: string, prepared: readonly PreparedXa[]) {
    this.#wanted = new Set(prepared.map(({ gtid }) => gtid));
    const begun = new Set(after.split(','));
    this.#ahead = new Map(executed.map((gtid) => [gtid.domain, formatMariadbGtid(gtid)] as const).filter(([, text]) => !begun.has(text)));
  }

  fate(_gtid: GtidEvent | null, mariadb: MariadbGtidEvent | null): Fate {
    if (mariadb === null || this.#ahead.size === 0) return 'take';
    const { domain } = mariadb.gtid;
    const last = this.#ahead.get(domain);
    if (last === undefined) return 'take';
    const text = formatMariadbGtid(mariadb.gtid);
    if (text === last) this.#ahead.delete(domain);
    return this.#wanted.has(text) ? 'prepared' : 'skip';
  }
}
