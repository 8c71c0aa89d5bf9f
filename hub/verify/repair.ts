/**
 * Rewrites rows of a sink that differ from the log, and no others, through the sink's own worker: while it stands still, a
 * batch that leaves the checkpoint where it is, with what the log has as of exactly that checkpoint. So it is never an
 * older image over a newer one.
 */
import { BatchBuilder, type ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import { Flag, isRowOp, Op } from '../../contracts/op.ts';
import { Projectors } from '../../contracts/projection.ts';
import { RecordView } from '../../contracts/record.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import type { FoldedTable, RecordRef, SinkBatch } from '../../contracts/sink.ts';
import type { FoldStart } from '../pipeline/sink/fold.ts';
import { MirroredTables } from '../pipeline/sink/mirrored-tables.ts';
import { forRows } from './buckets.ts';
import { Newest } from './newest.ts';
import type { VerifyParts, Visit } from './places.ts';
import type { Suspect } from './recheck.ts';
import { sinkMoment } from './round.ts';

const NONE = Buffer.alloc(0);
/** Rows of one batch. */
const BATCH_ROWS = 5000;

/**
 * Rewrites the rows of one table. Those of a table without a key are counted at the sink while it stands still, which is
 * as long as one reading of the table takes.
 * @throws TidemarkError `VERIFY_SINK` when nothing can be applied, `VERIFY_TABLE` when the table has changed; what the sink
 *   refuses the rows with
 */
export async function rewrite(parts: VerifyParts, schema: TableSchema, suspects: readonly Suspect[], signal: AbortSignal): Promise<void> {
  const { worker, config } = parts;
  if (worker === null || !worker.isAtWork) {
    throw new TidemarkError('VERIFY_SINK', 'rows are rewritten by the sink\'s own worker, which is not at work', { where: { sink: config.name }, remedy: 'Let the sink run (`tidemark sink resume NAME`), then repair it.' });
  }
  for (let at = 0; at < suspects.length; at += BATCH_ROWS) {
    const some = suspects.slice(at, at + BATCH_ROWS);
    if (schema.keyKind === 'none') await worker.visit((visit) => rewriteBag(parts, schema, some, visit, signal), signal);
    else await rewriteKeyed(parts, schema, some, signal);
  }
}

async function rewriteKeyed(parts: VerifyParts, { tableId }: TableSchema, suspects: readonly Suspect[], signal: AbortSignal): Promise<void> {
  const { log, worker } = parts;
  // A row under a key of the sink's own that does not tell whose it is cannot be named to the worker: it stays.
  const keys = new Set(suspects.flatMap(({ row: { logKey } }) => (logKey === null ? [] : [logKey.toString('latin1')])));
  const newest = new Newest(log, tableId, (key) => keys.has(key));
  const before = await asOf(parts, newest, keys, Math.max(...suspects.map(({ offset }) => offset)), signal);
  await worker?.visit(async (visit) => {
    const schema = schemaAt(parts, tableId, visit.at);
    if (visit.at.after < before) throw changed(parts, schema, 'the sink went back');
    await newest.read({ after: before, to: visit.at.after, sight: null }, signal);
    const rows = newest.batch(schema, log.catalog(), keys);
    const gone = [...keys].filter((key) => newest.rows.get(key) === undefined || newest.rows.get(key) === null);
    await apply(parts, schema, visit, { upserts: rows, deletes: deletesOf(schema, gone), inserts: null });
  }, signal);
}

/** What the log has for the keys at an offset that the sink has reached; most of the reading, done while the sink goes on. */
async function asOf({ log }: VerifyParts, newest: Newest, keys: ReadonlySet<string>, at: Offset, signal: AbortSignal): Promise<Offset> {
  await using base = await log.openBase();
  for (const key of base === null ? [] : keys) {
    const row = await base?.find(newest.tableId, Buffer.from(key, 'latin1'));
    newest.known(key, row === null || row === undefined ? null : { version: row.schemaVersion, image: row.image });
  }
  const horizon = base?.horizon ?? 0;
  const to = Math.max(at, horizon);
  await newest.read({ after: horizon, to, sight: null }, signal);
  return to;
}

function deletesOf({ tableId, version }: TableSchema, keys: readonly string[]): ChangeBatch {
  const builder = new BatchBuilder(64 << 10);
  builder.begin('hub', 0, 0);
  for (const key of keys) builder.record(Op.delete, 0, tableId, version, Buffer.from(key, 'latin1'), NONE, NONE);
  return builder.take();
}

/** Rows of a keyless table: as many of each as the log has more or less than the sink has now. */
async function rewriteBag(parts: VerifyParts, { tableId, version }: TableSchema, suspects: readonly Suspect[], visit: Visit, signal: AbortSignal): Promise<void> {
  const schema = schemaAt(parts, tableId, visit.at);
  if (schema.version !== version) throw changed(parts, schema, 'the table changed its shape');
  const wanted = new Map<string, number>();
  for (const { row } of suspects) wanted.set((row.left ?? row.right ?? NONE).toString('latin1'), row.leftCount);
  await countChanges(parts, schema, wanted, { after: suspects[0]?.offset ?? 0, to: visit.at.after }, signal);
  const { snapshot, checkpoint } = await sinkMoment(parts, new Set([tableId]), signal);
  await using _ = snapshot;
  if (checkpoint.offset !== visit.at.after) throw changed(parts, schema, 'the sink moved while it stood still');
  // What the sink has is taken off what it should have.
  for await (const batch of snapshot.rows(schema, signal)) {
    forRows(batch, (_view, _keyStart, keyEnd, end) => {
      const image = batch.records.toString('latin1', keyEnd, end);
      const count = wanted.get(image);
      if (count !== undefined) wanted.set(image, count - 1);
    });
  }
  const inserts = new BatchBuilder(64 << 10);
  const deletes = new BatchBuilder(64 << 10);
  inserts.begin('hub', 0, 0);
  deletes.begin('hub', 0, 0);
  for (const [image, count] of wanted) {
    const bytes = Buffer.from(image, 'latin1');
    for (let left = count; left > 0; left--) inserts.record(Op.read, 0, tableId, version, NONE, NONE, bytes);
    for (let left = count; left < 0; left++) deletes.record(Op.delete, 0, tableId, version, NONE, bytes, NONE);
  }
  await apply(parts, schema, visit, { upserts: null, deletes: deletes.take(), inserts: inserts.take() });
}

/** Adds to the counts what the log did to the rows in a stretch. */
async function countChanges({ log, config }: VerifyParts, schema: TableSchema, wanted: Map<string, number>, { after, to }: { readonly after: Offset; readonly to: Offset }, signal: AbortSignal): Promise<void> {
  if (to < after) throw new TidemarkError('VERIFY_TABLE', 'the sink went back', { where: { sink: config.name, table: tableName(schema) }, retry: 'auto' });
  if (to === after) return;
  const catalog = log.catalog();
  const projectors = new Projectors();
  const view = new RecordView();
  const add = (start: number, end: number, by: number): void => {
    const from = catalog.schemaOf(schema.tableId, view.schemaVersion);
    const image = (from.version === schema.version ? view.bytes.subarray(start, end) : projectors.get(from, schema).image(view.bytes, start, end)).toString('latin1');
    const count = wanted.get(image);
    if (count !== undefined) wanted.set(image, count + by);
  };
  for await (const batch of log.read({ after, to, follow: false, signal })) {
    for (view.reset(batch.records); view.next(); ) {
      if (view.tableId !== schema.tableId || (view.flags & (Flag.incomplete | Flag.notApplied)) !== 0) continue;
      if (view.op === Op.truncate) for (const image of wanted.keys()) wanted.set(image, 0);
      if (!isRowOp(view.op)) continue;
      if ((view.op === Op.delete || view.op === Op.update) && view.hasBefore) add(view.beforeStart, view.beforeEnd, -1);
      if (view.op !== Op.delete && view.hasAfter) add(view.afterStart, view.afterEnd, 1);
    }
  }
}

interface Changes {
  readonly deletes: ChangeBatch;
  readonly upserts: ChangeBatch | null;
  readonly inserts: ChangeBatch | null;
}

async function apply({ log }: VerifyParts, schema: TableSchema, visit: Visit, { deletes, upserts, inserts }: Changes): Promise<void> {
  const table: FoldedTable = {
    schema,
    truncate: false,
    // A row in the way of a unique constraint is one of those that are wrong.
    copying: true,
    deletes: refsOf(deletes),
    upserts: refsOf(upserts),
    inserts: refsOf(inserts),
  };
  const records = table.deletes.length + table.upserts.length + table.inserts.length;
  if (records === 0) return;
  const { at } = visit;
  const bytes = [deletes, upserts, inserts].reduce((sum, batch) => sum + (batch?.records.length ?? 0), 0);
  const batch: SinkBatch = {
    after: at.after, to: at.after, endsOpen: false, epoch: log.epochAt(at.after), position: at.position, commitTime: at.commitTime, cursor: null,
    steps: [{ kind: 'rows', tables: [table] }], records, bytes,
  };
  await visit.apply(batch);
}

function refsOf(batch: ChangeBatch | null): RecordRef[] {
  const refs: RecordRef[] = [];
  if (batch === null) return refs;
  const view = new RecordView();
  for (view.reset(batch.records); view.next(); ) refs.push({ batch, at: view.at });
  return refs;
}

/** @throws TidemarkError `VERIFY_TABLE` when the table is not at the sink as it should be */
function schemaAt({ log, config, sink }: VerifyParts, tableId: number, { after }: FoldStart): TableSchema {
  const table = new MirroredTables(log.catalog(), after, config.tables, sink.handsNamesOn).get(tableId);
  if (table?.consistent === true) return table.schema;
  const schema = log.catalog().schema(tableId);
  throw new TidemarkError('VERIFY_TABLE', 'the table is being copied, or has left the sink', {
    where: { sink: config.name, ...(schema === undefined ? {} : { table: tableName(schema) }) }, retry: 'auto',
  });
}

function changed({ config }: VerifyParts, schema: TableSchema, why: string): TidemarkError {
  return new TidemarkError('VERIFY_TABLE', why, { where: { sink: config.name, table: tableName(schema) }, retry: 'auto' });
}
