/** The least that tests of values need of a binary log file: for each row event its table map and the bytes of its rows. */
import type { WireColumn } from '../../../../connectors/mysql/values/wire-column.ts';
import { valueEnd } from './value-end.ts';

export interface WalkedTable {
  readonly database: string;
  readonly name: string;
  readonly columns: readonly WireColumn[];
}

export interface WalkedValue {
  readonly table: WalkedTable;
  /** Which row event of the file. */
  readonly event: number;
  readonly kind: 'write' | 'update' | 'delete' | 'partial';
  readonly image: 'before' | 'after';
  readonly column: number;
  /** Null: NULL. Of a partial update of JSON: the diffs. */
  readonly bytes: Buffer | null;
  readonly isDiff: boolean;
}

const MAGIC = 4;
const HEADER = 19;
const CHECKSUM = 4;
const Event = { tableMap: 19, partialUpdate: 39 } as const;
const KINDS: Readonly<Record<number, 'write' | 'update' | 'delete' | 'partial'>> = {
  23: 'write', 24: 'update', 25: 'delete', 30: 'write', 31: 'update', 32: 'delete', 39: 'partial',
};

/** Bytes of a value whose width a table map does not tell; null: it does. */
export type HiddenWidth = (table: WalkedTable, column: number) => number | null;

/** Of a file whose events carry checksums and are neither compressed nor encrypted. */
export function* walkBinlog(file: Buffer, hiddenWidth: HiddenWidth = () => null): Generator<WalkedValue> {
  const tables = new Map<number, WalkedTable>();
  let event = 0;
  for (let at = MAGIC; at + HEADER <= file.length; ) {
    const type = file[at + 4] ?? 0;
    const size = file.readUInt32LE(at + 9);
    const body = file.subarray(at + HEADER, at + size - CHECKSUM);
    if (type === Event.tableMap) tables.set(body.readUIntLE(0, 6), tableOf(body));
    const kind = KINDS[type];
    if (kind !== undefined) {
      const table = tables.get(body.readUIntLE(0, 6));
      if (table === undefined) throw new Error('rows without their table map');
      yield* rowsOf(body, type, kind, table, event++, hiddenWidth);
    }
    at += size;
  }
}

class Reader {
  at = 0;
  readonly bytes: Buffer;

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  byte(): number {
    return this.bytes[this.at++] ?? 0;
  }

  packed(): number {
    const first = this.byte();
    if (first < 0xfb) return first;
    const length = first === 0xfc ? 2 : 3;
    this.at += length;
    return this.bytes.readUIntLE(this.at - length, length);
  }

  take(length: number): Buffer {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

const METADATA_BYTES: Readonly<Record<number, number>> = {
  4: 1, 5: 1, 15: 2, 16: 2, 17: 1, 18: 1, 19: 1, 140: 1, 141: 2, 242: 1, 245: 1, 246: 2, 252: 1, 254: 2, 255: 1,
};

function tableOf(body: Buffer): WalkedTable {
  const reader = new Reader(body, 8);
  const database = reader.take(reader.byte()).toString();
  reader.byte();
  const name = reader.take(reader.byte()).toString();
  reader.byte();
  const types = [...reader.take(reader.packed())];
  const metadata = new Reader(reader.take(reader.packed()), 0);
  const plain = types.map((type): WireColumn => {
    const bytes = metadata.take(METADATA_BYTES[type] ?? 0);
    return { type, metadata: bytes.length === 0 ? 0 : bytes.readUIntLE(0, bytes.length), unsigned: null, collation: null, labels: null, geometry: null, dimensions: null };
  });
  reader.take((types.length + 7) >> 3);
  return { database, name, columns: withOptional(plain, reader) };
}

type Change = { -readonly [K in keyof WireColumn]: WireColumn[K] };

function withOptional(plain: readonly WireColumn[], reader: Reader): WireColumn[] {
  const columns: Change[] = plain.map((column) => ({ ...column }));
  const form = ({ type, metadata }: WireColumn): number => (type === 254 ? ((metadata & 0x30) === 0x30 ? metadata & 0xff : 254) : type);
  const numeric = columns.filter(({ type }) => [1, 2, 3, 4, 5, 8, 9, 13, 246].includes(type));
  const text = columns.filter((column) => [15, 252, 253, 140, 141].includes(column.type) || form(column) === 254);
  const listed = columns.filter((column) => [247, 248].includes(form(column)));
  while (reader.at < reader.bytes.length) {
    const type = reader.byte();
    const field = new Reader(reader.take(reader.packed()), 0);
    const left = (): boolean => field.at < field.bytes.length;
    if (type === 1) for (const [place, column] of numeric.entries()) column.unsigned = (((field.bytes[place >> 3] ?? 0) >> (7 - (place & 7))) & 1) === 1;
    if (type === 2 || type === 10) {
      const chosen = type === 2 ? text : listed;
      const usual = field.packed();
      for (const column of chosen) column.collation = usual;
      while (left()) setCollation(chosen[field.packed()], field.packed());
    }
    if (type === 3 || type === 11) for (const column of type === 3 ? text : listed) column.collation = field.packed();
    if (type === 5 || type === 6) {
      for (const column of listed.filter((one) => form(one) === (type === 5 ? 248 : 247))) {
        column.labels = Array.from({ length: field.packed() }, () => field.take(field.packed()));
      }
    }
    if (type === 7) for (const column of columns.filter((one) => one.type === 255)) column.geometry = field.packed();
    if (type === 13) for (const column of columns.filter((one) => one.type === 242)) column.dimensions = field.packed();
  }
  return columns;
}

function setCollation(column: Change | undefined, collation: number): void {
  if (column !== undefined) column.collation = collation;
}

function* rowsOf(body: Buffer, type: number, kind: WalkedValue['kind'], table: WalkedTable, event: number, hiddenWidth: HiddenWidth): Generator<WalkedValue> {
  const reader = new Reader(body, 8);
  if (type >= 30) reader.take(body.readUInt16LE(8));
  const count = reader.packed();
  const bitmap = (count + 7) >> 3;
  reader.take(kind === 'update' || kind === 'partial' ? 2 * bitmap : bitmap);
  const images: readonly WalkedValue['image'][] = kind === 'write' ? ['after'] : kind === 'delete' ? ['before'] : ['before', 'after'];
  while (reader.at < body.length) {
    for (const image of images) {
      const options = image === 'after' && kind === 'partial' ? reader.packed() : 0;
      const json = table.columns.filter((column) => column.type === 245).length;
      const partial = (options & 1) === 1 ? reader.take((json + 7) >> 3) : null;
      const nulls = reader.take(bitmap);
      let jsonPlace = 0;
      for (const [column, wire] of table.columns.entries()) {
        const isDiff = wire.type === 245 && partial !== null && (((partial[jsonPlace >> 3] ?? 0) >> (jsonPlace & 7)) & 1) === 1;
        if (wire.type === 245) jsonPlace++;
        const isNull = (((nulls[column >> 3] ?? 0) >> (column & 7)) & 1) === 1;
        const bytes = isNull ? null : reader.take(hiddenWidth(table, column) ?? valueEnd(wire, body, reader.at) - reader.at);
        yield { table, event, kind, image, column, bytes, isDiff };
      }
    }
  }
}
