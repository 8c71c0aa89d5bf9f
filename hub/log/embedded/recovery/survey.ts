/** What can still be told of a log in which something is damaged: read behind the damage, nothing is changed. */
import { join } from 'node:path';
import { Catalog } from '../../../../contracts/catalog.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { RecordView } from '../../../../contracts/record.ts';
import type { FileSystem } from '../../../../contracts/runtime.ts';
import { catalogFile, decodeCatalog } from '../base/base-files.ts';
import { closedBytes, type Manifest, type SegmentEntry } from '../manifest.ts';
import { progressOf } from '../segments/batch-rules.ts';
import { headersIn } from '../segments/look-past.ts';
import { controlRecords } from '../segments/sealing.ts';
import { SegmentCursor, type StoredBatch } from '../segments/segment-cursor.ts';
import { decodeIndex, type ControlRecord } from '../segments/segment-index.ts';
import { indexFile, SEGMENT_HEADER, segmentFile } from '../segments/segment.ts';

export interface Survey {
  /** The tables that are known; not all of them, where `isWhole` is false. */
  readonly catalog: Catalog;
  readonly isWhole: boolean;
  /** No offset above it was ever given. */
  readonly highest: Offset;
  /** Hex; the newest source position of which is known that all before it has been in the log; null: none is. */
  readonly position: string | null;
  /** Of the newest transaction that is known, and the greatest; microseconds since 1970. */
  readonly commitTime: number;
  readonly maxCommitTime: number;
}

/** @throws TidemarkError `LOG_FORMAT`; Node's errors */
export async function surveyLog(files: FileSystem, directory: string, manifest: Manifest): Promise<Survey> {
  const surveyor = new Surveyor(files, directory, manifest);
  await surveyor.catalog();
  for (const segment of manifest.segments) await surveyor.segment(segment);
  return surveyor.survey;
}

class Surveyor {
  readonly #files: FileSystem;
  readonly #directory: string;
  readonly #manifest: Manifest;
  readonly #view = new RecordView();
  #catalog = new Catalog();
  #isWhole = true;
  #highest: Offset;
  #position: string | null;
  #commitTime: number;
  #maxCommitTime: number;

  constructor(files: FileSystem, directory: string, manifest: Manifest) {
    this.#files = files;
    this.#directory = directory;
    this.#manifest = manifest;
    this.#highest = Math.max(manifest.horizon, manifest.durable);
    this.#position = manifest.sealedPosition;
    this.#commitTime = manifest.sealedCommitTime;
    this.#maxCommitTime = Math.max(manifest.base?.maxCommitTime ?? 0, this.#commitTime);
  }

  get survey(): Survey {
    return {
      catalog: this.#catalog, isWhole: this.#isWhole, highest: this.#highest,
      position: this.#position, commitTime: this.#commitTime, maxCommitTime: this.#maxCommitTime,
    };
  }

  async catalog(): Promise<void> {
    const { base } = this.#manifest;
    if (base === null) return;
    const path = join(this.#directory, catalogFile(base.catalog));
    const bytes = await this.#bytesOf(path);
    try {
      if (bytes !== null) this.#catalog = decodeCatalog(bytes, path, base.catalogCrc).catalog;
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'LOG_CORRUPT') throw error;
      this.#isWhole = false;
    }
    if (bytes === null) this.#isWhole = false;
  }

  async segment(segment: SegmentEntry): Promise<void> {
    if (segment.state !== 'active') this.#highest = Math.max(this.#highest, segment.last);
    if (segment.state === 'sealed') this.#maxCommitTime = Math.max(this.#maxCommitTime, segment.maxCommitTime);
    const path = join(this.#directory, indexFile(segment.number));
    const bytes = segment.state === 'sealed' ? await this.#bytesOf(path) : null;
    const stored = bytes === null ? null : decodeIndex(bytes, segment.number);
    if (stored !== null) this.#apply(stored.controls);
    else await this.#walk(segment);
  }

  /** Every whole batch of a segment, behind damage too. */
  async #walk(segment: SegmentEntry): Promise<void> {
    const path = join(this.#directory, segmentFile(segment.number));
    if (!(await this.#files.exists(path))) {
      this.#isWhole = false;
      return;
    }
    const file = await this.#files.open(path, 'read');
    try {
      const size = await file.size();
      const end = Math.min(closedBytes(segment) ?? size, size);
      for (let at: number | null = SEGMENT_HEADER; at !== null && at < end; ) {
        const cursor = new SegmentCursor(file, at);
        let stored = await cursor.next(end);
        for (; stored?.kind === 'batch'; stored = await cursor.next(end)) if (this.#isOwn(stored)) this.#take(stored, segment);
        if (stored === null) break;
        // A torn tail looks the same: what it may have held was never readable.
        this.#isWhole = false;
        at = null;
        for await (const { position, header } of headersIn(file, stored.position + 1, end)) {
          if (header.logId !== this.#manifest.logId) continue;
          this.#highest = Math.max(this.#highest, header.durableOffset, header.base + header.count - 1);
          at = position;
          break;
        }
      }
    } finally {
      await file.close();
    }
  }

  #isOwn({ header }: StoredBatch): boolean {
    return header.logId === this.#manifest.logId;
  }

  #take({ batch, header }: StoredBatch, segment: SegmentEntry): void {
    this.#highest = Math.max(this.#highest, batch.lastOffset, header.durableOffset);
    this.#apply(controlRecords(batch.records, batch.baseOffset));
    if (segment.state === 'sealed' || header.openAfter) return;
    const position = progressOf(batch);
    if (position !== null) this.#position = Buffer.from(position).toString('hex');
    this.#commitTime = batch.packed.lastCommit?.commitTime ?? this.#commitTime;
    this.#maxCommitTime = Math.max(this.#maxCommitTime, this.#commitTime);
  }

  #apply(controls: readonly ControlRecord[]): void {
    for (const { record, offset } of controls) {
      if (offset <= this.#manifest.horizon) continue;
      try {
        this.#catalog.apply(this.#view.seek(record, 0), offset);
      } catch (error) {
        // What it builds on is lost.
        if (!(error instanceof TidemarkError)) throw error;
        this.#isWhole = false;
      }
    }
  }

  /** Null: it is not there. */
  async #bytesOf(path: string): Promise<Buffer | null> {
    return (await this.#files.exists(path)) ? this.#files.readFile(path) : null;
  }
}
