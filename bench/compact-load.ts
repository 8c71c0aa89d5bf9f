/** The log that is folded: one table, updates of random rows, 200 bytes each. */
import { BatchBuilder, type ChangeBatch } from '../contracts/change-batch.ts';
import { buildKey } from '../contracts/key.ts';
import { Op } from '../contracts/op.ts';
import { buildImage } from '../contracts/row-image.ts';
import { encodeSchema, type TableSchema } from '../contracts/schema.ts';

const NONE = Buffer.alloc(0);
export const TABLE = 1;
const ID_DIGITS = 10;
const BODIES = 4096;
const BODY_BYTES = 110;
const WORDS = ['order', 'paid', 'shipped', 'returned', 'customer', 'note', 'street', 'invoice', 'express', 'gift', 'urgent', 'partial'];

const text = { kind: 'text', length: null, fixed: false } as const;
const column = { nullable: false, constantDefault: null, fill: null, generated: 'no', identity: 'no', nativeType: 'text' } as const;
const SCHEMA: TableSchema = {
  tableId: TABLE, version: 1, sourceTableId: '16384', namespace: 'public', name: 'orders', keyKind: 'primary', key: [0],
  columns: ['id', 'state', 'amount', 'body'].map((name, index) => ({ ...column, number: index + 1, name, type: text })),
};

/** Batches of about a megabyte, each of some hundred transactions. The same for the same seed. */
export class CompactLoad {
  readonly #keys: number;
  #seed: number;
  #transaction = 0;
  readonly #bodies: Buffer[] = [];
  readonly #idAt: number;
  readonly #key = buildKey(['0'.repeat(ID_DIGITS)]);

  constructor(keys: number, seed: number) {
    this.#keys = keys;
    this.#seed = seed;
    for (let index = 0; index < BODIES; index++) {
      let body = '';
      while (body.length < BODY_BYTES) body += `${WORDS[Math.floor(this.#unit() * WORDS.length)]} ${Math.floor(this.#unit() * 1e5)} `;
      this.#bodies.push(buildImage(['0'.repeat(ID_DIGITS), WORDS[index % WORDS.length] ?? '', (this.#unit() * 1e4).toFixed(2), body]));
    }
    this.#idAt = (this.#bodies[0] ?? NONE).indexOf('0'.repeat(ID_DIGITS));
  }

  /** The key of any row. */
  key(): Buffer {
    writeDigits(this.#key, 4, Math.floor(this.#unit() * this.#keys));
    return this.#key;
  }

  schema(): ChangeBatch {
    const builder = new BatchBuilder();
    builder.begin('source', 1, 1);
    builder.record(Op.schema, 0, TABLE, 1, NONE, NONE, encodeSchema(SCHEMA));
    builder.commit(this.#position());
    return builder.take();
  }

  next(): ChangeBatch {
    const builder = new BatchBuilder();
    while (builder.length < 1 << 20) {
      builder.begin('source', ++this.#transaction, this.#transaction * 1000);
      for (let row = 0; row < 20; row++) {
        const id = Math.floor(this.#unit() * this.#keys);
        const body = this.#bodies[Math.floor(this.#unit() * BODIES)] ?? NONE;
        writeDigits(this.#key, 4, id);
        writeDigits(body, this.#idAt, id);
        builder.record(Op.update, 0, TABLE, 1, this.#key, NONE, body);
      }
      builder.commit(this.#position());
    }
    return builder.take();
  }

  #position(): Buffer {
    const position = Buffer.alloc(8);
    position.writeUInt32BE(this.#transaction, 4);
    return position;
  }

  #unit(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

function writeDigits(into: Buffer, at: number, value: number): void {
  let rest = value;
  for (let digit = at + ID_DIGITS - 1; digit >= at; digit--) {
    into[digit] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}
