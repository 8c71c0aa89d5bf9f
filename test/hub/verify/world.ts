/**
 * A source whose commits become visible late, its log, and a sink that follows the log and may be made wrong: all in
 * memory. What must be found is worked out from the records themselves.
 */
import { BatchBuilder, type ChangeBatch } from '../../../contracts/change-batch.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import { encodeControl } from '../../../contracts/control.ts';
import { positionAt } from '../../../contracts/kit/log-workload.ts';
import type { LogWriter, SourceLog } from '../../../contracts/log-engine.ts';
import { Op } from '../../../contracts/op.ts';
import type { Position } from '../../../contracts/position.ts';
import { RecordView } from '../../../contracts/record.ts';
import { encodeSchema, type TableSchema } from '../../../contracts/schema.ts';
import type { SinkBatch } from '../../../contracts/sink.ts';
import type { SinkSnapshot, SourceSnapshot, SumsRequest } from '../../../contracts/verify.ts';
import { EmbeddedLogEngine } from '../../../hub/log/embedded/engine.ts';
import type { VerifyParts } from '../../../hub/verify/places.ts';
import { FaultyFiles } from '../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom } from '../../fixtures/runtime.ts';
import { noLock } from '../log/embedded/no-lock.ts';
import { batchOf, chosenOf, differencesOf, KEYLESS, parsed, recordOf, Rows, schemaOf, summed, TABLES, textOfImage, textOfKey, touchesSame, type Change, type Row, type Summing, type Transaction } from './world-rows.ts';

const NONE = Buffer.alloc(0);
const WAYS: readonly Summing[] = ['whole', 'bitwise', 'whole', 'never', 'broken-off'];
const NEVER = new AbortController().signal;

export interface WorldOptions {
  readonly unit: () => number;
  /** Bytes of a segment: how finely history can be folded. */
  readonly segmentBytes?: number;
  readonly isExact?: boolean;
}

export class World implements AsyncDisposable {
  readonly files: FaultyFiles;
  readonly log: SourceLog;
  readonly config: SinkConfig;
  /** Called before a snapshot is taken of either place, and before keys are asked for. */
  meanwhile: () => Promise<void> = () => Promise.resolve();
  /** Spoils what a snapshot of the source shows. */
  spoilsSource: (rows: Rows) => void = () => undefined;
  /** By the offset at which a snapshot of the sink was taken, what differed then: by table id. */
  readonly wrongAt = new Map<number, Map<number, string[]>>();
  #stands = false;
  readonly transactions: Transaction[] = [];
  readonly unit: () => number;
  readonly isExact: boolean;
  /** What the sink has. */
  sink = new Rows();
  sinkAt = 0;
  readonly #engine: EmbeddedLogEngine;
  readonly #writer: LogWriter;
  readonly #runtime: ReturnType<typeof createTestRuntime>;
  /** The source with every commit. */
  readonly #source = new Rows();
  readonly #versions = new Map<number, number>();
  /** Source transactions that are in the log and that no snapshot shows yet, by xid. */
  readonly hidden = new Set<number>();
  /** Everything that was ever written, with its offset: what the sink applies. */
  readonly #applied: { readonly offset: number; readonly change: Change | { readonly widen: number } }[] = [];
  #xid = 100;
  #unknownTo = 0;
  #time = 1_700_000_000_000_000;
  #names = 0;
  /** How often a place was asked to sum. */
  #asked = 0;

  private constructor(options: WorldOptions, files: FaultyFiles, engine: EmbeddedLogEngine, log: SourceLog, writer: LogWriter, runtime: ReturnType<typeof createTestRuntime>) {
    this.unit = options.unit;
    this.isExact = options.isExact ?? true;
    this.files = files;
    this.#engine = engine;
    this.log = log;
    this.#writer = writer;
    this.#runtime = runtime;
    this.config = {
      name: 'replica', type: 'memory', from: 'shop', tables: () => true, tablePatterns: ['public.*'],
      tableOptions: new Map(), onError: 'stop', options: {},
    };
  }

  static async open(options: WorldOptions): Promise<World> {
    const files = new FaultyFiles(seededRandom(3));
    const runtime = createTestRuntime({ files, seed: Math.floor(options.unit() * 2 ** 32) });
    const engine = await EmbeddedLogEngine.create('/data', runtime, { segmentBytes: options.segmentBytes ?? 2048, unsyncedBytes: 1 << 20, recentBytes: 1024, lock: noLock });
    const log = await engine.open('shop', { create: true });
    const world = new World(options, files, engine, log, await log.openWriter(() => undefined), runtime);
    for (const tableId of TABLES) await world.#newTable(tableId);
    // The log has a position of the source.
    await world.commit();
    return world;
  }

