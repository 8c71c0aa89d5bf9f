/** Relation and Type messages: what the server says of a table before its first row, and whenever that may have changed. */
import { protocolError } from '../errors.ts';
import { readU32 } from '../../../contracts/record.ts';

export interface RelationColumn {
  /** Part of the replica identity. */
  readonly isKey: boolean;
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
}

/** A table as of the transaction that follows. Columns in the order of tuples; generated and dropped ones are not in it. */
export interface Relation {
  readonly oid: number;
  readonly namespace: string;
  readonly name: string;
  readonly identity: 'd' | 'n' | 'f' | 'i';
  readonly columns: readonly RelationColumn[];
}

const MAX_NAME = 1024;

/** Reads a Relation message's body. @throws TidemarkError `POSTGRES_PROTOCOL` */
export function decodeRelation(bytes: Buffer, start: number, end: number): Relation {
  const reader = new FieldReader(bytes, start, end);
  const oid = reader.u32();
  const namespace = reader.name();
  const name = reader.name();
  const identity = String.fromCharCode(reader.u8());
  if (identity !== 'd' && identity !== 'n' && identity !== 'f' && identity !== 'i') {
    throw protocolError(`a relation has the unknown replica identity ${identity}`);
  }
  const count = reader.u16();
  const columns: RelationColumn[] = [];
  for (let index = 0; index < count; index++) {
    const isKey = (reader.u8() & 1) !== 0;
    columns.push({ isKey, name: reader.name(), typeOid: reader.u32(), typmod: reader.u32() | 0 });
  }
  reader.finish();
  return { oid, namespace: namespace === '' ? 'pg_catalog' : namespace, name, identity, columns };
}

/** Fields of a message, each checked against its end. */
export class FieldReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  u16(): number {
    const at = this.#take(2);
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
  }

  u32(): number {
    return readU32(this.#bytes, this.#take(4));
  }

  /** Text up to a zero byte; names only, so that a missing end is found soon. */
  name(): string {
    const limit = Math.min(this.#end, this.#at + MAX_NAME);
    const zero = this.#bytes.subarray(this.#at, limit).indexOf(0);
    if (zero < 0) throw protocolError('a name in a message has no end');
    const text = this.#bytes.toString('utf8', this.#at, this.#at + zero);
    this.#at += zero + 1;
    return text;
  }

  /** A window on the next `length` bytes. */
  slice(length: number): Buffer {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  finish(): void {
    if (this.#at !== this.#end) throw protocolError(`a message has ${this.#end - this.#at} bytes too many`);
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#end - at) throw protocolError('a message ends inside a field');
    this.#at = at + length;
    return at;
  }
}
