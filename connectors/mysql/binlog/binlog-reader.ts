/**
 * Events of a binlog, one after another, into calls of a handler. Knows what stands earlier in the stream: the format
 * description, the table maps, file and position. No sockets: a dump, a file or a test gives the bytes.
 */
import type { Readable } from 'node:stream';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { BinlogHandler } from './binlog-handler.ts';
import { CHECKSUM_BYTES, checksumFits, EVENT_HEADER, EventFlag, EventHeader, verifyChecksum } from './event-header.ts';
import { eventName, EventType, rowsShape, type RowsShape } from './event-types.ts';
import { binlogError, FieldReader } from './field-reader.ts';
import { type FormatDescription, NO_FORMAT, parseFormatDescription } from './format-description.ts';
import { parseGtid, parseMariadbGtid, parseMariadbGtidList, parsePreviousGtids } from './gtid-events.ts';
import { EventSplitter, type EventTaker, parsePayloadHead, type PayloadHead, readPayload, streamPayload } from './payload.ts';
import { parseQuery } from './query-event.ts';
import { RowReader } from './rows-event.ts';
import { parseHeartbeat, parseIncident, parseRotate, parseRowsStatement, parseStatementContext, parseXaPrepare, parseXid } from './small-events.ts';
import { parseTableMap, readTableId, type TableMap } from './table-map.ts';

export interface BinlogReaderOptions {
  /** '' until a rotation names it. */
  readonly file?: string;
  /** Of the next event in it. */
  readonly position?: number;
  /** The most bytes that one event, compressed rows or a compressed statement may have. */
  readonly maxEventBytes: number;
}

/** A payload of more content is decompressed in pieces. */
const PAYLOAD_AT_ONCE = 4 << 20;
const TWO_32 = 0x1_0000_0000;
/** Ends a statement whose rows were all filtered away. */
const NO_TABLE = 0xff_ffff;
const FIRST_POSITION = 4;
/** Table maps that are remembered; one that is forgotten is read again before its rows. */
const MAX_MAPS = 10_000;

export interface LargePayload {
  readonly head: PayloadHead;
  /** Of the event. */
  readonly eventBytes: number;
  readonly endPosition: number;
  /** Where in the event the payload begins. */
  readonly payloadAt: number;
  /** The payload, where the event was there as a whole. */
  readonly whole: Buffer | null;
}

interface KnownMap {
  readonly map: TableMap;
  /** Its event's body: as long as it comes again, the map is the same. */
  readonly body: Buffer;
}

