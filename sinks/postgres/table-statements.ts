/** The statements that write one table's net change, added to a pipeline. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { Op } from '../../contracts/op.ts';
import type { FoldedTable, RecordRef } from '../../contracts/sink.ts';
import type { ApplyMode } from '../relational/apply-mode.ts';
import { chunks, type ChunkLimits } from '../relational/chunks.ts';
import { inKeyOrder } from '../relational/key-order.ts';
import { type ImageSide, imageParameters, keyParameters } from './array-parameters.ts';
import { COPY_BINARY_END, COPY_BINARY_HEAD, copyBinaryRows } from './copy-binary.ts';
import { copyRows } from './copy-rows.ts';
import type { Pipeline } from './pipeline.ts';
import type { ReplicaIndex } from './replica-table.ts';
import { ident, qualified, rowsOf } from './sql.ts';
import { type KeyMatch, rowsFromArrays, type TablePlan } from './table-plan.ts';
import type { Parameter } from './wire.ts';

const LIMITS: ChunkLimits = { rows: 32_768, bytes: 8 << 20 };

/** Below this many rows a prepared INSERT is quicker than a COPY, which is planned each time. */
const COPY_FROM_ROWS = 24;

/** Where rows are found by reading the whole table, the planner may choose how; elsewhere only the index will do. */
const FREE_PLAN = 'SET LOCAL enable_hashjoin = on; SET LOCAL enable_seqscan = on'.split('; ');
const INDEX_PLAN = 'SET LOCAL enable_hashjoin = off; SET LOCAL enable_seqscan = off'.split('; ');

/** Adds what `mode` says to the pipeline. The table was emptied already where the change says so. */
export function addTable(pipeline: Pipeline, plan: TablePlan, change: FoldedTable, mode: ApplyMode): void {
  const { deletes, upserts, inserts } = change;
  const { keys } = plan;
  if (keys === null) {
    removeRows(pipeline, plan, deletes);
    if (mode === 'clear') clearTheWay(pipeline, plan, inserts);
    insertRows(pipeline, plan, upserts);
    insertRows(pipeline, plan, inserts);
    return;
  }
  switch (mode) {
    case 'optimistic': {
      const { copied, streamed } = byOrigin(upserts);
      removeKeys(pipeline, plan, deletes);
      upsertRows(pipeline, plan, streamed);
      insertRows(pipeline, plan, copied);
      insertRows(pipeline, plan, inserts);
      return;
    }
    case 'upsert':
      removeKeys(pipeline, plan, deletes);
      upsertRows(pipeline, plan, upserts);
      insertRows(pipeline, plan, inserts);
      return;
    case 'replace':
    case 'clear':
      replaceRows(pipeline, plan, keys, change, mode === 'clear');
  }
}

/** Rows of a copy, and of the stream. */
function byOrigin(upserts: readonly RecordRef[]): { copied: readonly RecordRef[]; streamed: readonly RecordRef[] } {
  const copied: RecordRef[] = [];
  const streamed: RecordRef[] = [];
  for (const ref of upserts) (ref.batch.records[ref.at + 4] === Op.read ? copied : streamed).push(ref);
  return { copied, streamed };
}

/** Every touched key goes, every final image comes; what the replica's own columns held is put back. */
function replaceRows(pipeline: Pipeline, plan: TablePlan, keys: KeyMatch, change: FoldedTable, clear: boolean): void {
  const { deletes, upserts, inserts } = change;
  removeKeys(pipeline, plan, deletes);
  const keep = plan.extraColumns.length > 0 && upserts.length > 0;
  if (keep) stashExtras(pipeline, plan, keys, upserts);
  removeKeys(pipeline, plan, upserts);
  removeKeys(pipeline, plan, inserts);
  if (clear) {
    clearTheWay(pipeline, plan, upserts);
    clearTheWay(pipeline, plan, inserts);
  }
  insertRows(pipeline, plan, upserts);
  insertRows(pipeline, plan, inserts);
  if (keep) restoreExtras(pipeline, plan, keys);
}

