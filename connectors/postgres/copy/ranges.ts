/**
 * Ranges of a table by the place of rows in the heap (ctid), as text for the log:
 *
 *     ctid <leaf oid> <page>.<item> <page>.<item>|end      from (included) to (excluded)
 *     key <base64 key>|begin <base64 key>|end              after (excluded) to (included), in key order
 *     whole                                                all rows of a keyless table
 */
import { TidemarkError } from '../../../contracts/errors/error.ts';

/** A place in a heap. Items of a page start at 1; (p, 0) is before the first. */
export interface Tid {
  readonly page: number;
  readonly item: number;
}

export interface TidRange {
  readonly leaf: string;
  readonly from: Tid;
  /** Null: open-ended. */
  readonly to: Tid | null;
}

export interface KeyRange {
  /** Null: from the first key. */
  readonly after: Buffer | null;
  /** Null: to the last key. */
  readonly to: Buffer | null;
}

export const WHOLE_RANGE = 'whole';

/** Items on a page at most (MaxHeapTuplesPerPage for pages of 32 kB is 1,164). */
export const MAX_ITEMS = 1_200;

export function formatTidRange({ leaf, from, to }: TidRange): string {
  return `ctid ${leaf} ${formatTid(from)} ${to === null ? 'end' : formatTid(to)}`;
}

/** Null for a range of another kind. @throws TidemarkError `RECORD_CORRUPT` */
export function parseTidRange(range: string): TidRange | null {
  if (!range.startsWith('ctid ')) return null;
  const match = /^ctid (\d+) (\d+)\.(\d+) (?:(\d+)\.(\d+)|end)$/.exec(range);
  if (match === null) throw new TidemarkError('RECORD_CORRUPT', `'${range}' is not a range of a copy`);
  const [, leaf, page, item, toPage, toItem] = match;
  return {
    leaf: leaf ?? '',
    from: { page: Number(page), item: Number(item) },
    to: toPage === undefined ? null : { page: Number(toPage), item: Number(toItem) },
  };
}

export function formatKeyRange({ after, to }: KeyRange): string {
  return `key ${after === null ? 'begin' : after.toString('base64')} ${to === null ? 'end' : to.toString('base64')}`;
}

/** Null for a range of another kind. @throws TidemarkError `RECORD_CORRUPT` */
export function parseKeyRange(range: string): KeyRange | null {
  if (!range.startsWith('key ')) return null;
  const [, after, to, ...more] = range.split(' ');
  if (after === undefined || to === undefined || more.length > 0) throw new TidemarkError('RECORD_CORRUPT', `'${range}' is not a range of a copy`);
  return { after: after === 'begin' ? null : Buffer.from(after, 'base64'), to: to === 'end' ? null : Buffer.from(to, 'base64') };
}

/** Negative, 0 or positive. */
export function compareTids(a: Tid, b: Tid): number {
  return a.page - b.page || a.item - b.item;
}

/** `(12,3)`, as SQL writes it. */
export function sqlTid(tid: Tid): string {
  return `(${tid.page},${tid.item})`;
}

/** A leaf table as the plan sees it. */
export interface Leaf {
  readonly oid: string;
  readonly pages: number;
}

/**
 * What is left to copy of the leaves, in pieces of `pagesPerRange`, the last of each leaf open-ended: rows that are
 * appended while the copy goes on may be copied twice, never not at all.
 */
export function tidRanges(leaves: readonly Leaf[], pagesPerRange: number, done: readonly string[]): TidRange[] {
  const copied = done.map(parseTidRange).filter((range) => range !== null);
  return leaves.flatMap(({ oid, pages }) => {
    const gaps = gapsBetween(copied.filter((range) => range.leaf === oid));
    return gaps.flatMap((gap) => cut({ leaf: oid, ...gap }, pagesPerRange, pages));
  });
}

const BEGIN: Tid = { page: 0, item: 0 };

/** What a leaf's finished ranges leave out. */
function gapsBetween(done: readonly TidRange[]): { from: Tid; to: Tid | null }[] {
  const gaps: { from: Tid; to: Tid | null }[] = [];
  let from: Tid = BEGIN;
  for (const range of done.toSorted((a, b) => compareTids(a.from, b.from))) {
    if (compareTids(range.from, from) > 0) gaps.push({ from, to: range.from });
    if (range.to === null) return gaps;
    if (compareTids(range.to, from) > 0) from = range.to;
  }
  gaps.push({ from, to: null });
  return gaps;
}

function cut(range: TidRange, pagesPerRange: number, pages: number): TidRange[] {
  const pieces: TidRange[] = [];
  let { from } = range;
  const last = range.to === null ? pages : range.to.page;
  for (let page = from.page + pagesPerRange; page < last; page += pagesPerRange) {
    const to = { page, item: 0 };
    pieces.push({ leaf: range.leaf, from, to });
    from = to;
  }
  pieces.push({ leaf: range.leaf, from, to: range.to });
  return pieces;
}

/** The beginning of a range that has at most so many pages, and the rest; null when it has no more. */
export function firstPages(range: TidRange, pages: number, tablePages: number): [TidRange, TidRange] | null {
  const page = range.from.page + pages;
  const end = range.to === null ? tablePages : range.to.item > 0 ? range.to.page + 1 : range.to.page;
  if (page >= end) return null;
  return splitAt(range, { page, item: 0 });
}

/** A range in two halves; null when it is a single item. */
export function halved(range: TidRange, tablePages: number): [TidRange, TidRange] | null {
  const to = range.to ?? { page: Math.max(tablePages, range.from.page + 2), item: 0 };
  const pages = to.page - range.from.page;
  if (pages > 1) return splitAt(range, { page: range.from.page + (pages >> 1), item: 0 });
  const items = (pages === 1 ? MAX_ITEMS + to.item : to.item) - range.from.item;
  if (items <= 1) return null;
  const item = range.from.item + (items >> 1);
  const at = item > MAX_ITEMS ? { page: range.from.page + 1, item: item - MAX_ITEMS } : { page: range.from.page, item };
  return splitAt(range, at);
}

function splitAt(range: TidRange, at: Tid): [TidRange, TidRange] {
  return [
    { leaf: range.leaf, from: range.from, to: at },
    { leaf: range.leaf, from: at, to: range.to },
  ];
}

function formatTid(tid: Tid): string {
  return `${tid.page}.${tid.item}`;
}
