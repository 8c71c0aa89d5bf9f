/**
 * Tables of the replica follow the log's shapes. Each change commits by itself here; so what is about to be done is written
 * down first (`intent` of the checkpoint), one statement does it, and the sink's record of the shape follows. After a crash
 * the table as it is decides whether the statement has run.
 */
import { Cell } from '../../contracts/row-image.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { serverErrorNumber } from '../../contracts/types/mysql-errors.ts';
import type { MysqlType } from '../../contracts/types/mysql-types.ts';
import { CheckpointRefused } from '../relational/apply-line.ts';
import { printedName, sameName, targetName, type TargetName } from '../relational/names.ts';
import { checkpointTable } from './checkpoint-table.ts';
import { isOfTheRows, isViolation, sinkError } from './errors.ts';
import { Registry } from './registry.ts';
import { readReplicaTable, type ReplicaTable } from './replica-table.ts';
import type { ServerFacts } from './server.ts';
import type { Session } from './session.ts';
import type { SinkTarget } from './sink-target.ts';
import { qualified, quoteName, quoteText } from './sql.ts';
import { alterPlan, type AlterPlan, createTableSql, tightenSql } from './table-sql.ts';
import { recordedShape, type ReplicaColumn, replicaShape, type ReplicaShape } from './types/replica-shape.ts';
import { valueForm } from './types/value-form.ts';

export interface DdlContext {
  readonly session: Session;
  readonly ownDatabase: string;
  readonly target: SinkTarget;
  readonly server: ServerFacts;
  /** Of the checkpoint's row: true as long as it is as this opening of the sink left it. */
  readonly owned: string;
  /** What an opening before this one was about to do, and has not been finished since. */
  readonly intents: readonly Intent[];
  /** Ids of tables that the source's change has stopped: all their rows come again. */
  readonly recopied: ReadonlySet<number>;
}

/** A change that is under way. */
export interface Intent {
  readonly tableId: number;
  readonly version: number;
  /** Tables that get other names, by one statement. */
  readonly moves?: readonly (readonly [from: TargetName, to: TargetName])[];
  /** Names of columns before and after the statement that changes them. */
  readonly columns?: { readonly before: readonly string[]; readonly after: readonly string[] };
}

/** @throws TidemarkError `INTERNAL` for what this sink did not write */
export function parseIntents(text: string | null): Intent[] {
  const list: unknown = text === null ? [] : JSON.parse(text);
  if (Array.isArray(list) && list.every(isIntent)) return list;
  throw new TidemarkError('INTERNAL', 'the intent in the checkpoint is none of this sink');
}

function isIntent(value: unknown): value is Intent {
  return typeof value === 'object' && value !== null && 'tableId' in value && 'version' in value && typeof value.tableId === 'number' && typeof value.version === 'number';
}

/** Of exactly this change. */
function resumed({ intents }: DdlContext, { tableId, version }: Pick<Intent, 'tableId' | 'version'>): Intent | null {
  return intents.find((intent) => intent.tableId === tableId && intent.version === version) ?? null;
}

/** A table that a foreign key of another one refers to cannot be truncated. */
const REFERENCED: ReadonlySet<number> = new Set([1701, 1142, 1044]);

/**
 * Makes the replica's table follow a schema step. No transaction is open. May be done again after it was cut short
 * anywhere, as long as no row of the new shape was written.
 * @throws CheckpointRefused, TidemarkError `REPLICA_TABLE_TAKEN`, `REPLICA_TYPE`, `REPLICA_SHAPE`, `REPLICA_DENIED`, `REPLICA_BUSY` (lock timeout)
 */
export async function applySchemaStep(context: DdlContext, before: TableSchema | null, after: TableSchema): Promise<void> {
  const where = { table: tableName(after) };
  try {
    const shape = shapeOf(context, after);
    const name = targetName(context.target.names, after);
    if (before === null) await beginGeneration(context, name, shape);
    else await changeShape(context, targetName(context.target.names, before), name, shape);
  } catch (error) {
    if (error instanceof CheckpointRefused) throw error;
    const failure = sinkError(error, where);
    // Rows that stand in the way of a shape are no rows of the batch: no dead letter can help.
    throw failure.code === 'SINK_DATA' ? new TidemarkError('REPLICA_SHAPE', failure.message, { where: failure.where, cause: error }) : failure;
  }
}