function removeKeys(pipeline: Pipeline, plan: TablePlan, refs: readonly RecordRef[]): void {
  if (refs.length === 0) return;
  if (!plan.removeByIndex) for (const sql of FREE_PLAN) pipeline.once(sql);
  for (const chunk of chunks(inKeyOrder(refs, plan.schema), LIMITS)) withKeys(plan, chunk, (keys, values) => pipeline.prepared(keys.remove, values));
  if (!plan.removeByIndex) for (const sql of INDEX_PLAN) pipeline.once(sql);
}

function upsertRows(pipeline: Pipeline, plan: TablePlan, refs: readonly RecordRef[]): void {
  if (refs.length === 0) return;
  if (plan.upsert === null) {
    removeKeys(pipeline, plan, refs);
    insertRows(pipeline, plan, refs);
    return;
  }
  for (const chunk of chunks(inKeyOrder(refs, plan.schema), LIMITS)) {
    withImages(plan, chunk, 'after', (form, values) => pipeline.prepared(form.upsert ?? '', values));
  }
}

function insertRows(pipeline: Pipeline, plan: TablePlan, refs: readonly RecordRef[]): void {
  if (refs.length === 0) return;
  if (plan.columns.length === 0) {
    pipeline.once(`INSERT INTO ${qualified(plan.table.name)} SELECT FROM pg_catalog.generate_series(1, ${refs.length})`);
    return;
  }
  if (refs.length < COPY_FROM_ROWS) {
    withImages(plan, refs, 'after', (form, values) => pipeline.prepared(form.insert, values));
    return;
  }
  const pieces = chunks(refs, LIMITS);
  const binary = plan.copyBinary === null ? null : binaryCopy(pieces, plan);
  if (binary !== null) pipeline.copyIn(plan.copyBinary ?? '', binary);
  else pipeline.copyIn(plan.copy, pieces.map((chunk) => copyRows(chunk, 'after', plan.wanted)));
}

/** The data of a COPY in the binary format; null: a value has no binary form. */
function binaryCopy(pieces: readonly (readonly RecordRef[])[], plan: TablePlan): Uint8Array[] | null {
  const data: Uint8Array[] = [COPY_BINARY_HEAD];
  for (const refs of pieces) {
    const rows = copyBinaryRows(refs, 'after', plan.forms);
    if (rows === null) return null;
    data.push(rows);
  }
  data.push(COPY_BINARY_END);
  return data;
}

/** The images of `refs` as parameters, with the plan whose statements take them: of text where a value has no other form. */
function withImages(plan: TablePlan, refs: readonly RecordRef[], side: ImageSide, use: (plan: TablePlan, values: readonly Parameter[]) => void): void {
  const values = imageParameters(refs, side, plan.forms);
  if (values !== null) use(plan, values);
  else withImages(textPlan(plan), refs, side, use);
}

/** The keys of `refs` as parameters, with what finds rows by them. */
function withKeys(plan: TablePlan, refs: readonly RecordRef[], use: (keys: KeyMatch, values: readonly Parameter[]) => void): void {
  const values = keyParameters(refs, plan.keyForms);
  if (values === null) withKeys(textPlan(plan), refs, use);
  else if (plan.keys !== null) use(plan.keys, values);
}

function textPlan({ asText }: TablePlan): TablePlan {
  if (asText === null) throw new TidemarkError('INTERNAL', 'a value has no form as text');
  return asText;
}

/**
 * A keyless table: of each row given, as many equal ones go as it is given times. Rows are equal when the text of all
 * their columns is: the only equality that every type has, and the one that the log has.
 */
