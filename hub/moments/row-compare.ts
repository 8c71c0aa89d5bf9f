import { fillCell } from '../../contracts/projection.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import type { TableSchema } from '../../contracts/schema.ts';

/** Where the cells of an image stand: kind, start and end of each. */
class CellSpans {
  bytes: Buffer = Buffer.alloc(0);
  readonly kinds: number[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  readonly #walker = new ImageWalker();

  load(image: Buffer): this {
    this.bytes = image;
    const walker = this.#walker.reset(image, 0, image.length);
    for (let column = 0; walker.next(); column++) {
      this.kinds[column] = walker.kind;
      this.starts[column] = walker.start;
      this.ends[column] = walker.end;
    }
    return this;
  }
}

/** The column of the older shape that a column of the newer one is compared with; or the cell that older rows have in it. */
type Counterpart = { readonly column: number } | { readonly fill: CellSpans } | null;

/**
 * Tells in which columns two images of a row differ, each in a shape of its own. A column that was added is compared with
 * what older rows have in it; one that was dropped does not count; one that was renamed is the same column. Of two tables
 * (one that was dropped and made again) columns are the same by name.
 */
export class RowComparer {
  readonly #counterparts: readonly Counterpart[];
  readonly #from = new CellSpans();
  readonly #to = new CellSpans();

  constructor(from: TableSchema, to: TableSchema) {
    const isSameTable = from.tableId === to.tableId;
    this.#counterparts = to.columns.map((column): Counterpart => {
      const found = from.columns.findIndex((older) => (isSameTable ? older.number === column.number : older.name === column.name));
      if (found >= 0) return { column: found };
      return isSameTable ? { fill: new CellSpans().load(Buffer.concat([ONE_COLUMN, fillCell(column)])) } : null;
    });
  }

  /** Indexes into the newer shape's columns. @throws TidemarkError `RECORD_CORRUPT` */
  changed(from: Buffer, to: Buffer): number[] {
    const older = this.#from.load(from);
    const newer = this.#to.load(to);
    const changed: number[] = [];
    for (const [column, counterpart] of this.#counterparts.entries()) {
      if (counterpart === null) continue;
      const same = 'column' in counterpart ? isSameCell(older, counterpart.column, newer, column) : isSameCell(counterpart.fill, 0, newer, column);
      if (!same) changed.push(column);
    }
    return changed;
  }
}

const ONE_COLUMN = Buffer.of(0, 1);

function isSameCell(a: CellSpans, aColumn: number, b: CellSpans, bColumn: number): boolean {
  const kind = a.kinds[aColumn];
  if (kind !== b.kinds[bColumn]) return false;
  if (kind !== Cell.text && kind !== Cell.binary) return true;
  return a.bytes.compare(b.bytes, b.starts[bColumn], b.ends[bColumn], a.starts[aColumn], a.ends[aColumn]) === 0;
}
