/**
 * The manifest of one source's log: what belongs to it. A line with format, length and CRC-32, then JSON; replaced
 * atomically. The truth about segments: a file that it does not name is a leftover.
 *
 * Segments stand in order of their numbers: first the sealed ones (closed, behind the high watermark, with an index),
 * then the closed ones (length and last offset are final), then at most one active one.
 */
import { crc32 } from 'node:zlib';
import type { Epoch, EpochId, LogId } from '../../../contracts/checkpoint.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import type { Offset } from '../../../contracts/offset.ts';
import type { FileSystem } from '../../../contracts/runtime.ts';

export const MANIFEST_FILE = 'manifest';
/** 1: without a base; 2: without an archive. */
const FORMATS: ReadonlySet<string> = new Set(['1', '2', '3']);
const FORMAT = 3;
const MAGIC = 'tidemark-log';

interface SegmentStart {
  readonly number: number;
  readonly epoch: EpochId;
  /** Offset of its first record, when it has one. */
  readonly base: Offset;
}

/** Being written; the last in the list. */
export interface ActiveSegment extends SegmentStart {
  readonly state: 'active';
}

/** Bytes behind `bytes` do not count. `last` is `base - 1` when it has no record. */
export interface ClosedSegment extends SegmentStart {
  readonly state: 'closed';
  readonly bytes: number;
  readonly last: Offset;
}

export interface SealedSegment extends SegmentStart {
  readonly state: 'sealed';
  readonly bytes: number;
  readonly last: Offset;
  /** Number of `s` and `h` records in it, which its index repeats. */
  readonly controls: number;
  /** The greatest commit time up to its end, microseconds since 1970; 0 when there was none. */
  readonly maxCommitTime: number;
  /** From when on its changes age (`segments/age.ts`), microseconds since 1970; absent: written by a version that did not note it. */
  readonly agesFrom?: number;
}

export type SegmentEntry = ActiveSegment | ClosedSegment | SealedSegment;

/** One file of the base: entries of the records of (after, to], which older runs do not have. */
export interface BaseRun {
  readonly number: number;
  readonly after: Offset;
  readonly to: Offset;
  readonly entries: number;
  readonly bytes: number;
  /** Of keyless tables in it, which stand there by their whole rows: table id and the version that these are of. */
  readonly bags: readonly (readonly [number, number])[];
}

/**
 * One file of the archive: the records of (after, to] of the tables that are kept alike. Those of one age follow each
 * other, from the oldest to the newest.
 */
export interface ArchiveRun {
  readonly number: number;
  readonly after: Offset;
  readonly to: Offset;
  /** For how long its records are kept, milliseconds; null: for ever. */
  readonly ageMs: number | null;
  readonly entries: number;
  readonly bytes: number;
  /** From when on what stands up to `after`, and up to `to`, ages; microseconds since 1970. */
  readonly afterTime: number;
  readonly toTime: number;
}

/** Each table as of the horizon. */
export interface Base {
  /** The source position (hex; null: none yet) at the horizon. */
  readonly position: string | null;
  /** Commit time of the last transaction up to the horizon, and the greatest up to there; microseconds since 1970. */
  readonly commitTime: number;
  readonly maxCommitTime: number;
  /** As of a segment. */
  readonly agesFrom?: number;
  /** The number of the file with the catalog as of the horizon. */
  readonly catalog: number;
  /** CRC-32 of that file; null: written by a version that did not note it. */
  readonly catalogCrc: number | null;
  /** From the oldest to the newest; each begins where the one before ends. */
  readonly runs: readonly BaseRun[];
  readonly archive: readonly ArchiveRun[];
}

/** Somebody who is not done with the base and the history behind `offset`: the horizon does not pass it. */
export interface Lease {
  readonly name: string;
  readonly offset: Offset;
}

export interface Manifest {
  readonly source: string;
  readonly logId: LogId;
  /** 0: the history holds everything, and there is no base. */
  readonly horizon: Offset;
  readonly base: Base | null;
  readonly leases: readonly Lease[];
  /** The number that the next file of the base gets: none is used twice. */
  readonly nextBase: number;
  /** The highest offset known to be durable when the manifest was written. */
  readonly durable: Offset;
  readonly epochs: readonly Epoch[];
  readonly segments: readonly SegmentEntry[];
  /** The number that the next segment gets: none is used twice. */
  readonly nextSegment: number;
  /** As of the end of the last sealed segment: the source position (hex; null: none yet) and the last commit time. */
  readonly sealedPosition: string | null;
  readonly sealedCommitTime: number;
}