/**
 * Not null, where it had to wait for the rows to be copied.
 * @returns false: there was nothing to do
 */
export async function tightenTable(context: DdlContext, schema: TableSchema, known: ReplicaTable | null): Promise<boolean> {
  const shape = shapeOf(context, schema);
  const isLoose = (table: ReplicaTable): boolean => shape.columns.some((column) => !column.nullable && table.columns.some(({ name, nullable }) => name === column.name && nullable));
  if (known !== null && !isLoose(known)) return false;
  const name = targetName(context.target.names, schema);
  await tightenColumns(context.session, name, shape, shape.columns.filter(({ nullable }) => !nullable).map((column) => column.name));
  return true;
}

function shapeOf({ server, target }: DdlContext, schema: TableSchema): ReplicaShape {
  return replicaShape(schema, { server: server.types, unfit: target.unfit });
}

async function beginGeneration(context: DdlContext, name: TargetName, shape: ReplicaShape): Promise<void> {
  const { session, target: { sink } } = context;
  const registry = new Registry(session, context.ownDatabase);
  const table = await readReplicaTable(session, name);
  await intend(context, { tableId: shape.schema.tableId, version: shape.schema.version });
  if (table === null) {
    await createDatabase(session, name.schema);
    await session.run(createTableSql(name, shape));
    await settle(context, shape.schema.tableId, () => registry.put(name, sink, shape.schema));
    return;
  }
  const ours = await registry.at(name);
  if (ours !== null && ours.sink !== sink) throw new TidemarkError('REPLICA_TABLE_TAKEN', `${printedName(name)} is mirrored by the sink ${ours.sink}`);
  if (table.kind === 'VIEW') throw new TidemarkError('REPLICA_TABLE_TAKEN', `${printedName(name)} is a view`);
  if (ours === null && (await hasRows(session, name))) {
    throw new TidemarkError('REPLICA_TABLE_TAKEN', `${printedName(name)} has rows that this sink did not write`, {
      remedy: `Empty it (TRUNCATE TABLE ${qualified(name)}), rename it, or map the source table to another name with \`as\`.`,
    });
  }
  await empty(session, name);
  const found = ours === null ? presentShape(shape, table) : presentShape(recordedShape(ours.shape, context.server.types), table);
  await alter(context, name, alterPlan(name, found, shape, 'name', table, context.server.types), shape);
  await settle(context, shape.schema.tableId, () => registry.put(name, sink, shape.schema));
}

/** What of a shape stands there: columns that somebody has made or removed meanwhile are as they are. */
function presentShape(shape: ReplicaShape, table: ReplicaTable): ReplicaShape {
  const there = new Set(table.columns.map((column) => column.name));
  const columns = shape.schema.columns.filter((column) => there.has(column.name));
  const hasKey = shape.key.parts.length > 0 && table.indexes.some(({ parts }) => parts.map(({ column }) => column).join('\0') === shape.key.parts.map(({ column }) => column).join('\0'));
  return { schema: { ...shape.schema, columns }, columns: shape.columns.filter((column) => there.has(column.name)), key: hasKey ? shape.key : { kind: 'none', parts: [] } };
}

async function changeShape(context: DdlContext, from: TargetName, to: TargetName, shape: ReplicaShape): Promise<void> {
  const { session, target: { sink } } = context;
  const { tableId, version } = shape.schema;
  const registry = new Registry(session, context.ownDatabase);
  await moveTable(context, registry, tableId, version, from, to);
  const known = await registry.of(sink, tableId);
  if (known?.shape.version === version && resumed(context, shape.schema) === null) return;
  const table = await readReplicaTable(session, to);
  if (known === null || table === null) throw new TidemarkError('REPLICA_SHAPE', `${printedName(to)} is gone from the replica`);
  const plan = alterPlan(to, recordedShape(known.shape, context.server.types), shape, 'number', table, context.server.types);
  await alter(context, to, plan, shape);
  await settle(context, tableId, () => registry.put(to, sink, shape.schema));
}

/**
 * Brings a table of the sink to another name, from wherever it stands. A table of the sink that has the name still is put
 * aside by the same statement: its own change of name is to come, or it is gone from the source and keeps its rows.
 * @throws TidemarkError `REPLICA_TABLE_TAKEN` when something that is not the sink's has the name
 */
