/** A log with a past: a table whose shape changes, rows that come, change and go, commit times that go back. */
import { BatchBuilder } from '../../../contracts/change-batch.ts';
import { encodeControl, type Control } from '../../../contracts/control.ts';
import { buildKey } from '../../../contracts/key.ts';
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { Op } from '../../../contracts/op.ts';
import { buildImage, type CellValue } from '../../../contracts/row-image.ts';
import { encodeSchema, type Column, type TableSchema } from '../../../contracts/schema.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';

const NONE = Buffer.alloc(0);
/** Commit times are this many seconds after it, microseconds since 1970: 2024-03-01T10:00:00Z. */
export const START = Date.UTC(2024, 2, 1, 10) * 1000;

export function column(number: number, name: string, type: LogicalType, nativeType: string, fill: string | null = null): Column {
  return { number, name, type, nativeType, nullable: true, constantDefault: fill, fill, generated: 'no', identity: 'no' };
}

const INT: LogicalType = { kind: 'int64' };
const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };

const id = column(1, 'id', INT, 'bigint');
const name = column(2, 'name', TEXT, 'text');
const price = column(3, 'price', { kind: 'decimal', precision: 10, scale: 2 }, 'numeric(10,2)');
const note = column(4, 'note', TEXT, 'text');
const quantity = column(5, 'quantity', { kind: 'int32' }, 'integer', '7');

export function table(tableId: number, version: number, tableNamed: string, columns: readonly Column[], key: readonly number[], sourceTableId = String(16384 + tableId)): TableSchema {
  return { tableId, version, sourceTableId, namespace: 'public', name: tableNamed, columns, keyKind: key.length === 0 ? 'none' : 'primary', key };
}

export const ITEMS_1 = table(1, 1, 'items', [id, name, price, note], [0]);
/** `quantity` has come, with 7 for older rows; `note` has gone; `name` is called `title`. */
export const ITEMS_2 = table(1, 2, 'items', [id, { ...name, name: 'title' }, price, quantity], [0]);
export const WORDS = table(2, 1, 'words', [column(1, 'word', TEXT, 'text')], []);

/** Writes transactions to a log, one at a time. */
export class PastWriter {
  readonly #builder = new BatchBuilder(4096);
  #position = 0;

  schema(schema: TableSchema): this {
    this.#builder.record(Op.schema, 0, schema.tableId, schema.version, NONE, NONE, encodeSchema(schema));
    return this;
  }

  control(tableId: number, control: Control): this {
    this.#builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl(control));
    return this;
  }

  begin(kind: 'source' | 'hub', xid: number, seconds: number): this {
    this.#builder.begin(kind, xid, START + seconds * 1_000_000);
    return this;
  }

  row(op: Op, schema: TableSchema, before: readonly CellValue[] | null, after: readonly CellValue[] | null, flags = 0): this {
    const cells = after ?? before ?? [];
    const key = schema.key.length === 0 ? NONE : buildKey(schema.key.map((index) => keyText(cells[index])));
    this.#builder.record(op, flags, schema.tableId, schema.version, key, before === null ? NONE : buildImage(before), after === null ? NONE : buildImage(after));
    return this;
  }

  truncate(schema: TableSchema): this {
    this.#builder.record(Op.truncate, 0, schema.tableId, schema.version, NONE, NONE, NONE);
    return this;
  }

  /** The transaction's end: the position is its number. */
  commit(): this {
    this.#builder.commit(Buffer.of(++this.#position));
    return this;
  }

  /** Hands on what has been committed. */
  take(): ReturnType<BatchBuilder['take']> {
    return this.#builder.take();
  }
}

function keyText(cell: CellValue | undefined): string | Uint8Array {
  if (typeof cell === 'string' || cell instanceof Uint8Array) return cell;
  throw new Error('a key column has no value');
}

/**
 * Offsets: 1-5 shapes and the copy's end; 6-7 rows at 100 s; 8 an update at 200 s; 9-10 a deletion and a row at 150 s;
 * 11-12 the new shape and a row in it at 300 s; 13 an update at 400 s; 14-17 words at 500 s and 600 s; 18-19 the table
 * is emptied, and one row, at 700 s.
 */
export async function fillPast(log: SourceLog): Promise<void> {
  await using writer = await log.openWriter(() => undefined);
  const past = new PastWriter();
  past.begin('hub', 0, 0).schema(ITEMS_1).schema(WORDS);
  past.control(1, { type: 'copying', reason: 'first', copyState: '' }).control(1, { type: 'copied', rows: 0 }).control(2, { type: 'copied', rows: 0 }).commit();
  await writer.append(past.take());
  past.begin('source', 11, 100).row(Op.create, ITEMS_1, null, ['1', 'one', '1.50', null]).row(Op.create, ITEMS_1, null, ['2', 'two', '2.00', '']).commit();
  await writer.append(past.take());
  past.begin('source', 12, 200).row(Op.update, ITEMS_1, null, ['1', 'uno', '1.50', null]).commit();
  await writer.append(past.take());
  past.begin('source', 13, 150).row(Op.delete, ITEMS_1, ['2', 'two', '2.00', ''], null).row(Op.create, ITEMS_1, null, ['3', 'three', '3.00', 'x, "y"']).commit();
  await writer.append(past.take());
  past.begin('source', 14, 300).schema(ITEMS_2).row(Op.create, ITEMS_2, null, ['4', 'four', '4.00', '9']).commit();
  await writer.append(past.take());
  past.begin('source', 15, 400).row(Op.update, ITEMS_2, null, ['1', 'uno', '2.50', '7']).commit();
  await writer.append(past.take());
  past.begin('source', 16, 500).row(Op.create, WORDS, null, ['a']).row(Op.create, WORDS, null, ['a']).row(Op.create, WORDS, null, ['b']).commit();
  await writer.append(past.take());
  past.begin('source', 17, 600).row(Op.delete, WORDS, ['a'], null).commit();
  await writer.append(past.take());
  past.begin('source', 18, 700).truncate(ITEMS_2).row(Op.create, ITEMS_2, null, ['5', 'five', '5.00', null]).commit();
  await writer.append(past.take());
  await writer.flush();
}

/** The last offset that `fillPast` writes. */
export const PAST_END = 19;