export function encodeManifest(manifest: Manifest): Buffer {
  const body = Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`, 'utf8');
  const head = `${MAGIC} ${FORMAT} ${body.length} ${crc32(body).toString(16).padStart(8, '0')}\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

/** @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT` */
export function decodeManifest(bytes: Buffer, file: string): Manifest {
  const newline = bytes.indexOf(0x0a);
  const head = newline < 0 ? [] : bytes.toString('latin1', 0, newline).split(' ');
  if (head[0] !== MAGIC) throw corrupt('it does not begin as a manifest', file);
  if (!FORMATS.has(head[1] ?? '')) {
    throw new TidemarkError('LOG_FORMAT', `the manifest has format version ${head[1]}`, { where: { file } });
  }
  const body = bytes.subarray(newline + 1);
  if (String(body.length) !== head[2]) throw corrupt(`it has ${body.length} bytes instead of ${head[2]}`, file);
  if (crc32(body) !== Number.parseInt(head[3] ?? '', 16)) throw corrupt('its checksum does not fit', file);
  const read: unknown = JSON.parse(body.toString('utf8'));
  const value = upgraded(read, Number(head[1]));
  if (!isManifest(value)) throw corrupt('it lacks a field', file);
  checkSegments(value, file);
  checkBase(value, file);
  return value;
}

/** What an older version does not write. */
function upgraded(value: unknown, format: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (format === 1) return { base: null, leases: [], nextBase: 1, ...value };
  const base = 'base' in value && typeof value.base === 'object' && value.base !== null ? value.base : null;
  return { ...value, base: base === null ? null : { ...(format === 2 ? { archive: [] } : {}), catalogCrc: null, ...base } };
}

/** @throws TidemarkError `LOG_CORRUPT`, `LOG_FORMAT` */
export async function loadManifest(files: FileSystem, path: string): Promise<Manifest> {
  return decodeManifest(await files.readFile(path), path);
}

/** The byte after the last one that counts; null for the active segment. */
export function closedBytes(segment: SegmentEntry): number | null {
  return segment.state === 'active' ? null : segment.bytes;
}

function checkSegments(manifest: Manifest, file: string): void {
  const rank = { sealed: 0, closed: 1, active: 2 };
  let before: SegmentEntry | undefined;
  for (const segment of manifest.segments) {
    if (segment.number >= manifest.nextSegment) throw corrupt(`segment ${segment.number} is not below the next number`, file);
    if (before !== undefined) {
      const ordered = before.number < segment.number && rank[before.state] <= rank[segment.state];
      const follows = before.state !== 'active' && segment.base === before.last + 1;
      if (!ordered || !follows) throw corrupt(`segment ${segment.number} does not follow segment ${before.number}`, file);
    }
    before = segment;
  }
}

function checkBase({ base, horizon }: Manifest, file: string): void {
  if ((base === null) !== (horizon === 0)) throw corrupt(`its horizon is ${horizon}, and it has ${base === null ? 'no' : 'a'} base`, file);
  let end = 0;
  for (const run of base?.runs ?? []) {
    if (run.after !== end || run.to < run.after || run.to > horizon) throw corrupt(`run ${run.number} of the base does not follow offset ${end}`, file);
    end = run.to;
  }
  if (end !== horizon && base !== null) throw corrupt(`the base ends at offset ${end}, the horizon is ${horizon}`, file);
  const ends = new Map<number | null, Offset>();
  for (const run of base?.archive ?? []) {
    if (run.after < (ends.get(run.ageMs) ?? 0) || run.to < run.after || run.to > horizon) throw corrupt(`run ${run.number} of the archive is out of order`, file);
    ends.set(run.ageMs, run.to);
  }
}

function isManifest(value: unknown): value is Manifest {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof Manifest, unknown>>;
  return (
    typeof v.source === 'string' && typeof v.logId === 'string' && isOffset(v.horizon) && isOffset(v.durable) &&
    isOffset(v.nextSegment) && isOffset(v.sealedCommitTime) && (v.sealedPosition === null || typeof v.sealedPosition === 'string') &&
    Array.isArray(v.epochs) && v.epochs.every(isEpoch) && Array.isArray(v.segments) && v.segments.every(isSegment) &&
    isOffset(v.nextBase) && Array.isArray(v.leases) && v.leases.every(isLease) && (v.base === null || isBase(v.base))
  );
}

function isBase(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof Base, unknown>>;
  return (
    isOffset(v.catalog) && (v.catalogCrc === null || isOffset(v.catalogCrc)) && isOffset(v.commitTime) && isOffset(v.maxCommitTime) && (v.agesFrom === undefined || isOffset(v.agesFrom)) && (v.position === null || typeof v.position === 'string') &&
    Array.isArray(v.runs) && v.runs.every(isRun) && Array.isArray(v.archive) && v.archive.every(isArchiveRun)
  );
}

function isArchiveRun(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof ArchiveRun, unknown>>;
  return (
    isOffset(v.number) && isOffset(v.after) && isOffset(v.to) && isOffset(v.entries) && isOffset(v.bytes) && isOffset(v.afterTime) && isOffset(v.toTime) &&
    (v.ageMs === null || isOffset(v.ageMs))
  );
}

function isRun(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof BaseRun, unknown>>;
  return (
    isOffset(v.number) && isOffset(v.after) && isOffset(v.to) && isOffset(v.entries) && isOffset(v.bytes) && Array.isArray(v.bags) &&
    v.bags.every((bag: unknown) => Array.isArray(bag) && bag.length === 2 && bag.every(isOffset))
  );
}

/** Numbers of all files of a base: its runs, those of the archive, the catalog. */
export function baseFileNumbers(base: Base): number[] {
  return [base.catalog, ...base.runs.map(({ number }) => number), ...base.archive.map(({ number }) => number)];
}

function isLease(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'name' in value && typeof value.name === 'string' && 'offset' in value && isOffset(value.offset);
}

function isEpoch(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof Epoch, unknown>>;
  return typeof v.id === 'string' && isOffset(v.start);
}

function isSegment(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof SealedSegment, unknown>>;
  const starts = isOffset(v.number) && typeof v.epoch === 'string' && isOffset(v.base);
  if (v.state === 'active') return starts;
  const closes = starts && isOffset(v.bytes) && isOffset(v.last);
  if (v.state === 'closed') return closes;
  return v.state === 'sealed' && closes && isOffset(v.controls) && isOffset(v.maxCommitTime) && (v.agesFrom === undefined || isOffset(v.agesFrom));
}

function isOffset(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function corrupt(what: string, file: string): TidemarkError {
  return new TidemarkError('LOG_CORRUPT', `the manifest of the log cannot be read: ${what}`, { where: { file } });
}
