import type { Checkpoint } from '../../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Finding } from '../../../../contracts/finding.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { readImage } from '../../../../contracts/row-image.ts';
import { tableName } from '../../../../contracts/schema.ts';
import type { Applying, BatchLimits, InPlaceRebuild, RecordRef, Sink, SinkBatch, SinkStart } from '../../../../contracts/sink.ts';
import { readKey } from '../../../../contracts/key.ts';

/** What a batch meets: `before` and `after` the work is done, or nothing. */
export type Fault = 'none' | 'before' | 'after' | 'data';

/** A sink that holds rows in memory, with a checkpoint that moves with them; faults as a test scripts them. */
export class MemorySink implements Sink {
  readonly kind = 'state';
  readonly limits: BatchLimits;
  readonly inPlace: InPlaceRebuild | null;
  /** `table/key` to the values of the row. */
  readonly rows = new Map<string, string>();
  /** Keys whose values it refuses. */
  readonly refused = new Set<string>();
  readonly applied: SinkBatch[] = [];
  /** Rows that were there before a rebuild in place and were not written since; null: none is under way. */
  stale: Set<string> | null = null;
  /** Rows that came with a cursor; and those of them that were there already, of a batch that did not empty their table. */
  readonly filled = { rows: 0, again: 0 };
  checkpoint: Checkpoint | null = null;
  fault: (batch: SinkBatch) => Fault = () => 'none';
  /** Batches wait for this before they are applied. */
  gate: Promise<void> = Promise.resolve();
  /** When the next batch may be handed over. */
  accepts: 'when applied' | 'at once' = 'when applied';
  opened = 0;
  /** It goes back to its checkpoint without being opened; and so often it did. */
  rewinds = false;
  rewound = 0;
  /** The table ids of the catalog that it was opened with. */
  known: number[] = [];
  /** Batches handed over, applied or not. */
  handed = 0;
  #logId = '';
  #broken: TidemarkError | null = null;
  #queue: Promise<unknown> = Promise.resolve();
  #staged: (() => void)[] = [];
  /** Settles with the batch that ends the transaction under way. */
  #whole = Promise.withResolvers<unknown>();
  #stagedFrom: Offset | null = null;

  constructor(limits: BatchLimits = { wholeTransactions: true, maxKeys: 100 }, options: { inPlace?: boolean } = {}) {
    this.limits = limits;
    this.inPlace = options.inPlace !== true ? null : {
      begin: (start) => this.#begin(start),
      pending: () => Promise.resolve(this.stale !== null),
      sweep: () => this.#sweep(),
    };
  }

  check(): Promise<Finding[]> {
    return Promise.resolve([]);
  }

  async open(start: SinkStart): Promise<Checkpoint | null> {
    await this.#giveUp();
    this.opened++;
    this.#logId = start.logId;
    this.known = start.catalog.tables().map(({ tableId }) => tableId);
    if (this.checkpoint !== null) this.checkpoint = { ...this.checkpoint, fence: this.checkpoint.fence + 1 };
    return this.checkpoint;
  }

  async rewind(): Promise<boolean> {
    if (!this.rewinds) return false;
    await this.#giveUp();
    this.rewound++;
    return true;
  }

  apply(batch: SinkBatch, _signal: AbortSignal): Applying {
    this.handed++;
    const work = this.#queue.then(() => this.#apply(batch));
    this.#queue = work.catch(() => undefined);
    const durable = batch.endsOpen ? Promise.all([work, this.#whole.promise]).then(() => batch.to) : work;
    if (!batch.endsOpen) {
      work.then(this.#whole.resolve, this.#whole.reject);
      this.#whole.promise.catch(() => undefined);
      this.#whole = Promise.withResolvers();
    }
    const accepted = this.accepts === 'at once' ? Promise.resolve() : work.then(() => undefined);
    return { accepted, durable };
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #giveUp(): Promise<void> {
    await this.#queue.catch(() => undefined);
    this.#broken = null;
    this.#whole = Promise.withResolvers();
    this.#staged = [];
    this.#stagedFrom = null;
  }

  #begin({ logId }: SinkStart): Promise<Checkpoint> {
    this.stale = new Set(this.rows.keys());
    this.checkpoint = { logId, epoch: '', offset: 0, position: new Uint8Array(0), cursor: null, fence: this.checkpoint?.fence ?? 1 };
    return Promise.resolve(this.checkpoint);
  }

  #sweep(): Promise<void> {
    for (const key of this.stale ?? []) this.rows.delete(key);
    this.stale = null;
    return Promise.resolve();
  }

  async #apply(batch: SinkBatch): Promise<Offset> {
    await this.gate;
    if (this.#broken !== null) throw this.#broken;
    try {
      return this.#applyNow(batch);
    } catch (failure) {
      this.#broken = failure instanceof TidemarkError ? failure : new TidemarkError('INTERNAL', String(failure));
      this.#whole.promise.catch(() => undefined);
      this.#whole.reject(this.#broken);
      throw this.#broken;
    }
  }

  #applyNow(batch: SinkBatch): Offset {
    const at = this.#stagedFrom ?? this.checkpoint?.offset ?? 0;
    if (batch.after !== at) throw new TidemarkError('INTERNAL', `the checkpoint is ${at}, the batch follows ${batch.after}`);
    const fault = this.fault(batch);
    if (fault === 'before') throw new TidemarkError('SINK_UNREACHABLE', 'scripted');
    if (fault === 'data') throw new TidemarkError('SINK_DATA', 'scripted');
    const work = this.#work(batch);
    this.#staged.push(() => work.forEach((each) => each()));
    this.#stagedFrom = batch.to;
    if (!batch.endsOpen) {
      for (const each of this.#staged) each();
      this.#staged = [];
      this.#stagedFrom = null;
      const { to: offset, epoch, position, cursor } = batch;
      this.checkpoint = { logId: this.#logId, epoch, offset, position, cursor, fence: this.checkpoint?.fence ?? 1 };
      this.applied.push(batch);
    }
    if (fault === 'after') throw new TidemarkError('SINK_UNREACHABLE', 'scripted, after the work was done');
    return batch.to;
  }

  #work(batch: SinkBatch): (() => void)[] {
    const work: (() => void)[] = [];
    for (const step of batch.steps) {
      if (step.kind !== 'rows') continue;
      for (const { schema, truncate, deletes, upserts, inserts } of step.tables) {
        const table = tableName(schema);
        if (truncate) work.push(() => this.#truncate(table));
        for (const ref of deletes) work.push(() => this.#put(`${table}/${keyOf(ref)}`, null));
        for (const ref of [...upserts, ...inserts]) {
          const key = `${table}/${keyOf(ref)}`;
          if (this.refused.has(key)) throw new TidemarkError('SINK_DATA', 'a value is refused', { where: { table } });
          const image = readImage(new RecordView().seek(ref.batch.records, ref.at).after()).map(String).join();
          work.push(() => {
            if (batch.cursor !== null) this.filled.rows++;
            if (batch.cursor !== null && this.rows.has(key) && this.stale?.has(key) !== true) this.filled.again++;
            this.#put(key, image);
          });
        }
      }
    }
    return work;
  }

  #put(key: string, image: string | null): void {
    this.stale?.delete(key);
    if (image === null) this.rows.delete(key);
    else this.rows.set(key, image);
  }

  #truncate(table: string): void {
    for (const key of this.rows.keys()) if (key.startsWith(`${table}/`)) this.rows.delete(key);
  }
}

function keyOf({ batch, at }: RecordRef): string {
  return readKey(new RecordView().seek(batch.records, at).key()).map(String).join();
}
