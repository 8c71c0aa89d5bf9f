/**
 * The index of a segment: where its batches begin (sparse), which tables it has records of, and its `s` and `h`
 * records, so that opening a log reads no segment. Made while the segment is written or scanned; stored beside it once
 * it is closed. It holds nothing that the segments do not: a lost one is made again.
 *
 *      0 u32 magic "TMSI"
 *      4 u16 format version (2)
 *      6 u16 flags: 1 the tables are not listed (there are more than MAX_TABLES), 2 the segment has a record or a
 *            transaction entry, 4 a last commit is named, 8 with a source position
 *      8 u64 segment number
 *     16 u32 places, 20 u32 tables, 24 u32 control records, 28 u32 bytes of the source position
 *     32 u64 bytes of the segment that it tells of; for others it does not count (the segment was cut since)
 *     40 i64 the greatest commit time
 *     48 the last commit in the segment or before it: u64 segment number, u64 byte after it, u64 offset, i64 commit time
 *     80 source position, places (u64 base offset, u64 byte position), tables (u32 id),
 *        control records (u64 offset, record)
 *        u32 CRC-32 of all before it
 */
import { crc32 } from 'node:zlib';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { RECORD_HEADER, readU32 } from '../../../../contracts/record.ts';
import { readI64, readU64, writeI64, writeU64 } from '../bytes.ts';
import type { Boundary } from '../log-core.ts';

const MAGIC = 0x544d5349;
const VERSION = 2;
const HEADER = 80;
const ALL_TABLES = 1;
const HAS_CONTENT = 2;
const HAS_COMMIT = 4;
const HAS_POSITION = 8;
const HAS_OF_HUB = 16;
const MAX_TABLES = 1 << 16;

/** Bytes of a segment between two places of its index, at least. */
const PLACE_BYTES = 256 * 1024;

/** A batch that begins at `position`, and whose first record would be `base`. */
export interface Place {
  readonly base: Offset;
  readonly position: number;
}

/** A record of the log with its offset; `record` is its bytes. */
export interface ControlRecord {
  readonly offset: Offset;
  readonly record: Buffer;
}

/** Where a segment's batches are. */
export class SegmentIndex {
  readonly places: readonly Place[];
  /** Null: more than can be listed. */
  readonly tables: ReadonlySet<number> | null;

  constructor(places: readonly Place[], tables: ReadonlySet<number> | null) {
    this.places = places;
    this.tables = tables;
  }

  /** False only when the segment has no record of the table. */
  mayHold(tableId: number): boolean {
    return this.tables === null || this.tables.has(tableId);
  }

  /** The last place whose batch begins before the record `offset`; null when there is none. */
  placeBefore(offset: Offset): Place | null {
    let low = 0;
    let high = this.places.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.places[middle]?.base ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return this.places[low - 1] ?? null;
  }
}

/** Gathers a segment's index while its batches go by in order. */
export class SegmentIndexBuilder {
  readonly #places: Place[] = [];
  readonly #controlBatches: number[] = [];
  /** Control records of a stored index, which does not name their batches. */
  #loaded: readonly ControlRecord[] | null = null;
  #tables: Set<number> | null = new Set();
  /** True when a transaction entry or a record has gone by: the segment cannot be left out. */
  hasContent = false;
  /** The greatest commit time of a source transaction that has gone by; 0 when there was none. */
  maxCommitTime = 0;
  /** When the last transaction of the hub was written, microseconds since 1970; 0: none has gone by; infinite: it is not known. */
  ofHubAt = 0;

  /** As it was when it was stored; only `cut` may change it. */
  static of({ index, controls, hasContent, maxCommitTime, hasOfHub }: StoredIndex): SegmentIndexBuilder {
    const builder = new SegmentIndexBuilder();
    builder.#places.push(...index.places);
    builder.#tables = index.tables === null ? null : new Set(index.tables);
    builder.#loaded = controls;
    builder.hasContent = hasContent;
    builder.maxCommitTime = maxCommitTime;
    builder.ofHubAt = hasOfHub ? Number.POSITIVE_INFINITY : 0;
    return builder;
  }

  /** Control records that came with a stored index; null: they stand in the batches at `controlBatches`. */
  get loadedControls(): readonly ControlRecord[] | null {
    return this.#loaded;
  }

  addPlace(base: Offset, position: number): void {
    const last = this.#places.at(-1);
    if (last === undefined || position - last.position >= PLACE_BYTES) this.#places.push({ base, position });
  }

  /**
   * A batch goes by: does it keep the segment, and when was it committed?
   * @param now microseconds since 1970; infinite: it was written earlier
   */
  noteBatch(batch: ChangeBatch, now: number): void {
    if (batch.count > 0 || batch.packed.length > 0) this.hasContent = true;
    this.maxCommitTime = Math.max(this.maxCommitTime, batch.packed.maxCommitTime);
    if (batch.packed.hasOfHub) this.ofHubAt = Math.max(this.ofHubAt, now);
  }

