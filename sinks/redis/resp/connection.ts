import type { Socket } from 'node:net';
import { asTidemarkError, TidemarkError } from '../../../contracts/errors/error.ts';
import type { Clock } from '../../../contracts/runtime.ts';
import { ChunkPool, CommandBuffer, type CommandChunk } from './command-buffer.ts';
import { ReplyError, ReplyReader, Skipped, type Reply } from './reply-reader.ts';

/** Bytes given to the socket and not sent yet, above which `writable` waits. */
const BACKLOG = 1 << 20;

/** What a run of replies brought: errors with the index of the command that each answers. */
export interface Failure {
  readonly index: number;
  readonly text: string;
}

/** How EXEC ended. */
export type ExecResult =
  | { readonly kind: 'done'; readonly failures: readonly Failure[] }
  /** A watched key had changed: nothing was executed. */
  | { readonly kind: 'conflict' }
  /** A command was refused when it was queued, or EXEC itself: nothing was executed. */
  | { readonly kind: 'refused'; readonly text: string };

/** Failures kept of one run of replies: the first ones tell enough, and memory stays bounded. */
const MAX_FAILURES = 10_000;

/** Expectations that are met are dropped so many at a time. */
const TRIM = 1024;

/** Waits for replies; `take` answers true when it has all of its own. */
interface Expectation {
  take(reader: ReplyReader): boolean;
  fail(error: TidemarkError): void;
}

class OneValue implements Expectation {
  readonly #settle: PromiseWithResolvers<Reply>;

  constructor(settle: PromiseWithResolvers<Reply>) {
    this.#settle = settle;
  }

  take(reader: ReplyReader): boolean {
    const value = reader.value();
    if (value === undefined) return false;
    this.#settle.resolve(value);
    return true;
  }

  fail(error: TidemarkError): void {
    this.#settle.reject(error);
  }
}

class Values implements Expectation {
  readonly #count: number;
  readonly #settle: PromiseWithResolvers<Reply[]>;
  readonly #values: Reply[] = [];

  constructor(count: number, settle: PromiseWithResolvers<Reply[]>) {
    this.#count = count;
    this.#settle = settle;
  }

  take(reader: ReplyReader): boolean {
    while (this.#values.length < this.#count) {
      const value = reader.value();
      if (value === undefined) return false;
      this.#values.push(value);
    }
    this.#settle.resolve(this.#values);
    return true;
  }

  fail(error: TidemarkError): void {
    this.#settle.reject(error);
  }
}

class Run implements Expectation {
  readonly #count: number;
  readonly #settle: PromiseWithResolvers<readonly Failure[]>;
  readonly #failures: Failure[] = [];
  #seen = 0;

  constructor(count: number, settle: PromiseWithResolvers<readonly Failure[]>) {
    this.#count = count;
    this.#settle = settle;
  }

  take(reader: ReplyReader): boolean {
    while (this.#seen < this.#count) {
      const kind = reader.skip();
      if (kind === Skipped.more) return false;
      if (kind === Skipped.error && this.#failures.length < MAX_FAILURES) {
        this.#failures.push({ index: this.#seen, text: reader.lastError });
      }
      this.#seen++;
    }
    this.#settle.resolve(this.#failures);
    return true;
  }

  fail(error: TidemarkError): void {
    this.#settle.reject(error);
  }
}

class Exec implements Expectation {
  readonly #settle: PromiseWithResolvers<ExecResult>;
  readonly #failures: Failure[] = [];
  #count = -1;
  #seen = 0;

  constructor(settle: PromiseWithResolvers<ExecResult>) {
    this.#settle = settle;
  }

  take(reader: ReplyReader): boolean {
    if (this.#count < 0) {
      const head = reader.arrayHead();
      if (head === undefined) return false;
      if (head instanceof ReplyError) this.#settle.resolve({ kind: 'refused', text: head.text });
      else if (head < 0) this.#settle.resolve({ kind: 'conflict' });
      if (head instanceof ReplyError || head < 0) return true;
      this.#count = head;
    }
    while (this.#seen < this.#count) {
      const kind = reader.skip();
      if (kind === Skipped.more) return false;
      if (kind === Skipped.error && this.#failures.length < MAX_FAILURES) {
        this.#failures.push({ index: this.#seen, text: reader.lastError });
      }
      this.#seen++;
    }
    this.#settle.resolve({ kind: 'done', failures: this.#failures });
    return true;
  }

  fail(error: TidemarkError): void {
    this.#settle.reject(error);
  }
}

export interface ConnectionOptions {
  /** `host:port`, for messages. */
  readonly address: string;
  readonly clock: Clock;
  /** Replies that make no progress for so long mean that the connection is dead. Milliseconds. */
  readonly timeoutMs: number;
}

/**
 * One connection to a Redis server, over a socket that is connected already. Commands go out as bytes, in order;
 * replies come back in the same order. Owns the socket: disposing destroys it. After a failure every call rejects.
 */
