import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import type { Static, TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import { parseLoopback } from '../config/address.ts';
import type { HubStatus, RebuildAnswer, RebuildQuestion } from '../service.ts';
import { errorOf } from './answers.ts';
import { REBUILD_ANSWER } from './rebuild/schemas.ts';
import type { VerifyEvent, VerifyRequest } from '../verify/report.ts';
import { bodyOf, VERIFY_LINE } from './verify/schemas.ts';
import { API_ERROR, DONE, HEALTH, STATUS, STREAM_FAULT, TABLES, WAITED, type Health, type Tables } from './schemas.ts';

/** Where a hub listens. */
export type ApiAddress = { readonly socket: string } | { readonly http: string };

interface Call {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  readonly signal: AbortSignal;
}

/** Largest answer that is held in memory; a status of 10,000 tables is a twentieth of it. */
const MAX_ANSWER_BYTES = 64 << 20;

/**
 * Asks a running hub. Every method: @throws TidemarkError `API_UNREACHABLE` when nobody listens there, `API_ANSWER` when
 * the answer is not understood, `ABORTED`, and whatever the hub answers.
 */
export class ApiClient {
  readonly #target: RequestOptions;
  readonly #host: string;
  readonly #name: string;

  /** @throws TidemarkError `CONFIG_ADDRESS` */
  constructor(address: ApiAddress) {
    if ('socket' in address) {
      this.#name = address.socket;
      this.#host = 'localhost';
      this.#target = { socketPath: address.socket };
      return;
    }
    const parsed = parseLoopback(address.http);
    if (parsed === null) throw new TidemarkError('CONFIG_ADDRESS', `${address.http} is not a loopback address with a port`);
    this.#name = `http://${address.http}`;
    this.#host = address.http;
    this.#target = { host: parsed.host, port: parsed.port };
  }

  status(signal: AbortSignal): Promise<HubStatus> {
    return this.#ask(STATUS, { method: 'GET', path: '/v1/status', signal });
  }

  tables(signal: AbortSignal): Promise<Tables> {
    return this.#ask(TABLES, { method: 'GET', path: '/v1/tables', signal });
  }

  health(signal: AbortSignal): Promise<Health> {
    return this.#ask(HEALTH, { method: 'GET', path: '/v1/health', signal });
  }

  /** Resolves with the sink's offset. @param at an offset or a position such as `lsn:0/16B3748` */
  async wait(sink: string, at: string, timeoutMs: number, signal: AbortSignal): Promise<Offset> {
    const query = new URLSearchParams({ at, timeout: String(timeoutMs) });
    const path = `/v1/sinks/${encodeURIComponent(sink)}/wait?${query.toString()}`;
    return (await this.#ask(WAITED, { method: 'GET', path, signal })).offset;
  }

  /** Answers what was done, for people. */
  async sinkAction(sink: string, verb: 'pause' | 'resume' | 'retry', signal: AbortSignal): Promise<string[]> {
    return (await this.#ask(DONE, { method: 'POST', path: `/v1/sinks/${encodeURIComponent(sink)}/${verb}`, signal })).done;
  }

  /** Begins a rebuild, or goes on with the same one. */
  async rebuild(sink: string, { tables, to, fromScratch }: RebuildQuestion, signal: AbortSignal): Promise<RebuildAnswer> {
    const body = { ...(tables === null ? {} : { tables }), ...(to === null ? {} : { to }), fromScratch };
    return this.#ask(REBUILD_ANSWER, { method: 'POST', path: `/v1/sinks/${encodeURIComponent(sink)}/rebuild`, body, signal });
  }

  /** Answers what was done, for people. */
  async cancelRebuild(sink: string, signal: AbortSignal): Promise<string[]> {
    return (await this.#ask(DONE, { method: 'POST', path: `/v1/sinks/${encodeURIComponent(sink)}/rebuild/cancel`, signal })).done;
  }

  /** Answers what was done, for people. */
  async tableAction(source: string, verb: 'add-table' | 'recopy', table: string, signal: AbortSignal): Promise<string[]> {
    const path = `/v1/sources/${encodeURIComponent(source)}/${verb}`;
    return (await this.#ask(DONE, { method: 'POST', path, body: { table }, signal })).done;
  }

  /** Answers what was done, for people. */
  async resync(source: string, signal: AbortSignal): Promise<string[]> {
    return (await this.#ask(DONE, { method: 'POST', path: `/v1/sources/${encodeURIComponent(source)}/resync`, signal })).done;
  }

  /** Answers what was done, for people. */
  async reload(signal: AbortSignal): Promise<string[]> {
    return (await this.#ask(DONE, { method: 'POST', path: '/v1/reload', signal })).done;
  }

  /** The lines of a changelog (record-json.ts), in pieces of whole lines. Ending early ends the request. */
  read(source: string, query: Readonly<Record<string, string>>, signal: AbortSignal): AsyncGenerator<string> {
    return this.#lines(`/v1/sources/${encodeURIComponent(source)}/read?${new URLSearchParams(query).toString()}`, signal);
  }

  /** The lines of a table, of the history of a row, or of a difference (moments/schemas.ts), as `read` gives them. */
  moments(source: string, what: 'table' | 'history' | 'diff', query: readonly (readonly [string, string])[], signal: AbortSignal): AsyncGenerator<string> {
    const parameters = new URLSearchParams();
    for (const [name, value] of query) parameters.append(name, value);
    return this.#lines(`/v1/sources/${encodeURIComponent(source)}/${what}?${parameters.toString()}`, signal);
  }

  /** Folds history now: lines of progress, then of what was done (compact/schemas.ts). Ending early ends the work. */
  compact(source: string, to: string | null, signal: AbortSignal): AsyncGenerator<string> {
    return this.#lines(`/v1/sources/${encodeURIComponent(source)}/compact`, signal, to === null ? {} : { to });
  }

  /** Progress and, at the end, the report of a verification. Ending early ends it. */
  async *verify(sink: string, request: VerifyRequest, signal: AbortSignal): AsyncGenerator<VerifyEvent, void, void> {
    for await (const lines of this.#lines(`/v1/sinks/${encodeURIComponent(sink)}/verify`, signal, bodyOf(request))) {
      for (const line of lines.split('\n')) {
        if (line === '') continue;
        const event = parseJson(line);
        if (!Check(VERIFY_LINE, event)) throw new TidemarkError('API_ANSWER', 'a line of a verification is not understood');
        yield event;
      }
    }
  }

  /** What the hub holds, then empty lines for as long as it does (hold.ts). Ending early ends the hold. */
  hold(signal: AbortSignal): AsyncGenerator<string> {
    return this.#lines('/v1/hold', signal);
  }

  /** @param body makes it a POST */
  async *#lines(path: string, signal: AbortSignal, body?: object): AsyncGenerator<string> {
    const response = await this.#send(body === undefined ? { method: 'GET', path, signal } : { method: 'POST', path, body, signal });
    let rest = '';
    try {
      response.setEncoding('utf8');
      for await (const part of response) {
        const text = `${rest}${String(part)}`;
        const end = text.lastIndexOf('\n') + 1;
        rest = text.slice(end);
        if (end === 0) continue;
        const { lines, fault } = splitFault(text.slice(0, end));
        if (lines !== '') yield lines;
        if (fault !== null) throw fault;
      }
    } catch (cause) {
      throw this.#failure(cause, signal);
    } finally {
      response.destroy();
    }
    if (rest !== '') throw new TidemarkError('API_ANSWER', 'the lines end inside one of them');
  }

  /** Prometheus' text. */
  async metrics(signal: AbortSignal): Promise<string> {
    return this.#text(await this.#send({ method: 'GET', path: '/metrics', signal }), signal);
  }

  async #ask<S extends TSchema>(schema: S, call: Call): Promise<Static<S>> {
    const text = await this.#text(await this.#send(call), call.signal);
    const value = parseJson(text);
    if (!Check(schema, value)) throw new TidemarkError('API_ANSWER', `the answer to ${call.method} ${call.path} is not understood`);
    return value;
  }

  /** Resolves with a 2xx answer, whose body the caller reads. */
  async #send(call: Call): Promise<IncomingMessage> {
    const response = await this.#open(call);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const value = parseJson(await this.#text(response, call.signal));
    if (!Check(API_ERROR, value)) throw new TidemarkError('API_ANSWER', `${this.#name} answered with status ${status}`);
    throw errorOf(value);
  }

  #open(call: Call): Promise<IncomingMessage> {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        ...this.#target,
        method: call.method,
        path: call.path,
        signal: call.signal,
        agent: false,
        headers: {
          host: this.#host,
          ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
      });
      request.once('response', resolve);
      request.once('error', (error) => reject(this.#failure(error, call.signal)));
      request.end(body);
    });
  }

  async #text(response: IncomingMessage, signal: AbortSignal): Promise<string> {
    const parts: Buffer[] = [];
    let length = 0;
    try {
      for await (const part of response as AsyncIterable<Buffer>) {
        parts.push(part);
        length += part.length;
        if (length > MAX_ANSWER_BYTES) throw new TidemarkError('API_ANSWER', `${this.#name} answered with more than ${MAX_ANSWER_BYTES} bytes`);
      }
    } catch (error) {
      throw this.#failure(error, signal);
    }
    return Buffer.concat(parts).toString('utf8');
  }

  #failure(cause: unknown, signal: AbortSignal): TidemarkError {
    if (cause instanceof TidemarkError) return cause;
    if (signal.aborted) return new TidemarkError('ABORTED', 'the request was given up', { cause });
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unreadable';
    const remedy = code === 'EACCES' ? { remedy: 'Run the command as the user that the hub runs as: its socket is for that user alone.' } : {};
    return new TidemarkError('API_UNREACHABLE', `no hub answers at ${this.#name} (${code})`, { cause, ...remedy });
  }
}

const FAULT = '{"error":';

/** The lines that are records, and what the last one tells when it is a fault instead. */
function splitFault(text: string): { lines: string; fault: TidemarkError | null } {
  const at = text.lastIndexOf('\n', text.length - 2) + 1;
  const last = text.slice(at);
  if (!last.startsWith(FAULT)) return { lines: text, fault: null };
  const value = parseJson(last);
  const fault = Check(STREAM_FAULT, value)
    ? errorOf(value.error)
    : new TidemarkError('API_ANSWER', 'the end of the lines is not understood');
  return { lines: text.slice(0, at), fault };
}

/** True for the failure of a call to a place where nobody listens; false when somebody may, and cannot be reached. */
export function nobodyListens(error: unknown): boolean {
  if (!(error instanceof TidemarkError) || error.code !== 'API_UNREACHABLE') return false;
  const { cause } = error;
  return cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
