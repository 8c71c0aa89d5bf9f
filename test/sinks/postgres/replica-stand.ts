import { expect } from 'vitest';
import type { Checkpoint } from '../../../contracts/checkpoint.ts';
import type { SinkConfig } from '../../../contracts/config.ts';
import { type ModelColumn, type ModelRow, SinkModel } from '../../../contracts/kit/sink-model.ts';
import type { SinkBatch } from '../../../contracts/sink.ts';
import type { LogicalType } from '../../../contracts/types/logical-type.ts';
import type { PostgresSink } from '../../../sinks/postgres/sink.ts';
import type { PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { type ReplicaPlace, replicaPlace } from './replica-place.ts';

/** A replica database, a model of the log and a sink: what tests of one behaviour begin with. */
export class ReplicaStand implements AsyncDisposable {
  readonly place: ReplicaPlace;
  readonly model = new SinkModel();
  readonly sink: PostgresSink;
  readonly signal: AbortSignal = new AbortController().signal;

  private constructor(place: ReplicaPlace, options: Partial<SinkConfig>) {
    this.place = place;
    this.sink = place.sink(options);
  }

  /** @param before statements for the replica before the sink is opened */
  static async open(server: PostgresServer, before: readonly string[] = [], options: Partial<SinkConfig> = {}): Promise<ReplicaStand> {
    const stand = new ReplicaStand(await replicaPlace(server), options);
    await stand.sql('SET search_path = public');
    for (const sql of before) await stand.sql(sql);
    await stand.reopen();
    return stand;
  }

  reopen(): Promise<Checkpoint | null> {
    return this.sink.open(this.model.start(), this.signal);
  }

  async apply(): Promise<SinkBatch> {
    const batch = this.model.batch();
    await this.send(batch);
    return batch;
  }

  async send(batch: SinkBatch): Promise<void> {
    const { accepted, durable } = this.sink.apply(batch, this.signal);
    await accepted;
    await durable;
  }

  /** One statement at the replica, as somebody else; rows of text. */
  async sql(text: string): Promise<(string | null)[][]> {
    const result = await this.place.reader.query<(string | null)[]>({ text, rowMode: 'array' });
    return result.rows;
  }

  async expectEqual(): Promise<void> {
    for (const table of this.model.tables) {
      const found = await this.place.rows(table.schema);
      expect(found === null ? null : sorted(found), table.schema.name).toEqual(sorted(table.expected()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sink[Symbol.asyncDispose]();
    await this.place[Symbol.asyncDispose]();
  }
}

function sorted(rows: readonly ModelRow[]): string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted();
}

const TEXT: LogicalType = { kind: 'text', length: null, fixed: false };

/** `integer`, `text`, ... columns by name; the first is never null. */
export function columnsOf(types: Readonly<Record<string, 'integer' | 'text' | 'tsrange' | 'numeric' | 'json'>>): ModelColumn[] {
  const logical: Readonly<Record<string, LogicalType>> = {
    integer: { kind: 'int32' },
    text: TEXT,
    tsrange: { kind: 'range', name: 'tsrange', element: { kind: 'timestamp', digits: 6 } },
    numeric: { kind: 'decimal', precision: null, scale: null },
    json: { kind: 'json' },
  };
  return Object.entries(types).map(([name, nativeType], index) => ({ name, nativeType, type: logical[nativeType] ?? TEXT, nullable: index > 0 }));
}