export class Connection implements AsyncDisposable {
  readonly address: string;
  readonly pool = new ChunkPool();
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #reader = new ReplyReader();
  readonly #watchdog: Disposable;
  readonly #closed = Promise.withResolvers<TidemarkError>();
  #expected: Expectation[] = [];
  #head = 0;
  #backlog = 0;
  #waiters: PromiseWithResolvers<void>[] = [];
  #progressAt: number;
  #failure: TidemarkError | null = null;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.address = options.address;
    this.#socket = socket;
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs;
    this.#progressAt = options.clock.monotonic();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.fail(asTidemarkError(error, 'SINK_UNREACHABLE')));
    socket.on('close', () => this.fail(new TidemarkError('SINK_UNREACHABLE', `${this.address} closed the connection`)));
    this.#watchdog = options.clock.every(Math.max(100, options.timeoutMs / 4), () => this.#watch());
  }

  /** Resolves with the reason once the connection is over. */
  get closed(): Promise<TidemarkError> {
    return this.#closed.promise;
  }

  get isOpen(): boolean {
    return this.#failure === null;
  }

  /** One command, one reply; an error of the server is a value of the reply. @throws TidemarkError `SINK_UNREACHABLE` */
  async call(...args: readonly (string | Uint8Array)[]): Promise<Reply> {
    const out = new CommandBuffer(this.pool);
    out.command(...args);
    this.send(out.take());
    return this.value();
  }

  /** Sends a chunk. Its replies must be asked for, in order, by `value`, `run` or `exec`. */
  send(chunk: CommandChunk): void {
    if (this.#failure !== null) {
      chunk.release();
      return;
    }
    const size = chunk.bytes.length;
    this.#backlog += size;
    this.#socket.write(chunk.bytes, () => {
      chunk.release();
      this.#backlog -= size;
      this.#progressAt = this.#clock.monotonic();
      if (this.#backlog > BACKLOG) return;
      for (const waiter of this.#waiters.splice(0)) waiter.resolve();
    });
  }

  /** Resolves when more may be sent: back-pressure. @throws TidemarkError when the connection is over */
  async writable(): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#backlog <= BACKLOG) return;
    const waiter = Promise.withResolvers<void>();
    this.#waiters.push(waiter);
    await waiter.promise;
  }

  /** The next reply, as a value. */
  value(): Promise<Reply> {
    const settle = Promise.withResolvers<Reply>();
    return this.#expect(new OneValue(settle), settle.promise);
  }

  /** The next `count` replies, as values. */
  values(count: number): Promise<Reply[]> {
    const settle = Promise.withResolvers<Reply[]>();
    return this.#expect(new Values(count, settle), settle.promise);
  }

  /** The next `count` replies, of which only errors matter. */
  run(count: number): Promise<readonly Failure[]> {
    if (count === 0 && this.#failure === null) return Promise.resolve([]);
    const settle = Promise.withResolvers<readonly Failure[]>();
    return this.#expect(new Run(count, settle), settle.promise);
  }

  /** The reply of EXEC. */
  exec(): Promise<ExecResult> {
    const settle = Promise.withResolvers<ExecResult>();
    return this.#expect(new Exec(settle), settle.promise);
  }

  /** Ends the connection; everything that waits rejects with `error`. */
  fail(error: TidemarkError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#watchdog[Symbol.dispose]();
    this.#socket.destroy();
    for (const expectation of this.#expected.splice(0).slice(this.#head)) expectation.fail(error);
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
    this.#closed.resolve(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      if (this.#socket.closed) resolve();
      else this.#socket.once('close', () => resolve());
    });
    this.fail(new TidemarkError('ABORTED', `the connection to ${this.address} was closed here`));
    await closed;
  }

  #expect<T>(expectation: Expectation, promise: Promise<T>): Promise<T> {
    // Somebody may ask for the result only later; until then a failure is nobody's.
    promise.catch(() => undefined);
    if (this.#failure !== null) expectation.fail(this.#failure);
    else {
      if (this.#head === this.#expected.length) this.#progressAt = this.#clock.monotonic();
      this.#expected.push(expectation);
    }
    return promise;
  }

  #receive(chunk: Buffer): void {
    this.#progressAt = this.#clock.monotonic();
    try {
      this.#reader.push(chunk);
      for (;;) {
        const expectation = this.#expected[this.#head];
        if (expectation === undefined) {
          if (!this.#reader.isEmpty) throw new TidemarkError('REDIS_PROTOCOL', 'a reply that answers nothing');
          this.#expected = [];
          this.#head = 0;
          return;
        }
        if (!expectation.take(this.#reader)) return;
        this.#head++;
        if (this.#head === TRIM) {
          this.#expected.splice(0, TRIM);
          this.#head = 0;
        }
      }
    } catch (error) {
      this.fail(asTidemarkError(error, 'REDIS_PROTOCOL'));
    }
  }

  #watch(): void {
    if (this.#head === this.#expected.length) return;
    if (this.#clock.monotonic() - this.#progressAt < this.#timeoutMs) return;
    this.fail(new TidemarkError('SINK_UNREACHABLE', `${this.address} has not answered for ${this.#timeoutMs} ms`));
  }
}
