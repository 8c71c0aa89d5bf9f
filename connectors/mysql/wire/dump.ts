/**
 * The binlog as a server sends it to a replica. A session of mysql2 logs in and says how it wants the stream; then its
 * socket is taken over, and packets go from the socket's buffers to the reader of the binlog.
 */
import { Duplex, Readable } from 'node:stream';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import type { BinlogReader, LargePayload } from '../binlog/binlog-reader.ts';
import { EVENT_HEADER } from '../binlog/event-header.ts';
import { EventType } from '../binlog/event-types.ts';
import { MAX_PAYLOAD_HEAD } from '../binlog/payload.ts';
import { mysqlError } from '../errors.ts';
import type { Login } from '../../../contracts/types/mysql-login.ts';
import type { Flavor } from '../server-version.ts';
import { binlogDump, binlogDumpGtid, registerReplica } from './commands.ts';
import { type Fate, type MessageTaker, PacketReader } from './packet-reader.ts';
import { PayloadFeed } from './payload-feed.ts';
import { serverError } from './server-error.ts';

export type DumpStart =
  /** MySQL: all that is not in the set, as the server encodes sets. */
  | { readonly by: 'gtids'; readonly executed: Uint8Array }
  /** MariaDB: behind these, `0-1-5,7-2-9`; '' is the beginning of what the server has. */
  | { readonly by: 'domains'; readonly last: string }
  /** At an event's beginning; `file` '' is the first file that the server has. */
  | { readonly by: 'file'; readonly file: string; readonly offset: number };

export interface DumpOptions {
  readonly flavor: Flavor;
  readonly start: DumpStart;
  /** No other replica of the server may have it. */
  readonly serverId: number;
  /** Of this reader: a connection of the same that the server still has is ended by it. MySQL only. */
  readonly replicaUuid: string;
  /** The server sends a heartbeat when it has had nothing else to send for so long. */
  readonly heartbeatMs: number;
  /** A server that sends nothing for so long is gone. Default: three heartbeats. */
  readonly silenceMs?: number;
  readonly clock: Clock;
}

const Status = { ok: 0x00, end: 0xfe, error: 0xff } as const;
/** An end packet is shorter than this; what is longer begins with the same byte by chance. */
const END_BYTES = 9;
/** Status, header, enough for the head of a payload. */
const PEEK = 1 + EVENT_HEADER + MAX_PAYLOAD_HEAD;
/** Payload events of more bytes are not gathered. */
const PIECES_ABOVE = 1 << 20;
/** A server that is silent for so many heartbeats is gone. */
const SILENT_HEARTBEATS = 3;
/** The server gives a reader up that takes nothing for so long; in seconds. */
const WRITE_TIMEOUT_S = 86_400;
const KIND_AT = 1 + 4;
const LENGTH_AT = 1 + 9;

type Hold = 'consumer' | 'payload' | 'feed';

/**
 * Owns the login from `begin` on. Events are handled as they come, by the reader's handler, which may call `pause`; nothing
 * is handled between then and `resume`, except for the rest of the event at hand and the events of a piece of a payload.
 */
export class BinlogDump implements AsyncDisposable {
  readonly #login: Login;
  readonly #stream: Duplex;
  readonly #reader: BinlogReader;
  readonly #clock: Clock;
  readonly #packets: PacketReader;
  readonly #holds = new Set<Hold>();
  readonly #stop = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #answer: PromiseWithResolvers<void> | null = null;
  #feed: PayloadFeed | null = null;
  #ready: PromiseWithResolvers<void> | null = null;
  #isOver = false;
  /** Monotonic milliseconds of the last bytes. */
  #lastByteAt: number;

  private constructor(login: Login, stream: Duplex, reader: BinlogReader, clock: Clock) {
    this.#login = login;
    this.#stream = stream;
    this.#reader = reader;
    this.#clock = clock;
    this.#lastByteAt = clock.monotonic();
    const taker: MessageTaker = {
      message: (bytes, start, end) => this.#message(bytes, start, end),
      fate: (bytes, start, end) => this.#fate(bytes, start, end),
      piece: (bytes) => this.#piece(bytes),
      done: (fate) => this.#done(fate),
    };
    this.#packets = new PacketReader(taker, PEEK);
    this.#ended.promise.catch(() => undefined);
  }

