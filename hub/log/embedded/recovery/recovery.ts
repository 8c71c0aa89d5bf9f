/**
 * Opening a log: from the files to the state in memory, and the decision what is a torn tail and what is corruption.
 * Nothing is changed here, so that a stopped hub's folder can be read without writing; `repair` does the changes.
 */
import { join } from 'node:path';
import { Catalog } from '../../../../contracts/catalog.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { FileSystem, LogFile } from '../../../../contracts/runtime.ts';
import { progressOf, surveyRecords } from '../segments/batch-rules.ts';
import { catalogFile, decodeCatalog, runFile, type BaseCatalog } from '../base/base-files.ts';
import type { Extents } from '../base/kept-tables.ts';
import { readError } from '../disk-error.ts';
import { findClaims, type TailClaims } from '../segments/look-past.ts';
import type { Boundary, OpenSegment } from '../log-core.ts';
import { loadManifest, MANIFEST_FILE, type ClosedSegment, type Manifest, type SealedSegment, type SegmentEntry } from '../manifest.ts';
import { controlRecords } from '../segments/sealing.ts';
import { SegmentCursor, type Damage, type StoredBatch } from '../segments/segment-cursor.ts';
import { decodeIndex, SegmentIndexBuilder, type ControlRecord } from '../segments/segment-index.ts';
import { decodeSegmentHeader, indexFile, SEGMENT_HEADER, segmentFile } from '../segments/segment.ts';

/** What is done with each batch of a segment, and with its `s` and `h` records. */
type Take = (stored: StoredBatch, controls: readonly ControlRecord[]) => void;

export interface Recovered {
  readonly manifest: Manifest;
  readonly end: Boundary;
  readonly catalog: Catalog;
  readonly extents: Extents;
  readonly openSegments: Map<number, OpenSegment>;
  /** Sealed segments whose index must be made again. */
  readonly lostIndexes: ReadonlyMap<number, SegmentIndexBuilder>;
  /** Of the segment in which `end` stands: the first byte that nobody has named durable. */
  readonly unnamedFrom: number;
}

/** @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT`, `LOG_READ_FAILED` */
export async function recoverLog(files: FileSystem, directory: string, source: string): Promise<Recovered> {
  try {
    return await recover(files, directory, source);
  } catch (error) {
    throw readError(error, { source, file: directory });
  }
}

async function recover(files: FileSystem, directory: string, source: string): Promise<Recovered> {
  const manifest = await loadManifest(files, join(directory, MANIFEST_FILE));
  const names = new Set(await files.list(directory));
  for (const { number } of manifest.segments) {
    if (!names.has(segmentFile(number))) throw corrupt('a segment file is missing', join(directory, segmentFile(number)), source);
  }
  for (const { number } of [...(manifest.base?.runs ?? []), ...(manifest.base?.archive ?? [])]) {
    if (!names.has(runFile(number))) throw corrupt('a run of the base is missing', join(directory, runFile(number)), source);
  }
  const { base } = manifest;
  const path = base === null ? '' : join(directory, catalogFile(base.catalog));
  const known: BaseCatalog = base === null ? { catalog: new Catalog(), extents: new Map() } : decodeCatalog(await files.readFile(path), path, base.catalogCrc);
  return new Recovery(files, directory, source, manifest, known).run(names);
}

class Recovery {
  readonly #files: FileSystem;
  readonly #directory: string;
  readonly #source: string;
  readonly #manifest: Manifest;
  /** Begins as of the horizon. */
  readonly #catalog: Catalog;
  readonly #extents: Extents;
  readonly #openSegments = new Map<number, OpenSegment>();
  readonly #lostIndexes = new Map<number, SegmentIndexBuilder>();
  readonly #view = new RecordView();
  /** Control records of the open transaction. */
  #pending: ControlRecord[] = [];
  #end: Boundary;
  #next: Offset;
  #durable: Offset;
  #unnamedFrom = 0;

