/** What a fold keeps of single tables. Decisions without I/O. */
import type { Catalog, CatalogTable } from '../../../../contracts/catalog.ts';
import type { Keep, TableExtent } from '../../../../contracts/log-engine.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import type { ArchiveRun } from '../manifest.ts';

/** What the log has of a table that is, or was, not simply folded. */
export interface Extent extends TableExtent {
  /** Of the archives in which its records stand; null: of what is kept for ever. */
  readonly ages: readonly (number | null)[];
}

/** By table id. Tables that are not in it have their records from the horizon on, and every row. */
export type Extents = ReadonlyMap<number, Extent>;

/** A stretch of history that is folded, from one end of a transaction to another. */
export interface FoldedRange {
  readonly after: Offset;
  readonly to: Offset;
  /** From when on what stands up to its ends ages, microseconds since 1970. */
  readonly afterTime: number;
  readonly toTime: number;
}

export interface FoldState {
  /** As of the end of the range. */
  readonly catalog: Catalog;
  readonly keep: (table: TableSchema) => Keep;
  readonly range: FoldedRange;
  /** As of its beginning. */
  readonly before: Extents;
  readonly archive: readonly ArchiveRun[];
  /** Microseconds since 1970. */
  readonly now: number;
}

const FOR_EVER = null;

/** What one fold keeps, and what it drops. */
export class KeptTables {
  /** Ages for which records of the range are archived. */
  readonly ages: readonly (number | null)[];
  /** As of the end of the range. */
  readonly extents: Extents;
  /** Runs of the archive whose records are all older than they are kept for. */
  readonly expired: readonly ArchiveRun[];
  readonly #ages: ReadonlyMap<number, number | null>;

  constructor(state: FoldState) {
    const { catalog, keep, archive, now, range } = state;
    const isExpired = (ageMs: number | null, time: number): boolean => ageMs !== FOR_EVER && time <= now - ageMs * 1000;
    this.expired = archive.filter((run) => isExpired(run.ageMs, run.toTime));
    const left = archive.filter((run) => !this.expired.includes(run));
    const ages = new Map<number, number | null>();
    const extents = new Map<number, Extent>();
    for (const table of catalog.tables()) {
      const kept = keptAs(table, keep);
      if (kept.kind !== 'compact') ages.set(table.tableId, kept.kind === 'all' ? FOR_EVER : kept.ageMs);
      const extent = this.#extent(table, kept, state, left);
      if (extent !== null) extents.set(table.tableId, extent);
    }
    this.#ages = ages;
    this.extents = extents;
    this.ages = [...new Set(ages.values())].filter((ageMs) => !isExpired(ageMs, range.toTime));
  }

  /** For how long records of a table are archived, milliseconds; null: for ever; undefined: they are not. */
  ageOf(tableId: number): number | null | undefined {
    return this.#ages.get(tableId);
  }

  /** Rows last changed at or below the answer are dropped. */
  rowsAfter(tableId: number): Offset {
    return this.extents.get(tableId)?.rowsAfter ?? 0;
  }

  #extent(table: CatalogTable, kept: Keep, { range, before, archive, now }: FoldState, left: readonly ArchiveRun[]): Extent | null {
    const was = before.get(table.tableId) ?? { recordsAfter: range.after, rowsAfter: 0, ages: [] };
    if (kept.kind === 'compact') return was.rowsAfter === 0 ? null : { recordsAfter: range.to, rowsAfter: was.rowsAfter, ages: [] };
    let { recordsAfter, rowsAfter } = was;
    for (const run of this.expired) if (was.ages.includes(run.ageMs)) recordsAfter = Math.max(recordsAfter, run.to);
    if (kept.kind === 'window') {
      const end = windowEnd(kept.ageMs, archive, range, now);
      recordsAfter = Math.max(recordsAfter, end);
      // Rows without a key are counted, not changed: what stands before a moment cannot be told from what came after it.
      if (table.versions.at(-1)?.schema.keyKind !== 'none') rowsAfter = Math.max(rowsAfter, end);
    }
    const own = kept.kind === 'all' ? FOR_EVER : kept.ageMs;
    const ages = was.ages.filter((ageMs) => ageMs !== own && left.some((run) => run.ageMs === ageMs && run.to > recordsAfter));
    return { recordsAfter, rowsAfter, ages: [...ages, own] };
  }
}

function keptAs(table: CatalogTable, keep: (table: TableSchema) => Keep): Keep {
  const schema = table.versions.at(-1)?.schema;
  return schema === undefined ? { kind: 'compact' } : keep(schema);
}

/** The last offset, of those whose time is known, up to which all is older than the age; 0: none is. */
function windowEnd(ageMs: number, archive: readonly ArchiveRun[], range: FoldedRange, now: number): Offset {
  let end = 0;
  for (const { after, to, afterTime, toTime } of [...archive.filter((run) => run.ageMs === ageMs), range]) {
    if (afterTime <= now - ageMs * 1000) end = Math.max(end, after);
    if (toTime <= now - ageMs * 1000) end = Math.max(end, to);
  }
  return end;
}

/** A run of the archive is not made larger than this by merging, bytes. */
const MERGED_BYTES = 1 << 30;
const GROWTH = 4;
/** A merged run of records that are kept for a while covers at most this part of it: it is dropped as a whole. */
const PART_OF_AGE = 8;

/** The newest runs of the archive of one age, where they are to be merged into one; null: they are not. */
export function archiveToMerge(archive: readonly ArchiveRun[]): readonly ArchiveRun[] | null {
  for (const ageMs of new Set(archive.map((run) => run.ageMs))) {
    const found = mergeable(archive.filter((run) => run.ageMs === ageMs));
    if (found.length > 1) return found;
  }
  return null;
}

function mergeable(runs: readonly ArchiveRun[]): ArchiveRun[] {
  const last = runs.at(-1);
  const found: ArchiveRun[] = [];
  let bytes = 0;
  for (const run of runs.toReversed()) {
    const isLate = last !== undefined && run.ageMs !== null && last.toTime - run.afterTime > (run.ageMs * 1000) / PART_OF_AGE;
    if (found.length > 0 && (run.bytes >= GROWTH * bytes || bytes + run.bytes > MERGED_BYTES || isLate)) break;
    found.unshift(run);
    bytes += run.bytes;
  }
  return found;
}
