/** How the rows of a table at the replica are read back in the form that the log has. */
import { BatchBuilder, ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { buildKey } from '../../contracts/key.ts';
import { Op } from '../../contracts/op.ts';
import { RecordView } from '../../contracts/record.ts';
import { buildImage, type CellValue } from '../../contracts/row-image.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import type { Session } from './session.ts';
import { quoteName } from './sql.ts';
import { valueStatements } from './row-text.ts';
import { statementLimits, type WriteRules } from './statement.ts';
import type { TablePlan } from './table-plan.ts';
import { insertHead } from './table-statements.ts';
import type { ReadForm } from './types/read-form.ts';

const NOTHING = Buffer.alloc(0);
const BATCH_BYTES = 1 << 20;

export function changing(schema: TableSchema, why: string, cause?: unknown): TidemarkError {
  return new TidemarkError('VERIFY_TABLE', why, { where: { table: tableName(schema) }, ...(cause === undefined ? {} : { cause }) });
}

export function unfit(schema: TableSchema, why: string): TidemarkError {
  return new TidemarkError('VERIFY_TABLE', why, {
    where: { table: tableName(schema) }, retry: 'operator', remedy: 'Make the table at the replica fit (`tidemark check` prints how), or rebuild the sink.',
  });
}

/** What is selected: nothing in place of what the replica computes by itself. */
export function selectList(plan: TablePlan): string {
  const written = new Map(plan.columns.map((column) => [column.source, column]));
  const list = plan.schema.columns.map((_, index) => {
    const column = written.get(index);
    return column === undefined ? 'NULL' : column.form.select(quoteName(column.target.name));
  });
  return list.length === 0 ? '1' : list.join(', ');
}

/** Rows as they are selected, as records of the log's shape; in batches of about 1 MiB. */
export class RowReader {
  readonly #plan: TablePlan;
  readonly #forms: readonly (ReadForm | null)[];
  #builder = new BatchBuilder(BATCH_BYTES + (BATCH_BYTES >> 2));

  constructor(plan: TablePlan) {
    this.#plan = plan;
    this.#forms = plan.forms;
    this.#builder.begin('hub', 0, 0);
  }

  get isFull(): boolean {
    return this.#builder.length >= BATCH_BYTES;
  }

  get isEmpty(): boolean {
    return this.#builder.count === 0;
  }

  row(values: readonly (Buffer | null)[]): void {
    const { schema } = this.#plan;
    const image = this.#forms.map((form, index): CellValue => {
      const value = values[index] ?? null;
      if (form === null || value === null) return null;
      const canonical = form.read === null ? value : form.read(value);
      return form.isBytes ? canonical : canonical.toString('utf8');
    });
    this.#builder.record(Op.read, 0, 0, 0, keyOf(schema, image), NOTHING, buildImage(image));
  }

  take(): ChangeBatch {
    const { count, records } = this.#builder.take();
    return new ChangeBatch({ count, records, transactions: [], progress: null });
  }
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

/** Records with these keys, to look rows up by. */
export function keyRefs(keys: readonly Uint8Array[]): RecordRef[] {
  const builder = new BatchBuilder(1 << 14);
  builder.begin('hub', 0, 0);
  const places = keys.map((key) => {
    const at = builder.length;
    builder.record(Op.read, 0, 0, 0, key, NOTHING, NOTHING);
    return at;
  });
  const batch = builder.take();
  return places.map((at) => ({ batch, at }));
}

/** True when every value comes back as it was written, and no column is left out. */
export function isExactPlan(plan: TablePlan): boolean {
  return plan.forms.every((form) => form?.exact === true);
}

/**
 * What the replica would give back for rows of the log: they are written to a temporary table of the same columns, and read.
 * @throws TidemarkError `SINK_DATA` for a value that a column does not hold
 */
export async function printedRows(session: Session, plan: TablePlan, rows: ChangeBatch, rules: WriteRules): Promise<ChangeBatch> {
  const reader = new RowReader(plan);
  const view = new RecordView();
  const refs: RecordRef[] = [];
  for (view.reset(rows.records); view.next(); ) refs.push({ batch: rows, at: view.at });
  if (refs.length === 0) return reader.take();
  const printed = `${quoteName(rules.ownDatabase)}.tidemark_printed`;
  const head = insertHead({ ...plan, target: printed }, 'INSERT');
  const names = plan.columns.map(({ target }) => quoteName(target.name));
  await session.run(`DROP TEMPORARY TABLE IF EXISTS ${printed}`);
  await session.run(`CREATE TEMPORARY TABLE ${printed} (tidemark_row int NOT NULL AUTO_INCREMENT PRIMARY KEY) SELECT ${names.join(', ')} FROM ${plan.target} LIMIT 0`);
  for (const sql of valueStatements(refs, plan, 'after', head, '', statementLimits(rules, Number.MAX_SAFE_INTEGER))) await session.run(sql);
  for (const row of await session.buffers(`SELECT ${selectList(plan)} FROM ${printed} ORDER BY tidemark_row`)) reader.row(row);
  await session.run(`DROP TEMPORARY TABLE ${printed}`);
  return reader.take();
}