  addTable(tableId: number): void {
    if (this.#tables === null) return;
    this.#tables.add(tableId);
    if (this.#tables.size > MAX_TABLES) this.#tables = null;
  }

  /** The batch at `position` holds control records. */
  addControlBatch(position: number): void {
    this.#controlBatches.push(position);
  }

  /** Forgets what was gathered behind byte `end`. Tables may stay listed that are no longer there. */
  cut(end: number): void {
    while ((this.#places.at(-1)?.position ?? -1) >= end) this.#places.pop();
    if (this.#places.length === 0) this.hasContent = false;
    while ((this.#controlBatches.at(-1) ?? -1) >= end) this.#controlBatches.pop();
  }

  /** Byte positions of the batches that hold control records. */
  get controlBatches(): readonly number[] {
    return this.#controlBatches;
  }

  /** The index as it stands now; grows no further. */
  snapshot(): SegmentIndex {
    return new SegmentIndex([...this.#places], this.#tables === null ? null : new Set(this.#tables));
  }

  /**
   * The stored form.
   * @param bytes of the segment, all of which have gone by
   * @param commit the last one in the segment or before it; null when nobody will ask (a sealed segment)
   */
  encode(number: number, bytesOf: number, commit: Boundary | null, controls: readonly ControlRecord[]): Buffer {
    const tables = this.#tables === null ? [] : [...this.#tables];
    const position = commit?.sourcePosition ?? null;
    const fixed = HEADER + (position?.length ?? 0) + this.#places.length * 16 + tables.length * 4;
    const bytes = Buffer.alloc(controls.reduce((sum, control) => sum + 8 + control.record.length, fixed) + 4);
    bytes.writeUInt32BE(MAGIC, 0);
    bytes.writeUInt16BE(VERSION, 4);
    const named = (commit === null ? 0 : HAS_COMMIT) | (position === null ? 0 : HAS_POSITION);
    bytes.writeUInt16BE((this.#tables === null ? ALL_TABLES : 0) | (this.hasContent ? HAS_CONTENT : 0) | (this.ofHubAt > 0 ? HAS_OF_HUB : 0) | named, 6);
    writeU64(bytes, number, 8);
    bytes.writeUInt32BE(this.#places.length, 16);
    bytes.writeUInt32BE(tables.length, 20);
    bytes.writeUInt32BE(controls.length, 24);
    bytes.writeUInt32BE(position?.length ?? 0, 28);
    writeU64(bytes, bytesOf, 32);
    writeI64(bytes, this.maxCommitTime, 40);
    if (commit !== null) writeI64(bytes, commit.commitTime, writeU64(bytes, commit.offset, writeU64(bytes, commit.position, writeU64(bytes, commit.segment, 48))));
    if (position !== null) bytes.set(position, HEADER);
    let at = HEADER + (position?.length ?? 0);
    for (const place of this.#places) at = writeU64(bytes, place.position, writeU64(bytes, place.base, at));
    for (const table of tables) at = bytes.writeUInt32BE(table, at);
    for (const control of controls) {
      at = writeU64(bytes, control.offset, at);
      at += control.record.copy(bytes, at);
    }
    bytes.writeUInt32BE(crc32(bytes.subarray(0, at)), at);
    return bytes;
  }
}

export interface StoredIndex {
  readonly index: SegmentIndex;
  readonly controls: readonly ControlRecord[];
  /** Bytes of the segment that it tells of. */
  readonly bytes: number;
  readonly hasContent: boolean;
  readonly maxCommitTime: number;
  readonly hasOfHub: boolean;
  /** The last commit in the segment or before it, when the segment was closed. */
  readonly commit: Boundary | null;
}

/** Null when the bytes are not the whole, undamaged index of segment `number` in a version known here. */
export function decodeIndex(bytes: Buffer, number: number): StoredIndex | null {
  if (bytes.length < HEADER + 4 || bytes.readUInt32BE(0) !== MAGIC || bytes.readUInt16BE(4) !== VERSION) return null;
  const end = bytes.length - 4;
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32BE(end) || readU64(bytes, 8) !== number) return null;
  const placeCount = bytes.readUInt32BE(16);
  const tableCount = bytes.readUInt32BE(20);
  const positionEnd = HEADER + bytes.readUInt32BE(28);
  if (positionEnd + placeCount * 16 + tableCount * 4 > end) return null;
  const flags = bytes.readUInt16BE(6);
  let at = positionEnd;
  const places: Place[] = [];
  for (let i = 0; i < placeCount; i++, at += 16) places.push({ base: readU64(bytes, at), position: readU64(bytes, at + 8) });
  const tables = new Set<number>();
  for (let i = 0; i < tableCount; i++, at += 4) tables.add(bytes.readUInt32BE(at));
  const controls: ControlRecord[] = [];
  for (let i = 0; i < bytes.readUInt32BE(24); i++) {
    if (at + 8 + RECORD_HEADER > end) return null;
    const length = 4 + readU32(bytes, at + 8);
    if (length > end - at - 8) return null;
    controls.push({ offset: readU64(bytes, at), record: bytes.subarray(at + 8, at + 8 + length) });
    at += 8 + length;
  }
  if (at !== end) return null;
  return {
    index: new SegmentIndex(places, (flags & ALL_TABLES) === 0 ? tables : null),
    controls,
    bytes: readU64(bytes, 32),
    hasContent: (flags & HAS_CONTENT) !== 0,
    maxCommitTime: readI64(bytes, 40),
    hasOfHub: (flags & HAS_OF_HUB) !== 0,
    commit: (flags & HAS_COMMIT) === 0 ? null : decodeCommit(bytes, (flags & HAS_POSITION) === 0 ? null : bytes.subarray(HEADER, positionEnd)),
  };
}

function decodeCommit(bytes: Buffer, sourcePosition: Buffer | null): Boundary {
  return {
    segment: readU64(bytes, 48),
    position: readU64(bytes, 56),
    offset: readU64(bytes, 64),
    sourcePosition,
    commitTime: readI64(bytes, 72),
  };
}
