/**
 * A session whose results are read packet by packet, in the text protocol: rows go from the socket's buffers to whoever
 * decodes them, without an object for each. The driver logs in and sets the session up; then its socket is taken over.
 *
 * Result: OK | error | packed number of columns, a packet for each column, end, rows, end or error.
 * Column: six packed texts (catalog, database, alias, table, name as selected, name of the column), then fixed fields.
 * Row: per column 0xfb for NULL, or a packed text.
 */
import { Duplex } from 'node:stream';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { mysqlError } from '../errors.ts';
import type { Session, TextRow } from '../session.ts';
import { type MessageTaker, PacketReader } from '../wire/packet-reader.ts';
import { serverError } from '../wire/server-error.ts';
import { NULL_VALUE, packedLength, packedStart } from './packed.ts';

const QUERY = 0x03;
const PACKET_HEADER = 4;
/** A statement in one packet; nothing here is longer. */
const MOST_STATEMENT = (1 << 24) - 2;
const Status = { ok: 0x00, file: 0xfb, end: 0xfe, error: 0xff } as const;
/** An end packet is shorter than this; a row that begins with the same byte is longer. */
const END_BYTES = 9;
const STATUS_AT = 3;
const MORE_RESULTS = 0x08;
/** Texts before a column's name as selected. */
const NAME_PLACE = 4;
const PEEK = 64;

/** Takes a row, `bytes[start .. end)`, valid during the call. False: no more are wanted. */
export type TakeRow = (bytes: Buffer, start: number, end: number) => boolean;

/** A statement under way whose rows can be held back. */
export interface RunningRows {
  /**
   * `ended`: the server has ended the statement. `enough`: the taker has; the session is then in the middle of a result,
   * and only good for disposing.
   */
  readonly ended: Promise<'ended' | 'enough'>;
  /** No more rows are handed on, and the server is held back. */
  pause(): void;
  resume(): void;
}

interface Running {
  phase: 'head' | 'columns' | 'columns-end' | 'rows';
  columnsLeft: number;
  readonly names: string[] | null;
  readonly take: TakeRow;
  readonly answer: PromiseWithResolvers<'ended' | 'enough'>;
}

/** Owned by whoever opened it; one statement, or one batch of them, at a time. Disposing ends it: politely between statements, else at once. */
export class RowSession implements AsyncDisposable {
  readonly session: Session;
  readonly #stream: Duplex;
  readonly #packets: PacketReader;
  #running: Running | null = null;
  /** Sent, and not answered yet. */
  readonly #sent: Running[] = [];
  #isHeld = false;
  #failure: TidemarkError | null = null;

  /** The session is this one's from here on. */
  constructor(session: Session) {
    this.session = session;
    this.#stream = takeOver(session);
    const taker: MessageTaker = {
      message: (bytes, start, end) => this.#message(bytes, start, end),
      fate: () => 'gather',
      piece: () => false,
      done: () => false,
    };
    this.#packets = new PacketReader(taker, PEEK);
    const stream = this.#stream;
    stream.on('data', (chunk: Buffer) => this.#guard(() => this.#packets.push(chunk)));
    const lost = (error?: Error): void => this.#fail(error instanceof TidemarkError ? error : new TidemarkError('MYSQL_UNREACHABLE', error?.message ?? 'the server closed the connection', { cause: error }));
    stream.once('error', lost);
    stream.once('end', () => lost());
    stream.once('close', () => lost());
    stream.resume();
  }

  /** False: lost, or in the middle of a result: only good for disposing. */
  get isUsable(): boolean {
    return this.#failure === null && this.#running === null;
  }

  /** False: lost, or closed. */
  get isLive(): boolean {
    return this.#failure === null;
  }

  /** Rows as text, by the name of the column; for a few of them. @throws TidemarkError */
  async query(sql: string): Promise<TextRow[]> {
    const [rows = []] = await this.batch([sql]);
    return rows;
  }

  /**
   * Statements that are sent together, so that the server runs one right behind the other. All of them are run, whatever
   * becomes of those before. @throws TidemarkError the first that failed
   */
  async batch(statements: readonly string[]): Promise<TextRow[][]> {
    if (this.#running !== null) throw new TidemarkError('INTERNAL', 'a statement on a session that has one under way');
    const results = statements.map((sql) => {
      const names: string[] = [];
      const rows: TextRow[] = [];
      const { ended } = this.#start(sql, names, (bytes, start) => {
        rows.push(textRow(names, bytes, start));
        return true;
      });
      return ended.then(() => rows);
    });
    const settled = await Promise.allSettled(results);
    const failed = settled.find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return Promise.all(results);
  }

