/** Rows of XA transactions between XA PREPARE and XA COMMIT. */
import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { RowReader } from '../binlog/rows-event.ts';
import { RowWriter, type RowRoute } from '../binlog/row-writer.ts';
import type { TableMap } from '../binlog/table-map.ts';
import type { PreparedXa } from '../prepared-xa.ts';
import type { EventRange } from './group.ts';

/** Rows of one transaction above this are not kept: they are read again from the binlog at the commit. */
const MAX_BYTES = 4 << 20;
/** Rows of all prepared transactions together. */
const MAX_ALL_BYTES = 16 << 20;
const FIRST_BYTES = 16 << 10;

/** The rows of one transaction, as records, in order; or only which tables they are of. */
export class KeptRows {
  /** Tables that rows came for, with the route that each had; null: it was not captured then. */
  readonly routes = new Map<TableMap, RowRoute | null>();
  readonly #limit: number;
  #builder: BatchBuilder | null;
  #writer: RowWriter | null;
  #batch: ChangeBatch | null = null;

  constructor(limit = MAX_BYTES) {
    this.#limit = limit;
    this.#builder = new BatchBuilder(FIRST_BYTES);
    this.#writer = new RowWriter(this.#builder);
    this.#builder.begin('source', 0, 0);
  }

  /** False: they were too many, and are to be read again. */
  get isWhole(): boolean {
    return this.#batch !== null || this.#builder !== null;
  }

  get bytes(): number {
    return this.#batch?.records.length ?? this.#builder?.length ?? 0;
  }

  /** The rest of the rows of an event. @throws as RowReader.next and RowWriter.write */
  add(rows: RowReader, route: RowRoute): void {
    while (this.#writer !== null && rows.next()) {
      this.#writer.write(rows, route);
      if ((this.#builder?.length ?? 0) > this.#limit) this.drop();
    }
  }

  mark(): ReturnType<BatchBuilder['mark']> | null {
    return this.#builder?.mark() ?? null;
  }

  rewind(mark: ReturnType<BatchBuilder['mark']>): void {
    this.#builder?.rewind(mark);
  }

  /** No more rows come. */
  close(): void {
    if (this.#builder === null) return;
    this.#batch = this.#builder.take();
    this.#builder = null;
    this.#writer = null;
  }

  /** The bytes are given up. */
  drop(): void {
    this.#builder = null;
    this.#writer = null;
    this.#batch = null;
  }

  /** Copies what is kept into the open transaction of `into`, but for those tables; calls `added` after each record. */
  copyInto(into: BatchBuilder, without: ReadonlySet<number>, added: () => void): void {
    const view = new RecordView();
    const batch = this.#batch;
    if (batch === null) return;
    for (view.reset(batch.records); view.next(); ) {
      if (without.has(view.tableId)) continue;
      into.copy(view.record());
      added();
    }
  }
}

export interface Prepared {
  readonly xa: PreparedXa;
  /** Null: the binlog has not come to it yet in this stream. */
  readonly rows: KeptRows | null;
  readonly dropped: readonly EventRange[];
}

/** Prepared XA transactions, in the order in which they were prepared. */
export class PreparedTransactions {
  readonly #byXid = new Map<string, Prepared>();
  #bytes = 0;

  constructor(known: readonly PreparedXa[]) {
    for (const xa of known) this.#byXid.set(xa.xid, { xa, rows: null, dropped: [] });
  }

  /** For positions. */
  get all(): PreparedXa[] {
    return [...this.#byXid.values()].map(({ xa }) => xa);
  }

  get(xid: string): PreparedXa | null {
    return this.#byXid.get(xid)?.xa ?? null;
  }

  /** Prepared anew, or come to again: its place is as the server of this stream has it. Takes `rows` over. */
  set({ xa, rows, dropped }: Prepared & { readonly rows: KeptRows }): void {
    rows.close();
    const known = this.#byXid.get(xa.xid);
    this.#bytes += rows.bytes - (known?.rows?.bytes ?? 0);
    this.#byXid.set(xa.xid, { xa, rows, dropped });
    if (this.#bytes <= MAX_ALL_BYTES) return;
    this.#bytes -= rows.bytes;
    rows.drop();
  }

  take(xid: string): Prepared | null {
    const prepared = this.#byXid.get(xid) ?? null;
    this.#byXid.delete(xid);
    this.#bytes -= prepared?.rows?.bytes ?? 0;
    return prepared;
  }
}
