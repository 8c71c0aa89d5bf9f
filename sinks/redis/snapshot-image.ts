/**
 * Rows of a cache as images that can be compared: one cell for each column of the table, as it stands in Redis (the bytes
 * of a hash field, the text of a JSON member; null: there is none), and, where a key holds more or something else, one
 * cell more that says what.
 */
import { BatchBuilder, ChangeBatch } from '../../contracts/change-batch.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { Op } from '../../contracts/op.ts';
import { RecordView, writeU32 } from '../../contracts/record.ts';
import { Cell, IMAGE_HEADER, ImageWalker } from '../../contracts/row-image.ts';
import { tableName } from '../../contracts/schema.ts';
import { baseType } from '../../contracts/types/logical-type.ts';
import { membersOf } from './json/json-text.ts';
import type { JsonWriter } from './json/json-value.ts';
import { KeyScratch } from './key-scratch.ts';
import { ChunkPool, CommandBuffer } from './resp/command-buffer.ts';
import { ReplyError, type Reply } from './resp/reply-reader.ts';
import { jsonFieldWriter } from './row-writer.ts';
import { arrayOf, bytesOf, serverError } from './server-error.ts';
import type { Field, TableLayout } from './table-layout.ts';

/** What is said of a key whose value is of another kind than the table's. */
const OTHER_KIND = 'another kind of value';
const NULL_TEXT = Buffer.from('null', 'latin1');

/** A value as it stands in Redis; null: there is none. */
type CellBytes = Uint8Array | null;

/** The command that reads one row. */
export function readCommand(layout: TableLayout): readonly (string | null)[] {
  if (layout.value === 'hash') return ['HGETALL', null];
  return layout.value === 'json' ? ['GET', null] : ['JSON.GET', null];
}

/** Makes rows that are compared of what Redis holds and of what the log has. Owned by one reader. */
export class CacheImages {
  readonly #layout: TableLayout;
  readonly #placed: (key: Buffer) => Buffer;
  readonly #fields: ReadonlyMap<string, Field>;
  readonly #writers: readonly JsonWriter[];
  /** By column: its values are raw bytes in Redis. */
  readonly #binary: readonly boolean[];
  readonly #scratch = new KeyScratch();
  readonly #text = new CommandBuffer(new ChunkPool());

  /** @param placed a row's key as it stands at the servers */
  constructor(layout: TableLayout, placed: (key: Buffer) => Buffer) {
    this.#layout = layout;
    this.#placed = placed;
    this.#fields = new Map(layout.fields.map((field) => [field.name, field]));
    this.#writers = layout.fields.map((field) => jsonFieldWriter(layout, field));
    this.#binary = layout.schema.columns.map((column) => layout.value === 'hash' && baseType(column.type).kind === 'bytes');
  }

