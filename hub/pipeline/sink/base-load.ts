import { crc32 } from 'node:zlib';
import type { BaseReader } from '../../../contracts/base.ts';
import type { LoadCursor } from '../../../contracts/load-cursor.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { Random } from '../../../contracts/runtime.ts';
import type { Sink, SinkBatch, TableSelector } from '../../../contracts/sink.ts';
import { baseBatches } from './base-batches.ts';
import type { FoldStart } from './fold.ts';
import { BASE_START, decodeLoadPlace, encodeLoadPlace, type LoadPlace } from './load-place.ts';
import { MirroredTables } from './mirrored-tables.ts';

const LOAD_BYTES = 16;
const NO_POSITION = new Uint8Array(0);

export interface BaseLoadParts {
  readonly sink: Pick<Sink, 'limits' | 'handsNamesOn'>;
  readonly log: SourceLog;
  readonly selects: TableSelector;
  readonly random: Random;
  /** Bytes at which a batch is full. */
  readonly maxBytes: number;
}

export interface LoadOptions {
  /** Where an earlier opening came to; null: begins with the first table. */
  readonly from: LoadPlace | null;
  /** Tables are emptied first; false where a rebuild in place removes afterwards what it did not write. */
  readonly empties: boolean;
}

/**
 * Where a load that has this cursor goes on: in the base of the same horizon, with the same tables. Null: it begins anew.
 */
export function placeIn(cursor: LoadCursor | null, { log, sink, selects }: Pick<BaseLoadParts, 'log' | 'sink' | 'selects'>): LoadPlace | null {
  const place = cursor === null ? null : decodeLoadPlace(cursor);
  const { horizon } = log.state();
  if (place === null || place.joins || place.horizon !== horizon || place.epoch !== log.epochAt(horizon)) return null;
  return place.selection === selectionOf(tablesAt(horizon, { log, sink, selects })) ? place : null;
}

/**
 * Fills a sink that has nothing with what the base has, and moves its checkpoint to the horizon, where the history goes
 * on: batches like any others, each with the cursor at which the next one begins. Owns the base; disposing closes it, and
 * may be done twice.
 */
export class BaseLoad implements AsyncDisposable {
  /** Where the history goes on. */
  readonly end: FoldStart;
  /** Rows that the sink has from an earlier opening. */
  readonly rowsBefore: number;
  /** Of all of them, about. */
  readonly estimatedRows: number;
  /** The cursor that the sink has; null: none of this load. */
  readonly cursor: LoadCursor | null;
  readonly #parts: BaseLoadParts;
  readonly #base: BaseReader;
  readonly #from: LoadPlace;
  readonly #empties: boolean;
  readonly #tables: MirroredTables;
  #closed = false;

  private constructor(parts: BaseLoadParts, base: BaseReader, tables: MirroredTables, { from, empties }: LoadOptions, estimatedRows: number) {
    const { log, random } = parts;
    const { horizon, commitTime } = base;
    this.end = { after: horizon, position: base.position ?? NO_POSITION, commitTime };
    this.rowsBefore = from?.rows ?? 0;
    this.estimatedRows = estimatedRows;
    this.cursor = from === null ? null : encodeLoadPlace(from);
    this.#parts = parts;
    this.#base = base;
    this.#empties = empties;
    this.#tables = tables;
    this.#from = from ?? {
      load: random.bytes(LOAD_BYTES).toString('hex'), batches: 0, rows: 0, horizon, epoch: log.epochAt(horizon), selection: selectionOf(tables), joins: false, read: null, place: BASE_START,
    };
  }

  /**
   * Null: the base is of another horizon by now, which was forced past the lease.
   * @param horizon that is held by a lease
   * @throws TidemarkError what the log throws
   */
  static async open(parts: BaseLoadParts, horizon: Offset, options: LoadOptions): Promise<BaseLoad | null> {
    const base = await parts.log.openBase();
    if (base === null) return null;
    try {
      if (base.horizon === horizon) {
        const tables = tablesAt(horizon, parts);
        const estimate = await base.estimateRows((tableId) => tables.get(tableId) !== undefined);
        return new BaseLoad(parts, base, tables, options, Math.max(estimate, options.from?.rows ?? 0));
      }
    } catch (error) {
      await base[Symbol.asyncDispose]();
      throw error;
    }
    await base[Symbol.asyncDispose]();
    return null;
  }

  /** What is left, in order; the last one moves the checkpoint. @throws TidemarkError what the log throws, `ABORTED` */
  async *batches(signal: AbortSignal): AsyncGenerator<SinkBatch, void, void> {
    const { log, sink, maxBytes } = this.#parts;
    const maxKeys = sink.limits?.maxKeys ?? 50_000;
    const standing = { after: 0, to: 0, endsOpen: false, epoch: log.epochAt(0), position: NO_POSITION, commitTime: 0 };
    let at = this.#from;
    for await (const { place, ...loaded } of baseBatches(this.#base, this.#tables, { maxKeys, maxBytes, empties: this.#empties, from: at.place }, signal)) {
      at = { ...at, batches: at.batches + 1, rows: at.rows + loaded.records, place };
      yield { ...standing, ...loaded, cursor: encodeLoadPlace(at) };
    }
    const { after: to, position, commitTime } = this.end;
    yield { ...standing, to, epoch: log.epochAt(to), position, commitTime, cursor: null, steps: [], records: 0, bytes: 0 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#base[Symbol.asyncDispose]();
  }
}

function tablesAt(horizon: Offset, { log, sink, selects }: Pick<BaseLoadParts, 'log' | 'sink' | 'selects'>): MirroredTables {
  return new MirroredTables(log.catalog(), horizon, selects, sink.handsNamesOn);
}

/** A sum of the tables and their order. */
function selectionOf(tables: MirroredTables): number {
  return crc32(tables.schemas().map(({ tableId, version }) => `${tableId}/${version}`).join(' '));
}
