/** Sealing, cutting and removing segments: every change of which segments a log has. */
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { diskError } from '../disk-error.ts';
import type { Boundary, LogCore, OpenSegment } from '../log-core.ts';
import { lastAge, sealedAge } from './age.ts';
import type { ClosedSegment, Manifest, SealedSegment, SegmentEntry } from '../manifest.ts';
import { SegmentCursor } from './segment-cursor.ts';
import type { ControlRecord } from './segment-index.ts';
import { SEGMENT_HEADER } from './segment.ts';

/** Batches less than this apart are read on from one to the next, bytes. */
const NEAR_BYTES = 128 << 10;

/**
 * Writes the index of every closed segment, in order, and seals those that the high watermark has passed: says so in
 * the manifest. So a log that is opened in the middle of a large transaction reads its indexes, not its segments. Calls
 * must not overlap.
 * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`, `LOG_CORRUPT`
 */
export async function sealSegments(core: LogCore): Promise<void> {
  for (const segment of core.view.segments) {
    if (segment.state === 'sealed') continue;
    if (segment.state === 'active') return;
    if (isBehind(segment, core.view.end)) await sealSegment(core, segment);
    else {
      const open = openSegment(core, segment);
      await storeIndex(core, segment, open, open.closing);
    }
  }
}

function isBehind(segment: ClosedSegment, end: Boundary): boolean {
  return segment.number < end.segment || (segment.number === end.segment && segment.bytes <= end.position);
}

async function sealSegment(core: LogCore, segment: ClosedSegment): Promise<void> {
  const open = openSegment(core, segment);
  const controls = await storeIndex(core, segment, open, null);
  const { closing, index } = open;
  await core.updateManifest((manifest) => {
    const sealed: SealedSegment = {
      ...segment,
      state: 'sealed',
      controls,
      maxCommitTime: Math.max(index.maxCommitTime, lastMaxCommitTime(manifest)),
      agesFrom: sealedAge(index, lastAge(manifest), core.runtime.clock.now() * 1000),
    };
    return {
      ...manifest,
      segments: manifest.segments.map((entry) => (entry.number === segment.number ? sealed : entry)),
      durable: Math.max(manifest.durable, segment.last),
      sealedPosition: closing.sourcePosition === null ? null : Buffer.from(closing.sourcePosition).toString('hex'),
      sealedCommitTime: closing.commitTime,
    };
  });
  core.openSegments.delete(segment.number);
}

function openSegment(core: LogCore, segment: ClosedSegment): ClosedOpenSegment {
  const open = core.openSegments.get(segment.number);
  if (open === undefined || !isClosed(open)) {
    throw new TidemarkError('INTERNAL', `segment ${segment.number} is closed without its index`, { where: { source: core.source } });
  }
  return open;
}

type ClosedOpenSegment = OpenSegment & { readonly closing: Boundary };

function isClosed(open: OpenSegment): open is ClosedOpenSegment {
  return open.closing !== null;
}

/**
 * Writes the index of a closed segment unless it is there already; answers how many control records it has.
 * @param commit the last one in the segment or before it, for whoever finds it closed; null: it is about to be sealed
 */
async function storeIndex(core: LogCore, segment: ClosedSegment, open: OpenSegment, commit: Boundary | null): Promise<number> {
  if (open.stored?.bytes === segment.bytes) return open.stored.controls;
  const controls =
    open.index.loadedControls?.filter((control) => control.offset <= segment.last) ??
    (await readControls(core, segment, open.index.controlBatches));
  const path = core.indexPath(segment.number);
  try {
    await core.files.replace(path, open.index.encode(segment.number, segment.bytes, commit, controls));
  } catch (error) {
    throw diskError(error, 'the index of a segment could not be written', { source: core.source, file: path });
  }
  open.stored = { bytes: segment.bytes, controls: controls.length };
  return controls.length;
}

function lastMaxCommitTime(manifest: Manifest): number {
  const last = manifest.segments.findLast((segment) => segment.state === 'sealed');
  return last?.state === 'sealed' ? last.maxCommitTime : (manifest.base?.maxCommitTime ?? 0);
}

/** The `s` and `h` records of the batches at `positions`. */
export async function readControls(core: LogCore, segment: ClosedSegment | SealedSegment, positions: readonly number[]): Promise<ControlRecord[]> {
  const controls: ControlRecord[] = [];
  if (positions.length === 0) return controls;
  const path = core.segmentPath(segment.number);
  const file = await core.files.open(path, 'read');
  try {
    let cursor = new SegmentCursor(file, positions[0] ?? SEGMENT_HEADER);
    for (const position of positions) {
      // There may be tens of thousands of small ones: what stands near is in memory already.
      if (position < cursor.position || position - cursor.position > NEAR_BYTES) cursor = new SegmentCursor(file, position);
      for (;;) {
        const stored = await cursor.next(segment.bytes);
        if (stored?.kind !== 'batch') {
          throw new TidemarkError('LOG_CORRUPT', `a batch cannot be read back: ${stored?.why ?? 'it is not there'}`, {
            where: { source: core.source, file: path },
          });
        }
        if (stored.position < position) continue;
        controls.push(...controlRecords(stored.batch.records, stored.batch.baseOffset));
        break;
      }
    }
  } finally {
    await file.close();
  }
  return controls;
}

