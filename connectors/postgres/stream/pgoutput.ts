/**
 * The logical replication messages of pgoutput (PostgreSQL documentation, "Logical Replication Message Formats"; streaming
 * and two-phase off) into record batches: straight from the socket's buffer into the batch's.
 */
import type { BatchBuilder } from '../../../contracts/change-batch.ts';
import { encodeMessage } from '../../../contracts/message.ts';
import { Op } from '../../../contracts/op.ts';
import { readU32 } from '../../../contracts/record.ts';
import { protocolError } from '../errors.ts';
import { lsnOf, type Lsn, type PositionWriter } from '../position.ts';
import { decodeRelation, FieldReader, type Relation } from './relation.ts';
import type { PendingRecord, Route } from './route.ts';
import { RowMessage, RowWriter } from './row-writer.ts';

/** What the decoder asks of the stream around it. */
export interface DecoderHost {
  readonly builder: BatchBuilder;
  readonly positions: PositionWriter;
  /** The transaction id of 32 bits as one of 64. */
  widen(xid: number): number;
  /** Called when a transaction has ended, or a message outside of one, at `end`; `records`: it has any in the log. */
  committed(end: Lsn, commitTime: number, records: boolean): void;
  typeName(oid: number, namespace: string, name: string): void;
  /** True for a message that is not for the log (a heartbeat of our own). */
  isOwnMessage(prefix: string): boolean;
}

/** Microseconds from 1970 to 2000. */
const EPOCH_2000 = 946_684_800_000_000;
const TWO_32 = 0x1_0000_0000;
const EMPTY = Buffer.alloc(0);
/** Final LSN, commit time, xid. */
const BEGIN_BYTES = 20;
/** Flags, commit LSN, end LSN, commit time. */
const COMMIT_BYTES = 25;
const Kind = {
  begin: 0x42, commit: 0x43, origin: 0x4f, relation: 0x52, type: 0x59, truncate: 0x54, message: 0x4d,
} as const;

export class PgoutputDecoder {
  readonly #host: DecoderHost;
  readonly #builder: BatchBuilder;
  readonly #routes = new Map<number, Route>();
  readonly #rows: RowWriter;
  /** Transactions that committed below this are in the log already. */
  readonly #skipBelow: Lsn;
  #lastRoute: Route | null = null;
  #inTransaction = false;
  #skipping = false;
  #begun = false;
  #xid = 0;
  #commitTime = 0;
  #finalLsn: Lsn = 0;
  #origin = '';

  constructor(host: DecoderHost, skipBelow: Lsn) {
    this.#host = host;
    this.#builder = host.builder;
    this.#rows = new RowWriter(host.builder);
    this.#skipBelow = skipBelow;
  }

  /** Of the transaction that is open, or was last; 32 bits, 0 before the first. */
  get xid(): number {
    return this.#xid;
  }

  /** Between Begin and Commit. */
  /** Of the transaction that is open, or was last, by the server's clock: microseconds since 1970. */
  get commitTime(): number {
    return this.#commitTime;
  }

  /** Between Begin and Commit. */
  get inTransaction(): boolean {
    return this.#inTransaction;
  }

  route(oid: number): Route | undefined {
    return this.#routes.get(oid);
  }

  routes(): IterableIterator<Route> {
    return this.#routes.values();
  }

  setRoute(route: Route): void {
    this.#routes.set(route.relation.oid, route);
    this.#lastRoute = null;
  }

