/**
 * Which columns of the catalog a Relation message speaks of. It names columns without their numbers, as of a moment that
 * may be long past; the catalog is of now, and the log knows a moment before. Numbers only grow, a column keeps its
 * number for life, and tuples are in the order of numbers: so the message is a subsequence of all numbers that ever
 * were, and must hold every column that both the log and the catalog have.
 */
import type { RelationColumn } from './relation.ts';

/** A number that a column of the message may have. */
export interface Candidate {
  readonly number: number;
  /** Name in the catalog; null: dropped since. */
  readonly nameNow: string | null;
  /** Name in the log's newest schema; null: not in it. */
  readonly nameBefore: string | null;
  readonly typeOid: number;
  readonly typmod: number;
}

const MISSING = -1_000;
const IMPOSSIBLE = Number.NEGATIVE_INFINITY;

/**
 * The number of each column of the message; null when there is no way to give them.
 * @param candidates in the order of their numbers
 */
export function alignColumns(columns: readonly RelationColumn[], candidates: readonly Candidate[]): number[] | null {
  const alive = candidates.filter((candidate) => candidate.nameNow !== null);
  if (alive.length === columns.length && columns.every((column, index) => column.name === alive[index]?.nameNow)) {
    return alive.map((candidate) => candidate.number);
  }
  return bestAlignment(columns, candidates);
}

/** Longest-common-subsequence style: the best score of the first i columns within the first j candidates. */
function bestAlignment(columns: readonly RelationColumn[], candidates: readonly Candidate[]): number[] | null {
  const width = candidates.length + 1;
  const scores = new Float64Array((columns.length + 1) * width).fill(IMPOSSIBLE);
  scores[0] = 0;
  for (let j = 1; j < width; j++) scores[j] = (scores[j - 1] as number) + skipped(candidates[j - 1] as Candidate);
  for (let i = 1; i <= columns.length; i++) {
    for (let j = i; j < width; j++) {
      const candidate = candidates[j - 1] as Candidate;
      const taken = (scores[(i - 1) * width + j - 1] as number) + likeness(columns[i - 1] as RelationColumn, candidate);
      const left = (scores[i * width + j - 1] as number) + skipped(candidate);
      scores[i * width + j] = Math.max(taken, left);
    }
  }
  if (scores[columns.length * width + width - 1] === IMPOSSIBLE) return null;
  const numbers: number[] = [];
  for (let i = columns.length, j = width - 1; i > 0; j--) {
    const candidate = candidates[j - 1] as Candidate;
    const taken = (scores[(i - 1) * width + j - 1] as number) + likeness(columns[i - 1] as RelationColumn, candidate);
    if (taken !== scores[i * width + j]) continue;
    numbers.push(candidate.number);
    i--;
  }
  return numbers.toReversed();
}

/** A column that was there and still is must be in the message. */
function skipped(candidate: Candidate): number {
  return candidate.nameNow !== null && candidate.nameBefore !== null ? MISSING : 0;
}

function likeness(column: RelationColumn, candidate: Candidate): number {
  const isNamed = column.name === candidate.nameNow;
  const isTyped = column.typeOid === candidate.typeOid;
  let score = 0;
  if (isNamed) score += 8;
  if (column.name === candidate.nameBefore) score += 6;
  if (isTyped) score += 2;
  if (column.typmod === candidate.typmod) score += 1;
  // Of a column that is gone nothing is known that could speak against it; of one that the log has, it is known to have been.
  if (candidate.nameNow !== null && !isNamed && !isTyped) score -= 4;
  if (candidate.nameBefore !== null) score += 2;
  return score;
}
