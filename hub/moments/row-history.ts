/** Every version of one row. */
import type { Catalog } from '../../contracts/catalog.ts';
import type { ChangeBatch } from '../../contracts/change-batch.ts';
import type { SourceLog, TableRecords } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import { Op } from '../../contracts/op.ts';
import { Projectors } from '../../contracts/projection.ts';
import { RecordView } from '../../contracts/record.ts';
import type { TransactionEntry } from '../../contracts/transaction.ts';
import { isGone, rowAt, saysOf, type RowAt } from './row-at.ts';
import type { HistoryProgress } from './table-at.ts';

export interface RowVersion {
  /** Of the change that made it. */
  readonly offset: Offset;
  readonly op: number;
  readonly flags: number;
  readonly schemaVersion: number;
  /** The transaction of the change, or the part of it in one batch. Null: the row stood already where the history begins. */
  readonly entry: TransactionEntry | null;
  /** Null: there was no row before. */
  readonly before: RowAt | null;
  /** Null: there is none from here on. */
  readonly after: RowAt | null;
  /** Of the batch that holds the change: its last offset, and whether it ends inside a transaction. */
  readonly batch: Pick<ChangeBatch, 'lastOffset' | 'endsOpen'> | null;
}

export interface RowHistoryOptions {
  readonly tableId: number;
  readonly key: Uint8Array;
  /** The row as it stands there comes first; below the horizon, where the table's records are kept longer, none does. */
  readonly from: Offset;
  readonly to: Offset;
  /** Knows every schema version up to `to`. */
  readonly catalog: Catalog;
  readonly signal: AbortSignal;
  /** Told how far the history has been read, batch by batch. */
  readonly onProgress?: ((progress: HistoryProgress) => void) | undefined;
}

/**
 * Every version that a row of a table with a key has had from one offset to another, oldest first. A transaction of the
 * hub (a part of a copy, which tells again what is known) counts as one change, and as none when it changes nothing.
 * Holds one batch.
 * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
 */
export async function* rowHistory(log: SourceLog, options: RowHistoryOptions): AsyncGenerator<RowVersion, void, void> {
  const { tableId, key, from, to, signal } = options;
  const standing = from < log.state().horizon ? null : await rowAt(log, tableId, key, from, signal);
  if (standing !== null) {
    const { offset, schemaVersion } = standing;
    yield { offset, op: Op.read, flags: 0, schemaVersion, entry: null, before: null, after: standing, batch: null };
  }
  const versions = new Versions(options, standing);
  for await (const records of log.readTables([tableId], { after: from, to, follow: false, signal })) {
    yield* versions.of(records);
    const { batch, offsets } = records;
    options.onProgress?.({ done: (offsets?.at(-1) ?? batch.lastOffset) - from, total: to - from });
  }
  yield* versions.rest();
}

/** Makes versions of the records of one key. */
class Versions {
  readonly #options: RowHistoryOptions;
  readonly #projectors = new Projectors();
  readonly #view = new RecordView();
  #standing: RowAt | null;
  /** The last change in a transaction of the hub that has not ended. */
  #pending: RowVersion | null = null;

  constructor(options: RowHistoryOptions, standing: RowAt | null) {
    this.#options = options;
    this.#standing = standing;
  }

  *of({ batch, offsets }: TableRecords): Generator<RowVersion, void, void> {
    const { tableId, key } = this.#options;
    const { transactions } = batch;
    let index = 0;
    const view = this.#view.reset(batch.records);
    while (view.next()) {
      for (let entry = transactions[index]; entry !== undefined && entry.first + entry.count <= view.index; entry = transactions[++index]) {
        if (entry.commits) yield* this.rest();
      }
      if (view.tableId !== tableId || !saysOf(view, key)) continue;
      yield* this.#change(view, offsets?.[view.index] ?? batch.baseOffset + view.index, batch, transactions[index] ?? null);
    }
    for (; index < transactions.length; index++) if (transactions[index]?.commits === true) yield* this.rest();
  }

  /** What waits for the end of a transaction of the hub. */
  *rest(): Generator<RowVersion, void, void> {
    const version = this.#pending;
    this.#pending = null;
    if (version === null || this.#isSame(version.after)) return;
    this.#standing = version.after;
    yield version;
  }

  *#change(view: RecordView, offset: Offset, batch: ChangeBatch, entry: TransactionEntry | null): Generator<RowVersion, void, void> {
    const { op, flags, schemaVersion } = view;
    const after = isGone(view) ? null : { offset, schemaVersion, image: Buffer.from(view.after()) };
    const before = this.#standing;
    const version: RowVersion = { offset, op, flags, schemaVersion, entry, before, after, batch };
    if (entry?.kind === 'hub') {
      this.#pending = version;
      return;
    }
    // What was not there is gone no more than it was: a table is emptied, or a row deleted that had not been copied yet.
    if (before === null && after === null) return;
    this.#standing = after;
    yield version;
  }

  #isSame(after: RowAt | null): boolean {
    const before = this.#standing;
    if (before === null || after === null) return before === after;
    if (before.schemaVersion === after.schemaVersion) return before.image.equals(after.image);
    const { catalog, tableId } = this.#options;
    const from = catalog.schemaOf(tableId, before.schemaVersion);
    const to = catalog.schemaOf(tableId, after.schemaVersion);
    return this.#projectors.get(from, to).image(before.image, 0, before.image.length).equals(after.image);
  }
}
