/**
 * The table map event, which stands before the rows of a table: u48 id, u16 flags, database and table (u8 length, name,
 * zero each), packed number of columns, a type byte per column, their metadata, a bitmap of columns that may be null; then
 * optional metadata (table-metadata.ts).
 */
import type { EventHeader } from './event-header.ts';
import { EventType } from './event-types.ts';
import { binlogError, FieldReader } from './field-reader.ts';
import { type FormatDescription, postHeaderLength } from './format-description.ts';
import { NO_METADATA, readOptionalMetadata, type TableMetadata } from './table-metadata.ts';
import { readMetadata, realType, valueWidth } from './value-width.ts';

export interface TableMap {
  /** Given by the server; another one after the table has been opened anew. */
  readonly id: number;
  readonly database: string;
  readonly table: string;
  /** Type bytes; enum and set columns as such. */
  readonly types: Uint8Array;
  /** Of each column two bytes, the first one low (value-width.ts). */
  readonly metadata: Uint16Array;
  /** value-width.ts. */
  readonly widths: Int32Array;
  /** 1: may be null. */
  readonly nullable: Uint8Array;
  readonly optional: TableMetadata;
}

const MAX_COLUMNS = 0xffff;
/** Where u32 ids are. */
const OLD_POST_HEADER = 6;
const reader = new FieldReader();

/** Of a table map or rows event. @throws TidemarkError `MYSQL_BINLOG` */
export function readTableId(format: FormatDescription, type: number, fields: FieldReader): number {
  return postHeaderLength(format, type) === OLD_POST_HEADER ? fields.u32() : fields.u48();
}

/** @throws TidemarkError `MYSQL_BINLOG` for bytes that are none, or a type that is not known */
export function parseTableMap(format: FormatDescription, header: EventHeader, bytes: Buffer): TableMap {
  const fields = reader.reset(bytes, header.bodyStart, header.bodyEnd, 'a table map');
  const id = readTableId(format, EventType.tableMap, fields);
  fields.skip(2);
  const database = name(fields);
  const table = name(fields);
  const columns = fields.packed();
  if (columns > MAX_COLUMNS) throw binlogError(`a table has ${columns} columns`);
  const bare = fields.slice(columns);
  const metadataEnd = fields.packedLength() + fields.at;
  const types = new Uint8Array(columns);
  const metadata = new Uint16Array(columns);
  const widths = new Int32Array(columns);
  for (let column = 0; column < columns; column++) {
    const type = bare[column] as number;
    const own = readMetadata(type, fields);
    types[column] = realType(type, own);
    metadata[column] = own;
    widths[column] = valueWidth(type, own);
  }
  if (fields.at !== metadataEnd) throw binlogError('the metadata of the columns have another length than announced');
  const bitmap = fields.slice((columns + 7) >> 3);
  const nullable = Uint8Array.from({ length: columns }, (_, column) => ((bitmap[column >> 3] as number) >> (column & 7)) & 1);
  const optional = fields.left === 0 ? NO_METADATA : readOptionalMetadata(fields, types, format);
  return { id, database, table, types, metadata, widths, nullable, optional };
}

function name(fields: FieldReader): string {
  const text = fields.utf8(fields.u8());
  if (fields.u8() !== 0) throw binlogError('a name in a table map does not end with a zero');
  return text;
}