export class BinlogReader {
  /** Of the event that is being handled; inside a payload, of the event there. */
  readonly header = new EventHeader();
  readonly rows = new RowReader();
  format: FormatDescription = NO_FORMAT;
  /** Of the event that is being handled. */
  file: string;
  /** Where the event that is being handled begins, and where it ends: inside a payload, those of the payload. */
  start: number;
  position: number;
  readonly #handler: BinlogHandler;
  /** The most bytes that one event may have. */
  readonly limit: number;
  readonly #fields = new FieldReader();
  readonly #maps = new Map<number, KnownMap>();
  readonly #inside: EventTaker = {
    event: (bytes, start, end) => this.#inner(bytes, start, end),
    tooLarge: (bytes, start, end) => this.#passOver(bytes, start, end),
  };

  constructor(handler: BinlogHandler, options: BinlogReaderOptions) {
    this.#handler = handler;
    this.limit = options.maxEventBytes;
    this.file = options.file ?? '';
    this.position = this.start = options.position ?? FIRST_POSITION;
  }

  /** `binlog.000003:4711`, where the event that is being handled begins. */
  get place(): string {
    return `${this.file}:${this.start}`;
  }

  /**
   * One whole event, its checksum included. Nothing of the bytes is kept. Answers null; or a transaction payload whose
   * content is too large to be decompressed at once: it is to be read by `payload` before the next event.
   * @throws TidemarkError with file and position: `MYSQL_BINLOG`, `MYSQL_CHECKSUM`, `MYSQL_EVENT_UNKNOWN`, and what the
   * handler throws
   */
  event(bytes: Buffer, start: number, end: number): LargePayload | null {
    try {
      return this.#event(bytes, start, end);
    } catch (error) {
      throw this.#placed(error);
    }
  }

  /**
   * A transaction payload of which only the first bytes are there: `EVENT_HEADER + MAX_PAYLOAD_HEAD` or more of them. It is
   * to be read by `payload` before the next event. @throws as `event`
   */
  largePayload(bytes: Buffer, start: number, end: number): LargePayload {
    try {
      const header = this.header.peek(bytes, start, end);
      const head = parsePayloadHead(bytes, header.bodyStart, end);
      const payloadAt = EVENT_HEADER + head.headBytes;
      const { checksumBytes } = this.format;
      if (payloadAt + head.size + checksumBytes !== header.length) throw binlogError('a transaction payload has another length than its event');
      return { head, eventBytes: header.length, endPosition: header.endPosition, payloadAt, whole: null };
    } catch (error) {
      throw this.#placed(error);
    }
  }

  /**
   * An event above the limit begins with these bytes, EVENT_PEEK of them or more; it is to be passed over.
   * @throws as `event`, where it has no rows
   */
  tooLarge(bytes: Buffer, start: number, end: number): void {
    try {
      this.start = this.position;
      this.#follow(this.header.peek(bytes, start, end));
      this.#passOver(bytes, start, end);
    } catch (error) {
      throw this.#placed(error);
    }
  }

  /**
   * Reads a large payload. `bytes` gives its compressed bytes, without what stands before them in the event and without
   * the checksum, which the caller verifies; it is destroyed on every path. `ready` is awaited between two pieces of
   * content: back-pressure. @throws as `event`
   */
  async payload(large: LargePayload, bytes: Readable, ready: () => Promise<void>, signal: AbortSignal): Promise<void> {
    try {
      this.start = this.position;
      if (large.whole === null) this.#move(large.endPosition, large.eventBytes);
      else this.start = this.position - large.eventBytes;
      const splitter = new EventSplitter(this.#inside, this.limit);
      for await (const piece of streamPayload(large.head, bytes, signal)) {
        splitter.push(piece);
        await ready();
      }
      splitter.finish();
    } catch (error) {
      throw signal.aborted ? error : this.#placed(error);
    }
  }

  #placed(error: unknown): TidemarkError {
    const known = error instanceof TidemarkError ? error : binlogError('an event cannot be read', error);
    return known.at({ position: this.place });
  }

  #event(bytes: Buffer, start: number, end: number): LargePayload | null {
    this.start = this.position;
    if (end - start < EVENT_HEADER) throw binlogError(`an event of ${end - start} bytes is shorter than its header`);
    const type = bytes[start + 4] as number;
    const { header } = this;
    if (type === EventType.formatDescription) {
      this.#describe(bytes, start, end);
      return null;
    }
    const checksum = this.format === NO_FORMAT ? guessChecksum(bytes, start, end) : this.format.checksumBytes;
    header.read(bytes, start, end, checksum);
    if (checksum > 0) verifyChecksum(bytes, start, end);
    this.#follow(header);
    if (header.type === EventType.transactionPayload) return this.#payload(bytes, header);
    this.#dispatch(bytes, header);
    return null;
  }

  #describe(bytes: Buffer, start: number, end: number): void {
    this.header.read(bytes, start, end, 0);
    const format = parseFormatDescription(bytes, start, end);
    this.#follow(this.header);
    this.format = format;
    this.#maps.clear();
    this.#handler.formatDescription(format);
  }

  #passOver(bytes: Buffer, start: number, end: number): void {
    const header = this.header.peek(bytes, start, end);
    if (rowsShape(header.type) === null) throw binlogError(`an event (${eventName(header.type)}) of ${header.length} bytes is above the limit of ${this.limit}`);
    const id = readTableId(this.format, header.type, this.#fields.reset(bytes, header.bodyStart, end, 'a rows event'));
    const known = this.#maps.get(id);
    if (known === undefined) throw binlogError(`rows of table ${id}, which was not described`);
    this.#handler.rowsTooLarge(known.map, header.length);
  }

  /** An event within a payload: without checksum and place of its own. */
  #inner(bytes: Buffer, start: number, end: number): void {
    const header = this.header.read(bytes, start, end, 0);
    if (header.type === EventType.transactionPayload || header.type === EventType.formatDescription || header.type === EventType.rotate) {
      throw binlogError(`a transaction payload holds an event that cannot be there (${eventName(header.type)})`);
    }
    this.#dispatch(bytes, header);
  }

  /** Follows the place in the file. Events of the server for this connection are not in it. */
  #follow(header: EventHeader): void {
    if (header.isArtificial || header.type === EventType.heartbeat || header.type === EventType.heartbeatV2) return;
    const { endPosition } = header;
    // A description or rotation that the server makes for this connection has none.
    if (endPosition === 0 && (header.type === EventType.formatDescription || header.type === EventType.rotate)) return;
    this.#move(endPosition, header.length);
  }

  #move(endPosition: number, length: number): void {
    const next = this.position + length;
    // Within a transaction some servers say 0.
    if (endPosition === 0 || next % TWO_32 === endPosition) {
      this.position = next;
      return;
    }
    // Events were passed over by the server. Only the low 32 bits are said, and a position never goes back.
    let jumped = Math.floor(next / TWO_32) * TWO_32 + endPosition;
    if (jumped < next) jumped += TWO_32;
    this.start = jumped - length;
    this.position = jumped;
  }

  #dispatch(bytes: Buffer, header: EventHeader): void {
    const handler = this.#handler;
    const shape = rowsShape(header.type);
    if (shape !== null) {
      this.#rows(bytes, header, shape);
      return;
    }
    switch (header.type) {
      case EventType.tableMap:
        this.#tableMap(bytes, header);
        return;
      case EventType.gtid: case EventType.anonymousGtid: case EventType.taggedGtid:
        this.#forgetMaps();
        handler.gtid(parseGtid(header, bytes));
        return;
      case EventType.mariadbGtid:
        this.#forgetMaps();
        handler.mariadbGtid(parseMariadbGtid(header, bytes));
        return;
      case EventType.query: case EventType.queryCompressed:
        handler.query(parseQuery(header, bytes, this.limit));
        return;
      case EventType.xid:
        parseXid(header, bytes);
        handler.xid();
        return;
      case EventType.rowsQuery: case EventType.annotateRows:
        handler.rowsStatement(parseRowsStatement(header, bytes));
        return;
      default:
        this.#seldom(bytes, header);
    }
  }

  #seldom(bytes: Buffer, header: EventHeader): void {
    const handler = this.#handler;
    switch (header.type) {
      case EventType.rotate:
        this.#rotate(bytes, header);
        return;
      case EventType.heartbeat: case EventType.heartbeatV2:
        this.#heartbeat(bytes, header);
        return;
      case EventType.previousGtids:
        handler.previousGtids(parsePreviousGtids(header, bytes));
        return;
      case EventType.mariadbGtidList:
        handler.gtidList(parseMariadbGtidList(header, bytes));
        return;
      case EventType.xaPrepare:
        handler.xaPrepare(parseXaPrepare(header, bytes));
        return;
      case EventType.intvar: case EventType.rand: case EventType.userVar:
        handler.statementContext(parseStatementContext(header, bytes));
        return;
      case EventType.executeLoadQuery:
        handler.loadData(parseQuery(header, bytes, this.limit));
        return;
      case EventType.incident:
        handler.incident(parseIncident(header, bytes));
        return;
      // What they say is for replicas, or comes again with the statement that they belong to.
      case EventType.stop: case EventType.ignorable: case EventType.transactionContext: case EventType.viewChange: case EventType.binlogCheckpoint:
      case EventType.startEncryption: case EventType.beginLoadQuery: case EventType.appendBlock: case EventType.deleteFile:
        return;
      default:
        if ((header.flags & EventFlag.ignorable) !== 0) return;
        throw new TidemarkError('MYSQL_EVENT_UNKNOWN', `an event of a kind that is not known (${header.type}, ${header.length} bytes)`);
    }
  }

  #rotate(bytes: Buffer, header: EventHeader): void {
    const event = parseRotate(header, bytes);
    if (event.file !== this.file || !event.isArtificial) this.#maps.clear();
    this.file = event.file;
    this.position = event.position;
    if (header.isArtificial) this.start = event.position;
    this.#handler.rotate(event);
  }

  #heartbeat(bytes: Buffer, header: EventHeader): void {
    const event = parseHeartbeat(header, bytes);
    if (event.file === this.file && event.position > this.position) this.position = event.position;
    this.#handler.heartbeat(event);
  }

  /** Between transactions nobody refers to one. */
  #forgetMaps(): void {
    if (this.#maps.size > MAX_MAPS) this.#maps.clear();
  }

  #tableMap(bytes: Buffer, header: EventHeader): void {
    const id = readTableId(this.format, EventType.tableMap, this.#fields.reset(bytes, header.bodyStart, header.bodyEnd, 'a table map'));
    const known = this.#maps.get(id);
    if (known !== undefined && known.body.compare(bytes, header.bodyStart, header.bodyEnd) === 0) {
      this.#handler.tableMap(known.map);
      return;
    }
    const map = parseTableMap(this.format, header, bytes);
    this.#maps.set(id, { map, body: Buffer.from(bytes.subarray(header.bodyStart, header.bodyEnd)) });
    this.#handler.tableMap(map);
  }

  #rows(bytes: Buffer, header: EventHeader, shape: RowsShape): void {
    const { rows } = this;
    rows.open(this.format, header, shape, bytes, this.limit);
    const known = this.#maps.get(rows.tableId);
    if (known === undefined) {
      if (rows.tableId === NO_TABLE && rows.endsStatement) return;
      throw binlogError(`rows of table ${rows.tableId}, which was not described`);
    }
    rows.bindTo(known.map);
    this.#handler.rows(rows, known.map);
  }

  #payload(bytes: Buffer, header: EventHeader): LargePayload | null {
    const head = parsePayloadHead(bytes, header.bodyStart, header.bodyEnd);
    const payload = bytes.subarray(header.bodyStart + head.headBytes, header.bodyEnd);
    if (head.uncompressedSize > PAYLOAD_AT_ONCE) {
      const payloadAt = EVENT_HEADER + head.headBytes;
      return { head, eventBytes: header.length, endPosition: header.endPosition, payloadAt, whole: Buffer.from(payload) };
    }
    const content = readPayload(head, payload);
    const splitter = new EventSplitter(this.#inside, this.limit);
    splitter.push(content);
    splitter.finish();
    return null;
  }
}

/** Before the format description nobody says whether events have checksums: a rotation comes first, in either way. */
function guessChecksum(bytes: Buffer, start: number, end: number): number {
  return checksumFits(bytes, start, end) ? CHECKSUM_BYTES : 0;
}
