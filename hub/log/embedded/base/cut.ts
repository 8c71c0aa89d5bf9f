import type { Offset } from '../../../../contracts/offset.ts';
import type { LogCore } from '../log-core.ts';
import type { SealedSegment } from '../manifest.ts';
import { agesOf } from '../segments/age.ts';
import { readLog } from '../reading/reader.ts';

/** The end of a transaction at which a fold may end, and what is true there. */
export interface Cut {
  readonly offset: Offset;
  /** Hex; null: none was known yet. */
  readonly position: string | null;
  readonly commitTime: number;
  readonly maxCommitTime: number;
  /** From when on what is folded ages, microseconds since 1970. */
  readonly agesFrom: number;
  /** Of the segments from the horizon to here. */
  readonly bytes: number;
}

/**
 * The last commit in the oldest sealed segments that end at or before `limit`: in so many of them as `mostBytes` takes, one
 * at least. Null: there is none above the horizon.
 */
export async function cutBefore(core: LogCore, limit: Offset, mostBytes: number, signal: AbortSignal): Promise<Cut | null> {
  const { segments, horizon } = core.view;
  const foldable = segments.filter((segment): segment is SealedSegment => segment.state === 'sealed' && segment.last <= limit && segment.last > horizon);
  let count = 0;
  for (let bytes = 0; count < foldable.length && (count === 0 || bytes + bytesOf(foldable[count]) <= mostBytes); count++) bytes += bytesOf(foldable[count]);
  // A transaction may be larger than a step: then it takes as many segments as it has.
  for (let end = count; end <= foldable.length && end > 0; end++) {
    for (let last = end; last > (end === count ? 0 : end - 1); last--) {
      const found = await lastCommits(core, foldable[last - 1], signal);
      if (found.offset !== null) return completed(core, found, foldable.slice(0, last), signal);
    }
  }
  return null;
}

/** What the commits of one segment say; null: none of them says it. */
interface Commits {
  readonly offset: Offset | null;
  readonly position: string | null;
  readonly commitTime: number | null;
}

/** Transactions of the hub have no time of their own, and may have no position: what stands before them tells. */
async function completed(core: LogCore, { offset, ...last }: Commits, folded: readonly SealedSegment[], signal: AbortSignal): Promise<Cut> {
  let { position, commitTime } = last;
  for (const segment of folded.slice(0, -1).toReversed()) {
    if (position !== null && commitTime !== null) break;
    const before = await lastCommits(core, segment, signal);
    position ??= before.position;
    commitTime ??= before.commitTime;
  }
  const { base, segments, horizon } = core.view;
  const ages = agesOf(segments.filter((segment): segment is SealedSegment => segment.state === 'sealed' && segment.last > horizon));
  return {
    offset: offset ?? horizon,
    position: position ?? base?.position ?? null,
    commitTime: commitTime ?? base?.commitTime ?? 0,
    maxCommitTime: folded.at(-1)?.maxCommitTime ?? 0,
    agesFrom: ages[folded.length - 1] ?? 0,
    bytes: folded.reduce((sum, segment) => sum + segment.bytes, 0),
  };
}

function bytesOf(segment: SealedSegment | undefined): number {
  return segment?.bytes ?? 0;
}

async function lastCommits(core: LogCore, segment: SealedSegment | undefined, signal: AbortSignal): Promise<Commits> {
  const { horizon } = core.view;
  let found: Commits = { offset: null, position: null, commitTime: null };
  if (segment === undefined) return found;
  for await (const batch of readLog(core, { after: Math.max(segment.base - 1, horizon), to: segment.last, follow: false, signal })) {
    for (const entry of batch.transactions) {
      const offset = batch.baseOffset + entry.first + entry.count - 1;
      if (!entry.commits || offset <= horizon) continue;
      found = {
        offset,
        position: entry.position.length === 0 ? found.position : Buffer.from(entry.position).toString('hex'),
        commitTime: entry.kind === 'source' ? entry.commitTime : found.commitTime,
      };
    }
  }
  return found;
}
