import { ChangeBatch } from '../../contracts/change-batch.ts';
import type { CopiedChunk } from '../../contracts/connector.ts';
import type { Position } from '../../contracts/position.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { TransactionEntry } from '../../contracts/transaction.ts';

/** How the snapshot of a chunk stands to the stream: the questions of {@link CopiedChunk}. */
export type ChunkSight = Pick<CopiedChunk, 'sees' | 'lacks' | 'passedBy'>;

/** Rows in memory. */
export class SpooledChunk implements CopiedChunk {
  readonly schema: TableSchema;
  readonly range: string;
  readonly rest: string | null;
  readonly rowCount: number;
  readonly #sight: ChunkSight;
  readonly #spool: ChangeBatch[];

  constructor(parts: { schema: TableSchema; range: string; rest: string | null; sight: ChunkSight; spool: Spool }) {
    this.schema = parts.schema;
    this.range = parts.range;
    this.rest = parts.rest;
    this.rowCount = parts.spool.rows;
    this.#sight = parts.sight;
    this.#spool = parts.spool.batches;
  }

  async *batches(): AsyncGenerator<ChangeBatch, void, void> {
    for (const batch of this.#spool) yield batch;
  }

  sees(transaction: TransactionEntry): boolean {
    return this.#sight.sees(transaction);
  }

  lacks(transaction: TransactionEntry): boolean {
    return this.#sight.lacks?.(transaction) ?? false;
  }

  passedBy(position: Position): boolean {
    return this.#sight.passedBy(position);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#spool.length = 0;
  }
}

/** Full buffers of records, until they are too many. */
export class Spool {
  readonly batches: ChangeBatch[] = [];
  readonly limit: number;
  #bytes = 0;
  #rows = 0;

  /** @param limit bytes above which {@link isFull} is true */
  constructor(limit: number) {
    this.limit = limit;
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.#bytes > this.limit;
  }

  add(records: Buffer, count: number): void {
    this.batches.push(new ChangeBatch({ count, records, transactions: [], progress: null }));
    this.#bytes += records.length;
    this.#rows += count;
  }
}
