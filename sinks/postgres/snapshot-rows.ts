/** Rows that are few, as values: what the replica would print for rows of the log, and rows that are looked for by key. */
import type pg from 'pg';
import { BatchBuilder, ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { buildKey, readKey } from '../../contracts/key.ts';
import { Op } from '../../contracts/op.ts';
import { RecordView } from '../../contracts/record.ts';
import { buildImage, type CellValue, PLACEHOLDER, readImage } from '../../contracts/row-image.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { sqlState } from './errors.ts';
import { type ReadColumn, type ReadPlan, selectList, unfit } from './snapshot-plan.ts';
import { rowsOf } from './sql.ts';
import { planTable } from './table-plan.ts';

/** A value as `pg` sends and gives it when nothing is parsed. */
type Text = string | null;

const AS_TEXT = { getTypeParser: () => (value: string) => value };
const NOTHING = Buffer.alloc(0);

/** What the replica prints for rows of the log: columns of another type by way of the server. @throws TidemarkError `VERIFY_TABLE` */
export async function printedRows(client: pg.ClientBase, plan: ReadPlan, rows: ChangeBatch): Promise<ChangeBatch> {
  const images: CellValue[][] = [];
  const view = new RecordView();
  for (view.reset(rows.records); view.next(); ) images.push(readImage(view.after()));
  for (const [index, column] of plan.columns.entries()) {
    if (column.form === 'left-out') for (const image of images) image[index] = null;
    if (column.form !== 'mapped') continue;
    const printed = await print(client, plan.schema, column, images.map((image) => asText(plan.schema, image[index] ?? null)));
    for (const [row, image] of images.entries()) image[index] = printed[row] ?? null;
  }
  return batchOf(plan.schema, images);
}

/** The rows with these keys. */
export async function rowsByKey(client: pg.ClientBase, plan: ReadPlan, keys: readonly Uint8Array[]): Promise<ChangeBatch> {
  const written = planTable(plan.schema, plan.table);
  const asTexts = written.asText ?? written;
  if (asTexts.keys === null) throw new TidemarkError('INTERNAL', 'rows of a table without a key are looked for by their keys', { where: { table: tableName(plan.schema) } });
  const values = keys.map((key) => readKey(key));
  const parameters = asTexts.keyForms.map((form, place) =>
    values.map((parts) => {
      const part = parts[place] ?? NOTHING;
      return form === 'bytes' ? part : part.toString('utf8');
    }),
  );
  const text = `SELECT ${selectList(plan, 't.')} FROM ${rowsOf(plan.table)} AS t, ${asTexts.keys.source} WHERE ${asTexts.keys.condition}`;
  const { rows } = await client.query<Text[]>({ text, values: parameters, rowMode: 'array', types: AS_TEXT });
  const images = rows.map((row) => row.map((value, index) => (value !== null && plan.columns[index]?.action === 'bytes' ? Buffer.from(value.slice(2), 'hex') : value)));
  return batchOf(plan.schema, images);
}

/** By the type's own input and output, as the sink writes and a reader reads. */
async function print(client: pg.ClientBase, schema: TableSchema, { nativeType, sql }: ReadColumn, values: readonly Text[]): Promise<Text[]> {
  try {
    const text = `SELECT pg_catalog.unnest($1::pg_catalog.text[])::${nativeType}`;
    const { rows } = await client.query<Text[]>({ text, values: [values], rowMode: 'array', types: AS_TEXT });
    return rows.map(([value]) => value ?? null);
  } catch (error) {
    const state = sqlState(error);
    // The connection's errors are no answer.
    if (state === null || !/^(22|42)/.test(state)) throw error;
    throw unfit(schema, `the column ${sql} is ${nativeType} at the replica, which does not take the values of the log`);
  }
}

function asText(schema: TableSchema, cell: CellValue): Text {
  if (cell === PLACEHOLDER) throw new TidemarkError('INTERNAL', 'a placeholder has reached a sink', { where: { table: tableName(schema) } });
  if (cell === null || typeof cell === 'string') return cell;
  return `\\x${Buffer.from(cell).toString('hex')}`;
}

function batchOf(schema: TableSchema, images: readonly (readonly CellValue[])[]): ChangeBatch {
  const builder = new BatchBuilder(1 << 14);
  builder.begin('hub', 0, 0);
  for (const image of images) builder.record(Op.read, 0, 0, 0, keyOf(schema, image), NOTHING, buildImage(image));
  const { count, records } = builder.take();
  return new ChangeBatch({ count, records, transactions: [], progress: null });
}

function keyOf(schema: TableSchema, image: readonly CellValue[]): Buffer {
  return buildKey(
    schema.key.map((index) => {
      const value = image[index];
      if (typeof value === 'string' || value instanceof Uint8Array) return value;
      throw unfit(schema, `the key column ${schema.columns[index]?.name ?? index} is null at the replica`);
    }),
  );
}