  draw(below: number): number {
    return Math.floor(this.unit() * below);
  }

  /** One transaction of the source; it may stay invisible for a while. */
  async commit(): Promise<void> {
    const changes: Change[] = [];
    const xid = ++this.#xid;
    for (let left = 1 + this.draw(5); left > 0; left--) changes.push(this.#change());
    const last: Transaction = { xid, changes, end: 0, widens: [] };
    await this.#append(last);
    // Whoever changes what another one has changed has waited until that one was visible.
    const waits = [...this.hidden].some((other) => this.transactions.some((one) => one.xid === other && touchesSame(one, last)));
    if (waits) this.hidden.clear();
    if (this.draw(3) === 0) this.hidden.add(xid);
  }

  /** A table gets a column, in a transaction that changes a row of it. */
  async widen(tableId: number): Promise<void> {
    if (this.#versions.get(tableId) !== 1) return;
    this.hidden.clear();
    this.#versions.set(tableId, 2);
    this.#source.widen(tableId);
    const row = this.#newRow(tableId);
    await this.#append({ xid: ++this.#xid, changes: [{ tableId, op: 'c', before: null, after: row }], end: 0, widens: [tableId] });
    this.#source.apply({ tableId, op: 'c', before: null, after: row });
  }

  /** A table with a key is copied again: its rows as a snapshot shows them, and what that does not show once more. */
  async recopy(tableId: number): Promise<void> {
    const version = this.#versions.get(tableId) ?? 1;
    await this.#hub((builder) => builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl({ type: 'copying', reason: 'recopy', copyState: '' })));
    const shown = this.visible();
    const window = this.transactions.filter(({ xid }) => this.hidden.has(xid));
    const first = window[0]?.end ?? Infinity;
    await this.#hub((builder) => {
      for (const row of shown.of(tableId).values()) recordOf(builder, { tableId, op: 'c', before: null, after: parsed(row) }, version, Op.read);
      for (const { changes } of this.transactions.filter(({ end }) => end >= first)) {
        for (const change of changes) if (change.tableId === tableId) recordOf(builder, change, version);
      }
    });
    await this.#hub((builder) => builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl({ type: 'copied', rows: 0 })));
  }

  /** Changes were missed: tables with a key are copied again, and no snapshot knows the transactions of before. */
  async gap(): Promise<void> {
    this.hidden.clear();
    this.#unknownTo = this.#xid;
    await this.#hub((builder) => builder.record(Op.control, 0, 0, 0, NONE, NONE, encodeControl({ type: 'gap', why: 'a test' })));
    for (const tableId of TABLES) if (tableId !== KEYLESS) await this.recopy(tableId);
  }

  /** The source as a snapshot shows it now. */
  visible(): Rows {
    const rows = new Rows();
    for (const { xid, changes, widens } of this.transactions) {
      for (const tableId of widens) rows.widen(tableId);
      if (!this.hidden.has(xid)) for (const change of changes) rows.apply(change);
    }
    return rows;
  }

  /** The log as of an offset. */
  at(offset: number): Rows {
    const rows = new Rows();
    for (const { offset: at, change } of this.#applied) {
      if (at > offset) break;
      if ('widen' in change) rows.widen(change.widen);
      else rows.apply(change);
    }
    return rows;
  }

  /** The sink applies what the log has, up to an offset. */
  follow(to: number): void {
    for (const { offset, change } of this.#applied) {
      if (offset <= this.sinkAt || offset > to) continue;
      if ('widen' in change) this.sink.widen(change.widen);
      else this.sink.apply(change);
    }
    this.sinkAt = Math.max(this.sinkAt, to);
  }

  /** What differs between the log, where the sink stands, and the sink: by table id. */
  wrong(): Map<number, string[]> {
    const expected = this.at(this.sinkAt);
    return new Map(TABLES.map((tableId) => [tableId, differencesOf(tableId, expected, this.sink)]));
  }

