/** Batches for the tests of log engines: drawn from a source of randomness, or made by hand. */
import type { Catalog } from '../catalog.ts';
import { BatchBuilder, type ChangeBatch } from '../change-batch.ts';
import { encodeControl, type Control } from '../control.ts';
import { buildKey } from '../key.ts';
import { Op } from '../op.ts';
import { buildImage } from '../row-image.ts';
import { encodeSchema, type TableSchema } from '../schema.ts';

const NONE = Buffer.alloc(0);

/** A source position for tests: a number as 8 bytes. */
export function positionAt(number: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(number));
  return bytes;
}

/** Numbers 0 <= x < 1 that the seed determines. */
export function seededUnit(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The schema of a table with a key and a value. */
export function workloadSchema(tableId: number, version = 1, keyless = false): TableSchema {
  const text = { kind: 'text', length: null, fixed: false } as const;
  const column = { nullable: true, constantDefault: null, fill: null, generated: 'no', identity: 'no', nativeType: 'text' } as const;
  const columns = [{ ...column, number: 1, name: 'id', type: text }, { ...column, number: 2, name: `value_${version}`, type: text }];
  return { tableId, version, sourceTableId: String(1000 + tableId), namespace: 'public', name: `table_${tableId}`, columns, keyKind: keyless ? 'none' : 'primary', key: keyless ? [] : [0] };
}

/** What draws the workload. */
export interface WorkloadOptions {
  /** 0 <= x < 1, from a seed. */
  readonly unit: () => number;
  readonly tables: number;
  /** Bytes of the largest value. */
  readonly valueBytes: number;
  /** Tables without a key, beside the others: their ids follow. Default 0. */
  readonly keyless?: number;
  /** False: no copy of a table ever begins, which would hold the horizon. Default: true. */
  readonly copies?: boolean;
  /** Microseconds from one transaction to the next. Default 1. */
  readonly pace?: number;
}

/**
 * An endless source of batches as a connector makes them: transactions of the source and of the hub, whole and across
 * batches, empty ones, keepalives, schema and control records. Never breaks a rule of the log.
 */
export class LogWorkload {
  readonly #options: WorkloadOptions;
  #builder = new BatchBuilder(1024);
  #versions = new Map<number, number>();
  /** Rows of keyless tables that are there: what is not there cannot be deleted. */
  readonly #rows = new Map<number, Buffer[]>();
  #kind: 'source' | 'hub' = 'source';
  #xid = 700;
  #position = 0;
  #time = 1_700_000_000_000_000;

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  /** Commit time of the newest transaction, microseconds since 1970. */
  get time(): number {
    return this.#time;
  }

  /** The next batch; at times empty, at times ending inside a transaction. */
  next(): ChangeBatch {
    const steps = 1 + this.#draw(6);
    for (let step = 0; step < steps; step++) this.#step();
    return this.#builder.take();
  }

  /** A batch that ends the open transaction; null when there is none. */
  finish(): ChangeBatch | null {
    if (!this.#builder.inTransaction) return null;
    this.#commit();
    return this.#builder.take();
  }

  /** The log has lost what was not committed: go on from its catalog. */
  resumeAt(catalog: Catalog): void {
    this.#builder = new BatchBuilder(1024);
    this.#rows.clear();
    this.#versions = new Map(catalog.tables().map((table) => [table.tableId, table.versions.length]));
  }

  #step(): void {
    if (!this.#builder.inTransaction) {
      if (this.#options.unit() < 0.15) this.#builder.keepalive(positionAt(++this.#position));
      else this.#begin();
    } else if (this.#options.unit() < 0.35) this.#commit();
    else this.#record();
  }

  #begin(): void {
    this.#kind = this.#options.unit() < 0.2 ? 'hub' : 'source';
    this.#builder.begin(this.#kind, this.#kind === 'hub' ? 0 : ++this.#xid, (this.#time += this.#options.pace ?? 1), this.#draw(4) === 0 ? 'elsewhere' : '');
  }

  #commit(): void {
    // A hub transaction carries a position of before: an old one must not take the log back.
    if (this.#kind === 'source') this.#builder.commit(positionAt(++this.#position));
    else this.#builder.commit(this.#draw(2) === 0 ? NONE : positionAt(Math.max(this.#position - 1, 1)));
  }

  #record(): void {
    const { tables, keyless = 0 } = this.#options;
    const tableId = 1 + this.#draw(tables + keyless);
    const version = this.#versions.get(tableId);
    if (version === undefined || this.#options.unit() < 0.05) {
      this.#schema(tableId, (version ?? 0) + 1);
      return;
    }
    if (this.#options.unit() < 0.1) {
      this.#control(tableId);
      return;
    }
    const id = `row ${this.#draw(12)}`;
    const image = buildImage([id, 'x'.repeat(this.#draw(this.#options.valueBytes))]);
    const kind = this.#draw(8);
    if (tableId > tables) {
      this.#keylessRecord(kind, tableId, version, image);
      return;
    }
    const key = buildKey([id]);
    if (kind === 0) this.#builder.record(Op.truncate, 0, tableId, version, NONE, NONE, NONE);
    else if (kind === 1) this.#builder.record(Op.delete, 0, tableId, version, key, image, NONE);
    else this.#builder.record(kind === 2 ? Op.update : Op.create, 0, tableId, version, key, kind === 2 ? image : NONE, image);
  }

  #keylessRecord(kind: number, tableId: number, version: number, image: Buffer): void {
    const rows = this.#rows.get(tableId) ?? [];
    const [before] = kind === 1 || kind === 2 ? rows.splice(this.#draw(rows.length), 1) : [];
    if (kind === 0) {
      this.#builder.record(Op.truncate, 0, tableId, version, NONE, NONE, NONE);
      rows.length = 0;
    } else if (kind === 1 && before !== undefined) this.#builder.record(Op.delete, 0, tableId, version, NONE, before, NONE);
    else {
      this.#builder.record(before === undefined ? Op.create : Op.update, 0, tableId, version, NONE, before ?? NONE, image);
      rows.push(image);
    }
    this.#rows.set(tableId, rows);
  }

  #schema(tableId: number, version: number): void {
    this.#versions.set(tableId, version);
    this.#builder.record(Op.schema, 0, tableId, version, NONE, NONE, encodeSchema(workloadSchema(tableId, version, tableId > this.#options.tables)));
  }

  #control(tableId: number): void {
    const controls: Control[] = [
      this.#options.copies === false ? { type: 'copied', rows: 1 } : { type: 'copying', reason: 'first', copyState: `state ${this.#xid}` },
      { type: 'chunk', range: `range ${this.#xid}`, rows: 3 },
      { type: 'copied', rows: 3 },
      { type: 'gap', why: 'a test' },
    ];
    const control = controls[this.#draw(controls.length)] ?? { type: 'removed' };
    this.#builder.record(Op.control, 0, control.type === 'gap' ? 0 : tableId, 0, NONE, NONE, encodeControl(control));
  }

  #draw(below: number): number {
    return Math.floor(this.#options.unit() * below);
  }
}

/** A batch of one transaction of `rows` creates in table 1, with values of `valueBytes`. */
export function transactionBatch(parts: {
  rows: number; position: number; valueBytes?: number; schema?: boolean; tableId?: number; kind?: 'source' | 'hub'; commitTime?: number;
}): ChangeBatch {
  const builder = new BatchBuilder(1024);
  const tableId = parts.tableId ?? 1;
  builder.begin(parts.kind ?? 'source', parts.position, parts.commitTime ?? 1_700_000_000_000_000 + parts.position);
  if (parts.schema === true) builder.record(Op.schema, 0, tableId, 1, NONE, NONE, encodeSchema(workloadSchema(tableId)));
  for (let row = 0; row < parts.rows; row++) {
    const id = `${parts.position}/${row}`;
    builder.record(Op.create, 0, tableId, 1, buildKey([id]), NONE, buildImage([id, 'v'.repeat(parts.valueBytes ?? 10)]));
  }
  builder.commit(positionAt(parts.position));
  return builder.take();
}
