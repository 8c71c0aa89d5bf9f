import { baseType } from '../../contracts/types/logical-type.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { RecordView } from '../../contracts/record.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import { tableName } from '../../contracts/schema.ts';
import { jsonWriter, memberLabel, NULL, type JsonWriter } from './json/json-value.ts';
import type { KeyScratch } from './key-scratch.ts';
import { encodeArgument, type CommandBuffer } from './resp/command-buffer.ts';
import type { Field, TableLayout } from './table-layout.ts';

/** Redis takes no larger value (`proto-max-bulk-len`), and would drop the connection over one. */
const MAX_VALUE = 1 << 29;

const HSET = encodeArgument('HSET');
const HDEL = encodeArgument('HDEL');
const UNLINK = encodeArgument('UNLINK');
const SET = encodeArgument('SET');
const PX = encodeArgument('PX');
const PEXPIRE = encodeArgument('PEXPIRE');
const JSON_SET = encodeArgument('JSON.SET');
const ROOT = encodeArgument('$');

/** What may stand under a key before a row is written. */
export const Before = {
  nothing: 0,
  /** The row in an older state: its columns, no other fields of the sink's. */
  row: 1,
  /** Whatever was written under another configuration or of another log. */
  anything: 2,
} as const;

/** Writes the commands of one row of one table. Works on the bytes of the record; not re-entrant. */
export interface RowWriter {
  /** @param before one of {@link Before}: what has to be removed with it. @throws TidemarkError `SINK_DATA` */
  put(out: CommandBuffer, key: KeyScratch, view: RecordView, before: number): void;
}

export function rowWriter(layout: TableLayout): RowWriter {
  return layout.value === 'hash' ? new HashWriter(layout) : new JsonRowWriter(layout);
}

export function writeUnlink(out: CommandBuffer, key: KeyScratch): void {
  out.begin(2);
  out.raw(UNLINK);
  out.argument(key.bytes, 0, key.length);
}

/** Position of each mirrored column in `fields`, by its index in the image; -1: not mirrored. */
function wantedColumns(layout: TableLayout): Int32Array {
  const wanted = new Int32Array(layout.schema.columns.length).fill(-1);
  layout.fields.forEach((field, position) => (wanted[field.index] = position));
  return wanted;
}

/** The spans of the mirrored columns of one image, in the order of the fields. */
class Spans {
  readonly starts: Float64Array;
  /** -1: null. */
  readonly ends: Float64Array;
  readonly binary: Uint8Array;
  nulls = 0;
  readonly #layout: TableLayout;
  readonly #wanted: Int32Array;
  readonly #walker = new ImageWalker();

  constructor(layout: TableLayout) {
    this.#layout = layout;
    this.#wanted = wantedColumns(layout);
    this.starts = new Float64Array(layout.fields.length);
    this.ends = new Float64Array(layout.fields.length);
    this.binary = new Uint8Array(layout.fields.length);
  }

  load(view: RecordView): void {
    const walker = this.#walker.reset(view.bytes, view.afterStart, view.afterEnd);
    const wanted = this.#wanted;
    if (walker.left !== wanted.length) throw this.#wrong('RECORD_CORRUPT', `an image has ${walker.left} columns and its schema ${wanted.length}`);
    this.nulls = 0;
    for (let index = 0; walker.next(); index++) {
      const position = wanted[index] as number;
      if (position < 0) continue;
      this.starts[position] = walker.start;
      if (walker.kind === Cell.text || walker.kind === Cell.binary) {
        if (walker.end - walker.start > MAX_VALUE) throw this.#wrong('SINK_DATA', `a value of ${walker.end - walker.start} bytes is more than Redis takes`);
        this.ends[position] = walker.end;
        this.binary[position] = walker.kind === Cell.binary ? 1 : 0;
      } else {
        if (walker.kind === Cell.placeholder) throw this.#wrong('INTERNAL', 'a placeholder has reached a sink');
        this.ends[position] = -1;
        this.nulls++;
      }
    }
  }