  /** Makes a row of the sink wrong. */
  damage(): void {
    const tableId = 1 + this.draw(3);
    const rows = this.sink.of(tableId);
    const keys = [...rows.keys()];
    const key = keys[this.draw(keys.length)];
    const kind = this.draw(4);
    if (tableId === KEYLESS) {
      if (kind === 0 || key === undefined) this.sink.count(JSON.stringify(this.#newRow(KEYLESS)), 1 + this.draw(2));
      else this.sink.count(key, kind === 1 ? 1 : -1);
      return;
    }
    if (kind === 0 || key === undefined) {
      const row = this.#newRow(tableId);
      rows.set(row[0] ?? '', JSON.stringify(row));
    } else if (kind === 1) rows.delete(key);
    else {
      const cells = [...parsed(rows.get(key) ?? '[]')];
      // NULL is not the empty text.
      cells[1 + this.draw(cells.length - 1)] = [null, '', `wrong ${++this.#names}`][this.draw(3)] ?? null;
      rows.set(key, JSON.stringify(cells));
    }
  }

  async compact(): Promise<void> {
    // What is folded is visible at the source since long.
    const first = this.transactions.find(({ xid }) => this.hidden.has(xid))?.end ?? Infinity;
    const { highWatermark } = this.log.state();
    await this.log.compact(Math.min(first - 1, this.draw(highWatermark + 1)), { memoryBytes: 4 << 20, share: 1 }, NEVER);
  }

  parts(): VerifyParts {
    return {
      config: this.config, log: this.log, runtime: this.#runtime, directory: '/data/verify', leases: true,
      sink: { limits: { wholeTransactions: true, maxKeys: 100 }, snapshot: () => this.#sinkSnapshot() },
      letters: () => [],
      source: {
        snapshot: () => this.#sourceSnapshot(),
        passed: (passed) => {
          const state = this.log.state();
          if (state.position === null || !passed(state.position)) throw new Error('the log has not come past the snapshot');
          return Promise.resolve(state.highWatermark);
        },
        recopied: () => Promise.reject(new Error('not to be copied')),
      },
      worker: {
        isAtWork: true,
        isRebuilding: false,
        visit: async (work) => {
          this.#stands = true;
          try {
            const at = { after: this.sinkAt, position: positionAt(this.#xid), commitTime: this.#time };
            await work({ at, apply: (batch) => Promise.resolve(this.#rewrite(batch)) });
          } finally {
            this.#stands = false;
          }
        },
        reached: (offset) => Promise.resolve(offset),
      },
      printPosition: (position) => Buffer.from(position).toString('hex'),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
    await this.#engine[Symbol.asyncDispose]();
  }

  async #sinkSnapshot(): Promise<SinkSnapshot> {
    if (!this.#stands) await this.meanwhile();
    const { log } = this;
    const offset = this.sinkAt;
    this.wrongAt.set(offset, this.wrong());
    const frozen = this.sink.clone();
    const now = (): Rows => (this.isExact ? frozen : this.sink);
    const { logId } = log.state();
    return {
      isExact: this.isExact,
      checkpoint: { logId, epoch: log.epochAt(offset), offset, position: positionAt(offset), fence: 1, cursor: null },
      expected: (_schema, rows) => Promise.resolve(rows),
      mayLack: () => false,
      ...(this.isExact ? { sums: (schema: TableSchema, request: SumsRequest) => summed(this.#read(now, schema), request, this.#summing()) } : {}),
      rows: (schema, _signal, only) => (only === undefined ? this.#read(now, schema) : chosenOf(this.#read(now, schema), only)),
      find: async function* (schema, keys) {
        const wanted = new Set(keys.map((key) => Buffer.from(key).toString('hex')));
        yield* batchOf(now(), schema, (key) => wanted.has(key));
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  /** One way after the other. */
  #summing(): Summing {
    return WAYS[this.#asked++ % WAYS.length] ?? 'never';
  }

  /** In two parts, between which others go on where the sink has no snapshots. */
  async *#read(now: () => Rows, schema: TableSchema): AsyncGenerator<ChangeBatch, void, void> {
    const first = (key: string): boolean => key.charCodeAt(key.length - 1) % 2 === 0;
    yield* batchOf(now(), schema, first);
    if (!this.isExact && !this.#stands) await this.meanwhile();
    yield* batchOf(now(), schema, (key) => !first(key));
  }

  async #sourceSnapshot(): Promise<SourceSnapshot> {
    await this.meanwhile();
    const frozen = this.visible();
    this.spoilsSource(frozen);
    const hidden = new Set(this.hidden);
    const upTo = this.#xid;
    return {
      isExact: true,
      sees: ({ kind, xid }) => kind === 'hub' || (xid <= upTo && xid > this.#unknownTo && !hidden.has(xid)),
      passedBy: (position: Position) => Buffer.from(position).readBigUInt64BE() >= BigInt(upTo),
      sums: (schema, request) => summed(batchOf(frozen, schema, () => true), request, this.#summing()),
      rows: (schema, _signal, only) => (only === undefined ? batchOf(frozen, schema, () => true) : chosenOf(batchOf(frozen, schema, () => true), only)),
      find: async function* (schema, keys) {
        const wanted = new Set(keys.map((key) => Buffer.from(key).toString('hex')));
        yield* batchOf(frozen, schema, (key) => wanted.has(key));
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  /** What the sink's own worker is told to write. */
  #rewrite(batch: SinkBatch): void {
    if (batch.after !== this.sinkAt || batch.to !== this.sinkAt) throw new Error('a rewrite that is not where the sink stands');
    const view = new RecordView();
    for (const step of batch.steps) {
      if (step.kind !== 'rows') throw new Error('a rewrite of something else than rows');
      for (const { schema: { tableId }, deletes, upserts, inserts } of step.tables) {
        for (const { batch: { records }, at } of deletes) {
          view.seek(records, at);
          if (tableId === KEYLESS) this.sink.count(textOfImage(view.before()), -1);
          else this.sink.of(tableId).delete(textOfKey(view.key()));
        }
        for (const { batch: { records }, at } of [...upserts, ...inserts]) {
          view.seek(records, at);
          if (tableId === KEYLESS) this.sink.count(textOfImage(view.after()), 1);
          else this.sink.of(tableId).set(textOfKey(view.key()), textOfImage(view.after()));
        }
      }
    }
  }

  async #newTable(tableId: number): Promise<void> {
    this.#versions.set(tableId, 1);
    await this.#hub((builder) => {
      builder.record(Op.schema, 0, tableId, 1, NONE, NONE, encodeSchema(schemaOf(tableId, 1)));
      builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl({ type: 'copying', reason: 'first', copyState: '' }));
      builder.record(Op.control, 0, tableId, 0, NONE, NONE, encodeControl({ type: 'copied', rows: 0 }));
    });
  }

  #newRow(tableId: number): Row {
    const wide = this.#versions.get(tableId) === 2;
    const id = tableId === KEYLESS ? String(this.draw(4)) : `row ${++this.#names}`;
    const cells = [id, this.draw(4) === 0 ? null : `name ${this.draw(3)}`, this.draw(3) === 0 ? '' : 'note'];
    return wide ? [...cells, this.draw(2) === 0 ? 'filled' : `added ${this.draw(3)}`] : cells;
  }

  /** A change of a row that is there, or a new one; applied to the source. */
  #change(): Change {
    const tableId = 1 + this.draw(3);
    const rows = this.#source.of(tableId);
    const keys = [...rows.keys()];
    const key = keys[this.draw(keys.length)];
    const kind = this.draw(20);
    const present = key === undefined ? null : parsed(tableId === KEYLESS ? key : (rows.get(key) ?? '[]'));
    let change: Change;
    if (kind === 0) change = { tableId, op: 't', before: null, after: null };
    else if (present === null || kind < 9) change = { tableId, op: 'c', before: null, after: this.#newRow(tableId) };
    else if (kind < 14) change = { tableId, op: 'd', before: present, after: null };
    else {
      const row = this.#newRow(tableId);
      change = { tableId, op: 'u', before: present, after: tableId === KEYLESS ? row : [present[0] ?? '', ...row.slice(1)] };
    }
    this.#source.apply(change);
    return change;
  }

  async #append(transaction: Transaction): Promise<void> {
    const builder = new BatchBuilder(1024);
    this.#time += 1000;
    builder.begin('source', transaction.xid, this.#time);
    let offset = this.#writer.lastOffset;
    for (const tableId of transaction.widens) {
      builder.record(Op.schema, 0, tableId, 2, NONE, NONE, encodeSchema(schemaOf(tableId, 2)));
      this.#applied.push({ offset: ++offset, change: { widen: tableId } });
    }
    const parts: ChangeBatch[] = [];
    for (const change of transaction.changes) {
      recordOf(builder, change, this.#versions.get(change.tableId) ?? 1);
      this.#applied.push({ offset: ++offset, change });
      // A transaction may stand in several batches.
      if (this.draw(4) === 0) parts.push(builder.take());
    }
    builder.commit(positionAt(transaction.xid));
    parts.push(builder.take());
    for (const part of parts) await this.#writer.append(part);
    await this.#writer.flush();
    transaction.end = this.log.state().highWatermark;
    this.transactions.push(transaction);
  }

  async #hub(build: (builder: BatchBuilder) => void): Promise<void> {
    const builder = new BatchBuilder(1024);
    builder.begin('hub', 0, this.#time);
    build(builder);
    builder.commit(positionAt(this.#xid));
    await this.#writer.append(builder.take());
    await this.#writer.flush();
    // What the hub writes again leaves the log, folded, as it was.
  }
}
