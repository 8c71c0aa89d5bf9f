import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName } from '../../contracts/schema.ts';
import type { FoldedTable } from '../../contracts/sink.ts';
import { type CheckpointMove, CheckpointRefused } from '../relational/apply-line.ts';
import { type ApplyMode, firstMode, type ModeTraits, nextMode } from '../relational/apply-mode.ts';
import { moveSql } from './checkpoint-table.ts';
import { isViolation, sinkError } from './errors.ts';
import type { LooseRows } from './loose-rows.ts';
import type { Done, Session } from './session.ts';
import type { Statement, WriteRules } from './statement.ts';
import type { TablePlan } from './table-plan.ts';
import { tableStatements } from './table-statements.ts';

/** Rows of a copy are never taken for new: an upsert costs no more here. */
const NEVER_OPTIMISTIC = 1;
/** Statements of so many bytes together go out at once: what they cost is the way there and back. */
const JOINED_BYTES = 128 << 10;
/** One table's part in a rows step, with how it is being written. */
export interface TableWork {
  readonly change: FoldedTable;
  readonly plan: TablePlan;
  mode: ApplyMode;
  statements: readonly Statement[];
}

/** Rows encoded and ready to be sent: made before the batch's turn, so that encoding and applying overlap. */
export interface PreparedRows {
  /** Loaded by other sessions, before all else. */
  readonly loose: LooseLoad | null;
  readonly works: readonly TableWork[];
  readonly place: RowsPlace;
  readonly rules: WriteRules;
}

export interface LooseLoad {
  readonly tables: readonly LooseRows[];
  /** Of the checkpoint's row: true where this hub left it. */
  readonly owned: string;
}

/** The place of a rows step in its transaction. */
export interface RowsPlace {
  /** The transaction begins with this step. */
  readonly begin: boolean;
  /** Compare and set the checkpoint before the rows. */
  readonly move: CheckpointMove | null;
  readonly commit: boolean;
}

/** Encodes the rows of one table. @throws TidemarkError `SINK_DATA` */
export function prepareTable(change: FoldedTable, plan: TablePlan, rules: WriteRules): TableWork {
  const mode = firstMode(traitsOf(change, plan), NEVER_OPTIMISTIC);
  return { change, plan, mode, statements: tableStatements(plan, change, mode, rules) };
}

/**
 * Sends a rows step, and takes tables that violate a constraint on to their next mode until all are written. The
 * transaction stays open unless the step commits.
 * @throws CheckpointRefused, TidemarkError
 */
export async function runRows(session: Session, { works, place, rules }: PreparedRows): Promise<void> {
  if (place.begin) await session.run('START TRANSACTION');
  if (place.move !== null) await moveCheckpoint(session, rules.ownDatabase, place.move);
  for (const work of works) await runWork(session, work, rules);
  if (place.commit) await session.run('COMMIT');
}

async function moveCheckpoint(session: Session, ownDatabase: string, move: CheckpointMove): Promise<void> {
  const { rows } = await session.run(moveSql(ownDatabase, move));
  if (rows !== 1) throw new CheckpointRefused('the checkpoint is not where this hub left it');
}

async function runWork(session: Session, work: TableWork, rules: WriteRules): Promise<void> {
  const where = { table: tableName(work.change.schema) };
  const traits = traitsOf(work.change, work.plan);
  const mayFail = nextMode(work.mode, traits) !== null && !(work.mode === 'upsert' && work.plan.isSoleUnique);
  if (mayFail) await session.run('SAVEPOINT tidemark');
  for (;;) {
    try {
      await runStatements(session, work.statements);
      return;
    } catch (error) {
      const next = mayFail && isViolation(error) ? nextMode(work.mode, traits) : null;
      if (next === null) throw sinkError(error, where);
      await session.run('ROLLBACK TO SAVEPOINT tidemark');
      work.mode = next;
      work.statements = tableStatements(work.plan, work.change, next, rules);
    }
  }
}

/** @throws TidemarkError `SINK_DATA` for what the server warns of; the server's error */
export async function runStatements(session: Session, statements: readonly Statement[]): Promise<void> {
  let joined: Statement[] = [];
  let bytes = 0;
  const send = async (): Promise<void> => {
    const some = joined;
    [joined, bytes] = [[], 0];
    if (some.length > 0) await checked(session, some, await session.runAll(some.length === 1 ? (some[0]?.sql ?? '') : together(some)));
  };
  for (const statement of statements) {
    const { sql, data } = statement;
    if (data !== null || bytes + sql.length > JOINED_BYTES) await send();
    if (data !== null) await checked(session, [statement], [await session.load(sql, data)]);
    else {
      joined.push(statement);
      bytes += sql.length;
    }
  }
  await send();
}

function together(statements: readonly Statement[]): Buffer {
  const separator = Buffer.from(';');
  return Buffer.concat(statements.flatMap(({ sql }, index) => (index === 0 ? [bytesOf(sql)] : [separator, bytesOf(sql)])));
}

function bytesOf(sql: string | Buffer): Buffer {
  return typeof sql === 'string' ? Buffer.from(sql, 'utf8') : sql;
}

/**
 * A value that was cut or rounded to fit is an error, whatever the server calls it. It can be asked for the warnings of the
 * last statement only.
 */
async function checked(session: Session, statements: readonly Statement[], done: readonly Done[]): Promise<void> {
  const warned = done.findLastIndex(({ warnings }, index) => warnings > 0 && statements[index]?.mayWarn !== true);
  if (warned < 0) return;
  const [first] = warned === done.length - 1 ? await session.rows('SHOW WARNINGS LIMIT 1') : [];
  const refused = sinkError(Object.assign(new Error(first?.['Message'] ?? 'the replica would change a value to make it fit'), { errno: Number(first?.['Code'] ?? TRUNCATED) }));
  throw refused.code === 'SINK_DATA' ? refused : new TidemarkError('SINK_DATA', refused.message, { where: refused.where });
}

const TRUNCATED = 1265;

function traitsOf(change: FoldedTable, plan: TablePlan): ModeTraits {
  const onlyNew = change.upserts.length === 0 && change.deletes.length === 0;
  return { keyed: plan.keyed, copying: change.copying, canUpsert: plan.isSoleUnique, onlyNew };
}
