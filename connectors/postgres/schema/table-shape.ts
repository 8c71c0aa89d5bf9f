/**
 * The shape of a table from three witnesses: the Relation message (as of the rows that follow), the log's newest schema
 * (before, or ahead where a copy has announced a newer one) and the catalog (now). The message says what tuples hold;
 * the log never goes back to an older shape: a tuple that is older than the log's schema is brought up to it.
 */
import { tableName, type Column, type KeyKind, type TableSchema } from '../../../contracts/schema.ts';
import { alignColumns, type Candidate } from './align.ts';
import type { Relation, RelationColumn } from '../stream/relation.ts';
import { fillCell, NULL_CELL, RowPlan, type PlannedColumn } from '../stream/row-plan.ts';
import type { ColumnHash } from '../../../contracts/column-hash.ts';
import { actionOf } from '../catalog/source-catalog.ts';
import { hashedBy, identityOf, isPublished, sameNumbers, schemaColumn, unseenColumns, type SchemaRules, type SourceColumn, type SourceTable } from '../catalog/source-table.ts';
import { logicalType } from '../catalog/types.ts';

export interface ShapeWitnesses {
  readonly relation: Relation;
  /** The log's newest schema of the table; null: it has none. */
  readonly logged: TableSchema | null;
  /** Numbers of all columns that the log ever had for this table. */
  readonly everLogged: ReadonlySet<number>;
  /** The catalog of now; null: the table is gone. */
  readonly table: SourceTable | null;
  readonly by: SchemaRules;
  /** Numbers of columns that were left out or hashed when they still had the name of a rule. */
  readonly ruled: ReadonlyMap<number, 'exclude' | 'hash'>;
  /** `format_type` of the message's types that no column of now has, by `oid:typmod`. */
  readonly typeNames: ReadonlyMap<string, string>;
  readonly hash: ColumnHash | null;
}

export type Shape =
  /**
   * Rows go into the log under `schema` (table id and version are the log's, or 0 for a new table or generation). Where
   * that is not sure the table is to be copied again: the copy's rows are of a later moment than these.
   */
  | { readonly kind: 'rows'; readonly schema: TableSchema; readonly plan: RowPlan; readonly generation: boolean; readonly numbers: readonly number[]; readonly isSure: boolean }
  /** Nothing identifies the rows. */
  | { readonly kind: 'no-identity' }
  /** A rule leaves out or hashes a column that identifies the rows. */
  | { readonly kind: 'ruled-key'; readonly column: string }
  /** Neither the log nor the catalog knows as many columns. */
  | { readonly kind: 'unclear' };

export function shapeOf(witnesses: ShapeWitnesses): Shape {
  const { relation, logged, table } = witnesses;
  const alignment = alignColumns(relation.columns, candidatesOf(witnesses));
  if (alignment === null) return { kind: 'unclear' };
  const { numbers, isSure } = alignment;
  const columns = mergedColumns(witnesses, numbers);
  const key = keyOf(witnesses, numbers);
  if (key === null) return { kind: 'no-identity' };
  // Another key is another generation, also where the catalog has the log's key by now: it was changed and changed back.
  const sameKey = logged === null || sameSet(key.numbers, keyNumbers(logged));
  const keyIndexes = key.numbers.map((number) => columns.findIndex((column) => column.number === number));
  const ruled = key.numbers.find((_number, place) => columns[keyIndexes[place] as number]?.hashed !== undefined || keyIndexes[place] === -1);
  if (ruled !== undefined) return { kind: 'ruled-key', column: relation.columns[numbers.indexOf(ruled)]?.name ?? `number ${ruled}` };
  const namedNow = logged !== null && table !== null && tableName(logged) === tableName(table) ? logged : relation;
  const storage = table === null ? logged?.storage : table.partitioned ? table.storage : undefined;
  const published = table?.published ?? logged?.published;
  const schema: TableSchema = {
    tableId: sameKey ? (logged?.tableId ?? 0) : 0,
    version: sameKey ? (logged?.version ?? 0) : 0,
    sourceTableId: String(relation.oid),
    namespace: namedNow.namespace,
    name: namedNow.name,
    columns,
    keyKind: key.kind,
    key: keyIndexes,
    ...(storage === undefined ? {} : { storage }),
    ...(published === undefined ? {} : { published }),
    ...unseenColumns(unseenOf(witnesses, columns)),
  };
  return { kind: 'rows', schema, plan: planOf(witnesses, columns, numbers), generation: logged !== null && !sameKey, numbers, isSure };
}

