/** Statements that make a table at the replica, or bring one from a shape to another. Pure. */
import { crc32 } from 'node:zlib';
import type { Column, TableSchema } from '../../contracts/schema.ts';
import type { TargetName } from '../relational/names.ts';
import { keyNames, type ShapeChange } from '../relational/schema-diff.ts';
import type { ReplicaTable } from './replica-table.ts';
import { ident, literal, qualified } from './sql.ts';

export function createTableSql(name: TargetName, schema: TableSchema): string[] {
  const columns = schema.columns.map(columnSql);
  const isPrimary = schema.keyKind === 'primary';
  if (isPrimary) columns.push(primaryKeySql(schema));
  return [`CREATE TABLE ${qualified(name)} (${columns.join(', ')})`, ...(isPrimary ? [] : keySql(name, schema))];
}

/** Gives a table that was made without a key the one that the schema has: as it would have got it when it was made. */
export function keySql(name: TargetName, schema: TableSchema): string[] {
  switch (schema.keyKind) {
    case 'none':
      return [];
    case 'primary':
      return [`ALTER TABLE ${qualified(name)} ADD ${primaryKeySql(schema)}`];
    case 'identity':
      return identityKeySql(name, schema);
  }
}

function primaryKeySql(schema: TableSchema): string {
  return `PRIMARY KEY (${keyNames(schema).map(ident).join(', ')})`;
}

/** A key that is not the primary key: a unique constraint, which also identifies rows if the replica is a source itself. */
function identityKeySql(name: TargetName, schema: TableSchema): string[] {
  const constraint = identityConstraint(name);
  return [
    `ALTER TABLE ${qualified(name)} ADD CONSTRAINT ${ident(constraint)} UNIQUE (${keyNames(schema).map(ident).join(', ')})`,
    `ALTER TABLE ${qualified(name)} REPLICA IDENTITY USING INDEX ${ident(constraint)}`,
  ];
}

/** Names that differ only late, and would be cut to the same, are told apart by a sum. */
export function identityConstraint({ name }: TargetName): string {
  const bytes = Buffer.from(name, 'utf8');
  if (bytes.length <= 45) return `${name}_tidemark_key`;
  const sum = crc32(bytes).toString(16).padStart(8, '0');
  return `${bytes.subarray(0, 36).toString('utf8').replace(/\uFFFD$/, '')}_${sum}_tidemark_key`;
}

/** Generated columns get the values that the log has: what they are computed from is not known. */
function columnSql(column: Column): string {
  return `${ident(column.name)} ${column.nativeType}${column.nullable ? '' : ' NOT NULL'}${defaultSql(column)}`;
}

function defaultSql(column: Column): string {
  return column.constantDefault === null ? '' : ` DEFAULT ${typedLiteral(column, column.constantDefault)}`;
}

function typedLiteral(column: Column, text: string): string {
  return `${literal(text)}::${column.nativeType}`;
}

/**
 * One change of a table. Each attempt is a list of statements, tried when those before it were refused because of the
 * rows that stand there or because the types cannot be cast. An attempt that empties the table is for a change that
 * rewrote the rows at the source without events: by the rule of the log they are copied again.
 */
export interface AlterStep {
  readonly attempts: readonly (readonly string[])[];
  /** When every attempt was refused: leave it; it is done when the table has been copied. Otherwise it is an error. */
  readonly mayWait: boolean;
}

/** @param table the table as it is, to leave out what somebody has done already */
export function alterSteps(name: TargetName, changes: readonly ShapeChange[], table: ReplicaTable): AlterStep[] {
  const columns = new Set(table.columns.map((column) => column.name));
  return changes.flatMap((change) => stepsOf(name, change, table, columns));
}

