/**
 * The changes of a MySQL or MariaDB source: one connection that gets the binlog, and one ordinary session for the catalog. It
 * begins when it is first iterated and ends for good with the first failure; reconnecting is the caller's.
 */
import type { ChangeBatch } from '../../../contracts/change-batch.ts';
import type { ChangeStream, StreamStart } from '../../../contracts/connector.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { DurableProgress } from '../../../contracts/log-engine.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import { findServer } from '../find-server.ts';
import { readablePrepared, readBinlogEnd, type ServerIdentity } from '../identity.ts';
import { decodePlace, type BinlogPlace } from '../position.ts';
import type { Session } from '../session.ts';
import { LiveStream, type StreamParts } from './live-stream.ts';

export class MysqlStream implements ChangeStream {
  readonly #parts: StreamParts;
  readonly #start: StreamStart;
  readonly #signal: AbortSignal;
  readonly #closing = new AbortController();
  readonly #owned = new AsyncDisposableStack();
  readonly #announced: TableSchema[] = [];
  #live: LiveStream | null = null;
  #acknowledged: DurableProgress | null = null;
  #begun = false;

  constructor(parts: StreamParts, start: StreamStart, signal: AbortSignal) {
    this.#parts = parts;
    this.#start = start;
    this.#signal = AbortSignal.any([signal, this.#closing.signal]);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ChangeBatch, void, undefined> {
    if (this.#begun) throw new TidemarkError('INTERNAL', 'a stream is iterated once');
    this.#begun = true;
    try {
      const live = await this.#open();
      for (let batch = await live.outlet.next(); batch !== null; batch = await live.outlet.next()) yield batch;
    } catch (error) {
      if (!this.#signal.aborted) throw error;
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  acknowledge(progress: DurableProgress): void {
    this.#acknowledged = progress;
    this.#live?.acknowledge(progress);
  }

  requestProgress(): void {
    this.#live?.requestProgress();
  }

  announce(tables: readonly TableSchema[]): void {
    if (this.#live === null) this.#announced.push(...tables);
    else this.#live.announce(tables);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new TidemarkError('ABORTED', 'the stream is closed'));
    this.#live?.outlet.end();
    this.#live = null;
    await Promise.all([this.#parts.runs(null), this.#owned.disposeAsync()]);
    this.#parts.report({ connected: false, waitingFor: '' });
  }

  /** Connects, checks that the stream may go on where the log is, and begins. */
  async #open(): Promise<LiveStream> {
    const { endpoint, report, runs, track } = this.#parts;
    const signal = this.#signal;
    report({ connected: false, waitingFor: 'a connection' });
    const known = this.#start.position === null ? (this.#parts.begin()?.place ?? null) : decodePlace(this.#start.position);
    const { session, identity } = await findServer(endpoint, known, signal);
    this.#owned.use(session);
    const place = await placeAt(session, identity, known);
    const tracking = await track(session, identity);
    const live = new LiveStream(this.#parts, this.#start, { session, identity, place, tracking }, signal);
    this.#live = live;
    await runs(live);
    await live.begin(this.#owned);
    if (this.#acknowledged !== null) live.acknowledge(this.#acknowledged);
    if (this.#announced.length > 0) live.announce(this.#announced.splice(0));
    return live;
  }
}

/** Where to begin, as that server has it; at its end where nothing is known. */
async function placeAt(session: Session, identity: ServerIdentity, known: BinlogPlace | null): Promise<BinlogPlace> {
  const place = known ?? (await readBinlogEnd(session, identity)).place;
  const prepared = await readablePrepared(session, identity, place);
  return prepared.length === (place.prepared?.length ?? 0) ? place : { ...place, prepared };
}
