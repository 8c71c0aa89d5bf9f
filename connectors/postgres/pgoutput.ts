/**
 * The logical replication messages of pgoutput (PostgreSQL documentation, "Logical Replication Message Formats"; streaming
 * and two-phase off) into record batches: straight from the socket's buffer into the batch's.
 */
import type { BatchBuilder } from '../../contracts/change-batch.ts';
import { encodeMessage } from '../../contracts/message.ts';
import { Flag, Op } from '../../contracts/op.ts';
import { readU32, writeU32 } from '../../contracts/record.ts';
import { Cell } from '../../contracts/row-image.ts';
import { protocolError } from './errors.ts';
import { lsnOf, type Lsn, type PositionWriter } from './position.ts';
import { decodeRelation, FieldReader, type Relation } from './relation.ts';
import { ImageBuilder, type RowPlan } from './row-plan.ts';
import type { RowWidth } from './row-width.ts';
import { TupleSpans } from './tuple.ts';

/** Where the rows of a relation go. */
export interface Route {
  readonly relation: Relation;
  /** False: the table is not captured, its rows are passed over. */
  readonly captured: boolean;
  readonly tableId: number;
  readonly version: number;
  /** Indexes into the image's columns, in key order; empty: keyless. */
  readonly key: readonly number[];
  readonly plan: RowPlan;
  /** Bounds for tuples as they come; null: no row needs to be remembered as wide. */
  readonly width: RowWidth | null;
  /** Schema and control records that stand before the route's next record; emptied when written. */
  readonly before: PendingRecord[];
}

export interface PendingRecord {
  readonly op: typeof Op.schema | typeof Op.control;
  readonly tableId: number;
  readonly version: number;
  readonly payload: Buffer;
}

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
/** Up to this many bytes a loop is quicker than a call. */
const SHORT_COPY = 32;

const Kind = {
  begin: 0x42, commit: 0x43, origin: 0x4f, relation: 0x52, type: 0x59, insert: 0x49, update: 0x55, delete: 0x44,
  truncate: 0x54, message: 0x4d, keyTuple: 0x4b, oldTuple: 0x4f, newTuple: 0x4e,
} as const;