  /**
   * Begins to read. The login is the dump's from here on, and is ended when this fails. Aborting ends the dump.
   * @throws TidemarkError `MYSQL_ACCESS`, `MYSQL_BINLOG_PURGED`, `MYSQL_DIVERGED`, `MYSQL_SERVER_ID`, `MYSQL_DUMP_REFUSED`
   * and others of the server, here or out of `ended`; `ABORTED`
   */
  static async begin(login: Login, reader: BinlogReader, options: DumpOptions, signal: AbortSignal): Promise<BinlogDump> {
    const abort = (): void => void login.socket.destroy();
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      for (const statement of settings(options)) await login.connection.promise().query(statement);
      const dump = new BinlogDump(login, takeOver(login), reader, options.clock);
      dump.#listen(signal);
      await dump.#command(registerReplica(options.serverId, 'tidemark'));
      dump.#start(options);
      return dump;
    } catch (error) {
      login.socket.destroy();
      if (signal.aborted) throw new TidemarkError('ABORTED', 'the dump was asked to end');
      throw mysqlError(error);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Resolves when the dump was disposed or aborted. Rejects with what it failed with: nothing more is handled then. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Monotonic milliseconds of the last bytes that came. */
  get lastByteAt(): number {
    return this.#lastByteAt;
  }

  /** Back-pressure: the socket is not read any more, and the server waits. May be called by the handler. */
  pause(): void {
    this.#holds.add('consumer');
    this.#stream.pause();
  }

  resume(): void {
    const ready = this.#ready;
    this.#ready = null;
    this.#release('consumer');
    ready?.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    this.#ended.resolve();
    await this.#ended.promise.catch(() => undefined);
  }

  #listen(signal: AbortSignal): void {
    const stream = this.#stream;
    stream.on('data', (chunk: Buffer) => {
      this.#lastByteAt = this.#clock.monotonic();
      this.#guard(() => this.#packets.push(chunk));
      if (this.#packets.paused) stream.pause();
    });
    const lost = (error?: Error): void => this.#fail(new TidemarkError('MYSQL_UNREACHABLE', error?.message ?? 'the server closed the connection', { cause: error }));
    stream.once('error', lost);
    stream.once('end', () => lost());
    stream.once('close', () => lost());
    const abort = (): void => {
      this.#answer?.reject(new TidemarkError('ABORTED', 'the dump was asked to end'));
      this.#close();
      this.#ended.resolve();
    };
    signal.addEventListener('abort', abort, { once: true, signal: this.#stop.signal });
    stream.resume();
  }

  async #command(packet: Buffer): Promise<void> {
    const answer = Promise.withResolvers<void>();
    this.#answer = answer;
    this.#packets.expect(1);
    this.#stream.write(packet);
    await answer.promise;
  }

  #start({ start, serverId, heartbeatMs, silenceMs = heartbeatMs * SILENT_HEARTBEATS }: DumpOptions): void {
    this.#packets.expect(1);
    if (start.by === 'gtids') this.#stream.write(binlogDumpGtid(serverId, start.executed));
    else if (start.by === 'file') this.#stream.write(binlogDump(serverId, start.file, start.offset));
    else this.#stream.write(binlogDump(serverId, '', 4));
    this.#watch(silenceMs).catch((error: unknown) => this.#fail(error));
  }

  /** A server that is gone without a word: heartbeats would have come. */
  async #watch(limitMs: number): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#clock.sleep(limitMs / SILENT_HEARTBEATS, signal).catch(() => undefined);
      if (signal.aborted) return;
      // Nothing comes while reading is held.
      if (this.#holds.size > 0) this.#lastByteAt = this.#clock.monotonic();
      else if (this.#clock.monotonic() - this.#lastByteAt > limitMs) {
        throw new TidemarkError('MYSQL_UNREACHABLE', `the server sent nothing, not even a heartbeat, for ${limitMs} ms`);
      }
    }
  }

