import type { Position } from '../../contracts/position.ts';
import { formatUuid, gtidSource, writeNumber, type GtidSet } from './gtid-set.ts';
import { writeMariadbGtid, type MariadbGtid } from './mariadb-gtid.ts';
import { layOut, OFFSET_AT, type BinlogPlace, type LaidOut } from './position.ts';
import type { PreparedXa } from './prepared-xa.ts';

const UUID_BYTES = 16;

/**
 * Follows a binlog and gives the position after each transaction. The bytes are laid out once; a transaction moves a
 * number or two in them, and only a new source, a gap or a new file lays them out anew.
 */
export class PositionWriter {
  #place: BinlogPlace;
  #laidOut: LaidOut;
  /** The source of the last GTID: a server names the same one again and again. */
  readonly #uuid = Buffer.alloc(UUID_BYTES);
  #tag: string | null = null;
  #source = '';

  /** Goes on from there; takes the set of `place` over. */
  constructor(place: BinlogPlace) {
    this.#place = place;
    this.#laidOut = layOut(place, new Map(), new Map());
  }

  get place(): BinlogPlace {
    return this.#place;
  }

  /** Positions from here on are in that file, of that server (of the same one: null). */
  open(file: string, offset: number, server: string | null = null): void {
    this.#place = { ...this.#place, file, offset, server: server ?? this.#place.server };
    this.#layOut();
  }

  /** Positions from here on have the GTIDs, or the file and offset, as their coordinate. */
  countBy(isByGtid: boolean): void {
    if (isByGtid === this.#place.isByGtid) return;
    this.#place = { ...this.#place, isByGtid };
    this.#layOut();
  }

  /**
   * A transaction of MySQL has been executed. `uuid`: 16 bytes at `at`; `tag`: '' for none.
   * @throws TidemarkError `MYSQL_GTID`
   */
  addGtid(uuid: Uint8Array, at: number, tag: string, number: number): void {
    const { executed, flavor } = this.#place;
    if (flavor !== 'mysql') return;
    if (tag !== this.#tag || this.#uuid.compare(uuid, at, at + UUID_BYTES) !== 0) {
      this.#uuid.set(uuid.subarray(at, at + UUID_BYTES));
      this.#source = gtidSource(formatUuid(uuid, at), tag);
      this.#tag = tag;
    }
    const isNext = executed.next(this.#source) === number;
    executed.add(this.#source, number);
    const end = isNext ? this.#laidOut.lastEnds.get(this.#source) : undefined;
    if (end === undefined) this.#layOut();
    else writeNumber(this.#laidOut.bytes, number + 1, end);
  }

  /** A transaction of MariaDB has been executed. */
  addMariadbGtid(gtid: MariadbGtid): void {
    const { executed, flavor } = this.#place;
    if (flavor !== 'mariadb') return;
    executed.set(gtid);
    const entry = this.#laidOut.entries.get(gtid.domain);
    if (entry === undefined) this.#layOut();
    else writeMariadbGtid(this.#laidOut.bytes, gtid, entry);
  }

  /** All that was executed up to here, as the server says it. The set is the writer's from here on. */
  executed(set: GtidSet): void {
    if (this.#place.flavor !== 'mysql') return;
    this.#place = { ...this.#place, executed: set };
    this.#layOut();
  }

  /** XA transactions that are prepared at the positions from here on. */
  setPrepared(prepared: readonly PreparedXa[]): void {
    if (prepared.length === 0 && this.#place.prepared === undefined) return;
    this.#place = { ...this.#place, prepared };
    this.#layOut();
  }

  /** The position with what has been added, at that offset of the file: a copy, the caller's own. */
  at(offset: number): Position {
    writeNumber(this.#laidOut.bytes, offset, OFFSET_AT);
    return Buffer.from(this.#laidOut.bytes);
  }

  #layOut(): void {
    this.#laidOut = layOut(this.#place, new Map(), new Map());
  }
}