/** Columns of the source that the log does not get. */
function unseenOf(witnesses: ShapeWitnesses, columns: readonly Column[]): { readonly number: number }[] {
  const { table, logged, by } = witnesses;
  if (table === null) return (logged?.unseen ?? []).map((number) => ({ number }));
  const isSeen = (number: number): boolean => columns.some((column) => column.number === number);
  return table.columns.filter((column) => !isSeen(column.number) &&
    (!isPublished(column, by.generated) || ruleOf(witnesses, column.number, column.name) === 'exclude'));
}

/** Equal but for table id and version. */
export function sameShape(a: TableSchema, b: TableSchema): boolean {
  return JSON.stringify(comparable(a)) === JSON.stringify(comparable(b));
}

function comparable(schema: TableSchema): readonly unknown[] {
  const columns = schema.columns.map((c) => [
    c.number, c.name, c.nativeType, c.nullable, c.constantDefault, c.fill, c.generated, c.identity, c.hashed ?? null, JSON.stringify(c.type),
  ]);
  return [schema.sourceTableId, schema.namespace, schema.name, schema.keyKind, schema.key, schema.storage ?? null, schema.published ?? null, schema.unseen ?? [], columns];
}

/** What the server would say of a table as the catalog has it now. */
export function relationOf(table: SourceTable, generated: 'none' | 'stored'): Relation {
  const identity = identityOf(table);
  const columns = table.columns
    .filter((column) => isPublished(column, generated))
    .map((column): RelationColumn => ({
      isKey: table.identity === 'f' || identity?.numbers.includes(column.number) === true,
      name: column.name,
      typeOid: column.typeOid,
      typmod: column.typmod,
    }));
  return { oid: table.oid, namespace: table.namespace, name: table.name, identity: table.identity, columns };
}

/** True when the message says nothing that the catalog does not say. */
export function agrees(relation: Relation, table: SourceTable, generated: 'none' | 'stored'): boolean {
  const now = relationOf(table, generated);
  return (
    relation.namespace === now.namespace && relation.name === now.name && relation.identity === now.identity &&
    relation.columns.length === now.columns.length &&
    relation.columns.every((column, index) => {
      const other = now.columns[index];
      return other !== undefined && column.name === other.name && column.typeOid === other.typeOid && column.typmod === other.typmod &&
        column.isKey === other.isKey;
    })
  );
}

function candidatesOf({ table, logged, everLogged, by }: ShapeWitnesses): Candidate[] {
  const newest = Math.max(0, ...everLogged, ...(logged?.unseen ?? []));
  const before = new Map(logged?.columns.map((column) => [column.number, column.name]));
  const candidates = new Map<number, Candidate>();
  for (const number of [...before.keys(), ...(table?.dropped ?? [])]) {
    candidates.set(number, { number, nameNow: null, nameBefore: before.get(number) ?? null, typeOid: 0, typmod: -1, cameAndWent: number > newest });
  }
  for (const column of table?.columns ?? []) {
    const { number, name, typeOid, typmod } = column;
    // A generated column that is not published may have been when the message was made.
    const nameNow = isPublished(column, by.generated) ? name : null;
    candidates.set(number, { number, nameNow, nameBefore: before.get(number) ?? null, typeOid, typmod, cameAndWent: false });
  }
  return [...candidates.values()].toSorted((a, b) => a.number - b.number);
}

function mergedColumns(witnesses: ShapeWitnesses, numbers: readonly number[]): Column[] {
  const { logged, table, relation, everLogged } = witnesses;
  const merged = new Map<number, Column>();
  for (const column of logged?.columns ?? []) {
    // Not in the tuple but in the catalog: the log is ahead of the tuple.
    if (numbers.includes(column.number)) continue;
    const now = table?.columns.find((one) => one.number === column.number);
    if (now !== undefined && ruleOf(witnesses, now.number, now.name) !== 'exclude') merged.set(column.number, column);
  }
  relation.columns.forEach((tuple, index) => {
    const number = numbers[index] as number;
    const before = logged?.columns.find((column) => column.number === number);
    // Dropped in the log already: the log is ahead.
    if (before === undefined && everLogged.has(number) && logged?.unseen?.includes(number) !== true) return;
    const now = table?.columns.find((column) => column.number === number);
    const rule = ruleOf(witnesses, number, now?.name ?? tuple.name);
    if (rule !== 'exclude') merged.set(number, mergedColumn(witnesses, tuple, before, now, number, rule === 'hash'));
  });
  return [...merged.values()].toSorted((a, b) => a.number - b.number);
}