  /** @throws TidemarkError out of `ended`: what `take` throws (the session is then only good for disposing), or the server's error */
  rows(sql: string, take: TakeRow): RunningRows {
    if (this.#running !== null) throw new TidemarkError('INTERNAL', 'a statement on a session that has one under way');
    return this.#start(sql, null, take);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isUsable) this.#stream.destroy();
    this.#failure ??= new TidemarkError('ABORTED', 'the session is closed');
    await this.session[Symbol.asyncDispose]();
  }

  #start(sql: string, names: string[] | null, take: TakeRow): RunningRows {
    const answer = Promise.withResolvers<'ended' | 'enough'>();
    answer.promise.catch(() => undefined);
    if (this.#failure !== null) answer.reject(this.#failure);
    else {
      const statement: Running = { phase: 'head', columnsLeft: 0, names, take, answer };
      if (this.#running === null) {
        this.#running = statement;
        this.#packets.expect(1);
      } else this.#sent.push(statement);
      const text = Buffer.from(sql, 'utf8');
      if (text.length > MOST_STATEMENT) throw new TidemarkError('INTERNAL', `a statement of ${text.length} bytes`);
      const packet = Buffer.allocUnsafe(PACKET_HEADER + 1 + text.length);
      packet.writeUIntLE(text.length + 1, 0, 3);
      packet[3] = 0;
      packet[PACKET_HEADER] = QUERY;
      text.copy(packet, PACKET_HEADER + 1);
      this.#stream.write(packet);
    }
    return { ended: answer.promise, pause: () => this.#hold(), resume: () => this.#release() };
  }

  #hold(): void {
    if (this.#running === null) return;
    this.#isHeld = true;
    this.#stream.pause();
  }

  #release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (this.#packets.paused) this.#guard(() => this.#packets.resume());
    if (!this.#isHeld) this.#stream.resume();
  }

  /** Answers false to pause. */
  #message(bytes: Buffer, start: number, end: number): boolean {
    const running = this.#running;
    const first = start < end ? (bytes[start] as number) : -1;
    if (first === Status.error) {
      const error = serverError(bytes, start, end);
      // What the server says without having been asked is the last that it says.
      if (running === null) throw error;
      this.#end(running).reject(error);
      return true;
    }
    if (running === null) throw new TidemarkError('MYSQL_PROTOCOL', `the server sent a packet that begins with ${first} without having been asked`);
    switch (running.phase) {
      case 'head':
        this.#head(running, bytes, start, first);
        break;
      case 'columns':
        running.names?.push(columnName(bytes, start, end));
        if (--running.columnsLeft === 0) running.phase = 'columns-end';
        break;
      case 'columns-end':
        if (first !== Status.end || end - start >= END_BYTES) throw unexpected(first);
        running.phase = 'rows';
        break;
      case 'rows':
        if (first === Status.end && end - start < END_BYTES) {
          if (((bytes[start + STATUS_AT] as number) & MORE_RESULTS) !== 0) throw new TidemarkError('MYSQL_PROTOCOL', 'the server has more than one result');
          this.#end(running).resolve('ended');
        } else if (!running.take(bytes, start, end)) {
          this.#running = null;
          this.#failure = new TidemarkError('INTERNAL', 'the session is in the middle of a result');
          this.#stream.destroy();
          running.answer.resolve('enough');
          return false;
        }
    }
    return !this.#isHeld;
  }

  #head(running: Running, bytes: Buffer, start: number, first: number): void {
    if (first === Status.ok) {
      this.#end(running).resolve('ended');
    } else if (first === Status.file || first < 0) throw unexpected(first);
    else {
      running.columnsLeft = packedLength(bytes, start);
      running.phase = 'columns';
    }
  }

  #end(running: Running): PromiseWithResolvers<'ended' | 'enough'> {
    this.#running = this.#sent.shift() ?? null;
    this.#packets.expect(1);
    this.#isHeld = false;
    return running.answer;
  }

  #guard(work: () => void): void {
    if (this.#failure !== null) return;
    try {
      work();
    } catch (error) {
      this.#fail(mysqlError(error));
    }
  }

  #fail(error: TidemarkError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    const lost = [...(this.#running === null ? [] : [this.#running]), ...this.#sent.splice(0)];
    this.#running = null;
    this.#stream.destroy();
    for (const { answer } of lost) answer.reject(error);
  }
}

function textRow(names: readonly string[], bytes: Buffer, start: number): TextRow {
  const row: Record<string, string | null> = {};
  let at = start;
  for (const name of names) {
    if (bytes[at] === NULL_VALUE) {
      row[name] = null;
      at++;
    } else {
      const from = packedStart(bytes, at);
      at = from + packedLength(bytes, at);
      row[name] = bytes.toString('utf8', from, at);
    }
  }
  return row;
}

function columnName(bytes: Buffer, start: number, end: number): string {
  let at = start;
  for (let place = 0; place < NAME_PLACE; place++) at = packedStart(bytes, at) + packedLength(bytes, at);
  const from = packedStart(bytes, at);
  const to = from + packedLength(bytes, at);
  if (to > end) throw new TidemarkError('MYSQL_PROTOCOL', 'the name of a column is longer than its packet');
  return bytes.toString('utf8', from, to);
}

/** What is under a session that has nothing under way: with TLS the protected stream. The driver hears nothing more of it. */
function takeOver(session: Session): Duplex {
  const driver: unknown = 'connection' in session.connection ? session.connection.connection : null;
  const stream: unknown = typeof driver === 'object' && driver !== null && 'stream' in driver ? driver.stream : null;
  if (!(stream instanceof Duplex)) throw new TidemarkError('INTERNAL', 'the session has no stream to take over');
  stream.pause();
  stream.removeAllListeners('data');
  return stream;
}

function unexpected(first: number): TidemarkError {
  return new TidemarkError('MYSQL_PROTOCOL', `the server answered with a packet that begins with ${first}`);
}
