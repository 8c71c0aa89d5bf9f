import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName } from '../../contracts/schema.ts';
import type { FoldedTable } from '../../contracts/sink.ts';
import { type CheckpointMove, CheckpointRefused } from '../relational/apply-line.ts';
import { type ApplyMode, firstMode, type ModeTraits, nextMode } from '../relational/apply-mode.ts';
import { addCheckpointMove, NOTHING_MOVED } from './checkpoint-table.ts';
import { isViolation, sinkError, sqlState } from './errors.ts';
import { type Pipeline, PipelineFailure } from './pipeline.ts';
import { rowsOf } from './sql.ts';
import type { Session } from './session.ts';
import type { TablePlan } from './table-plan.ts';
import { addTable } from './table-statements.ts';

/** After a copy's rows were found to exist already, so many batches of the table are not tried as new. */
const OPTIMISM_PAUSE = 16;

/** How long TRUNCATE waits for readers, who wait behind it, before DELETE is taken instead. */
const TRUNCATE_PATIENCE_MS = 1_000;
/** Lock timeout, no privilege, not supported (a foreign key came meanwhile): rows can still be deleted. */
const NO_TRUNCATE: ReadonlySet<string> = new Set(['55P03', '42501', '0A000']);

/** One table's part in a rows step, with how it is being written. */
export interface TableWork {
  readonly change: FoldedTable;
  readonly plan: TablePlan;
  mode: ApplyMode;
  /** How it is emptied where the change says so: TRUNCATE, or DELETE where that may not be or readers are in the way. */
  emptying: 'truncate' | 'delete';
}

/** Rows encoded and ready to be sent: made before the batch's turn, so that encoding and applying overlap. */
export interface PreparedRows {
  readonly pipeline: Pipeline;
  readonly works: readonly TableWork[];
  /** For each statement of the pipeline the table that it is of, or -1. */
  readonly owners: readonly number[];
  /** The statement that compares and sets the checkpoint; -1: not in this pipeline. */
  readonly moveIndex: number;
  /** The pipeline ends with COMMIT. */
  readonly commits: boolean;
}

/** What `prepareRows` needs to know of the place of a rows step in its transaction. */
export interface RowsPlace {
  /** The transaction begins with this step. */
  readonly begin: boolean;
  /** Compare and set the checkpoint before the rows. */
  readonly move: CheckpointMove | null;
  readonly commit: boolean;
}

/** Batches left for each table id before its copied rows are taken for new again. */
export type Optimism = Map<number, number>;

/** Encodes a rows step into one pipeline. */
export function prepareRows(session: Session, tables: readonly FoldedTable[], plans: readonly TablePlan[], place: RowsPlace, optimism: Optimism): PreparedRows {
  const works = tables.map((change, index): TableWork => {
    const plan = plans[index];
    if (plan === undefined) throw new TidemarkError('INTERNAL', 'a table has no plan');
    const pause = optimism.get(change.schema.tableId) ?? 0;
    if (pause > 0) optimism.set(change.schema.tableId, pause - 1);
    return {
      change,
      plan,
      mode: firstMode(traitsOf(change, plan), pause),
      // A table that a foreign key points at cannot be truncated alone.
      emptying: plan.table.referenced ? 'delete' : 'truncate',
    };
  });
  const pipeline = session.pipeline();
  if (place.begin) pipeline.prepared('BEGIN');
  const moveIndex = place.move === null ? -1 : addCheckpointMove(pipeline, place.move);
  if (works.length > 0) pipeline.prepared('SAVEPOINT tidemark');
  const owners = addTables(pipeline, works);
  if (works.length > 0) pipeline.prepared('RELEASE SAVEPOINT tidemark');
  if (place.commit) pipeline.prepared('COMMIT');
  return { pipeline, works, owners, moveIndex, commits: place.commit };
}

/**
 * Sends a prepared rows step and takes tables that violate a constraint on to their next mode until all are written.
 * The transaction stays open unless the step commits.
 * @throws CheckpointRefused, TidemarkError
 */
export async function runRows(session: Session, rows: PreparedRows, optimism: Optimism): Promise<void> {
  let { pipeline, owners } = rows;
  let { moveIndex } = rows;
  for (;;) {
    try {
      await pipeline.run(session.client);
      return;
    } catch (error) {
      if (!(error instanceof PipelineFailure)) throw error;
      if (error.index === moveIndex && sqlState(error) === NOTHING_MOVED) throw new CheckpointRefused(error.message);
      stepOn(rows.works, owners[error.index] ?? -1, error, optimism);
    }
    moveIndex = -1;
    pipeline = session.pipeline();
    pipeline.prepared('ROLLBACK TO SAVEPOINT tidemark');
    owners = addTables(pipeline, rows.works);
    pipeline.prepared('RELEASE SAVEPOINT tidemark');
    if (rows.commits) pipeline.prepared('COMMIT');
  }
}

/** Takes the table that failed one mode on. @throws TidemarkError when it has none left, or failed in another way */
function stepOn(works: readonly TableWork[], owner: number, error: PipelineFailure, optimism: Optimism): void {
  const work = works[owner];
  if (work === undefined) throw sinkError(error);
  const where = { table: tableName(work.change.schema) };
  if (work.change.truncate && work.emptying === 'truncate' && NO_TRUNCATE.has(sqlState(error) ?? '')) {
    work.emptying = 'delete';
    return;
  }
  if (!isViolation(error)) throw sinkError(error, where);
  const next = nextMode(work.mode, traitsOf(work.change, work.plan));
  if (next === null) throw sinkError(error, where);
  if (work.mode === 'optimistic') optimism.set(work.change.schema.tableId, OPTIMISM_PAUSE);
  work.mode = next;
}

function addTables(pipeline: Pipeline, works: readonly TableWork[]): number[] {
  const owners: number[] = [];
  for (const [index, work] of works.entries()) {
    const { change, plan, mode } = work;
    while (owners.length < pipeline.count) owners.push(-1);
    if (change.truncate) emptyTable(pipeline, work);
    addTable(pipeline, plan, change, mode);
    while (owners.length < pipeline.count) owners.push(index);
  }
  return owners;
}

function emptyTable(pipeline: Pipeline, { plan, emptying }: TableWork): void {
  const rows = rowsOf(plan.table);
  if (emptying === 'delete') {
    pipeline.once(`DELETE FROM ${rows}`);
    return;
  }
  pipeline.once(`SET LOCAL lock_timeout = ${TRUNCATE_PATIENCE_MS}`);
  pipeline.once(`TRUNCATE ${rows}`);
  pipeline.once('SET LOCAL lock_timeout = 0');
}

function traitsOf(change: FoldedTable, plan: TablePlan): ModeTraits {
  const onlyNew = change.upserts.length === 0 && change.deletes.length === 0;
  return { keyed: plan.keyed, copying: change.copying, canUpsert: plan.upsert !== null, onlyNew };
}
