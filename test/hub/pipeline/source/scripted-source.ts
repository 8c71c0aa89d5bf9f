import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { ChangeStream, SourceConnector, SourceStatus, StreamStart, TableCopier } from '../../../../contracts/connector.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Finding } from '../../../../contracts/finding.ts';
import { buildKey } from '../../../../contracts/key.ts';
import type { DurableProgress } from '../../../../contracts/log-engine.ts';
import { Op } from '../../../../contracts/op.ts';
import { buildImage } from '../../../../contracts/row-image.ts';
import { encodeSchema, type TableSchema } from '../../../../contracts/schema.ts';
import { numberedPositions, positionOf, valueOf } from './numbered-positions.ts';

const NONE = new Uint8Array(0);

/** A change of a table with one key column and one value column. */
export interface ScriptedChange {
  readonly table: number;
  readonly key: number;
  readonly value: number | null;
}

export interface ScriptedTransaction {
  readonly end: number;
  readonly changes: readonly ScriptedChange[];
}

/**
 * A source without a server: transactions that a test commits, a slot that forgets what is acknowledged, streams that
 * break where a test says. A position is the number of the transaction.
 */
export class ScriptedSource implements SourceConnector {
  readonly positions = numberedPositions;
  readonly present: TableSchema[];
  /** What the hub has acknowledged; everything up to it is forgotten. */
  acknowledged = 0;
  /** Records that a batch holds at most. */
  batchRecords = 3;
  /** Called before each batch; a throw breaks the stream there. */
  beforeBatch: () => void = () => undefined;
  streams = 0;
  released = 0;
  #begin = 0;
  #transactions: ScriptedTransaction[] = [];
  #end = 0;
  #woken = false;
  #resume: () => void = () => undefined;

  constructor(tableIds: readonly number[] = [1, 2]) {
    this.present = tableIds.map(scriptedSchema);
  }

  #wake(): void {
    this.#woken = true;
    this.#resume();
  }

  get end(): number {
    return this.#end;
  }

  commit(changes: readonly ScriptedChange[]): void {
    this.#end++;
    this.#transactions.push({ end: this.#end, changes });
    this.#wake();
  }

  check(): Promise<Finding[]> {
    return Promise.resolve([]);
  }

  prepare(start: StreamStart): Promise<void> {
    const resumed = start.position === null ? 0 : valueOf(start.position);
    if (resumed < this.acknowledged) throw new TidemarkError('INTERNAL', `the log is at ${resumed}, the slot has forgotten up to ${this.acknowledged}`);
    return Promise.resolve();
  }

  /** The slot is gone: what was not streamed is lost, the next stream begins at the end. */
  release(): Promise<void> {
    this.released++;
    this.acknowledged = 0;
    this.#transactions = [];
    this.#begin = this.#end;
    return Promise.resolve();
  }

  tables(): Promise<TableSchema[]> {
    return Promise.resolve(this.present);
  }

  copier(): TableCopier {
    throw new TidemarkError('INTERNAL', 'a scripted source has no copier');
  }

  status(): Promise<SourceStatus> {
    return Promise.resolve({ head: positionOf(this.#end), retainedBytes: null, connected: true, waitingFor: '' });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  stream(start: StreamStart, signal: AbortSignal): ChangeStream {
    this.streams++;
    let announced: readonly TableSchema[] = [];
    const wait = (): Promise<void> =>
      new Promise((resolve) => {
        this.#resume = resolve;
        if (signal.aborted || this.#woken) resolve();
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    const batches = this.#batches(start, signal, wait, () => {
      const news = announced;
      announced = [];
      return news;
    });
    return {
      [Symbol.asyncIterator]: () => batches,
      [Symbol.asyncDispose]: async () => void (await batches.return(undefined)),
      acknowledge: (progress: DurableProgress) => {
        const position = progress.position === null ? 0 : valueOf(progress.position);
        if (position < this.acknowledged) throw new Error('an acknowledgement went back');
        this.acknowledged = position;
        this.#transactions = this.#transactions.filter((transaction) => transaction.end > position);
      },
      requestProgress: () => this.#wake(),
      announce: (tables) => {
        announced = tables;
        this.#wake();
      },
    };
  }

  async *#batches(start: StreamStart, signal: AbortSignal, wait: () => Promise<void>, news: () => readonly TableSchema[]): AsyncGenerator<ChangeBatch, undefined> {
    let at = start.position === null ? this.#begin : valueOf(start.position);
    const builder = new BatchBuilder(1024);
    builder.keepalive(positionOf(at));
    const emitNews = (): void => {
      const fresh = news().filter((table) => start.catalog.bySourceId(table.sourceTableId) === undefined);
      if (fresh.length === 0) return;
      builder.begin('hub', 0, at);
      for (const table of fresh) builder.record(Op.schema, 0, table.tableId, 1, NONE, NONE, encodeSchema(table));
      builder.commit(positionOf(at));
    };
    while (!signal.aborted) {
      this.#woken = false;
      emitNews();
      for (const { end, changes } of this.#transactions.filter((transaction) => transaction.end > at)) {
        builder.begin('source', end, end);
        for (const change of changes) {
          addChange(builder, change);
          if (builder.count < this.batchRecords) continue;
          this.beforeBatch();
          yield builder.take();
        }
        builder.commit(positionOf(end));
        at = end;
        emitNews();
      }
      this.beforeBatch();
      if (builder.isEmpty) builder.keepalive(positionOf(at));
      yield builder.take();
      if (at === this.#end && !signal.aborted) await wait();
    }
    return undefined;
  }
}

function addChange(builder: BatchBuilder, { table, key, value }: ScriptedChange): void {
  const id = String(key);
  const op = value === null ? Op.delete : Op.update;
  builder.record(op, 0, table, 1, buildKey([id]), NONE, value === null ? NONE : buildImage([id, String(value)]));
}

export function scriptedSchema(tableId: number): TableSchema {
  const column = (number: number, name: string) => ({
    number, name, type: { kind: 'int64' }, nativeType: 'bigint', nullable: number > 1,
    constantDefault: null, fill: null, generated: 'no', identity: 'no',
  }) as const;
  return {
    tableId, version: 1, sourceTableId: `oid${tableId}`, namespace: 'public', name: `t${tableId}`,
    columns: [column(1, 'id'), column(2, 'value')], keyKind: 'primary', key: [0],
  };
}
