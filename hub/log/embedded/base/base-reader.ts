import type { BaseReader, BaseRow, BaseRows } from '../../../../contracts/base.ts';
import type { Catalog } from '../../../../contracts/catalog.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import type { Position } from '../../../../contracts/position.ts';
import { readError } from '../disk-error.ts';
import type { LogCore } from '../log-core.ts';
import type { Base } from '../manifest.ts';
import { EntryKind, ValueView } from './base-entry.ts';
import { decodeCatalog, type BaseCatalog } from './base-files.ts';
import type { Extents } from './kept-tables.ts';
import { NetCursor } from './net-cursor.ts';
import { OpenRuns } from './open-runs.ts';
import { pinHorizon, type Pin } from './pins.ts';
import { RowsOfTable } from './rows-of-table.ts';
import { aborted } from '../../../waiters.ts';

const NONE = Buffer.alloc(0);

/** The base of one moment: its files stay readable, whatever compaction does meanwhile. */
export class EmbeddedBaseReader implements BaseReader {
  readonly horizon: Offset;
  readonly position: Position | null;
  readonly commitTime: number;
  readonly catalog: Catalog;
  readonly #extents: Extents;
  readonly #core: LogCore;
  readonly #runs: OpenRuns;
  readonly #scratch: string;
  readonly #pin: Pin;

  private constructor(core: LogCore, horizon: Offset, base: Base, { catalog, extents }: BaseCatalog, runs: OpenRuns, scratch: string, pin: Pin) {
    this.#core = core;
    this.horizon = horizon;
    this.position = base.position === null ? null : Buffer.from(base.position, 'hex');
    this.commitTime = base.commitTime;
    this.catalog = catalog;
    this.#extents = extents;
    this.#runs = runs;
    this.#scratch = scratch;
    this.#pin = pin;
  }

  /** Null: the log has no base. @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT`, `LOG_READ_FAILED` */
  static async open(core: LogCore): Promise<EmbeddedBaseReader | null> {
    for (;;) {
      const pin = await pinHorizon(core);
      const { base, horizon } = core.view;
      try {
        if (base !== null) return await EmbeddedBaseReader.#open(core, horizon, base, pin);
        pin[Symbol.dispose]();
        return null;
      } catch (error) {
        pin[Symbol.dispose]();
        // Replaced between the look and the opening: the view has moved on.
        if (core.view.base !== base && !core.closed) continue;
        throw readError(error, { source: core.source });
      }
    }
  }

  static async #open(core: LogCore, horizon: Offset, base: Base, pin: Pin): Promise<EmbeddedBaseReader> {
    const runs = await OpenRuns.open(core.files, base.runs, (number) => core.runPath(number));
    try {
      const path = core.catalogPath(base.catalog);
      const catalog = decodeCatalog(await core.files.readFile(path), path, base.catalogCrc);
      return new EmbeddedBaseReader(core, horizon, base, catalog, runs, core.takeScratch(), pin);
    } catch (error) {
      await runs[Symbol.asyncDispose]();
      throw error;
    }
  }

  async *rows(tableId: number, options: Parameters<BaseReader['rows']>[1]): AsyncGenerator<BaseRows, void, void> {
    const { after = null, signal, withDropped = false } = options;
    if (this.catalog.table(tableId) === undefined) return;
    // What empties the table comes before its rows, and must be seen.
    const seeks = after !== null && (await this.#runs.emptied(tableId)) === null;
    const from = { tableId, key: seeks ? after : NONE };
    const cursor = new NetCursor(await this.#runs.cursor(this.#core.files, this.#scratch, this.catalog, from), {
      isBottom: true,
      keeps: (id) => id === tableId,
      rowsAfter: (id) => this.#extents.get(id)?.rowsAfter ?? 0,
      keepsWide: withDropped,
    });
    const walk = new RowsOfTable(cursor, tableId, after, this.commitTime);
    for (let rows = await walk.next(); rows !== null; rows = await walk.next()) {
      if (signal.aborted) throw aborted(signal);
      this.#pin.moveTo(this.horizon);
      yield rows;
    }
  }

  async estimateRows(isCounted: (tableId: number) => boolean): Promise<number> {
    return this.#runs.estimateEntries(isCounted);
  }

  async find(tableId: number, key: Uint8Array, withDropped = false): Promise<BaseRow | null> {
    const found = await this.#runs.find(tableId, key);
    if (found === null) return null;
    const { kind, offset, version, imageStart, imageEnd } = new ValueView().read(found, 0, found.length);
    if (kind !== EntryKind.row) return null;
    if (!withDropped && offset <= (this.#extents.get(tableId)?.rowsAfter ?? 0)) return null;
    const emptied = await this.#runs.emptied(tableId);
    if (emptied !== null && new ValueView().read(emptied, 0, emptied.length).offset > offset) return null;
    return { offset, schemaVersion: version, image: found.subarray(imageStart, imageEnd) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pin[Symbol.dispose]();
    await this.#runs[Symbol.asyncDispose]();
    await this.#core.files.remove(this.#scratch);
  }
}