  #wrong(code: 'RECORD_CORRUPT' | 'SINK_DATA' | 'INTERNAL', what: string): TidemarkError {
    return new TidemarkError(code, what, { where: { table: tableName(this.#layout.schema) } });
  }
}

/** Hash: a field per column that is not null. */
class HashWriter implements RowWriter {
  readonly #spans: Spans;
  readonly #names: readonly Buffer[];
  readonly #ttl: Buffer | null;

  constructor(layout: TableLayout) {
    this.#spans = new Spans(layout);
    this.#names = layout.fields.map((field) => encodeArgument(field.name));
    this.#ttl = encodedTtl(layout);
  }

  put(out: CommandBuffer, key: KeyScratch, view: RecordView, before: number): void {
    const spans = this.#spans;
    spans.load(view);
    const { starts, ends, nulls } = spans;
    const names = this.#names;
    const values = names.length - nulls;
    if (values === 0) {
      // A hash without fields does not exist.
      if (before !== Before.nothing) writeUnlink(out, key);
      return;
    }
    if (before === Before.anything) writeUnlink(out, key);
    out.begin(2 + 2 * values);
    out.raw(HSET);
    out.argument(key.bytes, 0, key.length);
    const bytes = view.bytes;
    for (let i = 0; i < names.length; i++) {
      const end = ends[i] as number;
      if (end < 0) continue;
      out.raw(names[i] as Buffer);
      out.argument(bytes, starts[i] as number, end);
    }
    if (nulls > 0 && before === Before.row) this.#removeNulls(out, key);
    if (this.#ttl !== null) writeExpire(out, key, this.#ttl);
  }

  #removeNulls(out: CommandBuffer, key: KeyScratch): void {
    const { ends, nulls } = this.#spans;
    out.begin(2 + nulls);
    out.raw(HDEL);
    out.argument(key.bytes, 0, key.length);
    for (let i = 0; i < ends.length; i++) if ((ends[i] as number) < 0) out.raw(this.#names[i] as Buffer);
  }
}

/** One JSON object, as a string or as a document of RedisJSON. */
class JsonRowWriter implements RowWriter {
  readonly #layout: TableLayout;
  readonly #spans: Spans;
  readonly #labels: readonly Buffer[];
  readonly #writers: readonly JsonWriter[];
  readonly #ttl: Buffer | null;

  constructor(layout: TableLayout) {
    this.#layout = layout;
    this.#spans = new Spans(layout);
    this.#labels = layout.fields.map((field) => memberLabel(field.name));
    this.#writers = layout.fields.map((field) => jsonFieldWriter(layout, field));
    this.#ttl = encodedTtl(layout);
  }

  put(out: CommandBuffer, key: KeyScratch, view: RecordView): void {
    this.#spans.load(view);
    const json = this.#layout.value === 'redisjson';
    const ttl = this.#ttl;
    out.begin(json ? 4 : ttl === null ? 3 : 5);
    out.raw(json ? JSON_SET : SET);
    out.argument(key.bytes, 0, key.length);
    if (json) out.raw(ROOT);
    const mark = out.beginOpen();
    this.#object(out, view);
    out.endOpen(mark);
    if (ttl === null) return;
    if (json) writeExpire(out, key, ttl);
    else {
      out.raw(PX);
      out.raw(ttl);
    }
  }

  #object(out: CommandBuffer, view: RecordView): void {
    const { starts, ends, binary } = this.#spans;
    const start = out.length;
    out.byte(0x7b);
    for (let i = 0; i < this.#labels.length; i++) {
      if (i > 0) out.byte(0x2c);
      const label = this.#labels[i] as Buffer;
      out.bytesOf(label, 0, label.length);
      const end = ends[i] as number;
      if (end < 0) out.bytesOf(NULL, 0, NULL.length);
      else (this.#writers[i] as JsonWriter)(out, view.bytes, starts[i] as number, end, binary[i] === 1);
    }
    out.byte(0x7d);
    if (out.length - start > MAX_VALUE) {
      throw new TidemarkError('SINK_DATA', `a row of ${out.length - start} bytes as JSON is more than Redis takes`, {
        where: { table: tableName(this.#layout.schema) },
      });
    }
  }
}

/** What a field of a layout becomes in JSON. */
export function jsonFieldWriter(layout: TableLayout, field: Field): JsonWriter {
  return jsonWriter(field.column.type, layout.value === 'json');
}

/** The bytes that a constant has as a hash field: canonical text, or raw bytes for `bytes` (given as `\x..`). */
export function constantBytes(field: Field, text: string): Buffer {
  return baseType(field.column.type).kind === 'bytes' ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text, 'utf8');
}

function encodedTtl(layout: TableLayout): Buffer | null {
  return layout.ttlMs === null ? null : encodeArgument(String(layout.ttlMs));
}

function writeExpire(out: CommandBuffer, key: KeyScratch, ttl: Buffer): void {
  out.begin(3);
  out.raw(PEXPIRE);
  out.argument(key.bytes, 0, key.length);
  out.raw(ttl);
}