  /**
   * One message. `sentAt`: the server's clock, microseconds since 1970. Answers a Relation that must be resolved, and
   * its route set, before the next message; else null. For a row message the answer means that nothing was written: it
   * is to be decoded once more when the relation is resolved.
   * @throws TidemarkError `POSTGRES_PROTOCOL` for anything that is not a message of this protocol in its place
   */
  decode(bytes: Buffer, start: number, end: number, sentAt: number): Relation | null {
    if (start >= end) throw protocolError('an empty message');
    const kind = bytes[start] as number;
    const at = start + 1;
    switch (kind) {
      case RowMessage.insert: case RowMessage.update: case RowMessage.delete:
        return this.#row(kind, bytes, at, end);
      case Kind.begin:
        this.#begin(bytes, at, end);
        return null;
      case Kind.commit:
        this.#commit(bytes, at, end);
        return null;
      case Kind.relation:
        return decodeRelation(bytes, at, end);
      case Kind.origin:
        this.#setOrigin(new FieldReader(bytes, at, end));
        return null;
      case Kind.type:
        this.#type(new FieldReader(bytes, at, end));
        return null;
      case Kind.truncate:
        this.#truncate(new FieldReader(bytes, at, end));
        return null;
      case Kind.message:
        this.#message(new FieldReader(bytes, at, end), sentAt);
        return null;
      default:
        throw protocolError(`unknown message kind ${kind}`);
    }
  }

