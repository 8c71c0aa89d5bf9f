/**
 * Which tables are to be read at the server, and when what was read counts. A reading is of some moment between two ends of
 * the binlog, `from` and `until`. It is the shape as of `until` if no statement in between concerns the table: so it counts
 * when the stream has come past `until` and has met none since the reading was asked for, which was before `from`.
 */
import type { TidemarkError } from '../../../contracts/errors/error.ts';
import { tableName } from '../../../contracts/schema.ts';
import type { Cascade } from '../catalog/catalog-query.ts';
import type { CatalogReading, ServerPlace } from '../catalog/catalog-reading.ts';
import type { TableReading, TableRef } from '../catalog/table-reading.ts';
import { touches, type StatementEffect } from '../ddl/effects.ts';
import { parseBinlogFile } from '../position.ts';
import type { ReadingRequest } from './schema-tracking.ts';
import { nameOf } from './tracked-tables.ts';

/** Tables of one request: what is read is kept until the stream comes past it. */
const MOST_AT_ONCE = 1_000;
/** Outcomes at one time: each costs some time, in which nothing else is done. */
const MOST_OUTCOMES = 200;
/** Readings whose two descriptions differ without a statement that explains it. */
const MOST_TRIES = 3;

interface Wanted {
  readonly table: TableRef;
  /** Readings that were not clear. */
  readonly tries: number;
}

interface Asked extends Wanted {
  isTouched: boolean;
}

/** What a reading that counts says of one table. */
export type Outcome =
  | { readonly kind: 'found'; readonly reading: TableReading; readonly cascades: readonly Cascade[] }
  | { readonly kind: 'missing'; readonly table: TableRef }
  | { readonly kind: 'refused'; readonly table: TableRef; readonly error: TidemarkError };

interface Answered {
  /** Those whose outcome has not been taken yet. */
  readonly asked: Map<string, Asked>;
  readonly reading: CatalogReading;
  readonly found: ReadonlyMap<string, TableReading>;
  readonly unclear: ReadonlyMap<string, TidemarkError>;
  readonly missing: ReadonlySet<string>;
}

export class Readings {
  /** By name, as `tableName` gives it. */
  readonly #wanted = new Map<string, Wanted>();
  #asked: { readonly request: ReadingRequest; readonly tables: Map<string, Asked> } | null = null;
  #answered: Answered[] = [];

  /** Something was read, and waits for the stream. */
  get isWaiting(): boolean {
    return this.#answered.length > 0;
  }

  want(table: TableRef): void {
    const key = tableName(table);
    if (!this.#wanted.has(key)) this.#wanted.set(key, { table, tries: 0 });
  }

  /** It is to be read, is being read, or was read and waits for the stream. */
  isWanted(table: TableRef): boolean {
    const key = tableName(table);
    return this.#wanted.has(key) || this.#asked?.tables.has(key) === true || this.#answered.some(({ asked }) => asked.get(key)?.isTouched === false);
  }

  /** A statement of the stream. */
  met(effect: StatementEffect): void {
    for (const tables of [this.#asked?.tables, ...this.#answered.map(({ asked }) => asked)]) {
      for (const one of tables?.values() ?? []) if (!one.isTouched && touches(effect, nameOf(one.table))) one.isTouched = true;
    }
  }

  /** A request that was not answered is void, and its tables are asked for again. */
  ask(): ReadingRequest | null {
    for (const { table, tries } of this.#asked?.tables.values() ?? []) this.#want({ table, tries });
    this.#asked = null;
    if (this.#wanted.size === 0) return null;
    const tables = new Map<string, Asked>();
    for (const [key, wanted] of this.#wanted) {
      tables.set(key, { ...wanted, isTouched: false });
      this.#wanted.delete(key);
      if (tables.size === MOST_AT_ONCE) break;
    }
    const request: ReadingRequest = { tables: [...tables.values()].map(({ table }) => table) };
    this.#asked = { request, tables };
    return request;
  }

  answer(request: ReadingRequest, reading: CatalogReading): void {
    if (this.#asked?.request !== request) return;
    this.#answered.push({
      asked: this.#asked.tables,
      reading,
      found: new Map(reading.tables.map((table) => [tableName(table), table])),
      unclear: new Map(reading.unclear.map(({ table, error }) => [tableName(table), error])),
      missing: new Set(reading.missing.map(tableName)),
    });
    this.#asked = null;
  }

  /** What counts now that the stream has come to `place`, or some of it; what does not count is wanted again. */
  due(place: ServerPlace): Outcome[] {
    const outcomes: Outcome[] = [];
    for (const answered of this.#answered) {
      if (isBefore(place, answered.reading.until)) continue;
      for (const [key, one] of answered.asked) {
        if (outcomes.length === MOST_OUTCOMES) return outcomes;
        answered.asked.delete(key);
        const outcome = this.#outcome(key, one, answered);
        if (outcome !== null) outcomes.push(outcome);
      }
    }
    this.#answered = this.#answered.filter(({ asked }) => asked.size > 0);
    return outcomes;
  }

  #outcome(key: string, { table, tries, isTouched }: Asked, { reading, found, unclear, missing }: Answered): Outcome | null {
    if (isTouched) {
      this.#want({ table, tries: 0 });
      return null;
    }
    const described = found.get(key);
    if (described !== undefined) return { kind: 'found', reading: described, cascades: reading.cascades };
    if (missing.has(key)) return { kind: 'missing', table };
    const error = unclear.get(key);
    if (error !== undefined && tries + 1 >= MOST_TRIES) return { kind: 'refused', table, error };
    this.#want({ table, tries: tries + 1 });
    return null;
  }

  #want(wanted: Wanted): void {
    const key = tableName(wanted.table);
    const known = this.#wanted.get(key);
    if (known === undefined || known.tries < wanted.tries) this.#wanted.set(key, wanted);
  }
}

/** Of two places in the binlog of one server. */
function isBefore(a: ServerPlace, b: ServerPlace): boolean {
  if (a.file === b.file) return a.offset < b.offset;
  // Before the server has named its file nothing has come from it.
  if (a.file === '' || b.file === '') return a.file === '';
  return parseBinlogFile(a.file).number < parseBinlogFile(b.file).number;
}
