import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName, type Column, type TableSchema } from '../../contracts/schema.ts';
import { compileTemplate, type KeyTemplate } from './key-template.ts';
import type { TableOptions, ValueKind } from './options.ts';

/** A mirrored column: where it stands in the image, and what it is called in Redis. */
export interface Field {
  readonly index: number;
  readonly column: Column;
  readonly name: string;
}

/** How the rows of one schema version of one table stand in Redis. Immutable. */
export interface TableLayout {
  readonly schema: TableSchema;
  readonly template: KeyTemplate;
  readonly value: ValueKind;
  readonly fields: readonly Field[];
  /** Milliseconds; null: rows do not expire. */
  readonly ttlMs: number | null;
  /** The Redis key of the set of the table's keys. */
  readonly index: string | null;
  readonly channel: string | null;
  /**
   * Equal while the configuration means the same for the table. Names no column that only the log decides on, so that
   * a schema change alone never makes it differ.
   */
  readonly fingerprint: string;
}

/**
 * The schema versions of a table that the log knows, newest last. Names in the configuration are looked up in the
 * newest version that has them, and stand for the column from then on: by its number, in every version.
 */
export type Versions = readonly TableSchema[];

/**
 * @param versions all that are known; `schema` among them
 * @param ownPrefix what the sink's own keys begin with
 * @throws TidemarkError `REDIS_KEYLESS`, `REDIS_KEY_TEMPLATE`, `REDIS_COLUMNS`
 */
export function layoutOf(schema: TableSchema, versions: Versions, options: TableOptions, ownPrefix: string): TableLayout {
  const find = (name: string): number => indexOf(schema, versions, name);
  const template = compileTemplate(schema, { text: options.key ?? null, partial: options.partial_key ?? false, find });
  const chosen = chosenColumns(schema, versions, options);
  const fields = chosen === null ? schema.columns.map((column, index) => ({ index, column, name: column.name })) : fieldsOf(schema, chosen);
  const index = options.index === true ? `${ownPrefix}index:${tableName(schema)}` : options.index === false ? null : (options.index ?? null);
  const value = options.value ?? 'hash';
  return {
    schema,
    template,
    value,
    fields,
    ttlMs: options.ttl ?? null,
    index,
    channel: options.publish ?? null,
    fingerprint: JSON.stringify([template.fingerprint, value, index, chosen === null ? null : chosen.map(({ number, name }) => [number, name])]),
  };
}

interface ChosenColumn {
  readonly number: number;
  /** Null: as the column is called. */
  readonly name: string | null;
}

/** Null: all columns. */
function chosenColumns(schema: TableSchema, versions: Versions, options: TableOptions): ChosenColumn[] | null {
  if (options.columns === undefined) return null;
  const table = tableName(schema);
  const wanted: [string, string | null][] = Array.isArray(options.columns)
    ? options.columns.map((name: string) => [name, null])
    : Object.entries(options.columns);
  return wanted.map(([name, inRedis]) => {
    const number = numberOf(versions, name);
    if (number === null) throw new TidemarkError('REDIS_COLUMNS', `${table} has no column ${name}`, { where: { table } });
    return { number, name: inRedis };
  });
}

/** In the schema's order. A column that this version lacks is left out. */
function fieldsOf(schema: TableSchema, chosen: readonly ChosenColumn[]): Field[] {
  const fields: Field[] = [];
  const names = new Set<string>();
  schema.columns.forEach((column, index) => {
    const choice = chosen.find(({ number }) => number === column.number);
    if (choice === undefined) return;
    const name = choice.name ?? column.name;
    if (names.has(name)) {
      const table = tableName(schema);
      throw new TidemarkError('REDIS_COLUMNS', `two columns of ${table} are called ${name} in Redis`, { where: { table } });
    }
    names.add(name);
    fields.push({ index, column, name });
  });
  return fields;
}

function indexOf(schema: TableSchema, versions: Versions, name: string): number {
  const number = numberOf(versions, name);
  return number === null ? -1 : schema.columns.findIndex((column) => column.number === number);
}

function numberOf(versions: Versions, name: string): number | null {
  for (let i = versions.length - 1; i >= 0; i--) {
    const column = versions[i]?.columns.find((candidate) => candidate.name === name);
    if (column !== undefined) return column.number;
  }
  return null;
}

/** What a schema change means for rows that are in Redis already. Columns are matched by number. */
export interface LayoutChange {
  readonly before: TableLayout;
  readonly after: TableLayout;
  /** Names in Redis that rows lose. */
  readonly dropped: readonly string[];
  /** Names in Redis that change, old and new. */
  readonly renamed: readonly (readonly [from: string, to: string])[];
  /** New fields that older rows have a value in. */
  readonly filled: readonly Field[];
  /** Rows change their keys. */
  readonly moves: boolean;
}

/** Null when rows stay as they are. */
export function changeBetween(before: TableLayout, after: TableLayout): LayoutChange | null {
  const dropped: string[] = [];
  const renamed: [string, string][] = [];
  for (const field of before.fields) {
    const now = after.fields.find(({ column }) => column.number === field.column.number);
    if (now === undefined) dropped.push(field.name);
    else if (now.name !== field.name) renamed.push([field.name, now.name]);
  }
  const filled = after.fields.filter(
    ({ column }) => column.fill !== null && !before.schema.columns.some(({ number }) => number === column.number),
  );
  const moves = before.template.fingerprint !== after.template.fingerprint || before.index !== after.index;
  if (dropped.length + renamed.length + filled.length === 0 && !moves) return null;
  return { before, after, dropped, renamed, filled, moves };
}