/** Copies of the `s` and `h` records among `records`. */
export function controlRecords(records: Buffer, baseOffset: number): ControlRecord[] {
  const controls: ControlRecord[] = [];
  const view = new RecordView().reset(records);
  while (view.next()) {
    if (view.op !== Op.schema && view.op !== Op.control) continue;
    controls.push({ offset: baseOffset + view.index, record: Buffer.from(view.record()) });
  }
  return controls;
}

/**
 * The log without what stands behind `end`: segments behind it are gone, the one in which it stands is closed there. If
 * it then holds nothing but positions, and all before it are sealed, it is left out: `sealedPosition` keeps the newest.
 */
export function segmentsUpTo(core: Pick<LogCore, 'openSegments'>, segments: readonly SegmentEntry[], end: Boundary): SegmentEntry[] {
  const kept: SegmentEntry[] = [];
  for (const segment of segments) {
    if (segment.number > end.segment) break;
    const isLast = segment.number === end.segment;
    if (segment.state === 'sealed' || (segment.state === 'closed' && !isLast)) kept.push(segment);
    else {
      const { number, epoch, base } = segment;
      kept.push({ state: 'closed', number, epoch, base, bytes: end.position, last: end.offset });
    }
  }
  const last = kept.at(-1);
  if (last?.state !== 'closed') return kept;
  const index = core.openSegments.get(last.number)?.index;
  index?.cut(last.bytes);
  const onlyOpen = kept.at(-2)?.state !== 'closed';
  return onlyOpen && index?.hasContent === false ? kept.slice(0, -1) : kept;
}

/** The same place when the segment that `end` stands in has been left out. */
export function endWithin(segments: readonly SegmentEntry[], end: Boundary): Boundary {
  const last = segments.at(-1);
  if (last === undefined) return { ...end, segment: 0, position: 0 };
  if (last.number === end.segment) return end;
  return { ...end, segment: last.number, position: last.state === 'active' ? SEGMENT_HEADER : last.bytes };
}

/**
 * Cuts the log behind its high watermark and seals what is left. The manifest is the moment of the cut; `change` goes
 * with it. No writer may be at work.
 * @throws TidemarkError `LOG_WRITE_FAILED`, `LOG_DISK_FULL`
 */
export async function cutLog(core: LogCore, change: (manifest: Manifest) => Manifest = (manifest) => manifest): Promise<void> {
  try {
    await cut(core, change);
  } catch (error) {
    throw diskError(error, 'the log could not be cut', { source: core.source });
  }
}

async function cut(core: LogCore, change: (manifest: Manifest) => Manifest): Promise<void> {
  const { end } = core.view;
  const before = core.manifest.segments;
  const segments = segmentsUpTo(core, before, end);
  const lastOpen = core.openSegments.get(segments.at(-1)?.number ?? 0);
  if (lastOpen !== undefined) lastOpen.closing = end;
  const nothingOpen = segments.every((segment) => segment.state === 'sealed');
  await core.updateManifest((manifest) => {
    // Offsets behind the cut are given again: what was durable of them before says nothing of the new ones.
    const cut = { ...manifest, segments: stillThere(segments, manifest), durable: end.offset };
    // With all segments sealed the position is that of the end, which may come from a segment that was left out.
    return change(nothingOpen ? { ...cut, ...sealedProgress(end) } : cut);
  }, (next) => endWithin(next.segments, end));
  core.recent.clear();
  core.activeBytes = 0;
  core.metrics.noteEnd(end.offset);
  await removeLeftOut(core, before, segments);
  await sealSegments(core);
}

/** Without the sealed ones that compaction has folded into the base meanwhile. */
function stillThere(segments: readonly SegmentEntry[], manifest: Manifest): SegmentEntry[] {
  const named = new Set(manifest.segments.map(({ number }) => number));
  return segments.filter(({ state, number }) => state !== 'sealed' || named.has(number));
}

export function sealedProgress(end: Boundary): Pick<Manifest, 'sealedPosition' | 'sealedCommitTime'> {
  return {
    sealedPosition: end.sourcePosition === null ? null : Buffer.from(end.sourcePosition).toString('hex'),
    sealedCommitTime: end.commitTime,
  };
}

/** Removes the files of segments that were left out, and truncates those that were cut. */
async function removeLeftOut(core: LogCore, before: readonly SegmentEntry[], after: readonly SegmentEntry[]): Promise<void> {
  const kept = new Map(after.map((segment) => [segment.number, segment]));
  for (const segment of before) {
    const now = kept.get(segment.number);
    const path = core.segmentPath(segment.number);
    if (now === undefined) {
      core.openSegments.delete(segment.number);
      await core.discard(path);
      await core.discard(core.indexPath(segment.number));
    } else if (segment.state !== 'sealed' && now.state !== 'active') {
      await truncateTo(core, path, now.bytes);
    }
  }
}

async function truncateTo(core: LogCore, path: string, bytes: number): Promise<void> {
  const file = await core.files.open(path, 'write');
  try {
    if ((await file.size()) > bytes) await file.truncate(bytes);
  } finally {
    await file.close();
  }
}
