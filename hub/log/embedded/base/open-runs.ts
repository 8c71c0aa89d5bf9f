import type { Catalog } from '../../../../contracts/catalog.ts';
import { Projectors } from '../../../../contracts/projection.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { ExternalSorter } from '../runs/external-sort.ts';
import type { BaseRun } from '../manifest.ts';
import { MergeCursor } from '../runs/merge.ts';
import type { EntryCursor } from '../runs/run-format.ts';
import { RunReader } from '../runs/run-reader.ts';
import { bagValue, ValueView } from './base-entry.ts';

/** Where a walk begins. */
export interface From {
  readonly tableId: number;
  readonly key: Uint8Array;
}

/** Some runs of a base, open: their files stay readable while compaction replaces them. Owns the readers. */
export class OpenRuns implements AsyncDisposable {
  readonly runs: readonly BaseRun[];
  readonly #readers: readonly RunReader[];
  readonly #sorters: ExternalSorter[] = [];

  private constructor(runs: readonly BaseRun[], readers: readonly RunReader[]) {
    this.runs = runs;
    this.#readers = readers;
  }

  /** @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT`; Node's `ENOENT` when a run has been replaced meanwhile */
  static async open(files: FileSystem, runs: readonly BaseRun[], pathOf: (number: number) => string): Promise<OpenRuns> {
    const readers: RunReader[] = [];
    try {
      for (const run of runs) readers.push(await RunReader.open(files, pathOf(run.number)));
    } catch (error) {
      for (const reader of readers) await reader[Symbol.asyncDispose]();
      throw error;
    }
    return new OpenRuns(runs, readers);
  }

  /**
   * All entries in order, several for a key where several runs have it. Rows of keyless tables come in their table's
   * newest version as of `catalog`.
   * @param scratch a folder for sorting rows whose table has changed its shape; made when it is needed
   */
  async cursor(files: FileSystem, scratch: string, catalog: Catalog, from: From | null = null): Promise<EntryCursor> {
    const cursors: EntryCursor[] = [];
    for (const [index, reader] of this.#readers.entries()) {
      const bags = this.runs[index]?.bags ?? [];
      const changed = new Map<number, number>();
      for (const [tableId, version] of bags) {
        const newest = catalog.schema(tableId)?.version;
        if (newest !== undefined && newest !== version) changed.set(tableId, version);
      }
      if (changed.size === 0) cursors.push(reader.cursor(from));
      else {
        cursors.push(new Without(reader.cursor(from), changed));
        for (const [tableId, version] of changed) {
          if (from === null || tableId >= from.tableId) cursors.push(await this.#reshaped(files, `${scratch}/bag-${index}-${tableId}`, reader, catalog, tableId, version));
        }
      }
    }
    return new MergeCursor(cursors, 'all');
  }

  /** The newest entry of a key, as bytes of its value; null: no run has it. */
  async find(tableId: number, key: Uint8Array): Promise<Buffer | null> {
    for (const reader of this.#readers.toReversed()) {
      const value = await reader.find(tableId, key);
      if (value !== null) return value;
    }
    return null;
  }

  /** About how many entries some tables have in all runs. */
  async estimateEntries(isCounted: (tableId: number) => boolean): Promise<number> {
    let entries = 0;
    for (const reader of this.#readers) entries += await reader.estimateEntries(isCounted);
    return Math.round(entries);
  }

  /** The newest emptying of a table. */
  async emptied(tableId: number): Promise<Buffer | null> {
    return this.find(tableId, NO_KEY);
  }

  /** The rows of a keyless table in another shape: their order is another, too. */
  async #reshaped(files: FileSystem, directory: string, reader: RunReader, catalog: Catalog, tableId: number, version: number): Promise<EntryCursor> {
    await files.remove(directory);
    await files.makeDirectory(directory);
    const sorter = new ExternalSorter({ files, directory, duplicates: 'all' });
    this.#sorters.push(sorter);
    const newest = catalog.schemaOf(tableId, catalog.schema(tableId)?.version ?? version);
    const projector = new Projectors().get(catalog.schemaOf(tableId, version), newest);
    const value = new ValueView();
    const cursor = reader.cursor({ tableId, key: NO_KEY });
    for (let more = await cursor.next(); more && cursor.tableId === tableId; more = await cursor.next()) {
      const { bytes, keyStart, keyEnd, valueEnd } = cursor;
      // What empties the table has no row.
      if (keyEnd === keyStart) {
        await sorter.add(tableId, NO_KEY, bytes.subarray(keyEnd, valueEnd));
        continue;
      }
      const { offset, count } = value.read(bytes, keyEnd, valueEnd);
      await sorter.add(tableId, projector.image(bytes, keyStart, keyEnd), bagValue(newest.version, offset, count));
    }
    return sorter.sorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sorter of this.#sorters) await sorter[Symbol.asyncDispose]();
    for (const reader of this.#readers) await reader[Symbol.asyncDispose]();
  }
}

const NO_KEY = Buffer.alloc(0);

/** The entries of a cursor but those of some tables. */
class Without implements EntryCursor {
  readonly #input: EntryCursor;
  readonly #tables: ReadonlyMap<number, unknown>;

  constructor(input: EntryCursor, tables: ReadonlyMap<number, unknown>) {
    this.#input = input;
    this.#tables = tables;
  }

  get bytes(): Buffer {
    return this.#input.bytes;
  }

  get tableId(): number {
    return this.#input.tableId;
  }

  get keyStart(): number {
    return this.#input.keyStart;
  }

  get keyEnd(): number {
    return this.#input.keyEnd;
  }

  get valueEnd(): number {
    return this.#input.valueEnd;
  }

  next(): boolean | Promise<boolean> {
    for (;;) {
      const more = this.#input.next();
      if (more instanceof Promise) return more.then((arrived) => (arrived && this.#tables.has(this.#input.tableId) ? this.next() : arrived));
      if (!more || !this.#tables.has(this.#input.tableId)) return more;
    }
  }
}