function mergedColumn(
  { by, typeNames }: ShapeWitnesses, tuple: RelationColumn, before: Column | undefined, now: SourceColumn | undefined, number: number, hashed: boolean,
): Column {
  const name = before !== undefined && before.name === now?.name ? before.name : tuple.name;
  const column = now === undefined ? undefined : schemaColumn(now, by, hashed);
  const constant = { number, name, nullable: column?.nullable ?? before?.nullable ?? true, constantDefault: column?.constantDefault ?? null };
  // Once known, the fill value stays: the catalog forgets it when the table is rewritten.
  const fill = before === undefined ? (column?.fill ?? null) : before.fill;
  const rest = { ...constant, fill, generated: column?.generated ?? before?.generated ?? 'no', identity: column?.identity ?? before?.identity ?? 'no' };
  if (hashed) return { ...rest, type: { kind: 'text', length: null, fixed: false }, nativeType: 'text', ...hashedBy(by) };
  if (column !== undefined && now?.typeOid === tuple.typeOid && now.typmod === tuple.typmod) {
    return { ...rest, type: column.type, nativeType: column.nativeType };
  }
  if (before !== undefined && column !== undefined && before.nativeType === column.nativeType) {
    return { ...rest, type: before.type, nativeType: before.nativeType };
  }
  const nativeType = typeNames.get(`${tuple.typeOid}:${tuple.typmod}`) ?? `type ${tuple.typeOid}`;
  return { ...rest, type: logicalType(by.types, tuple.typeOid, tuple.typmod, nativeType), nativeType };
}

function ruleOf({ by, ruled }: ShapeWitnesses, number: number, name: string): 'exclude' | 'hash' | null {
  const earlier = ruled.get(number);
  if (earlier !== undefined) return earlier;
  if (by.rules?.exclude.includes(name) === true) return 'exclude';
  return by.rules?.hash.includes(name) === true ? 'hash' : null;
}

/**
 * The key as of the tuples. Only its set of columns is in the message (none of it under REPLICA IDENTITY FULL), so its
 * order is the catalog's, else the log's.
 */
function keyOf({ relation, table, logged }: ShapeWitnesses, numbers: readonly number[]): { kind: KeyKind; numbers: readonly number[] } | null {
  const loggedKey = logged === null ? [] : keyNumbers(logged);
  if (relation.identity === 'n') return null;
  if (relation.identity === 'f') {
    const primary = table === null ? loggedKey : table.primaryKey;
    if (primary.length === 0 || !primary.every((number) => numbers.includes(number))) return { kind: 'none', numbers: [] };
    return { kind: 'primary', numbers: sameSet(primary, loggedKey) ? loggedKey : primary };
  }
  const flagged = numbers.filter((_number, index) => relation.columns[index]?.isKey === true);
  if (flagged.length === 0) return null;
  const now = table === null ? null : identityOf(table);
  if (sameSet(flagged, loggedKey)) return { kind: keyKind(flagged, table, logged), numbers: loggedKey };
  return { kind: keyKind(flagged, table, logged), numbers: now !== null && sameSet(flagged, now.numbers) ? now.numbers : flagged };
}

function keyKind(numbers: readonly number[], table: SourceTable | null, logged: TableSchema | null): KeyKind {
  if (table === null) return logged?.keyKind === 'primary' ? 'primary' : 'identity';
  return sameSet(numbers, table.primaryKey) ? 'primary' : 'identity';
}

export function keyNumbers(schema: TableSchema): number[] {
  return schema.key.map((index) => schema.columns[index]?.number ?? 0);
}

function sameSet(a: readonly number[], b: readonly number[]): boolean {
  return sameNumbers(a.toSorted((x, y) => x - y), b.toSorted((x, y) => x - y));
}

function planOf(witnesses: ShapeWitnesses, columns: readonly Column[], numbers: readonly number[]): RowPlan {
  const planned = columns.map((column): PlannedColumn => {
    const source = numbers.indexOf(column.number);
    const now = witnesses.table?.columns.find((one) => one.number === column.number);
    const action = actionOf(column, ruleOf(witnesses, column.number, now?.name ?? column.name) === 'hash');
    if (source >= 0) return { source, action, fill: NULL_CELL };
    // The fill value of a hashed column is hashed already.
    return { source, action, fill: fillCell(column.fill, action === 'hash' ? 'keep' : action) };
  });
  return new RowPlan(planned, numbers.length, witnesses.hash);
}
