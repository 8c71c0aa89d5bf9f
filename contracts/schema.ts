import { hash } from 'node:crypto';
import { TidemarkError } from './errors/error.ts';
import type { LogicalType } from './types/logical-type.ts';

/** A column as of one schema version. Columns are matched across versions by `number`, never by name. */
export interface Column {
  /** The source's own stable number (Postgres attnum). */
  readonly number: number;
  readonly name: string;
  readonly type: LogicalType;
  /** The type as the source writes it in DDL (`character varying(20)`, `shop.mood[]`). */
  readonly nativeType: string;
  readonly nullable: boolean;
  /** A constant default, as canonical text; null: none, or not a constant (a sink gets values, not defaults). */
  readonly constantDefault: string | null;
  /**
   * The canonical text that rows older than the column have in it (for `bytes`: `\x` and hexadecimal digits); null: SQL
   * NULL. What a row image of an older schema version is completed with.
   */
  readonly fill: string | null;
  readonly generated: 'no' | 'stored' | 'virtual';
  readonly identity: 'no' | 'always' | 'by-default';
  /** Values are hashed: which key they are hashed with, itself not readable from this. Absent: they are not. */
  readonly hashed?: string;
}

/** In whose words `nativeType` is, and whose limits values keep to: a MySQL `time` has more hours than a Postgres one. */
export type Dialect = 'postgres' | 'mysql';

/** Where the key comes from: the primary key, the replica identity index, or nowhere (the table is a bag of rows). */
export type KeyKind = 'primary' | 'identity' | 'none';

/** A table's shape from one schema record to the next. `tableId` is new for each generation of the table. */
export interface TableSchema {
  readonly tableId: number;
  /** 1, 2, ... within the table id. */
  readonly version: number;
  /** The source's own identity of the table, which a rename keeps (Postgres OID). */
  readonly sourceTableId: string;
  /** The source's namespace (Postgres schema, MySQL database). */
  readonly namespace: string;
  readonly name: string;
  /** Absent: `postgres`. */
  readonly dialect?: Dialect;
  readonly columns: readonly Column[];
  readonly keyKind: KeyKind;
  /** Indexes into `columns`, in key order; empty for a keyless table. */
  readonly key: readonly number[];
  /**
   * The connector's own note on where the rows are kept, by which it finds, after a restart too, that rows came or went
   * without row events (partitions attached, detached, truncated alone). Opaque; of no meaning to a sink.
   */
  readonly storage?: string;
  /**
   * The connector's own note on how the source sends the table, by which it finds, after a restart too, that somebody else
   * changed that, so that changes may be missing. Opaque.
   */
  readonly published?: string;
  /**
   * The connector's own note on the table's definition at the source: what it must know, and is not said here, to follow the
   * table's changes after a restart. Opaque; of no meaning to a sink.
   */
  readonly definition?: string;
  /** Numbers of columns that the source has and the log has not: by a rule, or because they are not sent. Absent: none. */
  readonly unseen?: readonly number[];
}

/**
 * `public.orders`: how people, config and errors name a table. A part that has a dot in it, or begins with a double quote,
 * stands in double quotes, as in patterns of tables: no two tables are printed alike.
 */
export function tableName(table: Pick<TableSchema, 'namespace' | 'name'>): string {
  return `${printedPart(table.namespace)}.${printedPart(table.name)}`;
}

/** The table that {@link tableName} prints so. */
export function namedTable(printed: string): Pick<TableSchema, 'namespace' | 'name'> {
  const [, namespace = '', name = ''] = /^("(?:[^"]|"")*"|[^.]*)\.(.*)$/s.exec(printed) ?? [];
  return { namespace: partOf(namespace), name: partOf(name) };
}

function printedPart(name: string): string {
  return name.includes('.') || name.startsWith('"') ? `"${name.replaceAll('"', '""')}"` : name;
}

function partOf(printed: string): string {
  return printed.startsWith('"') ? printed.slice(1, -1).replaceAll('""', '"') : printed;
}

/** The payload of an `s` record. */
export function encodeSchema(schema: TableSchema): Buffer {
  return Buffer.from(JSON.stringify(schema), 'utf8');
}

/**
 * Schemas that somebody holds, by the hash of their payload. A log's writer, its readers and its sinks each decode the
 * same records, and there may be thousands of tables: all hold the same object, which nobody changes.
 */
const held = new Map<string, WeakRef<TableSchema>>();
const released = new FinalizationRegistry<string>((key) => {
  if (held.get(key)?.deref() === undefined) held.delete(key);
});

/** The schema of an `s` record's payload: immutable, shared with all who decode the same payload. @throws TidemarkError `SCHEMA_INVALID` */
export function decodeSchema(payload: Uint8Array): TableSchema {
  const key = hash('sha1', payload, 'base64');
  const known = held.get(key)?.deref();
  if (known !== undefined) return known;
  const schema = parseSchema(payload);
  held.set(key, new WeakRef(schema));
  released.register(schema, key);
  return schema;
}

function parseSchema(payload: Uint8Array): TableSchema {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch (cause) {
    throw new TidemarkError('SCHEMA_INVALID', 'a schema record is not JSON', { cause });
  }
  if (!isTableSchema(value)) throw new TidemarkError('SCHEMA_INVALID', 'a schema record lacks a field');
  return value;
}

function isTableSchema(value: unknown): value is TableSchema {
  if (typeof value !== 'object' || value === null) return false;
  const v = value as Partial<Record<keyof TableSchema, unknown>>;
  return (
    typeof v.tableId === 'number' && typeof v.version === 'number' && typeof v.sourceTableId === 'string' &&
    typeof v.namespace === 'string' && typeof v.name === 'string' && Array.isArray(v.columns) && Array.isArray(v.key) &&
    typeof v.keyKind === 'string' &&
    v.columns.every((c: unknown) => typeof c === 'object' && c !== null && 'number' in c && 'name' in c && 'type' in c) &&
    v.key.every((k: unknown) => typeof k === 'number')
  );
}
