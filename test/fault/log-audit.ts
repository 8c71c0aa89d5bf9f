import { crc32 } from 'node:zlib';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { PositionCodec } from '../../contracts/position.ts';
import { RecordView } from '../../contracts/record.ts';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { FoldedTables } from './folded-tables.ts';

const READ_LIMIT_MS = 120_000;

export interface LogEnd {
  readonly highWatermark: number;
  readonly position: Uint8Array | null;
}

/**
 * Reads a hub's folder from outside and folds it. It goes on where the last audit ended; all that it has read before and
 * that is above the horizon is read again each time, and must be the same bytes. Where the hub folded more than it has read
 * (a full disk makes it do so), it goes on from the base.
 */
export class LogAudit {
  tables = new FoldedTables();
  readonly #directory: string;
  readonly #source: string;
  readonly #positions: PositionCodec;
  readonly #xids = new Set<number>();
  /** Of every record up to `#offset`, by its offset: those below the horizon are forgotten. */
  readonly #sums = new Map<number, number>();
  #horizon = 0;
  #offset = 0;
  #lastPosition: Uint8Array | null = null;

  /** @param directory the hub's data folder; no hub may run on it while it is audited */
  constructor(directory: string, source: string, positions: PositionCodec) {
    this.#directory = directory;
    this.#source = source;
    this.#positions = positions;
  }

  /** Offset of the last record audited. */
  get offset(): number {
    return this.#offset;
  }

  /** Where the log ends, without reading it. */
  end(): Promise<LogEnd> {
    return this.#opened((log) => Promise.resolve(log.state()));
  }

  /**
   * Audits what has come since, up to an offset (the end by default).
   * @throws when an offset is skipped, a transaction comes twice, positions go back, what was read before has changed, or
   * the log's own catalog is not the one that its records give
   */
  advance(to?: number): Promise<LogEnd> {
    return this.#opened(async (log) => {
      const { horizon, highWatermark, position } = log.state();
      if (horizon < this.#horizon) throw new Error(`the horizon went back to ${horizon}; it was at ${this.#horizon}`);
      if (horizon > this.#offset) await this.#fromBase(log);
      for (let folded = this.#horizon + 1; folded <= horizon; folded++) this.#sums.delete(folded);
      this.#horizon = horizon;
      const end = to ?? highWatermark;
      if (highWatermark < this.#offset || end > highWatermark) {
        throw new Error(`the log ends at ${highWatermark}; it was read up to ${this.#offset}, and ${end} was asked for`);
      }
      const reading = { follow: false, signal: AbortSignal.timeout(READ_LIMIT_MS) };
      let same = horizon;
      for await (const batch of log.read({ ...reading, after: horizon, to: this.#offset })) same = this.#again(batch, same);
      if (same !== this.#offset) throw new Error(`what stood in the log up to offset ${this.#offset} ends at ${same}`);
      for await (const batch of log.read({ ...reading, after: this.#offset, to: end })) this.#batch(batch);
      if (this.#offset !== end) throw new Error(`reading ended at ${this.#offset}, not at ${end}`);
      const told = JSON.stringify(log.catalog().tables());
      if (end === highWatermark && JSON.stringify(this.tables.catalog.tables()) !== told) {
        throw new Error(`the catalog of the log is not the fold of its records: ${told}`);
      }
      return { highWatermark, position };
    });
  }

  /** What was folded unread is taken from the base: what comes after it, the replica and the source must agree with that. */
  async #fromBase(log: SourceLog): Promise<void> {
    await using base = await log.openBase();
    if (base === null) throw new Error('the log has a horizon and no base');
    this.tables = new FoldedTables(base.catalog.clone());
    const view = new RecordView();
    for (const { tableId } of base.catalog.tables()) {
      for await (const { batch } of base.rows(tableId, { signal: AbortSignal.timeout(READ_LIMIT_MS) })) {
        view.reset(batch.records);
        while (view.next()) this.tables.apply(view, base.horizon);
      }
    }
    this.#offset = base.horizon;
    if (base.position !== null) this.#forward(base.position, base.horizon);
  }

  async #opened<T>(work: (log: SourceLog) => Promise<T>): Promise<T> {
    await using engine = await EmbeddedLogEngine.openReadOnly(this.#directory, createTestRuntime());
    return await work(await engine.open(this.#source, { create: false }));
  }

  /** @param after offset of the last record that is the same. Answers the next such. */
  #again(batch: ChangeBatch, after: number): number {
    if (batch.baseOffset > after + 1) throw new Error(`offset ${batch.baseOffset} comes after ${after}`);
    const view = new RecordView().reset(batch.records);
    let offset = batch.baseOffset - 1;
    while (view.next() && ++offset <= this.#offset) {
      if (offset > after && this.#sums.get(offset) !== crc32(view.record())) {
        throw new Error(`what stood in the log at offset ${offset} has changed since it was readable`);
      }
    }
    return Math.min(offset, this.#offset);
  }

  #batch(batch: ChangeBatch): void {
    const view = new RecordView().reset(batch.records);
    for (const entry of batch.transactions) {
      for (let i = 0; i < entry.count; i++) {
        if (!view.next()) throw new Error(`the batch at ${batch.baseOffset} has too few records`);
        const offset = batch.baseOffset + entry.first + i;
        if (offset <= this.#offset) continue;
        if (offset !== this.#offset + 1) throw new Error(`offset ${offset} comes after ${this.#offset}`);
        if (entry.kind === 'source' && entry.begins && i === 0) this.#newTransaction(entry.xid, offset);
        this.#offset = offset;
        this.#sums.set(offset, crc32(view.record()));
        this.tables.apply(view, offset);
      }
      if (entry.kind === 'source' && entry.commits) this.#forward(entry.position, batch.baseOffset);
    }
  }

  #newTransaction(xid: number, offset: number): void {
    if (xid === 0) return;
    if (this.#xids.has(xid)) throw new Error(`transaction ${xid} is in the log twice, again at offset ${offset}`);
    this.#xids.add(xid);
  }

  #forward(position: Uint8Array, offset: number): void {
    if (this.#lastPosition !== null && this.#positions.compare(this.#lastPosition, position) > 0) {
      throw new Error(`positions go back in the batch at offset ${offset}`);
    }
    this.#lastPosition = Buffer.from(position);
  }
}
