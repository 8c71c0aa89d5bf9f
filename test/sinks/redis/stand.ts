import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { ModelChanges } from '../../../contracts/kit/sink-kit-changes.ts';
import { KIT_COLUMNS } from '../../../contracts/kit/sink-kit-rows.ts';
import type { SinkPlace } from '../../../contracts/kit/sink-kit.ts';
import { type ModelRow, type ModelTable, SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { Sink, SinkBatch } from '../../../contracts/sink.ts';
import { openReader, type OpenReader } from './readers.ts';
import { cachePlace, type CacheSettings } from './cache-place.ts';

/** Nobody stops. */
export const never: AbortSignal = new AbortController().signal;

/** A model of a log, a sink, and a reader of the keys that the sink writes. */
export class CacheStand implements AsyncDisposable {
  readonly #place: SinkPlace;
  readonly #reader: OpenReader;
  readonly #sinks: Sink[] = [];
  model = new SinkModel();
  tables = new Map<string, ModelChanges>();
  /** Every batch of the log so far. */
  log: SinkBatch[] = [];
  sink: Sink;

  private constructor(settings: CacheSettings, reader: OpenReader) {
    this.#reader = reader;
    this.#place = cachePlace(settings, reader, () => Promise.resolve());
    this.sink = this.another();
  }

  /** @param ports of every server that has keys */
  static async at(settings: CacheSettings, ports: readonly number[]): Promise<CacheStand> {
    return new CacheStand(settings, await openReader(ports));
  }

  get client() {
    return this.#reader;
  }

  another(settings?: CacheSettings): Sink {
    const place = settings === undefined ? this.#place : cachePlace(settings, this.#reader, () => Promise.resolve());
    const sink = place.sink();
    this.#sinks.push(sink);
    return sink;
  }

  table(name = 'things'): ModelChanges {
    const table = this.model.createTable('kit', name, KIT_COLUMNS, ['id']);
    const changes = new ModelChanges(this.model, table);
    this.tables.set(name, changes);
    return changes;
  }

  /** The batch that the model has gathered; the log keeps it. */
  batch(): SinkBatch {
    const batch = this.model.batch();
    this.log.push(batch);
    return batch;
  }

  open(sink = this.sink): Promise<Checkpoint | null> {
    return sink.open(this.model.start(), never);
  }

  async apply(batch = this.batch(), sink = this.sink): Promise<void> {
    const { accepted, durable } = sink.apply(batch, never);
    await accepted;
    expect(await durable).toBe(batch.to);
  }

  /** The code with which the sink refuses a batch. */
  async refusal(batch = this.batch(), sink = this.sink): Promise<{ code: string; retry: string }> {
    const { accepted, durable } = sink.apply(batch, never);
    const [, outcome] = await Promise.allSettled([accepted, durable]);
    if (outcome.status === 'fulfilled') throw new Error('the batch was not refused');
    const { code, retry } = outcome.reason as { code: string; retry: string };
    return { code, retry };
  }

  /** Applies what the log has after the sink's checkpoint, as the hub does. */
  async catchUp(sink = this.sink): Promise<void> {
    const checkpoint = await this.open(sink);
    if (checkpoint === null) throw new Error('the sink has no checkpoint');
    for (const batch of this.log) if (batch.to > checkpoint.offset) await this.apply(batch, sink);
  }

  /** Does the work again for as long as the sink says that it may try again by itself, as the hub does. */
  async retried<T>(work: () => Promise<T>): Promise<T> {
    for (const limit = performance.now() + 30_000; ; ) {
      try {
        return await work();
      } catch (error) {
        expect(error).toMatchObject({ retry: 'auto' });
        if (performance.now() > limit) throw error;
        await delay(100);
      }
    }
  }

  /** Rebuilds in place from the log's start, as the hub does. */
  async rebuild(sink = this.sink): Promise<void> {
    if (sink.inPlace === null) throw new Error('no rebuild in place');
    const begun = await sink.inPlace.begin(this.model.start(), never);
    expect(begun.offset).toBe(0);
    for (const batch of this.log) await this.apply(batch, sink);
    await sink.inPlace.sweep(never);
  }

  rows(table: ModelTable): Promise<ModelRow[] | null> {
    return this.#place.rows(table.schema);
  }

  async compare(): Promise<void> {
    for (const table of this.model.tables) {
      expect(sorted((await this.rows(table)) ?? []), table.schema.name).toEqual(sorted(table.expected()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sink of this.#sinks) await sink[Symbol.asyncDispose]();
    await this.#reader[Symbol.asyncDispose]();
  }
}

function sorted(rows: readonly ModelRow[]): string[] {
  return rows.map((row) => JSON.stringify(row.map((cell) => (Buffer.isBuffer(cell) ? { bytes: cell.toString('hex') } : cell)))).toSorted();
}
