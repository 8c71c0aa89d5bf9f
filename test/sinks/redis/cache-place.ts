import type { Options, SinkConfig } from '../../../contracts/config.ts';
import type { ModelCell, ModelRow } from '../../../contracts/kit/sink-model.ts';
import type { SinkPlace } from '../../../contracts/kit/sink-kit.ts';
import { tableName, type TableSchema } from '../../../contracts/schema.ts';
import { baseType } from '../../../contracts/types/logical-type.ts';
import type { Sink } from '../../../contracts/sink.ts';
import { redisSink } from '../../../sinks/redis/index.ts';
import { compileTemplate } from '../../../sinks/redis/key-template.ts';
import type { TableOptions } from '../../../sinks/redis/options.ts';
import { createTestRuntime, type TestRuntime } from '../../fixtures/runtime.ts';

/** What a test reads keys with: each command goes to the server that has the key. */
export interface KeyReader {
  /** Every key there is, on all servers. */
  keys(): Promise<Buffer[]>;
  /** A command whose first argument is a key. */
  call(command: string, key: Buffer): Promise<unknown>;
}

export interface CacheSettings {
  /** Options of the sink, `url` among them. */
  readonly options: Options;
  /** Options of every table. */
  readonly table?: TableOptions;
  /** The options as they are found at each opening. */
  readonly fresh?: () => Promise<Options>;
}

let seed = 1;

/** A sink as the registry makes it, with a runtime of its own. */
export function cacheSink(settings: CacheSettings, runtime: TestRuntime = createTestRuntime({ seed: seed++ })): Sink {
  return redisSink.create(cacheConfig(settings), runtime);
}

export function cacheConfig({ options, table = {}, fresh }: CacheSettings): SinkConfig {
  return {
    name: 'cache',
    type: 'redis',
    from: 'shop',
    tables: () => true,
    tablePatterns: ['*.*'],
    tableOptions: new Map(),
    optionsOf: () => table,
    onError: 'stop',
    options,
    ...(fresh === undefined ? {} : { freshOptions: fresh }),
  };
}

/** A place of the kit: what the keys of a table hold, read back by its template. */
export function cachePlace(settings: CacheSettings, reader: KeyReader, dispose: () => Promise<void>): SinkPlace {
  const tagged = settings.options['cluster'] === 'tagged';
  return {
    sink: () => cacheSink(settings),
    rows: async (schema) => {
      const find = (name: string): number => schema.columns.findIndex((column) => column.name === name);
      const template = compileTemplate(schema, { text: settings.table?.key ?? null, partial: false, find });
      const rows: ModelRow[] = [];
      for (const key of await reader.keys()) {
        const own = tagged ? key.subarray(4) : key;
        if (own.toString('latin1').includes('tidemark:') || template.match(own) === null) continue;
        rows.push(await rowAt(settings.table?.value ?? 'hash', schema, key, reader));
      }
      return rows;
    },
    [Symbol.asyncDispose]: dispose,
  };
}

async function rowAt(value: string, schema: TableSchema, key: Buffer, reader: KeyReader): Promise<ModelRow> {
  if (value === 'hash') return hashRow(schema, await reader.call('HGETALL', key));
  const text = await reader.call('GET', key);
  if (!Buffer.isBuffer(text)) throw new Error(`${tableName(schema)} has a key without a value`);
  const members: unknown = JSON.parse(text.toString('utf8'));
  const names = Object.keys(members as object).toSorted();
  const expected = schema.columns.map(({ name }) => name).toSorted();
  if (names.some((name) => !expected.includes(name))) throw new Error(`a row has ${names.join()} and its table ${expected.join()}`);
  return schema.columns.map((column) => jsonCell(column.type.kind, (members as Record<string, unknown>)[column.name] ?? null));
}

function hashRow(schema: TableSchema, reply: unknown): ModelRow {
  const flat = reply as Buffer[];
  const fields = new Map<string, Buffer>();
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set((flat[i] as Buffer).toString('utf8'), flat[i + 1] as Buffer);
  const row = schema.columns.map((column) => {
    const bytes = fields.get(column.name);
    fields.delete(column.name);
    if (bytes === undefined) return null;
    return baseType(column.type).kind === 'bytes' ? bytes : bytes.toString('utf8');
  });
  if (fields.size > 0) throw new Error(`a row of ${tableName(schema)} has fields that its table lacks: ${[...fields.keys()].join()}`);
  return row;
}

function jsonCell(kind: string, value: unknown): ModelCell {
  if (value === null) return null;
  if (kind === 'bool') return value === true ? 't' : 'f';
  if (kind === 'bytes') return Buffer.from(JSON.stringify(value).slice(1, -1), 'base64');
  return typeof value === 'string' ? value : JSON.stringify(value);
}