  #message(bytes: Buffer, start: number, end: number): boolean {
    const status = start < end ? bytes[start] : -1;
    const answer = this.#answer;
    if (answer !== null) {
      this.#answer = null;
      if (status === Status.ok) answer.resolve();
      else answer.reject(status === Status.error ? serverError(bytes, start, end) : protocolError(status));
      return true;
    }
    if (status === Status.ok) {
      const large = this.#reader.event(bytes, start + 1, end);
      if (large !== null) this.#readPayload(large, Readable.from([large.whole ?? Buffer.alloc(0)]));
      if (large !== null) this.#holds.add('payload');
      return this.#holds.size === 0;
    }
    if (status === Status.error) throw serverError(bytes, start, end).at({ position: this.#reader.place });
    if (status === Status.end && end - start < END_BYTES) throw new TidemarkError('MYSQL_UNREACHABLE', 'the server has ended the stream');
    throw protocolError(status);
  }

  #fate(bytes: Buffer, start: number, end: number): Fate {
    if (bytes[start] !== Status.ok || this.#answer !== null) return 'gather';
    const length = bytes.readUInt32LE(start + LENGTH_AT);
    if (bytes[start + KIND_AT] === EventType.transactionPayload && length > PIECES_ABOVE) return 'pieces';
    if (length <= this.#reader.limit) return 'gather';
    this.#reader.tooLarge(bytes, start + 1, end);
    return 'drop';
  }

  #piece(bytes: Buffer): boolean {
    if (this.#feed === null) {
      const large = this.#reader.largePayload(bytes, 1, bytes.length);
      this.#feed = new PayloadFeed(large, this.#reader.format.checksumBytes, () => this.#release('feed'));
      this.#readPayload(large, this.#feed.readable);
      bytes = bytes.subarray(1);
    }
    if (!this.#feed.take(bytes)) this.#holds.add('feed');
    return this.#holds.size === 0;
  }

  #done(fate: 'drop' | 'pieces'): boolean {
    if (fate === 'pieces' && this.#feed !== null) {
      // Nothing behind the payload is handled before all that is in it.
      this.#holds.delete('feed');
      this.#holds.add('payload');
      this.#feed.end();
      this.#feed = null;
    }
    return this.#holds.size === 0;
  }

  #readPayload(large: LargePayload, readable: Readable): void {
    this.#reader.payload(large, readable, () => this.#whenReady(), this.#stop.signal).then(
      () => this.#release('payload'),
      (error: unknown) => this.#fail(error),
    );
  }

  #whenReady(): Promise<void> {
    if (!this.#holds.has('consumer')) return Promise.resolve();
    this.#ready ??= Promise.withResolvers<void>();
    return this.#ready.promise;
  }

  #release(hold: Hold): void {
    if (!this.#holds.delete(hold) || this.#holds.size > 0 || this.#isOver) return;
    if (this.#packets.paused) this.#guard(() => this.#packets.resume());
    if (!this.#packets.paused && this.#holds.size === 0) this.#stream.resume();
  }

  #guard(work: () => void): void {
    if (this.#isOver) return;
    try {
      work();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    const known = mysqlError(error);
    this.#close();
    this.#answer?.reject(known);
    this.#ended.reject(known);
  }

  #close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop.abort();
    this.#ready?.resolve();
    this.#stream.destroy();
    this.#login.socket.destroy();
  }
}

/** What the session says about the stream before it begins. */
function settings({ flavor, start, heartbeatMs, replicaUuid }: DumpOptions): string[] {
  const period = Math.round(heartbeatMs * 1e6);
  const common = [`SET SESSION net_write_timeout = ${WRITE_TIMEOUT_S}`, `SET @master_heartbeat_period = ${period}`, `SET @master_binlog_checksum = 'CRC32'`];
  if (flavor === 'mysql') {
    return [
      ...common,
      `SET @source_heartbeat_period = ${period}, @source_binlog_checksum = 'CRC32'`,
      `SET @replica_uuid = '${checkedText(replicaUuid)}', @slave_uuid = '${checkedText(replicaUuid)}'`,
    ];
  }
  // 4: GTIDs are understood.
  const mariadb = [...common, 'SET @mariadb_slave_capability = 4'];
  if (start.by === 'domains') mariadb.push(`SET @slave_connect_state = '${checkedText(start.last)}'`, 'SET @slave_gtid_strict_mode = 0', 'SET @slave_gtid_ignore_duplicates = 0');
  return mariadb;
}

/** @throws TidemarkError `INTERNAL` for what could end a literal */
function checkedText(text: string): string {
  if (!/^[0-9a-zA-Z,-]*$/.test(text)) throw new TidemarkError('INTERNAL', 'a setting of the dump has a character that it cannot have');
  return text;
}

/** What is under a session that has nothing under way: with TLS the protected stream. mysql2 hears nothing more of it. */
function takeOver({ connection, socket }: Login): Duplex {
  const stream: unknown = 'stream' in connection ? connection.stream : socket;
  if (!(stream instanceof Duplex)) throw new TidemarkError('INTERNAL', 'the connection has no stream to take over');
  stream.pause();
  stream.removeAllListeners('data');
  return stream;
}

function protocolError(status: number | undefined): TidemarkError {
  return new TidemarkError('MYSQL_PROTOCOL', `the server answered with a packet that begins with ${status ?? 'nothing'}`);
}
