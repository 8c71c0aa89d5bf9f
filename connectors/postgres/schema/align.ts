/**
 * Which columns of the catalog a Relation message speaks of. It names columns without their numbers, as of a moment that
 * may be long past; the catalog is of now, and the log knows a moment before. Numbers only grow, a column keeps its
 * number for life, and tuples are in the order of numbers: so the message is a subsequence of all numbers that ever
 * were, and must hold every column that both the log and the catalog have.
 */
import type { RelationColumn } from '../stream/relation.ts';

/** A number that a column of the message may have. */
export interface Candidate {
  readonly number: number;
  /** Name in the catalog; null: dropped since. */
  readonly nameNow: string | null;
  /** Name in the log's newest schema; null: not in it. */
  readonly nameBefore: string | null;
  readonly typeOid: number;
  readonly typmod: number;
  /** It came and went since the log's newest schema: tuples of the time between have it, and may name it as they name another. */
  readonly cameAndWent: boolean;
}

/**
 * What speaks against a way to give the numbers: changes that nobody has seen. Each is a rename or another type between
 * the log and the message, or between the message and the catalog; or a column that came and went unseen.
 */
const CHANGED = 4;
const UNSEEN = 3;
const AHEAD = 100;
/** Ways that are no further apart than this are equally likely. */
const MARGIN = 1;
const IMPOSSIBLE = Number.POSITIVE_INFINITY;

/** The numbers of the columns of a message. */
export interface Alignment {
  readonly numbers: readonly number[];
  /**
   * False when another way is about as likely and differs in a column that the log or the catalog has: values may stand
   * under another column. Columns that neither has are interchangeable.
   */
  readonly isSure: boolean;
}

/**
 * The number of each column of the message; null when there are too few candidates.
 * @param candidates in the order of their numbers
 */
export function alignColumns(columns: readonly RelationColumn[], candidates: readonly Candidate[]): Alignment | null {
  const kept = candidates.filter((candidate) => skipped(candidate) > 0);
  if (kept.length === columns.length && columns.every(({ name }, index) => name === kept[index]?.nameNow || name === kept[index]?.nameBefore)) {
    return { numbers: kept.map(({ number }) => number), isSure: true };
  }
  if (columns.length > candidates.length) return null;
  const width = candidates.length + 1;
  const before = costsOf(columns, candidates);
  const after = costsOf(columns.toReversed(), candidates.toReversed());
  const most = (before[columns.length * width + width - 1] as number) + MARGIN;
  const isSure = columns.every((column, i) => {
    const rest = (columns.length - i - 1) * width + candidates.length - 1;
    const ways = candidates.filter((candidate, j) =>
      (before[i * width + j] as number) + taken(column, candidate) + (after[rest - j] as number) <= most);
    return ways.length === 1 || !ways.some(isKnown);
  });
  const numbers = cheapest(columns, candidates, before);
  return { numbers, isSure: isSure && !mayBeAnother(numbers, candidates) };
}

/** A column that is new to the log, and in the place of which one that came and went would do as well, whatever it was called. */
function mayBeAnother(numbers: readonly number[], candidates: readonly Candidate[]): boolean {
  const gone = candidates.filter(({ cameAndWent }) => cameAndWent);
  if (gone.length === 0) return false;
  const isNew = new Set(candidates.flatMap(({ number, nameNow, nameBefore }) => (nameNow !== null && nameBefore === null ? number : [])));
  return numbers.some((number, index) => {
    const [from, to] = [numbers[index - 1] ?? 0, numbers[index + 1] ?? Number.POSITIVE_INFINITY];
    return isNew.has(number) && gone.some((one) => one.number > from && one.number < to);
  });
}

/** One of the ways of least cost; among equals the one with the youngest columns. */
function cheapest(columns: readonly RelationColumn[], candidates: readonly Candidate[], costs: Float64Array): number[] {
  const width = candidates.length + 1;
  const numbers: number[] = [];
  for (let i = columns.length, j = candidates.length; i > 0; j--) {
    const candidate = candidates[j - 1] as Candidate;
    if ((costs[(i - 1) * width + j - 1] as number) + taken(columns[i - 1] as RelationColumn, candidate) !== costs[i * width + j]) continue;
    numbers.push(candidate.number);
    i--;
  }
  return numbers.toReversed();
}

/** At i * (candidates + 1) + j the least cost of the first i columns within the first j candidates. */
function costsOf(columns: readonly RelationColumn[], candidates: readonly Candidate[]): Float64Array {
  const width = candidates.length + 1;
  const costs = new Float64Array((columns.length + 1) * width).fill(IMPOSSIBLE);
  costs[0] = 0;
  for (let j = 1; j < width; j++) costs[j] = (costs[j - 1] as number) + skipped(candidates[j - 1] as Candidate);
  for (let i = 1; i <= columns.length; i++) {
    for (let j = i; j < width; j++) {
      const candidate = candidates[j - 1] as Candidate;
      costs[i * width + j] = Math.min(
        (costs[(i - 1) * width + j - 1] as number) + taken(columns[i - 1] as RelationColumn, candidate),
        (costs[i * width + j - 1] as number) + skipped(candidate),
      );
    }
  }
  return costs;
}

/** A column that was there and still is stands in the message, unless the log has it from a copy and is ahead. */
function skipped(candidate: Candidate): number {
  return candidate.nameNow !== null && candidate.nameBefore !== null ? AHEAD : 0;
}

function taken(column: RelationColumn, candidate: Candidate): number {
  const { nameNow, nameBefore } = candidate;
  if (!isKnown(candidate)) return UNSEEN;
  let cost = 0;
  if (nameBefore !== null && nameBefore !== column.name) cost += CHANGED;
  if (nameNow !== null && nameNow !== column.name) cost += CHANGED;
  if (nameNow !== null && (candidate.typeOid !== column.typeOid || candidate.typmod !== column.typmod)) cost += CHANGED;
  return cost;
}

function isKnown(candidate: Candidate): boolean {
  return candidate.nameNow !== null || candidate.nameBefore !== null;
}