function removeRows(pipeline: Pipeline, plan: TablePlan, refs: readonly RecordRef[]): void {
  if (refs.length === 0) return;
  if (plan.columns.length === 0) {
    const table = rowsOf(plan.table);
    pipeline.once(`DELETE FROM ${table} WHERE ctid IN (SELECT ctid FROM ${table} LIMIT ${refs.length})`);
    return;
  }
  const row = (alias: string): string =>
    `ROW(${plan.columns.map(({ target }) => `${alias}.${ident(target.name)}::pg_catalog.text`).join(', ')})::pg_catalog.text`;
  const removal = (columns: TablePlan['columns']): string => `
    WITH gone AS MATERIALIZED (
      SELECT ${row('s')} AS image, pg_catalog.count(*) AS times
        FROM (SELECT ${rowsFromArrays(columns)}) AS s GROUP BY 1
    ), found AS (
      SELECT t.tableoid AS part, t.ctid AS place, gone.times, pg_catalog.row_number() OVER (PARTITION BY gone.image) AS nth
        FROM ${rowsOf(plan.table)} AS t JOIN gone ON gone.image OPERATOR(pg_catalog.=) ${row('t')}
    )
    DELETE FROM ${rowsOf(plan.table)} AS t USING found
     WHERE t.tableoid = found.part AND t.ctid = found.place AND found.nth <= found.times`;
  for (const statement of FREE_PLAN) pipeline.once(statement);
  for (const chunk of chunks(refs, LIMITS)) {
    withImages(plan, chunk, 'before', (form, values) => pipeline.prepared(removal(form.columns), values));
  }
  for (const statement of INDEX_PLAN) pipeline.once(statement);
}

/** Deletes rows that a unique or exclusion constraint would find in the way of the given ones. */
function clearTheWay(pipeline: Pipeline, plan: TablePlan, refs: readonly RecordRef[]): void {
  if (refs.length === 0) return;
  const written = new Set(plan.columns.map((column) => column.target.name));
  const indexes = plan.table.indexes.filter((index) => index.keys.every((key) => key.column === null || written.has(key.column)));
  if (indexes.length === 0) return;
  for (const statement of FREE_PLAN) pipeline.once(statement);
  for (const chunk of chunks(refs, LIMITS)) {
    withImages(plan, chunk, 'after', (form, values) => {
      for (const index of indexes) pipeline.prepared(clearSql(form, index), values);
    });
  }
  for (const statement of INDEX_PLAN) pipeline.once(statement);
}

function clearSql(plan: TablePlan, index: ReplicaIndex): string {
  const guard = index.predicate === null ? '' : ` WHERE ${index.predicate}`;
  const entries = index.keys.map((key, at) => `(${key.expression}) AS "~${at}"`).join(', ');
  const meets = index.keys.map((key, at) => {
    const same = `(${key.expression}) OPERATOR(${key.operator}) "~s"."~${at}"`;
    return index.nullsNotDistinct ? `(${same} OR ((${key.expression}) IS NULL AND "~s"."~${at}" IS NULL))` : same;
  });
  const rows = `SELECT ${entries} FROM (SELECT ${rowsFromArrays(plan.columns)}) AS "~r"${guard}`;
  const conditions = index.predicate === null ? meets : [...meets, `(${index.predicate})`];
  return `DELETE FROM ${rowsOf(plan.table)} USING (${rows}) AS "~s" WHERE ${conditions.join(' AND ')}`;
}

/** Keeps the replica's own columns of the rows that are about to be deleted and inserted again. */
function stashExtras(pipeline: Pipeline, plan: TablePlan, keys: KeyMatch, refs: readonly RecordRef[]): void {
  const columns = [...keys.columns, ...plan.extraColumns].map((column) => `t.${ident(column.name)}`).join(', ');
  const table = `${rowsOf(plan.table)} AS t`;
  pipeline.once(`CREATE TEMPORARY TABLE tidemark_extras ON COMMIT DROP AS SELECT ${columns} FROM ${table} WHERE false`);
  const sql = ({ source, condition }: KeyMatch): string =>
    `INSERT INTO pg_temp.tidemark_extras SELECT ${columns} FROM ${table} CROSS JOIN ${source} WHERE ${condition}`;
  for (const chunk of chunks(refs, LIMITS)) withKeys(plan, chunk, (found, values) => pipeline.once(sql(found), values));
}

function restoreExtras(pipeline: Pipeline, plan: TablePlan, keys: KeyMatch): void {
  const sets = plan.extraColumns.map((column) => `${ident(column.name)} = x.${ident(column.name)}`).join(', ');
  const same = keys.columns
    .map((column) => `t.${ident(column.name)} OPERATOR(${column.equality ?? 'pg_catalog.='}) x.${ident(column.name)}`)
    .join(' AND ');
  pipeline.once(`UPDATE ${rowsOf(plan.table)} AS t SET ${sets} FROM pg_temp.tidemark_extras AS x WHERE ${same}`);
  pipeline.once('DROP TABLE pg_temp.tidemark_extras');
}
