import { Catalog } from '../../contracts/catalog.ts';
import { Flag, Op } from '../../contracts/op.ts';
import type { RecordView } from '../../contracts/record.ts';
import { PLACEHOLDER, readImage } from '../../contracts/row-image.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { compareRows } from './compare-views.ts';
import type { View } from './source-world.ts';

/** A row by column number, in canonical text; a column that is not there yet is filled when compared. */
type Row = ReadonlyMap<number, string | null>;

/** The rows of one table; a bag where it has no key. */
class FoldedTable {
  readonly #keyed = new Map<string, Row>();
  readonly #bag: Row[] = [];

  set(key: string, row: Row): void {
    if (key === '') this.#bag.push(row);
    else this.#keyed.set(key, row);
  }

  /** False when there is no such row. A keyed row may be gone already: a copy deletes what it may find. */
  delete(key: string, before: Row | null): boolean {
    if (key !== '') {
      this.#keyed.delete(key);
      return true;
    }
    const text = before === null ? '' : rowText(before);
    const index = this.#bag.findIndex((row) => rowText(row) === text);
    if (index >= 0) this.#bag.splice(index, 1);
    return index >= 0;
  }

  clear(): void {
    this.#keyed.clear();
    this.#bag.length = 0;
  }

  rows(): Row[] {
    return [...this.#keyed.values(), ...this.#bag];
  }
}

const rowText = (row: Row): string => JSON.stringify([...row]);

/** Compares the fold with a database, and says what it should have. */
export interface Compared {
  readonly tables: number;
  readonly differences: readonly string[];
}

/** The fold of a log by the plainest rules there are, as an oracle of the real one. */
export class FoldedTables {
  readonly catalog: Catalog;
  readonly #tables = new Map<number, FoldedTable>();

  /** @param catalog what is known before the first record; owned from here on */
  constructor(catalog = Catalog.from([])) {
    this.catalog = catalog;
  }

  /** @throws when a record does not fit what came before it */
  apply(view: RecordView, offset: number): void {
    if (this.catalog.table(view.tableId)?.state.state === 'removed') throw new Error(`the record at offset ${offset} is of table ${view.tableId}, which has left the log`);
    if (this.catalog.apply(view, offset) || (view.flags & Flag.notApplied) !== 0) return;
    let table = this.#tables.get(view.tableId);
    if (table === undefined) this.#tables.set(view.tableId, (table = new FoldedTable()));
    const key = view.key().toString('hex');
    if (view.op === Op.truncate) table.clear();
    else if (view.op === Op.delete) {
      const before = key === '' ? this.#row(view, view.before(), offset) : null;
      if (!table.delete(key, before)) throw new Error(`offset ${offset} deletes a row that a keyless table does not have`);
    } else if (view.op === Op.create || view.op === Op.read) table.set(key, this.#row(view, view.after(), offset));
    else if (view.op === Op.update) {
      if (key === '' && !table.delete(key, this.#row(view, view.before(), offset))) {
        throw new Error(`offset ${offset} changes a row that a keyless table does not have`);
      }
      table.set(key, this.#row(view, view.after(), offset));
    }
  }

  #row(view: RecordView, image: Buffer, offset: number): Row {
    const { columns } = this.catalog.schemaOf(view.tableId, view.schemaVersion);
    const cells = readImage(image);
    if (cells.length !== columns.length) throw new Error(`an image of ${cells.length} columns for a schema of ${columns.length} at offset ${offset}`);
    const row = new Map<number, string | null>();
    columns.forEach((column, index) => {
      const cell = cells[index] ?? null;
      if (cell === PLACEHOLDER) throw new Error(`a placeholder in the log at offset ${offset}, column ${column.name}`);
      row.set(column.number, cell instanceof Uint8Array ? `\\x${Buffer.from(cell).toString('hex')}` : cell);
    });
    return row;
  }

  /**
   * The tables that are consistent here, compared with those of a database.
   * @param all a table that is not consistent is a difference, too
   */
  async compareWith(view: View, all: boolean): Promise<Compared> {
    const differences: string[] = [];
    let tables = 0;
    for (const { tableId, versions, state } of this.catalog.tables()) {
      const schema = versions.at(-1)?.schema;
      if (schema === undefined || state.state === 'removed') continue;
      if (state.state !== 'consistent') {
        if (all) differences.push(`${tableName(schema)} is ${state.state}`);
        continue;
      }
      tables++;
      differences.push(...(await this.#compareTable(view, tableId, schema)));
    }
    return { tables, differences };
  }

  async #compareTable(view: View, tableId: number, schema: TableSchema): Promise<string[]> {
    const rows = await view.rows(schema, schema.columns.map((column) => column.name));
    const folded = (this.#tables.get(tableId)?.rows() ?? []).map((row) => schema.columns.map((column) => (row.has(column.number) ? (row.get(column.number) ?? null) : column.fill)));
    return compareRows(tableName(schema), rows, folded, 'the log');
  }
}
