/**
 * The socket under a `pg` client, given to it through the client's `stream` option. It makes the connection (TCP or unix
 * socket, TLS asked for first or direct), so that both kinds of session share one way of TLS; and it can divert the
 * bytes that the server sends, so that a replication stream is read straight from the socket's buffers, paused and
 * resumed as a whole, while `pg` sees only what is meant for it.
 */
import net from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { TlsOptions } from '../../contracts/types/postgres-tls.ts';

/** How TLS is used on one connection. */
export interface TlsPlan {
  /** `try`: go on in plain text if the server has none. */
  readonly use: 'never' | 'try' | 'always';
  /** Begin with the handshake instead of asking first (PostgreSQL 17 and newer). */
  readonly direct: boolean;
  /** What is checked, and the certificates. */
  readonly options: TlsOptions;
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
/** Every read of a connection without TLS goes into one buffer of this size. */
const READ_BYTES = 256 << 10;
const ANSWER_YES = 0x53;
const ANSWER_NO = 0x4e;

export class WireSocket extends Duplex {
  readonly #tls: TlsPlan;
  #socket: net.Socket | null = null;
  #divert: ((chunk: Buffer) => void) | null = null;
  #established = false;
  /** Takes the server's answer to the request for TLS. */
  #onAnswer: ((answer: Buffer) => void) | null = null;

  constructor(plan: TlsPlan) {
    super({ allowHalfOpen: false });
    this.#tls = plan;
  }

  /** The connection was made, TLS included. */
  get established(): boolean {
    return this.#established;
  }

  /** Called by `pg`: to a port of a host, or to the path of a unix socket. Emits `connect` when TLS is done. */
  connect(portOrPath: number | string, host = 'localhost'): this {
    const unix = typeof portOrPath === 'string';
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (length: number, buffer: Uint8Array): boolean => {
        this.#received(Buffer.from(buffer.buffer, buffer.byteOffset, length));
        return true;
      },
    };
    const socket = net.connect(unix ? { path: portOrPath, onread } : { port: portOrPath, host, onread });
    this.#socket = socket;
    socket.setNoDelay(true);
    // A server that is gone without a word is noticed, whatever the settings of the machine.
    socket.setKeepAlive(true, 30_000);
    const fail = (error: Error): void => void this.destroy(error);
    socket.once('error', fail);
    socket.once('close', () => this.destroy());
    socket.once('connect', () => {
      if (unix || this.#tls.use === 'never') this.#begin(socket);
      else if (this.#tls.direct) this.#handshake(socket, host);
      else this.#askForTls(socket, host);
    });
    return this;
  }

  /** From now on what the server sends goes to `divert` instead of `pg`; what `pg` is to see is given to `forward`. */
  divert(divert: (chunk: Buffer) => void): void {
    this.#divert = divert;
  }

  /** Bytes that `pg` is to see as if they came from the server. */
  forward(chunk: Buffer): void {
    this.push(chunk);
  }

  /** No more bytes are read; a few that were on the way may still come. */
  pauseWire(): void {
    this.#socket?.pause();
  }

  resumeWire(): void {
    this.#socket?.resume();
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    this.#socket?.ref();
    return this;
  }

  unref(): this {
    this.#socket?.unref();
    return this;
  }

  override _read(): void {
    if (this.#divert === null) this.#socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#socket === null) done(new Error('the connection is not open'));
    else this.#socket.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#socket === null || this.#socket.destroyed) done();
    else this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#divert = null;
    this.#socket?.destroy();
    done(error);
  }

  /** True when paused bytes stay in the socket: there is no TLS in between. */
  get readsDirectly(): boolean {
    return this.#established && !(this.#socket instanceof tls.TLSSocket);
  }

  /** Bytes of the connection itself; the buffer is used again after this returns. */
  #received(bytes: Buffer): void {
    const answer = this.#onAnswer;
    if (answer !== null) {
      this.#onAnswer = null;
      answer(bytes);
    } else if (this.#divert !== null) this.#divert(bytes);
    else if (!this.push(Buffer.from(bytes))) this.#socket?.pause();
  }

  #askForTls(socket: net.Socket, host: string): void {
    this.#onAnswer = (answer) => {
      // More than the one byte would be plain text from somebody in between, taken for part of the protected stream.
      if (answer.length !== 1) this.destroy(new TidemarkError('POSTGRES_TLS', 'the server sent bytes before the TLS handshake'));
      else if (answer[0] === ANSWER_YES) this.#handshake(socket, host);
      else if (answer[0] !== ANSWER_NO) this.destroy(new TidemarkError('POSTGRES_TLS', 'the answer to the request for TLS is not understood'));
      else if (this.#tls.use === 'try') this.#begin(socket);
      else this.destroy(new TidemarkError('POSTGRES_TLS', 'the server does not offer TLS'));
    };
    socket.write(SSL_REQUEST);
  }

  #handshake(socket: net.Socket, host: string): void {
    const { options, direct } = this.#tls;
    const secure = tls.connect({
      socket,
      host,
      ...(net.isIP(host) === 0 ? { servername: host } : {}),
      ...options,
      ...(direct ? { ALPNProtocols: ['postgresql'] } : {}),
    });
    this.#socket = secure;
    secure.once('error', (error: Error) => this.destroy(new TidemarkError('POSTGRES_TLS', error.message, { cause: error })));
    secure.once('close', () => this.destroy());
    secure.once('secureConnect', () => this.#begin(secure));
  }

  #begin(socket: net.Socket): void {
    this.#established = true;
    // An error after the handshake is of the connection, not of TLS.
    socket.removeAllListeners('error');
    socket.on('error', (error: Error) => this.destroy(error));
    // Without TLS its bytes come through `onread`.
    if (socket instanceof tls.TLSSocket) socket.on('data', (chunk: Buffer) => this.#take(socket, chunk));
    socket.once('end', () => this.push(null));
    socket.resume();
    this.emit('connect');
  }

  #take(socket: net.Socket, chunk: Buffer): void {
    if (this.#divert !== null) this.#divert(chunk);
    else if (!this.push(chunk)) socket.pause();
  }
}