async function moveTable(context: DdlContext, registry: Registry, tableId: number, version: number, from: TargetName, to: TargetName): Promise<void> {
  const { session, target: { sink } } = context;
  const at = (await registry.of(sink, tableId))?.name ?? from;
  if (sameName(at, to)) return;
  const begun = resumed(context, { tableId, version })?.moves ?? null;
  const moves = begun ?? (await plannedMoves(context, registry, tableId, at, to));
  if (begun === null || !(await areDone(session, moves))) {
    await intend(context, { tableId, version, moves });
    await createDatabase(session, to.schema);
    await session.run(`RENAME TABLE ${moves.map(([one, other]) => `${qualified(one)} TO ${qualified(other)}`).join(', ')}`);
  }
  await settle(context, tableId, async () => {
    for (const [one, other] of moves) await registry.move(one, other);
  });
}

async function plannedMoves(context: DdlContext, registry: Registry, tableId: number, at: TargetName, to: TargetName): Promise<(readonly [TargetName, TargetName])[]> {
  const { session, target: { sink } } = context;
  const other = await registry.at(at);
  if (other !== null && (other.sink !== sink || other.tableId !== tableId)) {
    throw new TidemarkError('REPLICA_SHAPE', `${printedName(at)} holds another table meanwhile, and the rows that it had are gone`);
  }
  const moves: (readonly [TargetName, TargetName])[] = [[at, to]];
  if (!(await exists(session, to))) return moves;
  const holder = await registry.at(to);
  if (holder?.sink !== sink) {
    throw new TidemarkError('REPLICA_TABLE_TAKEN', `${printedName(to)} exists already, and a table of the source has got that name`, {
      remedy: `Rename or drop ${qualified(to)}, or map the source table to another name with \`as\`.`,
    });
  }
  return [[to, { schema: to.schema, name: asideName(to.name, holder.tableId) }], ...moves];
}

/** The statement moves all or none: the last name that is left tells. */
async function areDone(session: Session, moves: readonly (readonly [TargetName, TargetName])[]): Promise<boolean> {
  const [last] = moves.at(-1) ?? [];
  return last !== undefined && !(await exists(session, last));
}

/** Characters of a table's name that a name made from it keeps. */
const KEPT = 40;

/** A name of its own for each table of a log. */
export function asideName(name: string, tableId: number): string {
  return `${Array.from(name).slice(0, KEPT).join('')}_tidemark_${tableId}`;
}

async function alter(context: DdlContext, name: TargetName, plan: AlterPlan, shape: ReplicaShape): Promise<void> {
  const { session } = context;
  const { tableId, version } = shape.schema;
  if (plan.alter !== null) {
    const begun = resumed(context, shape.schema)?.columns ?? null;
    const isDone = begun !== null && begun.before.join('\0') !== begun.after.join('\0') && begun.after.join('\0') === plan.before.join('\0');
    if (!isDone) {
      if (begun !== null && begun.before.join('\0') !== plan.before.join('\0')) {
        throw new TidemarkError('REPLICA_SHAPE', `${printedName(name)} has other columns than before and after the change that was begun: somebody has changed it meanwhile`);
      }
      await intend(context, { tableId, version, columns: { before: plan.before, after: plan.after } });
      try {
        await alterOrEmpty(context, name, plan.alter, tableId);
      } catch (error) {
        // The server says that it has not run: whoever mends the table may change its columns, too.
        if (session.lost === null && serverErrorNumber(error) !== null) await writeIntents(context, others(context, tableId));
        throw error;
      }
    }
  }
  for (const { column, text } of plan.fills) await fill(context, name, shape, column, text);
  for (const sql of plan.afterwards) await session.run(sql);
  await tightenColumns(session, name, shape, plan.tighten);
}

/** By the rule of the log, rows that a change of the source cannot keep are copied again. Others must stay, whatever is in the way. */
async function alterOrEmpty({ session, recopied }: DdlContext, name: TargetName, sql: string, tableId: number): Promise<void> {
  try {
    await session.run(sql);
  } catch (error) {
    if (!recopied.has(tableId) || (!isOfTheRows(error) && !isViolation(error))) throw error;
    await empty(session, name);
    await session.run(sql);
  }
}

