/** How rows of a table map become records of a schema. */
import type { ColumnHash } from '../../../contracts/column-hash.ts';
import { TidemarkError } from '../../../contracts/errors/error.ts';
import { Cell } from '../../../contracts/row-image.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { RowRoute } from '../binlog/row-writer.ts';
import { typeOfColumn } from '../catalog/column-type.ts';
import { implicitText } from '../ddl/constant-text.ts';
import type { ColumnShape, TableShape } from '../ddl/shape.ts';
import { typeOfText } from '../ddl/text-type.ts';
import type { Flavor } from '../server-version.ts';
import { CellSpans, CellWriter } from '../values/cell-writer.ts';
import type { ColumnDecoder } from '../values/column-decoder.ts';
import { decoderOf } from '../values/decoder.ts';
import type { ValueOptions } from '../values/value-options.ts';
import type { FittedMap } from './map-check.ts';

/** What routes have in common. */
export interface RouteOptions {
  readonly values: ValueOptions;
  /** Old rows go into the log where they are whole. */
  readonly keepBefore: boolean;
  /** The server's row image is not FULL, or JSON comes in part: rows may come with columns left out. */
  readonly isWide: boolean;
  readonly maxRowBytes: number;
}

/** @throws TidemarkError `MYSQL_TYPE_UNKNOWN`, `MYSQL_TEXT` for a column whose values cannot be read */
export function routeOf(schema: TableSchema, shape: TableShape, fitted: FittedMap, flavor: Flavor, hash: ColumnHash | null, options: RouteOptions): RowRoute {
  const places = new Map(shape.columns.map(({ number }, place) => [number, place]));
  const sources = new Int32Array(schema.columns.length);
  const decoders: ColumnDecoder[] = [];
  const defaults: (Uint8Array | null)[] = [];
  for (const [cell, column] of schema.columns.entries()) {
    const place = places.get(column.number) ?? -1;
    const from = fitted.columns[place];
    const of = shape.columns[place];
    if (from === undefined || of === undefined) throw new TidemarkError('INTERNAL', `column ${column.number} of ${schema.name} has no place in its rows`);
    const hashed = column.hashed === undefined ? null : hash;
    const decoder = decoderOf(from.wire, from.type, options.values);
    sources[cell] = from.place;
    decoders.push(hashed === null ? decoder : new HashedDecoder(decoder, hashed));
    defaults.push(defaultCell(of, hashed));
  }
  return {
    tableId: schema.tableId,
    version: schema.version,
    sources,
    decoders,
    defaults,
    key: schema.key,
    keepBefore: options.keepBefore,
    isWide: options.isWide,
    maxRowBytes: options.maxRowBytes,
    ...(fitted.rowEnd === null ? {} : { rowEnd: fitted.rowEnd }),
    ...(flavor === 'mariadb' ? { isWholeOnly: true } : {}),
  };
}

const DIGEST_LENGTH = 64;

/** Writes the hash of what another decoder writes. */
class HashedDecoder implements ColumnDecoder {
  readonly #decoder: ColumnDecoder;
  readonly #hash: ColumnHash;
  readonly #own = new CellWriter();
  readonly #spans = new CellSpans();

  constructor(decoder: ColumnDecoder, hash: ColumnHash) {
    this.#decoder = decoder;
    this.#hash = hash;
  }

  decode(bytes: Buffer, at: number, out: CellWriter): number {
    const own = this.#own;
    own.reset();
    own.beginImage(this.#spans, 1);
    const end = this.#decoder.decode(bytes, at, own);
    this.#digest(out);
    return end;
  }

  patch(bytes: Buffer, at: number, end: number, old: Buffer, oldAt: number, oldEnd: number, out: CellWriter): void {
    const own = this.#own;
    if (this.#decoder.patch === undefined) throw new TidemarkError('MYSQL_VALUE', 'a column that is not JSON has diffs');
    own.reset();
    own.beginImage(this.#spans, 1);
    this.#decoder.patch(bytes, at, end, old, oldAt, oldEnd, own);
    this.#digest(out);
  }

  #digest(out: CellWriter): void {
    const { starts, ends } = this.#spans;
    out.text(this.#hash.bytes(this.#own.bytes.subarray(starts[0], ends[0])), 0, DIGEST_LENGTH);
  }
}

const NULL_CELL = Buffer.from([Cell.null]);

/** The cell that an insert stands for which leaves the column out; null: it is not known. */
function defaultCell(column: ColumnShape, hash: ColumnHash | null): Uint8Array | null {
  if (column.generated !== 'no' || column.autoIncrement || column.default.kind === 'expression') return null;
  if (column.default.kind === 'none' && column.nullable) return NULL_CELL;
  const text = column.default.kind === 'constant' ? column.default.text : implicitOf(column);
  if (text === null) return null;
  const type = typeOfColumn(column);
  const isBytes = type.charset === null && /^(?:(?:var)?binary|(?:tiny|medium|long)?blob)$/.test(type.name);
  const value = isBytes ? Buffer.from(text.replace(/^\\x/, ''), 'hex') : Buffer.from(text);
  if (hash !== null) return wholeCell(Cell.text, hash.bytes(value));
  return wholeCell(isBytes ? Cell.binary : Cell.text, value);
}

function implicitOf(column: ColumnShape): string | null {
  const type = typeOfText(column.type);
  return type === null ? null : implicitText(type, column.type);
}

function wholeCell(kind: number, value: Uint8Array): Buffer {
  const cell = Buffer.alloc(5 + value.length);
  cell[0] = kind;
  cell.writeUInt32BE(value.length, 1);
  cell.set(value, 5);
  return cell;
}
