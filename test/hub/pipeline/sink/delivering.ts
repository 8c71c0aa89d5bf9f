/** A sink in memory behind a real log: what tests of the delivery stand on. */
import { join } from 'node:path';
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { buildKey } from '../../../../contracts/key.ts';
import { encodeControl } from '../../../../contracts/control.ts';
import type { LogWriter, SourceLog } from '../../../../contracts/log-engine.ts';
import { Op } from '../../../../contracts/op.ts';
import { buildImage } from '../../../../contracts/row-image.ts';
import { encodeSchema } from '../../../../contracts/schema.ts';
import type { Sink } from '../../../../contracts/sink.ts';
import { selectTables } from '../../../../hub/config/table-patterns.ts';
import { DeadLetters } from '../../../../hub/dead-letters/dead-letters.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { Deliver } from '../../../../hub/pipeline/sink/deliver.ts';
import { Part } from '../../../../hub/pipeline/part.ts';
import { SinkTables } from '../../../../hub/pipeline/sink/sink-tables.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { temporaryDirectory } from '../../../fixtures/temp.ts';
import { positionOf, valueOf } from '../source/numbered-positions.ts';
import { scriptedSchema } from '../source/scripted-source.ts';

const NONE = new Uint8Array(0);

/** A log that a test writes to, with tables t1 and t2; and what a sink that mirrors them should hold. */
export class TestLog {
  readonly log: SourceLog;
  readonly writer: LogWriter;
  readonly rows = new Map<string, string>();
  #xid = 0;
  #builder = new BatchBuilder(4096);

  constructor(log: SourceLog, writer: LogWriter) {
    this.log = log;
    this.writer = writer;
  }

  async begin(): Promise<void> {
    this.#builder.begin('hub', 0, 0);
    for (const id of [1, 2]) this.#builder.record(Op.schema, 0, id, 1, NONE, NONE, encodeSchema(scriptedSchema(id)));
    this.#builder.commit(positionOf(0));
    await this.#append();
  }