  /** Records that belong to a route but to no row of it, in the open transaction. */
  writePending(route: Route): void {
    if (this.#skipping || route.before.length === 0) return;
    this.#ensureBegun();
    for (const record of route.before.splice(0)) {
      this.#builder.record(record.op, 0, record.tableId, record.version, EMPTY, EMPTY, record.payload);
    }
  }

  /** A row of the table was too large to be read; `record` says so in the log. */
  writeRecord(record: PendingRecord): void {
    if (this.#skipping) return;
    this.#requireTransaction('a row');
    this.#ensureBegun();
    this.#builder.record(record.op, 0, record.tableId, record.version, EMPTY, EMPTY, record.payload);
  }

  #begin(bytes: Buffer, at: number, end: number): void {
    if (this.#inTransaction) throw protocolError('a transaction begins inside another');
    if (end - at !== BEGIN_BYTES) throw protocolError('a begin has another length');
    this.#finalLsn = lsnAt(bytes, at);
    this.#commitTime = timeAt(bytes, at + 8);
    this.#xid = readU32(bytes, at + 16);
    this.#inTransaction = true;
    this.#begun = false;
    this.#origin = '';
    this.#skipping = this.#finalLsn < this.#skipBelow;
  }

  /** A transaction that has nothing for the log is not begun there. */
  #ensureBegun(): void {
    if (this.#begun) return;
    this.#builder.begin('source', this.#host.widen(this.#xid), this.#commitTime, this.#origin);
    this.#begun = true;
  }

  #commit(bytes: Buffer, at: number, messageEnd: number): void {
    this.#requireTransaction('a commit');
    if (messageEnd - at !== COMMIT_BYTES) throw protocolError('a commit has another length');
    if (bytes[at] !== 0) throw protocolError('a commit has flags that are not known');
    const commitLsn = lsnAt(bytes, at + 1);
    const end = lsnAt(bytes, at + 9);
    if (commitLsn !== this.#finalLsn) throw protocolError('a commit does not belong to its begin');
    if (end <= commitLsn) throw protocolError('a commit ends before it begins');
    const records = this.#begun;
    this.#inTransaction = false;
    this.#begun = false;
    if (records) this.#builder.commit(this.#host.positions.at(end));
    if (!this.#skipping) this.#host.committed(end, this.#commitTime, records);
    this.#skipping = false;
  }

  #setOrigin(reader: FieldReader): void {
    this.#requireTransaction('an origin');
    lsn(reader);
    this.#origin = reader.name();
    reader.finish();
    if (this.#begun) this.#builder.setOrigin(this.#origin);
  }

  #type(reader: FieldReader): void {
    const oid = reader.u32();
    const namespace = reader.name();
    this.#host.typeName(oid, namespace === '' ? 'pg_catalog' : namespace, reader.name());
    reader.finish();
  }

  #truncate(reader: FieldReader): void {
    this.#requireTransaction('a truncate');
    const count = reader.u32();
    reader.u8();
    for (let index = 0; index < count; index++) {
      const route = this.#routeOf(reader.u32());
      if (!route.captured || this.#skipping) continue;
      this.#open(route);
      this.#builder.record(Op.truncate, 0, route.tableId, route.version, EMPTY, EMPTY, EMPTY);
    }
    reader.finish();
  }

  #message(reader: FieldReader, sentAt: number): void {
    const flags = reader.u8();
    if (flags > 1) throw protocolError('a logical message has flags that are not known');
    const at = lsn(reader);
    const prefix = reader.name();
    const content = reader.slice(reader.u32());
    reader.finish();
    if (flags === 1) this.#requireTransaction('a transactional message');
    else if (this.#inTransaction) throw protocolError('a message that is not transactional inside a transaction');
    if (flags === 1) {
      if (this.#skipping || this.#host.isOwnMessage(prefix)) return;
      this.#ensureBegun();
      this.#builder.record(Op.message, 0, 0, 0, EMPTY, EMPTY, encodeMessage(prefix, content));
      return;
    }
    // The LSN of a message is the end of its record, where that of a commit may begin: nothing above it may be named.
    if (at <= this.#skipBelow) return;
    const own = this.#host.isOwnMessage(prefix);
    if (!own) {
      this.#builder.begin('source', 0, sentAt);
      this.#builder.record(Op.message, 0, 0, 0, EMPTY, EMPTY, encodeMessage(prefix, content));
      this.#builder.commit(this.#host.positions.at(at));
    }
    this.#host.committed(at, sentAt, !own);
  }

  /** Answers the row's relation if it must be looked at again first: then the same message is to be decoded again. */
  #row(kind: number, bytes: Buffer, at: number, end: number): Relation | null {
    const route = this.#rowRoute(bytes, at, end);
    const tuples = this.#rows;
    if (kind === RowMessage.insert) tuples.readInsert(route, bytes, at + 4, end);
    else if (kind === RowMessage.update) tuples.readUpdate(route, bytes, at + 4, end);
    else tuples.readDelete(route, bytes, at + 4, end);
    if (!route.captured || this.#skipping) return null;
    if (kind !== RowMessage.delete && tuples.hasUnknownLabel(route)) return route.relation;
    this.#open(route);
    if (kind === RowMessage.insert) tuples.writeInsert(route);
    else if (kind === RowMessage.update) tuples.writeUpdate(route);
    else tuples.writeDelete(route);
    return null;
  }

  /** Before the first record of a route in this place: its transaction, and what must stand before it. */
  #open(route: Route): void {
    if (!this.#begun) this.#ensureBegun();
    if (route.before.length > 0) this.writePending(route);
  }

  #rowRoute(bytes: Buffer, start: number, end: number): Route {
    if (start + 5 > end) throw protocolError('a row message ends inside its header');
    if (!this.#inTransaction) throw protocolError('a row outside a transaction');
    const oid = readU32(bytes, start);
    const last = this.#lastRoute;
    return last !== null && last.relation.oid === oid ? last : this.#routeOf(oid);
  }

  #routeOf(oid: number): Route {
    const route = this.#routes.get(oid);
    if (route === undefined) throw protocolError(`a row of relation ${oid}, which was not described`);
    this.#lastRoute = route;
    return route;
  }

  #requireTransaction(what: string): void {
    if (!this.#inTransaction) throw protocolError(`${what} outside a transaction`);
  }
}

function lsn(reader: FieldReader): Lsn {
  const high = reader.u32();
  return lsnOf(high, reader.u32());
}

/** Microseconds since 1970 of a time that is sent as microseconds since 2000. */
export function timeAt(bytes: Buffer, at: number): number {
  const time = (readU32(bytes, at) | 0) * TWO_32 + readU32(bytes, at + 4) + EPOCH_2000;
  if (!Number.isSafeInteger(time)) throw protocolError('a time is beyond every calendar');
  return time;
}

export function lsnAt(bytes: Buffer, at: number): Lsn {
  return lsnOf(readU32(bytes, at), readU32(bytes, at + 4));
}
