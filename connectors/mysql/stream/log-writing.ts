/** The log's side of a stream: transactions of the source and of the hub into batches, and out of them again. */
import { BATCH_BYTES, type BatchMark } from '../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Position } from '../../../contracts/position.ts';
import type { RowReader } from '../binlog/rows-event.ts';
import { RowWriter, type RowRoute } from '../binlog/row-writer.ts';
import type { PendingRecord } from '../schema/pending-record.ts';
import type { EventRange, Group, RolledBack } from './group.ts';
import type { Outlet } from './outlet.ts';

const EMPTY = Buffer.alloc(0);

/** `gone`: as if it had not begun. `open`: what it has written stays. */
export type TakenBack = 'gone' | 'open';

export class LogWriting {
  readonly #outlet: Outlet;
  readonly #writer: RowWriter;
  readonly #rolledBack: RolledBack;
  /** What the log has been told last, and its commit time: what transactions of the hub repeat, which is no progress. */
  #named: Position;
  #namedTime = 0;
  /** Progress, and the batch that tells it: not told before that is closed. */
  #telling: { readonly position: Position; readonly batch: number } | null = null;

  /** `named`: where the log is; empty: nowhere. */
  constructor(outlet: Outlet, rolledBack: RolledBack, named: Position) {
    this.#outlet = outlet;
    this.#writer = new RowWriter(outlet.builder);
    this.#rolledBack = rolledBack;
    this.#named = named;
  }

  /** The source has come to `position`. Nothing is open. */
  progress(position: Position): void {
    this.#tell();
    this.#telling = { position, batch: this.#outlet.batchNumber };
    this.#outlet.builder.keepalive(position);
    this.#outlet.between();
  }

  /** Nothing is open, and nothing is afterwards. */
  hubTransaction(records: readonly PendingRecord[]): void {
    if (records.length === 0) return;
    this.#tell();
    const { builder } = this.#outlet;
    builder.begin('hub', 0, this.#namedTime);
    for (const record of records) this.#record(record);
    builder.commit(this.#named);
    if (this.#telling !== null) builder.keepalive(this.#telling.position);
    this.#outlet.between();
  }

  /** Begins the group's transaction, if it has not begun. */
  open(group: Group, origin: string): void {
    if (group.base !== null) return;
    const { builder } = this.#outlet;
    group.base = builder.mark();
    group.batch = this.#outlet.batchNumber;
    builder.begin('source', 0, group.commitTime, origin);
  }

  /** Schema and control records of a group that has begun. */
  records(group: Group, records: readonly PendingRecord[]): void {
    for (const record of records) this.#record(record);
    group.written.push(...records);
    this.#outlet.added();
  }

  /** The rest of the rows of an event. @throws as RowReader.next and RowWriter.write */
  rows(rows: RowReader, route: RowRoute): void {
    const { builder } = this.#outlet;
    const writer = this.#writer;
    while (rows.next()) {
      writer.write(rows, route);
      if (builder.length >= BATCH_BYTES) this.#outlet.added();
    }
  }

  commit(group: Group, position: Position): void {
    this.#telling = null;
    this.#named = position;
    this.#namedTime = group.commitTime;
    this.#outlet.builder.commit(position);
    this.#rolledBack.forget(group);
    this.#outlet.between();
  }

  /** Where the group's transaction stands; null: it has no record. */
  mark(group: Group): BatchMark | null {
    return group.base === null ? null : this.#outlet.builder.mark();
  }

  get batchNumber(): number {
    return this.#outlet.batchNumber;
  }

  /**
   * Drops what the group has written since `mark`, which was set in that batch; its rows are those of `range`.
   * @throws TidemarkError `MYSQL_ROLLED_BACK` (retry: auto) when that was handed on already: what is sent again is left out
   */
  takeBack(group: Group, mark: BatchMark | null, batch: number, range: EventRange): TakenBack {
    if (group.base === null || mark === null) return 'gone';
    if (batch === this.#outlet.batchNumber) {
      const { builder } = this.#outlet;
      if (mark !== group.base) {
        builder.rewind(mark);
        return 'open';
      }
      builder.abandon(mark);
      group.base = null;
      return 'gone';
    }
    // It is read again, and its rows were left out this time.
    if (group.dropped.some(({ first, after }) => first === range.first && after >= range.after)) return 'open';
    this.#rolledBack.add(group, range);
    throw new TidemarkError('MYSQL_ROLLED_BACK', 'a transaction that is larger than a batch is rolled back by its own end: it is read again without what it takes back', {
      where: { position: group.place },
    });
  }

  #tell(): void {
    if (this.#telling === null || this.#telling.batch === this.#outlet.batchNumber) return;
    this.#named = this.#telling.position;
    this.#telling = null;
  }

  #record({ op, tableId, version, payload }: PendingRecord): void {
    this.#outlet.builder.record(op, 0, tableId, version, EMPTY, EMPTY, payload);
  }
}
