/**
 * The changes of a Postgres source: one replication connection, and one ordinary session for the catalog. It begins
 * when it is first iterated and ends for good with the first failure; reconnecting is the caller's.
 */
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { ChangeStream, StreamStart } from '../../contracts/connector.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { DurableProgress } from '../../contracts/log-engine.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { text } from './catalog-query.ts';
import { LiveStream, type StreamParts } from './live-stream.ts';
import { lsnOfPosition, PositionWriter } from './position.ts';
import { ReplicationConnection } from './replication.ts';
import { readIdentity } from './server-identity.ts';
import { readSlot, slotFault } from './slot.ts';

export class PostgresStream implements ChangeStream {
  readonly #parts: StreamParts;
  readonly #start: StreamStart;
  readonly #signal: AbortSignal;
  readonly #closing = new AbortController();
  readonly #owned = new AsyncDisposableStack();
  readonly #announced = new Set<number>();
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
      const live = await openLive(this.#parts, this.#start, this.#signal, this.#owned);
      this.#live = live;
      if (this.#acknowledged !== null) live.acknowledge(this.#acknowledged);
      live.announce(this.#announced);
      for (let batch = await live.intake.next(); batch !== null; batch = await live.intake.next()) yield batch;
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
    for (const table of tables) this.#announced.add(Number(table.sourceTableId));
    this.#live?.announce(this.#announced);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new TidemarkError('ABORTED', 'the stream is closed'));
    this.#live?.intake.end();
    this.#live = null;
    await Promise.all([this.#parts.reads(null), this.#owned.disposeAsync()]);
    this.#parts.report({ connected: false, waitingFor: '', head: null });
  }
}

/** Connects, checks that the stream may go on where the log is, and starts. What is opened is owned by `owned`. */
async function openLive(parts: StreamParts, start: StreamStart, signal: AbortSignal, owned: AsyncDisposableStack): Promise<LiveStream> {
  const { endpoint, options } = parts;
  parts.report({ connected: false, waitingFor: 'a connection', head: null });
  const session = owned.use(await endpoint.open(signal));
  await parts.reads(session.host);
  const identity = await readIdentity(session);
  const slot = await readSlot(session, options.slot);
  if (slot === null) throw new TidemarkError('POSTGRES_SLOT_MISSING', `there is no slot ${options.slot}`);
  const position = start.position === null ? null : lsnOfPosition(start.position);
  const [database] = await session.query('SELECT current_database() AS name');
  const fault = slotFault(slot, text(database ?? {}, 'name'), position);
  if (fault !== null) throw fault;
  const from = position ?? slot.confirmed ?? 0;
  const live = new LiveStream(parts, start, session, { positions: new PositionWriter(identity), from, hasPosition: position !== null });
  const connection = new ReplicationConnection(await endpoint.wire(session.host));
  owned.defer(() => connection.close());
  await live.begin(connection, session, signal, owned);
  return live;
}
