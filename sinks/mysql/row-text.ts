/** Rows of the log as the bytes of a load or of a statement: no JavaScript value for any of them. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { readU32, RECORD_HEADER } from '../../contracts/record.ts';
import { Cell, ImageWalker } from '../../contracts/row-image.ts';
import { tableName } from '../../contracts/schema.ts';
import type { RecordRef } from '../../contracts/sink.ts';
import type { PlannedColumn, TablePlan } from './table-plan.ts';
import type { CellWriter } from './types/cell-writer.ts';
import { unfitValue } from './types/value-form.ts';

export type ImageSide = 'before' | 'after';

const TAB = 0x09;
const NEWLINE = 0x0a;
const BACKSLASH = 0x5c;
const LETTER_N = 0x4e;
const COMMA = 0x2c;
const OPEN = 0x28;
const CLOSE = 0x29;
const NULL = Buffer.from('NULL');
const COMMA_ONLY = Buffer.from(',');

/** Bytes that grow. A piece is handed over before it becomes large: copying a large one costs more than sending two. */
class Bytes {
  buffer: Buffer;
  length = 0;

  constructor(expected: number) {
    this.buffer = Buffer.allocUnsafeSlow(Math.max(expected, 256));
  }

  room(size: number): void {
    const needed = this.length + size;
    if (needed <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }

  byte(value: number): void {
    this.buffer[this.length++] = value;
  }

  text(text: Uint8Array): void {
    this.room(text.length);
    this.buffer.set(text, this.length);
    this.length += text.length;
  }

  taken(): Buffer {
    return this.buffer.subarray(0, this.length);
  }
}

/** The after images of `refs` as rows of LOAD DATA. @throws TidemarkError `SINK_DATA`, `RECORD_CORRUPT` */
export function loadRows(refs: readonly RecordRef[], plan: TablePlan): Buffer {
  const out = new Bytes(imageBytes(refs) + (imageBytes(refs) >> 2) + 64 * 4);
  const walker = new ImageWalker();
  const { forms } = plan;
  for (const ref of refs) {
    const bytes = resetTo(walker, ref, 'after', plan);
    let first = true;
    for (let index = 0; walker.next(); index++) {
      const form = forms[index];
      if (form === null || form === undefined) continue;
      const { kind, start, end } = walker;
      if (kind === Cell.null) {
        out.room(4);
        if (!first) out.byte(TAB);
        out.byte(BACKSLASH);
        out.byte(LETTER_N);
      } else {
        out.room(form.room(bytes, start, end) + 2);
        if (!first) out.byte(TAB);
        if (kind === Cell.placeholder) throw placeholder(index);
        const to = form.field(kind, bytes, start, end, out.buffer, out.length);
        if (to < 0) throw unfit(plan, index);
        out.length = to;
      }
      first = false;
    }
    out.room(1);
    out.byte(NEWLINE);
  }
  return out.taken();
}

/** How large statements may become. */
export interface StatementLimits {
  /** Of one statement; a single larger row makes an error. */
  readonly most: number;
  /** A statement of so many bytes is large enough. */
  readonly enough: number;
  readonly rows: number;
}

/**
 * Statements `head (…), (…) tail` with the images of `refs` as lists of literals.
 * @throws TidemarkError `SINK_DATA` for a row that is longer than a statement may be, or that does not fit
 */
export function valueStatements(refs: readonly RecordRef[], plan: TablePlan, side: ImageSide, head: string, tail: string, limits: StatementLimits): Buffer[] {
  const columns = new Map(plan.columns.map((column) => [column.source, column]));
  const walker = new ImageWalker();
  return statements(refs, head, tail, limits, (ref, out) => {
    const bytes = resetTo(walker, ref, side, plan);
    let first = true;
    out.room(1);
    out.byte(OPEN);
    for (let index = 0; walker.next(); index++) {
      const column = columns.get(index);
      if (column === undefined) continue;
      if (!first) {
        out.room(1);
        out.byte(COMMA);
      }
      first = false;
      if (walker.kind === Cell.null) out.text(NULL);
      else if (walker.kind === Cell.placeholder) throw placeholder(index);
      else literal(out, column, column.form.literal, walker.kind, bytes, walker.start, walker.end, plan);
    }
    out.room(1);
    out.byte(CLOSE);
  });
}

/**
 * Statements `head (…) tail` over the keys of `refs`: lists of literals, or, where the names of the key's columns are
 * given, a condition for each.
 */
export function keyStatements(refs: readonly RecordRef[], plan: TablePlan, head: string, tail: string, limits: StatementLimits, names: readonly string[] | null): Buffer[] {
  const { key } = plan;
  const isList = key.length > 1 || names !== null;
  const separator = names === null ? Buffer.from(',') : Buffer.from(' OR ');
  const parts = key.map((_, place) => Buffer.from(names === null ? (place > 0 ? ',' : '') : `${place > 0 ? ' AND ' : ''}${names[place] ?? ''} = `));
  return statements(refs, `${head}(`, `)${tail}`, limits, ({ batch, at }, out) => {
    const bytes = batch.records;
    let from = at + RECORD_HEADER;
    const end = from + readU32(bytes, at + 16);
    out.room(2);
    if (isList) out.byte(OPEN);
    for (const [place, column] of key.entries()) {
      if (from + 4 > end) throw new TidemarkError('RECORD_CORRUPT', 'a key has fewer values than its table has key columns');
      const length = readU32(bytes, from);
      const start = from + 4;
      out.text(parts[place] ?? separator);
      const { kind } = plan.schema.columns[column.source]?.type ?? {};
      literal(out, column, column.form.compared, kind === 'bytes' ? Cell.binary : Cell.text, bytes, start, start + length, plan);
      from = start + length;
    }
    out.room(1);
    if (isList) out.byte(CLOSE);
  }, separator);
}

function statements(refs: readonly RecordRef[], head: string, tail: string, limits: StatementLimits, write: (ref: RecordRef, out: Bytes) => void, separator: Uint8Array = COMMA_ONLY): Buffer[] {
  const [begin, end] = [Buffer.from(head, 'utf8'), Buffer.from(tail, 'utf8')];
  const done: Buffer[] = [];
  let out = new Bytes(Math.min(limits.enough + (limits.enough >> 2), 2 * imageBytes(refs) + 1_024));
  let rows = 0;
  for (const ref of refs) {
    const before = out.length;
    if (rows === 0) out.text(begin);
    else out.text(separator);
    write(ref, out);
    if (out.length + end.length > limits.most && rows > 0) {
      // The row begins the next statement.
      out.length = before;
      done.push(closed(out, end));
      out = new Bytes(limits.enough);
      out.text(begin);
      write(ref, out);
      rows = 0;
    }
    rows++;
    if (out.length + end.length > limits.most) throw new TidemarkError('SINK_DATA', `a row takes more than the ${limits.most} bytes of a statement (max_allowed_packet)`, { remedy: 'Raise max_allowed_packet at the replica, or let it load rows with LOAD DATA LOCAL (local_infile = ON).' });
    if (out.length < limits.enough && rows < limits.rows) continue;
    done.push(closed(out, end));
    out = new Bytes(limits.enough);
    rows = 0;
  }
  if (rows > 0) done.push(closed(out, end));
  return done;
}

function closed(out: Bytes, end: Buffer): Buffer {
  out.text(end);
  return out.taken();
}

function literal(out: Bytes, column: PlannedColumn, write: CellWriter, kind: number, bytes: Buffer, start: number, end: number, plan: TablePlan): void {
  out.room(column.form.room(bytes, start, end));
  const to = write(kind, bytes, start, end, out.buffer, out.length);
  if (to < 0) throw unfit(plan, column.source);
  out.length = to;
}

/** Before the first column of an image of the schema. */
function resetTo(walker: ImageWalker, { batch, at }: RecordRef, side: ImageSide, { schema }: TablePlan): Buffer {
  const bytes = batch.records;
  const before = at + RECORD_HEADER + readU32(bytes, at + 16);
  const after = before + readU32(bytes, at + 20);
  if (side === 'before') walker.reset(bytes, before, after);
  else walker.reset(bytes, after, after + readU32(bytes, at + 24));
  if (walker.left !== schema.columns.length) throw new TidemarkError('RECORD_CORRUPT', `an image has ${walker.left} columns, its schema has ${schema.columns.length}`);
  return bytes;
}

/** The length of the records, about. */
function imageBytes(refs: readonly RecordRef[]): number {
  let total = 0;
  for (const { batch, at } of refs) total += readU32(batch.records, at);
  return total;
}

function unfit({ schema, columns }: TablePlan, source: number): TidemarkError {
  const column = schema.columns[source];
  const target = columns.find((one) => one.source === source);
  return unfitValue({ name: column?.name ?? String(source) }, target?.target.type.text ?? 'the column').at({ table: tableName(schema) });
}

function placeholder(index: number): TidemarkError {
  return new TidemarkError('INTERNAL', `column ${index} of an image is a placeholder: it must be completed before a sink`);
}
