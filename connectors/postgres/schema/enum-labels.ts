/**
 * A label that is added to an enum comes with the first row that uses it: the server says nothing of it beforehand. So
 * that the schema stands in the log before its first use, the values of enum columns are compared with the labels that
 * the schema has.
 */
import { Cell } from '../../../contracts/row-image.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import type { TupleSpans } from '../stream/tuple.ts';

export interface EnumColumn {
  /** Index in the tuple. */
  readonly source: number;
  readonly labels: ReadonlySet<string>;
  /** Values hold labels among other things: an array, a range, a composite. */
  readonly nested: boolean;
}

/** The labels that a type's values may show; null: it has no enum in it. */
export function labelsIn(type: LogicalType): Pick<EnumColumn, 'labels' | 'nested'> | null {
  if (type.kind === 'enum') return { labels: new Set(type.labels), nested: false };
  if (type.kind === 'domain') return labelsIn(type.base);
  // Other fields of a composite look like labels: those of its enums are found by polling.
  if (type.kind !== 'array' && type.kind !== 'range' && type.kind !== 'multirange') return null;
  const inner = labelsIn(type.element);
  return inner === null ? null : { labels: inner.labels, nested: true };
}

/** Of one route. */
export class EnumLabels {
  readonly #columns: readonly EnumColumn[];
  /** Labels that the catalog was asked about already; shared by the routes of one relation. */
  readonly #asked: Set<string>;

  constructor(columns: readonly EnumColumn[], asked: Set<string>) {
    this.#columns = columns;
    this.#asked = asked;
  }

  /** True when the tuple has a label that the schema lacks; says so once for each. */
  hasUnknown(tuple: TupleSpans): boolean {
    let unknown = false;
    for (const { source, labels, nested } of this.#columns) {
      if (tuple.kinds[source] !== Cell.text) continue;
      const value = tuple.bytes.toString('utf8', tuple.starts[source], tuple.ends[source]);
      if (!nested) unknown = this.#isUnknown(value, labels) || unknown;
      else for (const part of parts(value)) unknown = this.#isUnknown(part, labels) || unknown;
    }
    return unknown;
  }

  #isUnknown(label: string, labels: ReadonlySet<string>): boolean {
    if (labels.has(label) || this.#asked.has(label)) return false;
    this.#asked.add(label);
    return true;
  }
}

/** What stands between brackets, commas and quotes; `NULL` and `empty` are words of the syntax. */
function parts(value: string): string[] {
  const found = value.match(/"(?:[^"\\]|\\.)*"|[^\s{}()[\],"]+/g) ?? [];
  return found.map((part) => (part.startsWith('"') ? part.slice(1, -1).replaceAll(/\\(.)/g, '$1') : part)).filter((part) => part !== 'NULL' && part !== 'empty');
}
