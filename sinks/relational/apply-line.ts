import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Applying, SinkBatch } from '../../contracts/sink.ts';
import { explainRefusal, type StoredCheckpoint } from './checkpoint.ts';

/** Of one opening: each may leave something at the server that goes with its session alone, as prepared statements. */
const MOST_REWINDS = 200;

/** What a compare-and-set changes the checkpoint to, if it still is what is expected. */
export interface CheckpointMove {
  readonly sink: string;
  readonly logId: string;
  readonly fence: number;
  readonly owner: string;
  readonly fromEpoch: string;
  readonly from: number;
  readonly epoch: string;
  readonly to: number;
  readonly position: Uint8Array;
  readonly cursor: Uint8Array | null;
  /** Microseconds since 1970. */
  readonly commitTime: number;
}

/** The place of a batch in its transaction. */
export interface BatchPlace {
  readonly move: CheckpointMove;
  /** The transaction begins with this batch. */
  readonly begins: boolean;
  readonly commits: boolean;
}

/** The checkpoint was not what was expected: nothing was changed. */
export class CheckpointRefused extends Error {
  override readonly name = 'CheckpointRefused';
}

/** The database's side of a line of batches. Calls come one at a time, but for `encode`, which overlaps the run before. */
export interface LineWorker<Encoded> {
  /** Of a batch that is one step of rows at most; the batch before may still run, unless it had other steps. @param reshaped shapes were changed in the open transaction, so that only the applying session sees them */
  encode(batch: SinkBatch, place: BatchPlace, reshaped: boolean): Promise<Encoded>;
  /** Applies, and commits where the place says so. @throws CheckpointRefused, TidemarkError */
  run(encoded: Encoded): Promise<void>;
  /** The same for a batch with other steps. */
  runSteps(batch: SinkBatch, place: BatchPlace): Promise<void>;
  /** Resolves when everything committed so far is durable. */
  flushed(): Promise<void>;
  /** Gives the open transaction up, and says what the failure means. @throws what the connection throws meanwhile */
  explain(failure: unknown): Promise<TidemarkError>;
  /**
   * Gives the open transaction up and forgets what it knew from within it. Answers the checkpoint as it stands; null: what
   * was done cannot be given up, or a connection is gone.
   */
  rewound(): Promise<StoredCheckpoint | null>;
  toError(failure: unknown): TidemarkError;
  /** Breaks every connection: what is under way fails. */
  cut(why: TidemarkError): void;
  /** Ends every connection. */
  close(): Promise<void>;
}

/** One batch in the line. */
interface Turn {
  readonly encoded: PromiseWithResolvers<void>;
  readonly ran: PromiseWithResolvers<void>;
  /** It is more than one step of rows: the next batch cannot be encoded before it has run. */
  readonly hasSteps: boolean;
}

/** Promises of a batch, settled by the line. */
interface Answers {
  readonly accepted: PromiseWithResolvers<void>;
  readonly durable: PromiseWithResolvers<Offset>;
}

/**
 * The batches of one opening, in order: while one is applied, the next is encoded. After the first failure everything is
 * refused; the sink is then opened anew.
 */
export class ApplyLine<Encoded> implements AsyncDisposable {
  readonly #worker: LineWorker<Encoded>;
  readonly #sink: string;
  readonly #opened: StoredCheckpoint;
  /** What the checkpoint is once every batch taken so far is applied. */
  #epoch: string;
  #offset: Offset;
  #last: Turn;
  #failure: TidemarkError | null = null;
  /** The batch taken last left its transaction open. */
  #open = false;
  /** Shapes were changed in that transaction. */
  #openReshaped = false;
  #rewinds = 0;
  /** Parts of the open transaction, to be told when it is durable. */
  #waiting: PromiseWithResolvers<Offset>[] = [];

  /** @param worker owned by the line from here on */
  constructor(worker: LineWorker<Encoded>, sink: string, opened: StoredCheckpoint) {
    this.#worker = worker;
    this.#sink = sink;
    this.#opened = opened;
    this.#epoch = opened.epoch;
    this.#offset = opened.offset;
    this.#last = nothingBefore();
  }