function stepsOf(name: TargetName, change: ShapeChange, table: ReplicaTable, columns: Set<string>): AlterStep[] {
  const alter = `ALTER TABLE ${qualified(name)}`;
  switch (change.kind) {
    case 'drop-key':
      return dropKeySql(name, table).map(plain);
    case 'drop-column':
      columns.delete(change.name);
      return [plain(`${alter} DROP COLUMN IF EXISTS ${ident(change.name)}`)];
    case 'rename-column': {
      if (!columns.has(change.from) && columns.has(change.to)) return [];
      columns.delete(change.from);
      columns.add(change.to);
      return [plain(`${alter} RENAME COLUMN ${ident(change.from)} TO ${ident(change.to)}`)];
    }
    case 'add-column':
      if (columns.has(change.column.name)) return [];
      columns.add(change.column.name);
      return addColumnSteps(alter, change.column);
    case 'retype':
      return [retypeStep(name, change.column)];
    case 'drop-not-null':
      return [plain(`${alter} ALTER COLUMN ${ident(change.name)} DROP NOT NULL`)];
    case 'set-not-null':
      return [notNullStep(alter, change.name)];
    case 'default':
      return [plain(`${alter} ALTER COLUMN ${ident(change.column.name)} ${setDefault(change.column)}`)];
    case 'add-key': {
      const add = addKeySql(name, change.columns, change.primary);
      return [{ attempts: [[add], [emptyTable(name), add]], mayWait: false }];
    }
  }
}

function plain(sql: string): AlterStep {
  return { attempts: [[sql]], mayWait: false };
}

export function notNullStep(alter: string, column: string): AlterStep {
  return { attempts: [[`${alter} ALTER COLUMN ${ident(column)} SET NOT NULL`]], mayWait: true };
}

function emptyTable(name: TargetName): string {
  return `DELETE FROM ${qualified(name)}`;
}

function dropKeySql(name: TargetName, table: ReplicaTable): string[] {
  const constraint = identityConstraint(name);
  const own = table.indexes.filter((index) => index.primary || index.name === constraint);
  return own.map((index) => `ALTER TABLE ${qualified(name)} DROP CONSTRAINT ${ident(index.name)}`);
}

function addKeySql(name: TargetName, columns: readonly string[], primary: boolean): string {
  const list = columns.map(ident).join(', ');
  return primary
    ? `ALTER TABLE ${qualified(name)} ADD PRIMARY KEY (${list})`
    : `ALTER TABLE ${qualified(name)} ADD CONSTRAINT ${ident(identityConstraint(name))} UNIQUE (${list})`;
}

/** Rows that stand there get the fill value; rows to come get the default. */
function addColumnSteps(alter: string, column: Column): AlterStep[] {
  const fill = column.fill === null ? '' : ` DEFAULT ${typedLiteral(column, column.fill)}`;
  const steps = [plain(`${alter} ADD COLUMN ${ident(column.name)} ${column.nativeType}${fill}`)];
  if (column.fill !== column.constantDefault) steps.push(plain(`${alter} ALTER COLUMN ${ident(column.name)} ${setDefault(column)}`));
  if (!column.nullable) steps.push(notNullStep(alter, column.name));
  return steps;
}

function setDefault(column: Column): string {
  return column.constantDefault === null ? 'DROP DEFAULT' : `SET DEFAULT ${typedLiteral(column, column.constantDefault)}`;
}

/** As the source most likely did it, which may need no rewrite; else by the text of the values; else empty. */
function retypeStep(target: TargetName, column: Column): AlterStep {
  const name = ident(column.name);
  const change = (using: string): string =>
    `ALTER TABLE ${qualified(target)} ALTER COLUMN ${name} DROP DEFAULT, ALTER COLUMN ${name} TYPE ${column.nativeType}${using}` +
    (column.constantDefault === null ? '' : `, ALTER COLUMN ${name} ${setDefault(column)}`);
  return {
    attempts: [
      [change('')],
      [change(` USING ${name}::pg_catalog.text::${column.nativeType}`)],
      [emptyTable(target), change(` USING NULL::${column.nativeType}`)],
    ],
    mayWait: false,
  };
}
