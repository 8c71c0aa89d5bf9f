import type { Catalog } from '../../../../contracts/catalog.ts';
import type { ChangeBatch } from '../../../../contracts/change-batch.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import type { Offset } from '../../../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { Cell, ImageWalker } from '../../../../contracts/row-image.ts';
import type { TableSchema } from '../../../../contracts/schema.ts';
import type { ControlRecord } from '../segments/segment-index.ts';

/** A record that does not fit to what the log says of its table. */
export interface OddRecord {
  readonly offset: Offset;
  readonly tableId: number;
  readonly what: string;
}

/**
 * Looks at every record of a history in order: its structure, that its schema version is known there, that its images
 * have that version's columns and its key is that of its image. Keeps the catalog as of the record it stands at. Of each
 * batch it answers the first record that is odd: one that is leads to others.
 */
export class RecordCheck {
  readonly catalog: Catalog;
  readonly #view = new RecordView();
  readonly #walker = new ImageWalker();
  /** False: the history has a hole in which a schema may have been lost. */
  knowsSchemas = true;
  /** The last schema asked for: records of a table often follow each other. */
  #schema: TableSchema | null = null;

  /** @param catalog as of the beginning of the history; changed here */
  constructor(catalog: Catalog) {
    this.catalog = catalog;
  }

  /** Records of the catalog that stand where the history cannot be read. */
  make(controls: readonly ControlRecord[]): void {
    for (const { offset, record } of controls) {
      try {
        this.catalog.apply(this.#view.seek(record, 0), offset);
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        this.knowsSchemas = false;
      }
    }
    this.#schema = null;
  }

  /** @param from records before this offset are passed over */
  check(batch: ChangeBatch, from: Offset): OddRecord | null {
    const view = this.#view.reset(batch.records);
    let odd: OddRecord | null = null;
    for (;;) {
      const offset = batch.baseOffset + view.index + 1;
      try {
        if (!view.next()) return odd;
        if (offset < from) continue;
        const what = this.#record(view, offset);
        if (what !== null) odd ??= { offset, tableId: view.tableId, what };
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error;
        if (error.code !== 'SCHEMA_INVALID' || this.knowsSchemas) odd ??= { offset, tableId: view.tableId, what: error.message };
        // Without its lengths the records behind it cannot be found.
        if (view.index + 1 + batch.baseOffset <= offset) return odd;
      }
    }
  }

  /** What is odd about the record under the view; null: nothing. */
  #record(view: RecordView, offset: Offset): string | null {
    if (view.op === Op.schema || view.op === Op.control) {
      this.#schema = null;
      this.catalog.apply(view, offset);
      return null;
    }
    if (view.op === Op.message) return null;
    const schema = this.#schemaOf(view.tableId, view.schemaVersion);
    if (!isRowOp(view.op)) return null;
    const isKeyed = schema.keyKind !== 'none';
    if (isKeyed !== view.keyEnd > view.keyStart) return isKeyed ? 'a record of a table with a key has none' : 'a record of a table without a key has one';
    if (view.op !== Op.delete && !view.hasAfter) return 'a row has no after image';
    if (!isKeyed && view.op === Op.delete && !view.hasBefore) return 'the delete of a row without a key does not say which';
    return view.hasAfter ? rowFault(this.#walker, schema, view, (view.flags & (Flag.incomplete | Flag.notApplied)) === 0) : null;
  }

  #schemaOf(tableId: number, version: number): TableSchema {
    const last = this.#schema;
    if (last?.tableId === tableId && last.version === version) return last;
    const schema = this.catalog.schemaOf(tableId, version);
    this.#schema = schema;
    return schema;
  }
}

/** Where a row and its key stand in `bytes`. */
export interface RowSpan {
  readonly bytes: Buffer;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly afterStart: number;
  readonly afterEnd: number;
}

/** What is odd about a row: its columns, and its key where that is one column. Null: nothing. @throws TidemarkError `RECORD_CORRUPT` */
export function rowFault(walker: ImageWalker, schema: TableSchema, row: RowSpan, isComplete: boolean): string | null {
  walker.reset(row.bytes, row.afterStart, row.afterEnd);
  if (walker.left !== schema.columns.length) return `a row has ${walker.left} columns, its schema has ${schema.columns.length}`;
  const keyColumn = schema.keyKind !== 'none' && schema.key.length === 1 ? schema.key[0] : -1;
  for (let column = 0; walker.next(); column++) {
    if (isComplete && (walker.kind === Cell.placeholder || walker.kind === Cell.part)) return `column ${column} of a whole row has no value`;
    if (column === keyColumn && row.bytes.compare(row.bytes, walker.start, walker.end, row.keyStart + 4, row.keyEnd) !== 0) {
      return 'the key of a record is not that of its row';
    }
  }
  return null;
}