  /**
   * Gives up what is not committed and goes on from the checkpoint that stands there, which it answers; null: the sink is to
   * be opened anew. Of what was taken nothing is under way but parts whose end does not come: they reject.
   * @throws TidemarkError the connection's failure, `ABORTED`
   */
  async rewind(signal: AbortSignal): Promise<StoredCheckpoint | null> {
    const giveUp = (): void => this.#giveUp();
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      await this.#last.ran.promise.catch(() => undefined);
      const why = new TidemarkError('ABORTED', 'what was not committed is given up');
      for (const part of this.#waiting.splice(0)) part.reject(why);
      const stored = this.#rewinds++ < MOST_REWINDS ? await this.#worker.rewound() : null;
      signal.throwIfAborted();
      if (stored === null || explainRefusal(stored, this.#opened) !== 'moved') {
        this.#failure ??= why;
        return null;
      }
      this.#failure = null;
      this.#epoch = stored.epoch;
      this.#offset = stored.offset;
      this.#open = this.#openReshaped = false;
      this.#last = nothingBefore();
      return stored;
    } catch (error) {
      this.#failure = signal.aborted ? new TidemarkError('ABORTED', 'asked to stop') : this.#worker.toError(error);
      throw this.#failure;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  apply(batch: SinkBatch, signal: AbortSignal): Applying {
    const answers: Answers = { accepted: Promise.withResolvers<void>(), durable: Promise.withResolvers<Offset>() };
    const { accepted, durable } = answers;
    const turn: Turn = {
      encoded: Promise.withResolvers(),
      ran: Promise.withResolvers(),
      hasSteps: batch.steps.length > 1 || batch.steps.some((step) => step.kind !== 'rows'),
    };
    const before = this.#last;
    this.#last = turn;
    for (const { promise } of [turn.encoded, turn.ran, accepted, durable]) promise.catch(() => undefined);
    const giveUp = (): void => this.#giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    durable.promise.catch(() => undefined).finally(() => signal.removeEventListener('abort', giveUp));
    this.#take(batch, before, turn, answers, signal).catch(async (error: unknown) => {
      // A batch that cannot be encoded must not disturb the one before it, which may be in the midst of its transaction.
      await before.ran.promise.catch(() => undefined);
      const failure = await this.#fail(error);
      for (const part of [turn.encoded, turn.ran, accepted, durable, ...this.#waiting.splice(0)]) part.reject(failure);
    });
    return { accepted: accepted.promise, durable: durable.promise };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#failure ??= new TidemarkError('ABORTED', 'the sink was closed');
    await this.#worker.close();
    for (const part of this.#waiting.splice(0)) part.reject(this.#failure);
  }

  /**
   * Nobody waits any longer. The connections are broken: a statement may stand behind a lock for as long as somebody
   * holds it, and a transaction whose last part does not come would never end.
   */
  #giveUp(): void {
    const why = new TidemarkError('ABORTED', 'asked to stop before the batch was durable');
    this.#failure ??= why;
    this.#worker.cut(why);
    for (const part of this.#waiting.splice(0)) part.reject(this.#failure);
  }

  async #take(batch: SinkBatch, before: Turn, turn: Turn, { accepted, durable }: Answers, signal: AbortSignal): Promise<void> {
    await before.encoded.promise;
    if (before.hasSteps || this.#openReshaped) await before.ran.promise;
    this.#refuseAfterFailure(signal);
    const place = this.#placeOf(batch);
    const reshaped = this.#openReshaped;
    this.#openReshaped = batch.endsOpen && (this.#openReshaped || turn.hasSteps);
    const encoded = turn.hasSteps ? null : { it: await this.#worker.encode(batch, place, reshaped) };
    turn.encoded.resolve();
    await before.ran.promise;
    this.#refuseAfterFailure(signal);
    accepted.resolve();
    this.#waiting.push(durable);
    await (encoded === null ? this.#worker.runSteps(batch, place) : this.#worker.run(encoded.it));
    const committed = place.commits ? this.#waiting.splice(0) : [];
    turn.ran.resolve();
    if (committed.length === 0) return;
    try {
      await this.#worker.flushed();
      for (const part of committed) part.resolve(batch.to);
    } catch (error) {
      // It is committed and may be seen; whether it outlasts a crash is not known, so nobody is told that it is durable.
      for (const part of committed) part.reject(this.#worker.toError(error));
      throw error;
    }
  }

  #refuseAfterFailure(signal: AbortSignal): void {
    if (this.#failure !== null) throw this.#failure;
    if (signal.aborted) throw new TidemarkError('ABORTED', 'asked to stop before the batch was applied');
  }

  #placeOf(batch: SinkBatch): BatchPlace {
    if (batch.after !== this.#offset) {
      throw new TidemarkError('SINK_CHECKPOINT_MOVED', `a batch begins after ${batch.after}, the sink is at ${this.#offset}`, {
        where: { sink: this.#sink, offset: batch.after },
      });
    }
    const { logId, fence, owner } = this.#opened;
    const move: CheckpointMove = {
      sink: this.#sink, logId, fence, owner, fromEpoch: this.#epoch, from: this.#offset,
      epoch: batch.epoch, to: batch.to, position: batch.position, cursor: batch.cursor, commitTime: batch.commitTime,
    };
    const begins = !this.#open;
    this.#epoch = batch.epoch;
    this.#offset = batch.to;
    this.#open = batch.endsOpen;
    return { move, begins, commits: !batch.endsOpen };
  }

  /** Remembers the first failure and gives the transaction up; later ones are answered with the first. */
  async #fail(error: unknown): Promise<TidemarkError> {
    if (this.#failure !== null) return this.#failure;
    // Set at once, so that the batches behind do not begin; its reason is found out on the session meanwhile.
    this.#failure = error instanceof CheckpointRefused ? new TidemarkError('SINK_FENCED', error.message, { where: { sink: this.#sink } }) : this.#worker.toError(error);
    try {
      this.#failure = await this.#worker.explain(error);
    } catch (second) {
      this.#failure = this.#worker.toError(second);
    }
    return this.#failure;
  }
}

/** What the first batch of a line comes after. */
function nothingBefore(): Turn {
  const turn: Turn = { encoded: Promise.withResolvers(), ran: Promise.withResolvers(), hasSteps: false };
  turn.encoded.resolve();
  turn.ran.resolve();
  return turn;
}
