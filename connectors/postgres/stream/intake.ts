/**
 * From the bytes of a replication connection to closed batches. Holds at most two closed batches and the one being
 * built: when they are full, or a Relation must be resolved first, nothing more is read from the socket.
 */
import { BATCH_BYTES, BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import { readU32 } from '../../../contracts/record.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import { BreathPace } from './breath.ts';
import { protocolError } from '../errors.ts';
import { GULP_BYTES, isBusy, lingerMs, nextRate } from '../../relational/flush-policy.ts';
import { FrameReader } from './frames.ts';
import { lsnAt, PgoutputDecoder, timeAt, type DecoderHost } from './pgoutput.ts';
import type { PendingRecord, Route } from './route.ts';
import type { Lsn, PositionWriter } from '../position.ts';
import type { Relation } from './relation.ts';

/** What the intake asks of the stream that owns it. All of it is called from within `take`, and may throw. */
export interface IntakeHost {
  /** The route of a Relation, if it can be told at once; null: `resolve` will be called when it is known. */
  relation(relation: Relation): Route | null;
  /**
   * A transaction has ended at `end`; nothing is open. Records may be added through `hubTransaction`. `records`: it has
   * any in the log; without them its end is progress that the host hands on.
   */
  boundary(end: Lsn, commitTime: number, records: boolean): void;
  /** The server is at `end`; `wantsReply`: it asks for a status. */
  keepalive(end: Lsn, wantsReply: boolean): void;
  /** A row of the relation is above the limit: the record that says so. */
  tooLarge(oid: number, bytes: number): PendingRecord | null;
  typeName(oid: number, namespace: string, name: string): void;
  widen(xid: number): number;
  isOwnMessage(prefix: string): boolean;
  /** A message that is not of the stream. */
  forward(message: Buffer): void;
  pause(): void;
  resume(): void;
  /** True when bytes that come while paused stay in the socket. */
  gathers(): boolean;
}

export interface IntakeOptions {
  readonly clock: Clock;
  readonly positions: PositionWriter;
  readonly skipBelow: Lsn;
  readonly maxRowBytes: number;
}

const COPY_DATA = 0x64;
const XLOG_DATA = 0x77;
const KEEPALIVE = 0x6b;
const XLOG_HEADER = 25;
const KEEPALIVE_BYTES = 18;
/** Closed batches that wait for the consumer. */
const MAX_READY = 2;
/** XLogData header, message kind, relation id: enough to know whose row it is. */
const PEEK = XLOG_HEADER + 5;
const ROW_KINDS: ReadonlySet<number> = new Set([0x49, 0x55, 0x44]);
const EMPTY = Buffer.alloc(0);

type Hold = 'full' | 'relation';

export class Intake {
  readonly #host: IntakeHost;
  readonly #clock: Clock;
  readonly #positions: PositionWriter;
  readonly #builder = new BatchBuilder();
  readonly #frames: FrameReader;
  readonly #ready: ChangeBatch[] = [];
  readonly #holds = new Set<Hold>();
  readonly #stop = new AbortController();
  readonly decoder: PgoutputDecoder;
  #waiter: { resolve: (batch: ChangeBatch | null) => void; reject: (error: unknown) => void } | null = null;
  #failure: { readonly error: unknown } | null = null;
  #ended = false;
  /** What has come is to be handed on: scheduled, or waiting for the consumer to ask. */
  #flush: 'none' | 'armed' | 'due' = 'none';
  /** A row message that waits for its relation. */
  #again: Buffer | null = null;
  #rate = 0;
  #breathing = false;
  readonly #breath = new BreathPace();
  #bytesSinceBreath = 0;
  /** By the server's clock, microseconds since 1970. */
  #sentAt = 0;
  #closedAt: number;
  /** Monotonic milliseconds of the last byte that came. */
  #lastByteAt: number;

  constructor(host: IntakeHost, options: IntakeOptions) {
    this.#host = host;
    this.#clock = options.clock;
    this.#positions = options.positions;
    this.#lastByteAt = this.#closedAt = options.clock.monotonic();
    const decoderHost: DecoderHost = {
      builder: this.#builder,
      positions: options.positions,
      widen: (xid) => host.widen(xid),
      committed: (end, commitTime, records) => host.boundary(end, commitTime, records),
      typeName: (oid, namespace, name) => host.typeName(oid, namespace, name),
      isOwnMessage: (prefix) => host.isOwnMessage(prefix),
    };
    this.decoder = new PgoutputDecoder(decoderHost, options.skipBelow);
    this.#frames = new FrameReader((kind, bytes, start, end) => this.#message(kind, bytes, start, end), {
      above: options.maxRowBytes,
      peek: PEEK,
      keep: (kind, bytes, start, _end, length) => this.#keepLarge(kind, bytes, start, length),
    });
  }

  get lastByteAt(): number {
    return this.#lastByteAt;
  }

  get paused(): boolean {
    return this.#holds.size > 0;
  }

  /** Bytes of the socket, used before this returns. A failure ends the stream through `next`. */
  take(chunk: Buffer): void {
    if (this.#failure !== null || this.#ended) return;
    this.#lastByteAt = this.#clock.monotonic();
    this.#bytesSinceBreath += chunk.length;
    this.#guard(() => this.#frames.push(chunk));
    this.#scheduleFlush();
    if (chunk.length < GULP_BYTES && isBusy(this.#rate)) this.#breathe();
  }

  /**
   * A busy source sends in small pieces, and reading each as it comes costs both sides more than its content: once the
   * socket is nearly empty, what comes within a moment is left to gather there.
   */
  #breathe(): void {
    if (this.#breathing || this.#holds.size > 0 || this.#stop.signal.aborted || !this.#host.gathers()) return;
    this.#breathing = true;
    this.#host.pause();
    const goOn = (): void => {
      this.#breathing = false;
      if (this.#holds.size === 0) this.#host.resume();
    };
    const ms = this.#breath.next(this.#lastByteAt, this.#bytesSinceBreath, this.#sentAt - this.decoder.commitTime);
    this.#bytesSinceBreath = 0;
    this.#clock.sleep(ms, this.#stop.signal).then(goOn, () => undefined);
  }

  /** The route that `relation` had answered null for. */
  resolve(route: Route): void {
    this.#guard(() => this.#route(route));
    this.#release('relation');
  }

  /**
   * The next batch; null when the stream was ended. Called one at a time.
   * @throws what the stream failed with, after every batch before it
   */
  next(): Promise<ChangeBatch | null> {
    const batch = this.#ready.shift();
    if (batch !== undefined) {
      this.#release('full');
      return Promise.resolve(batch);
    }
    if (this.#failure !== null) return Promise.reject(asError(this.#failure.error));
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      if (this.#flush === 'due') this.#close();
    });
  }

  fail(error: unknown): void {
    if (this.#failure !== null || this.#ended) return;
    this.#failure = { error };
    this.#stop.abort();
    const waiter = this.#waiter;
    this.#waiter = null;
    waiter?.reject(error);
  }

  end(): void {
    this.#ended = true;
    this.#stop.abort();
    const waiter = this.#waiter;
    this.#waiter = null;
    waiter?.resolve(null);
  }

  /** Runs something that adds to the batch outside of a transaction, at once. False: a transaction is open. */
  between(work: () => void): boolean {
    if (this.decoder.inTransaction || this.paused) return false;
    this.#guard(work);
    this.#scheduleFlush();
    return true;
  }

  /** Records as a transaction of the hub; `at` is the place that was named last. Nothing may be open, and nothing is afterwards. */
  hubTransaction(records: readonly PendingRecord[], at: Lsn, commitTime: number): void {
    this.#builder.begin('hub', 0, commitTime);
    for (const { op, tableId, version, payload } of records) this.#builder.record(op, 0, tableId, version, EMPTY, EMPTY, payload);
    this.#builder.commit(this.#positions.at(at));
    if (this.#builder.length >= BATCH_BYTES) this.#close();
  }

  /** The source is at `end` without a change. */
  progress(end: Lsn): void {
    this.#builder.keepalive(this.#positions.at(end));
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error);
    }
  }

  #message(kind: number, bytes: Buffer, start: number, end: number): boolean {
    if (kind !== COPY_DATA) {
      this.#host.forward(Buffer.from(bytes.subarray(start - 5, end)));
      return true;
    }
    if (start >= end) throw protocolError('empty data in the stream');
    const type = bytes[start];
    if (type === XLOG_DATA) {
      if (end - start <= XLOG_HEADER) throw protocolError('WAL data ends inside its header');
      return this.#data(bytes, start, end);
    }
    if (type !== KEEPALIVE) throw protocolError(`unknown kind of data ${type ?? -1} in the stream`);
    if (end - start !== KEEPALIVE_BYTES) throw protocolError('a keepalive has another length');
    this.#host.keepalive(lsnAt(bytes, start + 1), bytes[start + 17] === 1);
    return true;
  }

  #data(bytes: Buffer, start: number, end: number): boolean {
    const body = start + XLOG_HEADER;
    this.#sentAt = timeAt(bytes, start + 17);
    const relation = this.decoder.decode(bytes, body, end, this.#sentAt);
    if (relation !== null) {
      // A row that has to wait for its relation is kept: the buffer is not ours.
      this.#again = ROW_KINDS.has(bytes[body] as number) ? Buffer.from(bytes.subarray(body, end)) : null;
      const route = this.#host.relation(relation);
      if (route === null) return this.#hold('relation');
      this.#route(route);
    }
    if (this.#builder.length < BATCH_BYTES) return true;
    this.#close();
    return this.#ready.length < MAX_READY ? true : this.#hold('full');
  }

  #route(route: Route): void {
    this.decoder.setRoute(route);
    if (route.captured || route.before.length > 0) this.decoder.writePending(route);
    const again = this.#again;
    this.#again = null;
    if (again !== null) this.decoder.decode(again, 0, again.length, 0);
  }

  /** A row above the limit is dropped as it comes, and its table stopped. */
  #keepLarge(kind: number, bytes: Buffer, start: number, length: number): boolean {
    if (kind !== COPY_DATA || bytes[start] !== XLOG_DATA || !ROW_KINDS.has(bytes[start + XLOG_HEADER] as number)) return true;
    const record = this.#host.tooLarge(readU32(bytes, start + XLOG_HEADER + 1), length);
    if (record !== null) this.decoder.writeRecord(record);
    return false;
  }

  #hold(reason: Hold): false {
    if (this.#holds.size === 0 && !this.#breathing) this.#host.pause();
    this.#holds.add(reason);
    return false;
  }

  #release(reason: Hold): void {
    if (!this.#holds.delete(reason) || this.#holds.size > 0 || this.#failure !== null) return;
    this.#guard(() => this.#frames.resume());
    this.#scheduleFlush();
    if (this.#holds.size === 0 && !this.#breathing) this.#host.resume();
  }

  #scheduleFlush(): void {
    if (this.#flush !== 'none' || this.#builder.isEmpty || this.#failure !== null) return;
    this.#flush = 'armed';
    const due = (): void => {
      if (this.#flush !== 'armed') return;
      this.#flush = 'due';
      if (this.#waiter !== null) this.#guard(() => this.#close());
    };
    const linger = lingerMs(this.#rate);
    if (linger === 0) setImmediate(due);
    else this.#clock.sleep(linger, this.#stop.signal).then(due, () => undefined);
  }

  /** Closes the batch and hands it to the consumer, or keeps it for when he asks. */
  #close(): void {
    this.#flush = 'none';
    if (this.#builder.isEmpty) return;
    const batch = this.#builder.take();
    const now = this.#clock.monotonic();
    this.#rate = nextRate(this.#rate, batch.records.length, now - this.#closedAt);
    this.#closedAt = now;
    const waiter = this.#waiter;
    if (waiter === null || this.#ready.length > 0) {
      this.#ready.push(batch);
      return;
    }
    this.#waiter = null;
    waiter.resolve(batch);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
