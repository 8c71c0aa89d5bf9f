/** Statements that make a table at the replica, or bring one from a shape to another. Pure. */
import type { TargetName } from '../relational/names.ts';
import { qualified, quoteName } from './sql.ts';
import type { ReplicaTable } from './replica-table.ts';
import { defaultSql, type ReplicaColumn, type ReplicaKey, type ReplicaShape } from './types/replica-shape.ts';
import type { ReplicaServer } from './types/replica-server.ts';

/** The index of a key that is not the primary key. */
const KEY_NAME = 'tidemark_key';

export function createTableSql(name: TargetName, shape: ReplicaShape): string {
  const key = keySql(shape.key);
  const parts = [...shape.columns.map((column) => `${quoteName(column.name)} ${definition(column, column.nullable && !isInPrimary(shape, column.name))}`), ...(key === null ? [] : [key])];
  return `CREATE TABLE ${qualified(name)} (${parts.join(', ')}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4`;
}

/** Values of generated columns come from the log: what they are computed from is not known. */
function definition(column: ReplicaColumn, nullable: boolean, fallback = column.defaultSql): string {
  return `${column.sql}${nullable ? ' NULL' : ' NOT NULL'}${fallback === null ? (nullable ? ' DEFAULT NULL' : '') : ` DEFAULT ${fallback}`}`;
}

function keySql({ kind, parts }: ReplicaKey): string | null {
  const list = parts.map(({ column, prefix }) => `${quoteName(column)}${prefix === null ? '' : `(${prefix})`}`).join(', ');
  switch (kind) {
    case 'none':
      return null;
    case 'primary':
      return `PRIMARY KEY (${list})`;
    case 'unique':
      return `UNIQUE KEY ${KEY_NAME} (${list})`;
    case 'index':
      return `KEY ${KEY_NAME} (${list})`;
  }
}

function isInPrimary({ key }: ReplicaShape, column: string): boolean {
  return key.kind === 'primary' && key.parts.some((part) => part.column === column);
}

/** What the change of a table takes. */
export interface AlterPlan {
  /** One statement, or none; columns and key change in it together. */
  readonly alter: string | null;
  /** Names of the table's columns before and after the statement, in their order. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  /** Done afterwards, in any state and as often as may be. */
  readonly afterwards: readonly string[];
  /** Columns that are filled by writing their rows. */
  readonly fills: readonly { readonly column: ReplicaColumn; readonly text: string }[];
  /** Not null where the rows allow it. */
  readonly tighten: readonly string[];
}

/** How columns of the two shapes are told to be the same: `number` within a generation, `name` across two. */
export type Identity = 'number' | 'name';

/** @param table as it is now */
export function alterPlan(name: TargetName, from: ReplicaShape, to: ReplicaShape, by: Identity, table: ReplicaTable, server: ReplicaServer): AlterPlan {
  const clauses: string[] = [];
  const afterwards: string[] = [];
  const fills: { column: ReplicaColumn; text: string }[] = [];
  const there = new Map(table.columns.map((column) => [column.name, column]));
  const old = new Map(from.schema.columns.map((column, index) => [column[by], from.columns[index]]));
  const kept = new Set(to.schema.columns.map((column) => column[by]));
  const names = new Map(table.columns.map((column) => [column.name, column.name as string | null]));
  const added: string[] = [];
  if (isOtherKey(from, to, by)) clauses.push(...dropKey(table));
  for (const column of from.schema.columns) {
    if (kept.has(column[by]) || !there.has(column.name)) continue;
    clauses.push(`DROP COLUMN ${quoteName(column.name)}`);
    names.set(column.name, null);
  }
  for (const [index, column] of to.schema.columns.entries()) {
    const target = to.columns[index];
    const was = old.get(column[by]);
    if (target === undefined) continue;
    if (was === undefined || !there.has(was.name)) {
      const isThere = there.has(target.name) && names.get(target.name) !== null;
      const fill = column.fill === null || isThere ? null : defaultSql(column, target.type, column.fill, server);
      if (!isThere) {
        clauses.push(`ADD COLUMN ${quoteName(target.name)} ${definition(target, !isInPrimary(to, target.name), fill)}`);
        added.push(target.name);
      }
      // One that is there may be so since a change that was cut short.
      if (column.fill !== null && fill === null) fills.push({ column: target, text: column.fill });
      if (isThere || fill !== target.defaultSql) afterwards.push(`ALTER TABLE ${qualified(name)} ALTER COLUMN ${quoteName(target.name)} ${setDefault(target)}`);
      continue;
    }
    const now = there.get(was.name);
    const nullable = !isInPrimary(to, target.name) && (column.nullable || now?.nullable !== false);
    const isSame = was.name === target.name && was.sql === target.sql && was.defaultSql === target.defaultSql && now?.nullable === nullable;
    if (isSame || now?.generated === true) continue;
    clauses.push(`CHANGE COLUMN ${quoteName(was.name)} ${quoteName(target.name)} ${definition(target, nullable)}`);
    names.set(was.name, target.name);
  }
  const key = isOtherKey(from, to, by) ? keySql(to.key) : null;
  if (key !== null) clauses.push(`ADD ${key}`);
  const tighten = to.columns.filter((column) => !column.nullable && !isInPrimary(to, column.name)).map((column) => column.name);
  return {
    alter: clauses.length === 0 ? null : `ALTER TABLE ${qualified(name)} ${clauses.join(', ')}`,
    before: [...names.keys()],
    after: [...[...names.values()].filter((one) => one !== null), ...added],
    afterwards,
    fills,
    tighten,
  };
}

/** Columns that are kept outside of the row take no literal as a default, not even NULL. */
function setDefault({ defaultSql: fallback, nullable, type }: ReplicaColumn): string {
  const isOutside = /(text|blob)$|^(json|vector|geometry|point|linestring|polygon|multi|geometrycollection)/.test(type.name);
  return fallback !== null ? `SET DEFAULT ${fallback}` : nullable && !isOutside ? 'SET DEFAULT NULL' : 'DROP DEFAULT';
}

export function tightenSql(name: TargetName, column: ReplicaColumn): string {
  return `ALTER TABLE ${qualified(name)} MODIFY COLUMN ${quoteName(column.name)} ${definition(column, false)}`;
}

function isOtherKey(from: ReplicaShape, to: ReplicaShape, by: Identity): boolean {
  const printed = ({ schema, key }: ReplicaShape): string =>
    JSON.stringify([key.kind, key.parts.map(({ column, prefix }) => [schema.columns.find(({ name }) => name === column)?.[by], prefix])]);
  return printed(from) !== printed(to);
}

function dropKey({ indexes }: ReplicaTable): string[] {
  return indexes.flatMap(({ name }) => (name === 'PRIMARY' ? ['DROP PRIMARY KEY'] : name === KEY_NAME ? [`DROP KEY ${KEY_NAME}`] : []));
}