  /** What Redis would hold for rows of the log. A row without any field is left out: a hash of nothing does not exist. */
  expected(rows: ChangeBatch): ChangeBatch {
    const out = new Rows(this.#binary);
    const view = new RecordView();
    const walker = new ImageWalker();
    for (view.reset(rows.records); view.next(); ) {
      const image = this.#expectedCells(walker.reset(view.bytes, view.afterStart, view.afterEnd), view.bytes);
      if (this.#layout.value === 'hash' && image.every((cell) => cell === null)) continue;
      this.#layout.template.write(view.bytes, view.keyStart, view.keyEnd, this.#scratch.reset());
      out.add(this.#placed(this.#scratch.taken()), image);
    }
    return out.take();
  }

  /** @param replies to {@link readCommand}, one for each key; keys that are not there give no row */
  stored(keys: readonly Buffer[], replies: readonly Reply[]): ChangeBatch {
    const out = new Rows(this.#binary);
    for (const [index, key] of keys.entries()) {
      const image = this.#storedCells(replies[index] ?? null);
      if (image !== null) out.add(key, image);
    }
    return out.take();
  }

  #expectedCells(walker: ImageWalker, bytes: Buffer): CellBytes[] {
    const { schema, fields, value } = this.#layout;
    if (walker.left !== schema.columns.length) {
      throw new TidemarkError('RECORD_CORRUPT', `an image has ${walker.left} columns and its schema ${schema.columns.length}`, { where: { table: tableName(schema) } });
    }
    const cells: CellBytes[] = schema.columns.map(() => null);
    let position = 0;
    for (let index = 0; walker.next(); index++) {
      if (fields[position]?.index !== index) continue;
      const { kind, start, end } = walker;
      if (kind === Cell.placeholder) throw new TidemarkError('INTERNAL', 'a placeholder has reached a sink', { where: { table: tableName(schema) } });
      if (value !== 'hash') cells[index] = kind === Cell.null ? NULL_TEXT : this.#json(position, bytes, start, end, kind === Cell.binary);
      else if (kind !== Cell.null) cells[index] = bytes.subarray(start, end);
      position++;
    }
    return cells;
  }

  #json(position: number, bytes: Buffer, start: number, end: number, binary: boolean): Buffer {
    const out = this.#text;
    out.length = 0;
    (this.#writers[position] as JsonWriter)(out, bytes, start, end, binary);
    return Buffer.from(this.#comparable(out.bytes.subarray(0, out.length)));
  }

  /** RedisJSON keeps values, not their text. */
  #comparable(json: Buffer): Buffer {
    return this.#layout.value === 'json' ? json : Buffer.from(JSON.stringify(sorted(JSON.parse(json.toString('utf8')))), 'utf8');
  }

  #storedCells(reply: Reply): CellBytes[] | null {
    const { schema, value } = this.#layout;
    const cells: CellBytes[] = schema.columns.map(() => null);
    if (reply instanceof ReplyError) {
      const error = serverError(reply.text, 'Redis');
      if (error.code !== 'REDIS_KEY_TYPE') throw error;
      return [...cells, Buffer.from(OTHER_KIND, 'latin1')];
    }
    const extra = value === 'hash' ? this.#hashCells(reply, cells) : this.#jsonCells(reply, cells);
    if (extra === null) return null;
    return extra.length === 0 ? cells : [...cells, Buffer.from(extra.toSorted().join(', '), 'utf8')];
  }

  /** Answers what belongs to no column; null: there is no such row. */
  #hashCells(reply: Reply, cells: CellBytes[]): string[] | null {
    const pairs = arrayOf(reply, 'Redis');
    if (pairs.length === 0) return null;
    const extra: string[] = [];
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const name = bytesOf(pairs[at] ?? null, 'Redis').toString('utf8');
      const bytes = bytesOf(pairs[at + 1] ?? null, 'Redis');
      const field = this.#fields.get(name);
      if (field === undefined) extra.push(`field ${name}`);
      else cells[field.index] = bytes;
    }
    return extra;
  }

  #jsonCells(reply: Reply, cells: CellBytes[]): string[] | null {
    if (reply === null) return null;
    const text = bytesOf(reply, 'Redis');
    const members = membersOf(text);
    if (members === null) return [OTHER_KIND];
    const extra: string[] = [];
    for (const { name, start, end } of members) {
      const field = this.#fields.get(name);
      if (field === undefined || cells[field.index] !== null) extra.push(`member ${name}`);
      else cells[field.index] = this.#comparable(text.subarray(start, end));
    }
    return extra;
  }
}

/** Objects with their members in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, one]) => [name, sorted(one)]));
}

/** Rows on their way into a batch. */
class Rows {
  readonly #builder = new BatchBuilder(1 << 14);
  readonly #binary: readonly boolean[];

  constructor(binary: readonly boolean[]) {
    this.#binary = binary;
    this.#builder.begin('hub', 0, 0);
  }

  add(key: Uint8Array, image: readonly CellBytes[]): void {
    const builder = this.#builder;
    let length = IMAGE_HEADER;
    for (const cell of image) length += cell === null ? 1 : 5 + cell.length;
    let at = builder.reserve(Op.read, 0, 0, 0, key.length, 0, length);
    const { buffer } = builder;
    buffer.set(key, at);
    at = buffer.writeUInt16BE(image.length, at + key.length);
    for (let index = 0; index < image.length; index++) {
      const cell = image[index] ?? null;
      buffer[at++] = cell === null ? Cell.null : this.#binary[index] === true ? Cell.binary : Cell.text;
      if (cell === null) continue;
      writeU32(buffer, at, cell.length);
      buffer.set(cell, at + 4);
      at += 4 + cell.length;
    }
  }

  take(): ChangeBatch {
    const { count, records } = this.#builder.take();
    return new ChangeBatch({ count, records, transactions: [], progress: null });
  }
}