export class PgoutputDecoder {
  readonly #host: DecoderHost;
  readonly #builder: BatchBuilder;
  readonly #routes = new Map<number, Route>();
  readonly #new = new TupleSpans();
  readonly #old = new TupleSpans();
  readonly #newImage = new ImageBuilder();
  readonly #oldImage = new ImageBuilder();
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
    this.#skipBelow = skipBelow;
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
   * its route set, before the next message; else null.
   * @throws TidemarkError `POSTGRES_PROTOCOL` for anything that is not a message of this protocol in its place
   */
  decode(bytes: Buffer, start: number, end: number, sentAt: number): Relation | null {
    if (start >= end) throw protocolError('an empty message');
    const kind = bytes[start] as number;
    const at = start + 1;
    switch (kind) {
      case Kind.insert:
        this.#insert(bytes, at, end);
        return null;
      case Kind.update:
        this.#update(bytes, at, end);
        return null;
      case Kind.delete:
        this.#delete(bytes, at, end);
        return null;
      case Kind.begin:
        this.#begin(new FieldReader(bytes, at, end));
        return null;
      case Kind.commit:
        this.#commit(new FieldReader(bytes, at, end));
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

  #begin(reader: FieldReader): void {
    if (this.#inTransaction) throw protocolError('a transaction begins inside another');
    this.#finalLsn = lsn(reader);
    this.#commitTime = time(reader);
    this.#xid = reader.u32();
    reader.finish();
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

  #commit(reader: FieldReader): void {
    this.#requireTransaction('a commit');
    if (reader.u8() !== 0) throw protocolError('a commit has flags that are not known');
    const commitLsn = lsn(reader);
    const end = lsn(reader);
    time(reader);
    reader.finish();
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
    if (at < this.#skipBelow) return;
    const own = this.#host.isOwnMessage(prefix);
    if (!own) {
      this.#builder.begin('source', 0, sentAt);
      this.#builder.record(Op.message, 0, 0, 0, EMPTY, EMPTY, encodeMessage(prefix, content));
      // One above: at its own LSN it would be sent again.
      this.#builder.commit(this.#host.positions.at(at + 1));
    }
    this.#host.committed(at + 1, sentAt, !own);
  }

  #insert(bytes: Buffer, start: number, end: number): void {
    const route = this.#rowRoute(bytes, start, end);
    const tuple = this.#new;
    if (bytes[start + 4] !== Kind.newTuple) throw protocolError('an insert without its row');
    endsAt(tuple.walk(bytes, start + 5, end, route.relation.columns.length), end);
    if (!route.captured || this.#skipping) return;
    this.#open(route);
    const image = route.plan.isIdentity ? tuple : this.#newImage.build(route.plan, tuple, null);
    this.#row(Op.create, this.#flags(route, tuple, image), route, image, null, image);
  }

  #update(bytes: Buffer, start: number, end: number): void {
    const route = this.#rowRoute(bytes, start, end);
    const columns = route.relation.columns.length;
    const tuple = this.#new;
    const old = this.#old;
    let kind = bytes[start + 4] as number;
    let at = start + 5;
    const oldKind = kind;
    if (kind === Kind.keyTuple || kind === Kind.oldTuple) {
      at = old.walk(bytes, at, end, columns);
      kind = at < end ? (bytes[at] as number) : 0;
      at++;
    }
    if (kind !== Kind.newTuple) throw protocolError('an update without its new row');
    endsAt(tuple.walk(bytes, at, end, columns), end);
    if (!route.captured || this.#skipping) return;
    this.#open(route);
    this.#updated(route, tuple, old, oldKind === Kind.newTuple ? 'none' : oldKind === Kind.keyTuple ? 'key' : 'full');
  }

  #updated(route: Route, tuple: TupleSpans, old: TupleSpans, has: 'none' | 'key' | 'full'): void {
    const { plan, key } = route;
    const filled = has === 'full' ? old : null;
    const asIs = plan.isIdentity && (filled === null || tuple.placeholders === 0);
    const image = asIs ? tuple : this.#newImage.build(plan, tuple, filled);
    const flags = this.#flags(route, tuple, image);
    if (has === 'none') {
      if (key.length === 0) throw protocolError('an update of a table without key has no old row');
      this.#row(Op.update, flags, route, image, null, image);
      return;
    }
    const before = plan.isIdentity ? old : this.#oldImage.build(plan, old, null);
    const beforeImage = has === 'full' ? before : null;
    if (key.length === 0) {
      if (beforeImage === null) throw protocolError('an update of a table without key has no old row');
      this.#row(Op.delete, 0, route, before, beforeImage, null);
      this.#row(Op.create, flags, route, image, null, image);
    } else if (keyChanged(key, before, image)) {
      this.#row(Op.delete, Flag.keyChange, route, before, beforeImage, null);
      this.#row(Op.create, flags | Flag.keyChange, route, image, null, image);
    } else this.#row(Op.update, flags, route, before, beforeImage, image);
  }

  #delete(bytes: Buffer, start: number, end: number): void {
    const route = this.#rowRoute(bytes, start, end);
    const old = this.#old;
    const kind = bytes[start + 4] as number;
    if (kind !== Kind.keyTuple && kind !== Kind.oldTuple) throw protocolError('a delete without its old row');
    endsAt(old.walk(bytes, start + 5, end, route.relation.columns.length), end);
    if (!route.captured || this.#skipping) return;
    if (route.key.length === 0 && kind === Kind.keyTuple) throw protocolError('a delete of a table without key has no old row');
    this.#open(route);
    const before = route.plan.isIdentity ? old : this.#oldImage.build(route.plan, old, null);
    this.#row(Op.delete, 0, route, before, kind === Kind.oldTuple ? before : null, null);
  }

  /** `incomplete` and `wide`, from the tuple as it came and the image that is written. */
  #flags(route: Route, tuple: TupleSpans, image: TupleSpans): number {
    let flags = 0;
    if (image.placeholders > 0) flags = Flag.incomplete | Flag.wide;
    else if (route.width !== null && route.width.isWide(tuple.bytes, tuple.start, tuple.end)) flags = Flag.wide;
    return flags;
  }

  #row(op: number, flags: number, route: Route, keyOf: TupleSpans, before: TupleSpans | null, after: TupleSpans | null): void {
    const { key, tableId, version } = route;
    let keyLength = 0;
    for (let place = 0; place < key.length; place++) {
      const column = key[place] as number;
      const kind = keyOf.kinds[column];
      if (kind !== Cell.text && kind !== Cell.binary) throw protocolError(`key column ${column} of a row has no value`);
      keyLength += 4 + (keyOf.ends[column] as number) - (keyOf.starts[column] as number);
    }
    const beforeLength = before === null ? 0 : before.end - before.start;
    const afterLength = after === null ? 0 : after.end - after.start;
    let at = this.#builder.reserve(op, flags, tableId, version, keyLength, beforeLength, afterLength);
    const into = this.#builder.buffer;
    for (let place = 0; place < key.length; place++) {
      const column = key[place] as number;
      const start = keyOf.starts[column] as number;
      const length = (keyOf.ends[column] as number) - start;
      writeU32(into, at, length);
      at += 4;
      copyBytes(keyOf.bytes, into, at, start, start + length);
      at += length;
    }
    if (before !== null) {
      before.bytes.copy(into, at, before.start, before.end);
      at += beforeLength;
    }
    if (after !== null) after.bytes.copy(into, at, after.start, after.end);
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

function endsAt(at: number, end: number): void {
  if (at !== end) throw protocolError(`a row message has ${end - at} bytes too many`);
}

/** Compared by canonical bytes. A placeholder in the new row is an unchanged value. */
function keyChanged(key: readonly number[], before: TupleSpans, after: TupleSpans): boolean {
  for (const column of key) {
    if (after.kinds[column] === Cell.placeholder) continue;
    const start = before.starts[column] as number;
    const end = before.ends[column] as number;
    const other = after.starts[column] as number;
    if (end - start !== (after.ends[column] as number) - other) return true;
    for (let at = start, to = other; at < end; at++, to++) {
      if (before.bytes[at] !== after.bytes[to]) return true;
    }
  }
  return false;
}

function copyBytes(from: Buffer, into: Buffer, at: number, start: number, end: number): void {
  if (end - start > SHORT_COPY) {
    from.copy(into, at, start, end);
    return;
  }
  for (let next = start; next < end; next++) into[at++] = from[next] as number;
}

function lsn(reader: FieldReader): Lsn {
  const high = reader.u32();
  return lsnOf(high, reader.u32());
}

/** Microseconds since 1970 of a time that is sent as microseconds since 2000. */
function time(reader: FieldReader): number {
  const high = reader.u32() | 0;
  return high * TWO_32 + reader.u32() + EPOCH_2000;
}

/** The same for a time that lies in the bytes. */
export function timeAt(bytes: Buffer, at: number): number {
  return (readU32(bytes, at) | 0) * TWO_32 + readU32(bytes, at + 4) + EPOCH_2000;
}

export function lsnAt(bytes: Buffer, at: number): Lsn {
  return lsnOf(readU32(bytes, at), readU32(bytes, at + 4));
}
