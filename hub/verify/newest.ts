import { BatchBuilder, type ChangeBatch } from '../../contracts/change-batch.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { SourceLog } from '../../contracts/log-engine.ts';
import type { Offset } from '../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../contracts/op.ts';
import { Projectors } from '../../contracts/projection.ts';
import { RecordView } from '../../contracts/record.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import type { Sight } from './log-side.ts';

/** A row as a record left it. */
export interface NewestRow {
  readonly version: number;
  readonly image: Buffer;
}

export interface Stretch {
  readonly after: Offset;
  readonly to: Offset;
  /** What counts of it; null: all. */
  readonly sight: Sight | null;
}

const NONE = Buffer.alloc(0);
/** Keys that are kept, at most: above it there is too much going on to look at single rows. */
const MOST_KEYS = 200_000;
const MOST_BYTES = 64 << 20;

/** What the log last says of some rows of one keyed table, from an offset on. In memory, bounded. */
export class Newest {
  readonly #log: SourceLog;
  readonly tableId: number;
  readonly #wants: ((key: string) => boolean) | null;
  readonly #view = new RecordView();
  /** By key (latin1); null: it is gone. */
  readonly rows = new Map<string, NewestRow | null>();
  /** The table was emptied: what it had before is gone. */
  isEmptied = false;
  #bytes = 0;

  /** @param wants keys, as latin1; null: all */
  constructor(log: SourceLog, tableId: number, wants: ((key: string) => boolean) | null) {
    this.#log = log;
    this.tableId = tableId;
    this.#wants = wants;
  }

  /** Takes what stands in a stretch; stretches come in order. @throws TidemarkError `VERIFY_TABLE` when it is too much; what the log throws */
  async read({ after, to, sight }: Stretch, signal: AbortSignal): Promise<void> {
    if (to <= after) return;
    const view = this.#view;
    for await (const batch of this.#log.read({ after, to, follow: false, signal })) {
      const unseen = sight === null ? null : await sight.unseen(batch);
      for (view.reset(batch.records); view.next(); ) {
        if (view.tableId !== this.tableId || unseen?.[view.index] === 1) continue;
        if ((view.flags & (Flag.incomplete | Flag.notApplied)) === 0) this.#take(view);
      }
      if (this.rows.size > MOST_KEYS || this.#bytes > MOST_BYTES) {
        throw new TidemarkError('VERIFY_TABLE', 'too many rows change at once to look at single ones of them', { retry: 'auto' });
      }
    }
  }

  /** What an earlier look found of a key, unless a record has told more. */
  known(key: string, row: NewestRow | null): void {
    if (!this.rows.has(key) && !this.isEmptied) this.rows.set(key, row);
  }

  /** Rows that are there, as `r` records of a schema. */
  batch(schema: TableSchema, catalog: Catalog, keys: Iterable<string>): ChangeBatch {
    const projectors = new Projectors();
    const builder = new BatchBuilder(64 << 10);
    builder.begin('hub', 0, 0);
    for (const key of keys) {
      const row = this.rows.get(key);
      if (row === null || row === undefined) continue;
      builder.record(Op.read, 0, this.tableId, schema.version, Buffer.from(key, 'latin1'), NONE, imageIn(row, schema, catalog, projectors));
    }
    return builder.take();
  }

  #take(view: RecordView): void {
    if (view.op === Op.truncate) {
      this.isEmptied = true;
      this.rows.clear();
      this.#bytes = 0;
      return;
    }
    if (!isRowOp(view.op)) return;
    const key = view.key().toString('latin1');
    if (this.#wants !== null && !this.#wants(key)) return;
    const gone = view.op === Op.delete || !view.hasAfter;
    this.#bytes += gone ? 0 : view.afterEnd - view.afterStart;
    this.rows.set(key, gone ? null : { version: view.schemaVersion, image: Buffer.from(view.after()) });
  }
}

function imageIn({ version, image }: NewestRow, schema: TableSchema, catalog: Catalog, projectors: Projectors): Buffer {
  return version === schema.version ? image : projectors.get(catalog.schemaOf(schema.tableId, version), schema).image(image, 0, image.length);
}