  constructor(files: FileSystem, directory: string, source: string, manifest: Manifest, { catalog, extents }: BaseCatalog) {
    this.#catalog = catalog;
    this.#extents = extents;
    this.#files = files;
    this.#directory = directory;
    this.#source = source;
    this.#manifest = manifest;
    this.#durable = manifest.durable;
    this.#next = manifest.horizon + 1;
    const { sealedPosition, sealedCommitTime } = manifest;
    this.#end = {
      segment: 0,
      position: 0,
      offset: manifest.horizon,
      sourcePosition: sealedPosition === null ? null : Buffer.from(sealedPosition, 'hex'),
      commitTime: sealedCommitTime,
    };
  }

  async run(names: ReadonlySet<string>): Promise<Recovered> {
    for (const segment of this.#manifest.segments) {
      if (segment.state === 'sealed') {
        await this.#takeSealed(segment, names);
        this.#end = { ...this.#end, segment: segment.number, position: segment.bytes, offset: segment.last };
        this.#next = segment.last + 1;
      } else if (segment.state === 'active' || !(await this.#takeClosed(segment, names))) {
        await this.#scan(segment);
        const open = this.#openSegments.get(segment.number);
        if (open !== undefined) open.closing = this.#end;
      }
    }
    return {
      manifest: this.#manifest,
      end: this.#end,
      catalog: this.#catalog,
      extents: this.#extents,
      openSegments: this.#openSegments,
      lostIndexes: this.#lostIndexes,
      unnamedFrom: this.#unnamedFrom,
    };
  }

  async #takeSealed({ number, controls, bytes }: SealedSegment, names: ReadonlySet<string>): Promise<void> {
    const path = join(this.#directory, indexFile(number));
    const present = names.has(indexFile(number));
    if (present && controls === 0) return;
    const stored = present ? decodeIndex(await this.#files.readFile(path), number) : null;
    if (stored !== null && stored.bytes === bytes && stored.controls.length === controls) {
      this.#apply(stored.controls);
      return;
    }
    await this.#remakeIndex(number);
  }

  /**
   * A closed segment with its index is as good as scanned: all of it was durable before the next one began.
   * @returns false when the index is not there, damaged, or of before a cut
   */
  async #takeClosed(segment: ClosedSegment, names: ReadonlySet<string>): Promise<boolean> {
    const { number, bytes, last } = segment;
    if (!names.has(indexFile(number))) return false;
    const stored = decodeIndex(await this.#files.readFile(join(this.#directory, indexFile(number))), number);
    if (stored === null || stored.commit === null || stored.bytes !== bytes) return false;
    const { commit, controls } = stored;
    this.#pending.push(...controls);
    if (commit.segment === number) {
      this.#apply(this.#pending.filter(({ offset }) => offset <= commit.offset));
      this.#pending = this.#pending.filter(({ offset }) => offset > commit.offset);
      this.#end = commit;
    }
    this.#openSegments.set(number, {
      index: SegmentIndexBuilder.of(stored),
      closing: this.#end,
      stored: { bytes, controls: controls.length },
    });
    this.#next = last + 1;
    this.#unnamedFrom = bytes;
    return true;
  }

  /** Case 14: everything that the index holds stands in the segment, whose batches are checked on the way. */
  async #remakeIndex(number: number): Promise<void> {
    const segment = this.#manifest.segments.find((entry) => entry.number === number);
    if (segment?.state !== 'sealed') return;
    const index = new SegmentIndexBuilder();
    await this.#walk(segment, segment.bytes, index, (_stored, controls) => this.#apply(controls));
    this.#lostIndexes.set(number, index);
  }

  #apply(controls: readonly ControlRecord[]): void {
    for (const { record, offset } of controls) {
      // The horizon may stand inside a segment.
      if (offset > this.#manifest.horizon) this.#catalog.apply(this.#view.seek(record, 0), offset);
    }
  }

  async #scan(segment: SegmentEntry): Promise<void> {
    const index = new SegmentIndexBuilder();
    this.#openSegments.set(segment.number, { index, closing: null, stored: null });
    this.#unnamedFrom = SEGMENT_HEADER;
    await this.#walk(segment, segment.state === 'active' ? null : segment.bytes, index, (stored, controls) => this.#take(segment, stored, controls));
    if (segment.state === 'closed') {
      this.#unnamedFrom = segment.bytes;
      if (this.#next !== segment.last + 1) {
        throw corrupt(`it ends at offset ${this.#next - 1} instead of ${segment.last}`, this.#path(segment), this.#source);
      }
    }
  }

  #take(segment: SegmentEntry, stored: StoredBatch, controls: readonly ControlRecord[]): void {
    const { batch, header, end } = stored;
    this.#next = batch.baseOffset + batch.count;
    this.#durable = Math.max(this.#durable, header.durableOffset);
    this.#unnamedFrom = Math.max(this.#unnamedFrom, header.durableBytes);
    this.#pending.push(...controls);
    if (header.openAfter) return;
    this.#apply(this.#pending);
    this.#pending = [];
    this.#end = {
      segment: segment.number,
      position: end,
      offset: this.#next - 1,
      sourcePosition: progressOf(batch) ?? this.#end.sourcePosition,
      commitTime: batch.packed.lastCommit?.commitTime ?? this.#end.commitTime,
    };
  }

  /**
   * Reads a segment from its start. `limit` null: to the first batch that is not whole, if that is a torn tail.
   * @throws TidemarkError `LOG_CORRUPT`
   */
  async #walk(segment: SegmentEntry, limit: number | null, index: SegmentIndexBuilder, take: Take): Promise<void> {
    const path = this.#path(segment);
    const file = await this.#files.open(path, 'read');
    try {
      const bound = limit ?? (await file.size());
      await this.#checkHeader(file, segment, path);
      const cursor = new SegmentCursor(file, SEGMENT_HEADER);
      let next = segment.base;
      for (let stored = await cursor.next(bound); stored !== null; stored = await cursor.next(bound)) {
        const size = limit === null ? bound : null;
        if (stored.kind === 'damage') return await this.#judge(file, segment, size, stored, next);
        const foreign = this.#foreign(stored, segment, next);
        if (foreign !== null) return await this.#judge(file, segment, size, foreign, next);
        take(stored, noteBatch(index, stored));
        next = stored.batch.baseOffset + stored.batch.count;
      }
    } finally {
      await file.close();
    }
  }

  async #checkHeader(file: LogFile, segment: SegmentEntry, path: string): Promise<void> {
    const bytes = Buffer.alloc(SEGMENT_HEADER);
    const read = await file.read(bytes, 0);
    const header = read < SEGMENT_HEADER ? null : decodeSegmentHeader(bytes);
    const fits =
      header !== null && header.logId === this.#manifest.logId && header.epoch === segment.epoch &&
      header.base === segment.base && header.number === segment.number;
    if (!fits) throw corrupt('the header of a segment is not the one that was written', path, this.#source);
  }

  #foreign(stored: StoredBatch, segment: SegmentEntry, next: Offset): Damage | null {
    const { header, position } = stored;
    if (header.logId !== this.#manifest.logId || header.epoch !== segment.epoch) {
      return { kind: 'damage', position, why: 'a batch belongs to another log or epoch' };
    }
    return header.base === next ? null : { kind: 'damage', position, why: `a batch begins at offset ${header.base} instead of ${next}` };
  }

  /**
   * Damage at the end of the active segment is a torn tail, unless somebody has named it durable: the headers before
   * it, the manifest, or a header of this log that stands behind it.
   * @param size bytes of the file; null: its end is settled, so that any damage in it is corruption
   */
  async #judge(file: LogFile, segment: SegmentEntry, size: number | null, damage: Damage, next: Offset): Promise<void> {
    const path = this.#path(segment);
    const where = `${damage.why} at byte ${damage.position}, where offset ${next} should be`;
    if (size === null) throw corrupt(where, path, this.#source, next);
    const claims = mergeClaims(
      { offset: this.#durable, bytes: this.#unnamedFrom },
      await findClaims(file, damage.position + 1, size, (header) => {
        return header.logId === this.#manifest.logId && header.base >= next && this.#isEpochFrom(header.epoch, segment.epoch);
      }),
    );
    if (claims.offset >= next || claims.bytes > damage.position) {
      throw corrupt(`${where}; the log was durable up to offset ${claims.offset}`, path, this.#source, next);
    }
  }

  /** True for `epoch` itself or one that began after it. */
  #isEpochFrom(found: string, epoch: string): boolean {
    const { epochs } = this.#manifest;
    return epochs.findIndex(({ id }) => id === found) >= epochs.findIndex(({ id }) => id === epoch);
  }

  #path(segment: SegmentEntry): string {
    return join(this.#directory, segmentFile(segment.number));
  }
}

function mergeClaims(a: TailClaims, b: TailClaims): TailClaims {
  return { offset: Math.max(a.offset, b.offset), bytes: Math.max(a.bytes, b.bytes) };
}

/** Adds a batch to an index; answers copies of its `s` and `h` records. */
export function noteBatch(index: SegmentIndexBuilder, { batch, position }: StoredBatch): ControlRecord[] {
  index.addPlace(batch.baseOffset, position);
  index.noteBatch(batch, Number.POSITIVE_INFINITY);
  const { controls } = surveyRecords(batch, 0, (tableId) => index.addTable(tableId));
  if (controls.length > 0) index.addControlBatch(position);
  return controls.length === 0 ? [] : controlRecords(batch.records, batch.baseOffset);
}

function corrupt(what: string, file: string, source: string, offset?: Offset): TidemarkError {
  return new TidemarkError('LOG_CORRUPT', what, { where: offset === undefined ? { source, file } : { source, file, offset } });
}