  /** One transaction; a value of null deletes. Answers its last offset. */
  async commit(changes: readonly { table: number; key: number; value: number | null }[], cutAfter = Infinity): Promise<number> {
    this.#xid++;
    this.#builder.begin('source', this.#xid, this.#xid);
    for (const { table, key, value } of changes) {
      const name = `public.t${table}/${key}`;
      const image = value === null ? NONE : buildImage([String(key), String(value)]);
      this.#builder.record(value === null ? Op.delete : Op.update, 0, table, 1, buildKey([String(key)]), NONE, image);
      if (value === null) this.rows.delete(name);
      else this.rows.set(name, `${key},${value}`);
      if (this.#builder.count >= cutAfter) await this.#append();
    }
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  /** A transaction that gives a table another shape, and then these rows. */
  async reshape(table: number, keys: readonly number[]): Promise<number> {
    const schema = scriptedSchema(table);
    this.#builder.begin('source', ++this.#xid, this.#xid);
    const columns = schema.columns.map((column) => ({ ...column, nullable: true }));
    this.#builder.record(Op.schema, 0, table, 2, NONE, NONE, encodeSchema({ ...schema, version: 2, columns }));
    for (const key of keys) this.#builder.record(Op.update, 0, table, 2, buildKey([String(key)]), NONE, buildImage([String(key), 'x']));
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  /** A transaction: a row of t2 whose value is no number, rows of a table without a key, then a column more for t1, and rows with it. */
  async mixed(bag: { readonly table: number; readonly rows: readonly string[] }, keys: readonly number[]): Promise<number> {
    const schema = scriptedSchema(1);
    this.#builder.begin('source', ++this.#xid, this.#xid);
    this.#builder.record(Op.create, 0, 2, 1, buildKey(['1']), NONE, buildImage(['1', 'x']));
    for (const row of bag.rows) this.#builder.record(Op.create, 0, bag.table, 1, NONE, NONE, buildImage(['1', row]));
    const more = { number: 3, name: 'more', type: { kind: 'int64' }, nativeType: 'bigint', nullable: true, constantDefault: null, fill: null, generated: 'no', identity: 'no' } as const;
    this.#builder.record(Op.schema, 0, 1, 2, NONE, NONE, encodeSchema({ ...schema, version: 2, columns: [...schema.columns, more] }));
    for (const key of keys) this.#builder.record(Op.update, 0, 1, 2, buildKey([String(key)]), NONE, buildImage([String(key), '5', '7']));
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  /** A transaction that brings a table without a key, and a row of it. */
  async keyless(table: number): Promise<number> {
    this.#builder.begin('source', ++this.#xid, this.#xid);
    this.#builder.record(Op.schema, 0, table, 1, NONE, NONE, encodeSchema({ ...scriptedSchema(table), keyKind: 'none', key: [] }));
    this.#builder.record(Op.create, 0, table, 1, NONE, NONE, buildImage(['1', '2']));
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  /** A transaction that brings a table without a key, with these rows: a number, and a text. */
  async bag(table: number, rows: readonly string[]): Promise<number> {
    this.#builder.begin('source', ++this.#xid, this.#xid);
    this.#builder.record(Op.schema, 0, table, 1, NONE, NONE, encodeSchema({ ...scriptedSchema(table), keyKind: 'none', key: [] }));
    for (const row of rows) this.#builder.record(Op.create, 0, table, 1, NONE, NONE, buildImage(['1', row]));
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  /** A transaction that removes a table. */
  async remove(table: number): Promise<number> {
    this.#builder.begin('source', ++this.#xid, this.#xid);
    this.#builder.record(Op.control, 0, table, 0, NONE, NONE, encodeControl({ type: 'removed' }));
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  /** A transaction that gives a table another name. */
  async rename(table: number, name: string): Promise<number> {
    this.#builder.begin('source', ++this.#xid, this.#xid);
    this.#builder.record(Op.schema, 0, table, 2, NONE, NONE, encodeSchema({ ...scriptedSchema(table), version: 2, name }));
    this.#builder.commit(positionOf(this.#xid));
    await this.#append();
    await this.writer.flush();
    return this.writer.lastOffset;
  }

  async #append(): Promise<void> {
    await this.writer.append(this.#builder.take());
  }
}

export async function delivering(sink: Sink, options: { patterns?: readonly string[]; bytes?: number; onError?: 'stop' | 'dead-letter'; segmentBytes?: number } = {}) {
  const directory = await temporaryDirectory('deliver');
  const runtime = createTestRuntime();
  const { segmentBytes } = options;
  const engine = await EmbeddedLogEngine.create(directory.path, runtime, segmentBytes === undefined ? {} : { segmentBytes });
  const log = await engine.open('shop', { create: true });
  const writer = await log.openWriter(() => undefined);
  const testLog = new TestLog(log, writer);
  await testLog.begin();
  const { patterns = ['public.*'], bytes = 1 << 20, onError = 'stop' } = options;
  const lettersPath = join(directory.path, 'letters.json');
  const letters = await DeadLetters.load(runtime.files, lettersPath);
  /** A pipeline for the sink, with these tables. */
  const pipeline = (tablePatterns: readonly string[]) => {
    const config = {
      name: 'copy', type: 'memory', from: 'shop', tables: selectTables(tablePatterns), tablePatterns, tableOptions: new Map(), onError, options: {},
    };
    const tables = new SinkTables(runtime.files, join(directory.path, 'tables.json'), config);
    const deliver = new Deliver({ config, sink, log, letters, tables, runtime, bytes, printPosition, heldLease: null, rests: () => false,
      onLoaded: () => undefined, onApplied: () => undefined, onJoined: () => undefined });
    const eager = { ...runtime, clock: { ...runtime.clock, sleep: () => Promise.resolve() } };
    return { deliver, part: new Part('sink copy', deliver, eager) };
  };
  const { deliver, part } = pipeline(patterns);
  return {
    deliver, part, pipeline, log, source: testLog, runtime, letters, lettersPath,
    async [Symbol.asyncDispose]() {
      await part.stop();
      await writer[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

export function printPosition(position: Uint8Array): string | null {
  return position.length === 0 ? null : `at ${valueOf(position)}`;
}

export function patience(): AbortSignal {
  return AbortSignal.timeout(20_000);
}

