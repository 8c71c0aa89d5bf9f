/**
 * A record as one line of JSON. A column is its canonical text, as a JSON string whatever its type: nothing goes through
 * a JS number. What is no text has a marker: `{"$bytes":"base64"}`, and `{"$absent":true}` for a value that the source
 * left out. Offsets, ids and versions are JSON numbers below 2^53.
 */
import { isUtf8 } from 'node:buffer';
import type { Catalog } from '../../../contracts/catalog.ts';
import { decodeControl } from '../../../contracts/control.ts';
import { readKey } from '../../../contracts/key.ts';
import { decodeMessage } from '../../../contracts/message.ts';
import { Flag, Op, isRowOp, opLetter } from '../../../contracts/op.ts';
import type { RecordView } from '../../../contracts/record.ts';
import { Cell, ImageWalker } from '../../../contracts/row-image.ts';
import { decodeSchema, tableName, type TableSchema } from '../../../contracts/schema.ts';
import type { TransactionEntry } from '../../../contracts/transaction.ts';
import type { Offset } from '../../../contracts/offset.ts';
import { baseType } from '../../../contracts/types/logical-type.ts';

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [Flag.incomplete, 'incomplete'],
  [Flag.notApplied, 'not-applied'],
  [Flag.replayed, 'replayed'],
  [Flag.keyChange, 'key-change'],
];

/** A transaction, and its end at the source as the source prints it. */
export interface PlacedTransaction {
  readonly entry: TransactionEntry;
  readonly position: string | null;
}

/** @throws TidemarkError `RECORD_CORRUPT`, `SCHEMA_INVALID` */
export function recordLine(view: RecordView, offset: Offset, transaction: PlacedTransaction | null, catalog: Catalog): string {
  const schema = schemaFor(view, offset, catalog);
  const head = {
    offset,
    op: opLetter(view.op),
    flags: flagNames(view.flags),
    table: schema === null ? null : tableName(schema),
    tableId: view.tableId,
    version: view.schemaVersion,
    transaction: transaction === null ? null : transactionJson(transaction),
  };
  const members = schema === null || !isRowOp(view.op) ? [payloadMember(view)] : rowMembers(view, schema);
  return `${JSON.stringify(head).slice(0, -1)}${members.map((member) => (member === '' ? '' : `,${member}`)).join('')}}\n`;
}

/** The names of the flags that are set. */
export function flagNames(flags: number): string[] {
  return FLAG_NAMES.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
}

/** Of a row the schema that it names; of other records of a table the one that held then. */
function schemaFor(view: RecordView, offset: Offset, catalog: Catalog): TableSchema | null {
  if (isRowOp(view.op)) return catalog.schemaOf(view.tableId, view.schemaVersion);
  const versions = catalog.table(view.tableId)?.versions ?? [];
  return (versions.findLast((version) => version.offset <= offset) ?? versions[0])?.schema ?? null;
}

/** The member `transaction` of a line, before it is JSON. */
export function transactionJson({ entry, position }: PlacedTransaction): Readonly<Record<string, unknown>> {
  return { kind: entry.kind, xid: entry.xid, time: formatMicroseconds(entry.commitTime), origin: entry.origin, position };
}

/** `2026-11-21T10:11:12.000345Z`; microseconds since 1970. */
export function formatMicroseconds(time: number): string {
  const seconds = Math.floor(time / 1e6);
  const fraction = String(time - seconds * 1e6).padStart(6, '0');
  return `${new Date(seconds * 1000).toISOString().slice(0, -5)}.${fraction}Z`;
}

function rowMembers(view: RecordView, schema: TableSchema): string[] {
  return [
    `"key":${schema.key.length === 0 ? 'null' : keyJson(view.key(), schema)}`,
    `"before":${view.hasBefore ? imageJson(view.bytes, view.beforeStart, view.beforeEnd, schema) : 'null'}`,
    `"after":${view.hasAfter ? imageJson(view.bytes, view.afterStart, view.afterEnd, schema) : 'null'}`,
  ];
}

function payloadMember(view: RecordView): string {
  switch (view.op) {
    case Op.schema:
      return `"schema":${JSON.stringify(schemaJson(decodeSchema(view.after())))}`;
    case Op.control:
      return `"control":${JSON.stringify(decodeControl(view.after()))}`;
    case Op.message: {
      const { prefix, content } = decodeMessage(view.after());
      return `"message":{"prefix":${JSON.stringify(prefix)},"content":${textJson(content)}}`;
    }
    default:
      return '';
  }
}

function schemaJson(schema: TableSchema): Readonly<Record<string, unknown>> {
  return {
    columns: schema.columns.map(({ name, nativeType, nullable, generated }) => ({ name, type: nativeType, nullable, generated })),
    key: schema.key.map((index) => schema.columns[index]?.name ?? null),
  };
}

/** A key as an object of its columns. @throws TidemarkError `RECORD_CORRUPT` */
export function keyJson(key: Buffer, schema: TableSchema): string {
  const values = readKey(key);
  const members = schema.key.map((column, index) => {
    const value = values[index];
    const isBytes = isBytesColumn(schema, column);
    return `${nameJson(schema, column)}:${value === undefined ? '{"$absent":true}' : isBytes ? bytesJson(value) : textJson(value)}`;
  });
  return `{${members.join(',')}}`;
}

/** A row image as an object of its columns. @throws TidemarkError `RECORD_CORRUPT` */
export function imageJson(bytes: Buffer, start: number, end: number, schema: TableSchema): string {
  const walker = new ImageWalker().reset(bytes, start, end);
  const members: string[] = [];
  for (let column = 0; walker.next(); column++) {
    members.push(`${nameJson(schema, column)}:${cellJson(walker, bytes)}`);
  }
  return `{${members.join(',')}}`;
}

function cellJson(walker: ImageWalker, bytes: Buffer): string {
  switch (walker.kind) {
    case Cell.null:
      return 'null';
    case Cell.placeholder:
    case Cell.part:
      return '{"$absent":true}';
    case Cell.text:
      return textJson(bytes.subarray(walker.start, walker.end));
    default:
      return bytesJson(bytes.subarray(walker.start, walker.end));
  }
}

/** The names of a schema's columns as JSON: made once, and gone with the schema. */
const namesMade = new WeakMap<TableSchema, readonly string[]>();

function nameJson(schema: TableSchema, column: number): string {
  let names = namesMade.get(schema);
  if (names === undefined) namesMade.set(schema, (names = schema.columns.map(({ name }) => JSON.stringify(name))));
  return names[column] ?? `"column ${column + 1}"`;
}

function isBytesColumn(schema: TableSchema, column: number): boolean {
  const type = schema.columns[column]?.type;
  return type !== undefined && baseType(type).kind === 'bytes';
}

function textJson(bytes: Buffer): string {
  return isUtf8(bytes) ? JSON.stringify(bytes.toString('utf8')) : bytesJson(bytes);
}

function bytesJson(bytes: Buffer): string {
  return `{"$bytes":"${bytes.toString('base64')}"}`;
}
