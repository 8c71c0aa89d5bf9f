import type pg from 'pg';
import { expect } from 'vitest';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import { type ModelRow, SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { Swap } from '../../../contracts/rebuild.ts';
import type { TableSchema } from '../../../contracts/schema.ts';
import type { Sink, SinkBatch, TableSelector } from '../../../contracts/sink.ts';
import type { PostgresSink } from '../../../sinks/postgres/sink.ts';
import type { PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { type ReplicaPlace, replicaPlace } from './replica-place.ts';

/** A replica that is served by a sink, a model of the log, and what was appended to it, to fill a shadow with. */
export class ShadowStand implements AsyncDisposable {
  readonly place: ReplicaPlace;
  readonly model: SinkModel;
  /** Of the hub that serves the replica and rebuilds it. */
  readonly sink: PostgresSink;
  readonly signal: AbortSignal = new AbortController().signal;
  readonly log: SinkBatch[] = [];
  /** Where the sink stands. */
  at: Checkpoint | null = null;
  readonly #options: Partial<SinkConfig>;
  readonly #extra: Sink[] = [];

  constructor(place: ReplicaPlace, options: Partial<SinkConfig> = {}, model: SinkModel = new SinkModel()) {
    this.place = place;
    this.#options = options;
    this.model = model;
    this.sink = this.another();
  }

  static async open(server: PostgresServer, options: Partial<SinkConfig> = {}): Promise<ShadowStand> {
    const stand = new ShadowStand(await replicaPlace(server), options);
    await stand.sql('SET search_path = public');
    await stand.sink.open(stand.model.start(), stand.signal);
    return stand;
  }

  /** The sink of another hub, or of this one after a restart. */
  another(): PostgresSink {
    const sink = this.place.sink({ options: { lock_timeout: '500ms', ...this.#options.options }, ...withoutOptions(this.#options) });
    this.#extra.push(sink);
    return sink;
  }

  /** Appends what the model has gathered to the log, and to nothing else. */
  append(): SinkBatch {
    const batch = this.model.batch();
    this.log.push(batch);
    return batch;
  }

  /** Appends, and applies to the sink that is served. */
  async apply(): Promise<void> {
    const batch = this.append();
    await deliver(this.sink, batch, this.signal);
    this.at = this.checkpointAt(batch.to);
  }

  /** Fills the shadow from the log, from where it stands, and closes it. */
  async fill(options: { readonly selects?: TableSelector; readonly to?: number; readonly of?: PostgresSink } = {}): Promise<Checkpoint> {
    const { selects = () => true, to = this.model.offset, of = this.sink } = options;
    await using shadow = of.shadow.open(selects);
    const checkpoint = await shadow.open(this.model.start(), this.signal);
    for (const batch of this.log) {
      if (batch.to > (checkpoint?.offset ?? 0) && batch.to <= to) await deliver(shadow, selected(batch, selects), this.signal);
    }
    return this.checkpointAt(to);
  }

  /** The swap of the whole sink to where the log ends. */
  request(change: Partial<Swap> = {}): Swap {
    return { from: this.at, to: this.checkpointAt(this.model.offset), tables: this.model.tables.map((table) => table.schema), whole: true, ...change };
  }

  /** Fills the shadow, prepares and swaps it in. */
  async rebuild(change: Partial<Swap> = {}): Promise<void> {
    await this.fill();
    const request = this.request(change);
    await this.sink.shadow.finish(request.tables, () => undefined, this.signal);
    await this.sink[Symbol.asyncDispose]();
    await this.swap(request);
  }

  async swap(request: Swap = this.request(), of: PostgresSink = this.sink): Promise<void> {
    await of.shadow.swap(request, this.signal);
    this.at = request.to;
  }

  checkpointAt(offset: number): Checkpoint {
    return { logId: this.model.logId, epoch: this.model.epoch, offset, position: Buffer.from(`position-${offset}`), cursor: null, fence: 0 };
  }

  /** One statement at the replica, as somebody else; rows of text. */
  async sql(text: string): Promise<(string | null)[][]> {
    const result = await this.place.reader.query<(string | null)[]>({ text, rowMode: 'array' });
    // Several statements have a result each, whatever the declared type says.
    const last = Array.isArray(result) ? (result as pg.QueryArrayResult<(string | null)[]>[]).at(-1) : result;
    return (last?.rows ?? []).map((row) => row.map((cell) => (cell === null ? null : String(cell))));
  }

  /** The replica holds what the model says. */
  async expectEqual(tables: readonly { readonly schema: TableSchema; expected(): ModelRow[] }[] = this.model.tables): Promise<void> {
    for (const table of tables) {
      const found = await this.place.rows(table.schema);
      expect(found === null ? null : sorted(found), table.schema.name).toEqual(sorted(table.expected()));
    }
  }

  /** Of the shadow there is nothing, and the sink stands at `offset`. */
  async expectOneSet(offset: number): Promise<void> {
    expect(await leftovers(this.place)).toEqual([]);
    expect(await this.sql("SELECT sink, \"offset\" FROM tidemark.checkpoint")).toEqual([['replica', String(offset)]]);
  }

  /** The sink goes on from where the swap has left it. */
  async goOn(of: PostgresSink = this.sink): Promise<void> {
    const checkpoint = await of.open(this.model.start(), this.signal);
    expect(checkpoint?.offset).toBe(this.at?.offset);
    for (const batch of this.log) if (batch.to > (checkpoint?.offset ?? 0)) await deliver(of, batch, this.signal);
    this.at = this.checkpointAt(this.model.offset);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sink of this.#extra) await sink[Symbol.asyncDispose]();
    await this.place[Symbol.asyncDispose]();
  }
}

function withoutOptions(options: Partial<SinkConfig>): Partial<SinkConfig> {
  const { options: _, ...rest } = options;
  return rest;
}

export async function deliver(sink: Sink, batch: SinkBatch, signal: AbortSignal): Promise<void> {
  const { accepted, durable } = sink.apply(batch, signal);
  await accepted;
  await durable;
}

/** The batch as the hub folds it for some of the tables. */
function selected(batch: SinkBatch, selects: TableSelector): SinkBatch {
  const steps = batch.steps.flatMap((step): SinkBatch['steps'] => {
    if (step.kind === 'schema') return selects(step.after) ? [step] : [];
    if (step.kind === 'table-state') return selects(step.table) ? [step] : [];
    const tables = step.tables.filter((table) => selects(table.schema));
    return tables.length === 0 ? [] : [{ kind: 'rows', tables }];
  });
  return { ...batch, steps };
}

/** Schemas, tables, types and records of a shadow in the database. */
export async function leftovers(place: Pick<ReplicaPlace, 'reader'>): Promise<string[]> {
  const { rows } = await place.reader.query<{ what: string }>(`
    SELECT 'schema ' || nspname AS what FROM pg_namespace WHERE nspname LIKE 'tidemark_shadow%'
    UNION ALL SELECT 'relation ' || relname FROM pg_class WHERE relname LIKE 'rebuilt_%'
    UNION ALL SELECT 'constraint ' || conname FROM pg_constraint WHERE conname LIKE 'rebuilt_%'
    UNION ALL SELECT 'checkpoint ' || sink FROM tidemark.checkpoint WHERE sink LIKE '%shadow%'
    UNION ALL SELECT 'record ' || table_name FROM tidemark.mirrored_table WHERE sink LIKE '%shadow%'`);
  return rows.map((row) => row.what);
}

function sorted(rows: readonly ModelRow[]): string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted();
}
