/** The tables of a log's base as steps for a sink that has nothing of them. */
import type { BaseReader } from '../../../contracts/base.ts';
import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import { Projectors } from '../../../contracts/projection.ts';
import { RecordView } from '../../../contracts/record.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { RecordRef, SinkStep } from '../../../contracts/sink.ts';
import type { MirroredTables } from './mirrored-tables.ts';

/** What one batch holds of the base. */
export interface BaseSteps {
  readonly steps: readonly SinkStep[];
  readonly records: number;
  readonly bytes: number;
}

export interface BaseStepsOptions {
  /** Rows of one batch at most. */
  readonly maxKeys: number;
  /** The first rows of a table empty it at the sink, so that all of it can be done again. */
  readonly empties: boolean;
}

/**
 * Each mirrored table of the base: its shape, all of its rows, its state. Nothing is read ahead beyond one batch.
 * @param tables as of the horizon
 * @throws TidemarkError `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
 */
export async function* baseSteps(base: BaseReader, tables: MirroredTables, { maxKeys, empties }: BaseStepsOptions, signal: AbortSignal): AsyncGenerator<BaseSteps, void, void> {
  const projectors = new Projectors();
  for (const schema of tables.schemas()) {
    const isConsistent = tables.get(schema.tableId)?.consistent === true;
    yield steps([{ kind: 'schema', before: null, after: schema }, { kind: 'table-state', table: schema, state: 'copying' }]);
    let truncate = empties;
    for await (const { batch } of base.rows(schema.tableId, { signal })) {
      const rows = inShape(batch, schema, tables, projectors);
      const refs = refsOf(rows);
      for (let at = 0; at < refs.length; at += maxKeys) {
        const inserts = refs.slice(at, at + maxKeys);
        const step: SinkStep = { kind: 'rows', tables: [{ schema, truncate, copying: true, deletes: [], upserts: [], inserts }] };
        yield { steps: [step], records: inserts.length, bytes: Math.ceil((rows.records.length * inserts.length) / refs.length) };
        truncate = false;
      }
    }
    if (truncate) yield steps([{ kind: 'rows', tables: [{ schema, truncate, copying: true, deletes: [], upserts: [], inserts: [] }] }]);
    if (isConsistent) yield steps([{ kind: 'table-state', table: schema, state: 'copied' }]);
  }
}

function steps(list: readonly SinkStep[]): BaseSteps {
  return { steps: list, records: 0, bytes: 0 };
}

/** Rows may be of older versions of their table; all of them as the newest has them. */
function inShape(batch: ChangeBatch, schema: TableSchema, tables: MirroredTables, projectors: Projectors): ChangeBatch {
  const view = new RecordView();
  let same = true;
  for (view.reset(batch.records); same && view.next(); ) same = view.schemaVersion === schema.version;
  if (same) return batch;
  const builder = new BatchBuilder(batch.records.length + (64 << 10));
  builder.begin('hub', 0, 0);
  for (view.reset(batch.records); view.next(); ) projectors.get(tables.version(schema.tableId, view.schemaVersion), schema).record(view, builder);
  return builder.take();
}

function refsOf(batch: ChangeBatch): RecordRef[] {
  const refs: RecordRef[] = [];
  const view = new RecordView();
  for (view.reset(batch.records); view.next(); ) refs.push({ batch, at: view.at });
  return refs;
}