/** Rows that stand there get the value by being written. */
async function fill({ session, server }: DdlContext, name: TargetName, { schema }: ReplicaShape, target: ReplicaColumn, text: string): Promise<void> {
  const column = schema.columns.find((one) => one.name === target.name);
  if (column === undefined) return;
  const form = valueForm(column, target.type, server.types);
  const bytes = Buffer.from(text, 'utf8');
  const out = Buffer.allocUnsafe(form.room(bytes, 0, bytes.length));
  const end = form.literal(Cell.text, bytes, 0, bytes.length, out, 0);
  if (end < 0) throw new TidemarkError('REPLICA_SHAPE', `the fill value of column ${target.name} does not fit ${target.sql}`);
  const timed = (await readReplicaTable(session, name))?.columns.filter((one) => one.timed && one.name !== target.name) ?? [];
  const kept = timed.map((one) => `, ${quoteName(one.name)} = ${quoteName(one.name)}`).join('');
  await session.run(Buffer.concat([Buffer.from(`UPDATE ${qualified(name)} SET ${quoteName(target.name)} = `), out.subarray(0, end), Buffer.from(kept)]));
}

/** NOT NULL where the sink's own columns are nullable yet; the statement says all of a column, and one of somebody's making is theirs. */
async function tightenColumns(session: Session, name: TargetName, shape: ReplicaShape, columns: readonly string[]): Promise<void> {
  if (columns.length === 0) return;
  const table = await readReplicaTable(session, name);
  for (const column of shape.columns) {
    const found = table?.columns.find((one) => one.name === column.name);
    if (!columns.includes(column.name) || found?.nullable !== true || !isAsMade(found.type, column.type)) continue;
    try {
      await session.run(tightenSql(name, column));
    } catch (error) {
      // Rows that are to be copied again still hold nulls: it is done when they have been.
      if (!isOfTheRows(error)) throw error;
    }
  }
}

/** Whether a column has the type that the sink gives it. Widths that only one of the two says count for nothing. */
function isAsMade(found: MysqlType, made: MysqlType): boolean {
  const isSame = (a: string | number | null, b: string | number | null): boolean => a === null || b === null || a === b;
  return (
    (found.name === made.name || (found.isJson && made.isJson)) && found.unsigned === made.unsigned && found.labels.join('\0') === made.labels.join('\0') &&
    isSame(found.length, made.length) && isSame(found.digits, made.digits) && isSame(found.charset, made.charset) && isSame(found.collation, made.collation)
  );
}

async function empty(session: Session, name: TargetName): Promise<void> {
  try {
    await session.run(`TRUNCATE TABLE ${qualified(name)}`);
  } catch (error) {
    if (!REFERENCED.has(serverErrorNumber(error) ?? 0)) throw error;
    await session.run(`DELETE FROM ${qualified(name)}`);
  }
}

export async function createDatabase(session: Session, name: string): Promise<void> {
  const found = await session.rows(`SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ${quoteText(name)}`);
  if (found.length === 0) await session.run(`CREATE DATABASE ${quoteName(name)}`);
}

async function exists(session: Session, name: TargetName): Promise<boolean> {
  return (await session.rows(`SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${quoteText(name.schema)} AND TABLE_NAME = ${quoteText(name.name)}`)).length > 0;
}

async function hasRows(session: Session, name: TargetName): Promise<boolean> {
  return (await session.rows(`SELECT 1 FROM ${qualified(name)} LIMIT 1`)).length > 0;
}

/** Written before the statement, if nobody else has taken the sink over. */
async function intend(context: DdlContext, intent: Intent): Promise<void> {
  await writeIntents(context, [intent, ...others(context, intent.tableId)]);
}

/** What the statement did is recorded, and the intent is gone, in one transaction. */
async function settle(context: DdlContext, tableId: number, record: () => Promise<void>): Promise<void> {
  const { session } = context;
  await session.run('START TRANSACTION');
  await record();
  await writeIntents(context, others(context, tableId));
  await session.run('COMMIT');
}

function others({ intents }: DdlContext, tableId: number): Intent[] {
  return intents.filter((intent) => intent.tableId !== tableId);
}

async function writeIntents({ session, ownDatabase, owned }: DdlContext, intents: readonly Intent[]): Promise<void> {
  const value = intents.length === 0 ? 'NULL' : quoteText(JSON.stringify(intents));
  const { rows } = await session.run(`UPDATE ${checkpointTable(ownDatabase)} SET intent = ${value} WHERE ${owned}`);
  if (rows !== 1) throw new CheckpointRefused('the checkpoint is not where this hub left it');
}
