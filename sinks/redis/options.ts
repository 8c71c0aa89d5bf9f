import Type from 'typebox';
import type { Options, SinkConfig } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { durationOption, sizeOption } from '../../contracts/option-schema.ts';
import { tableName, type TableSchema } from '../../contracts/schema.ts';
import { parseDuration, parseSize } from '../../contracts/units.ts';

/** A Redis transaction holds the server for as long as it runs: never more commands than this in one. */
export const MAX_TRANSACTION = 10_000;

const SENTINEL = Type.Object(
  {
    username: Type.Optional(Type.String({ minLength: 1 })),
    password: Type.Optional(Type.String({ minLength: 1 })),
    tls: Type.Optional(Type.Boolean({ default: false, description: 'Speak TLS with the sentinels, by the settings of `tls`' })),
  },
  { additionalProperties: false, description: 'How to log in to the sentinels; the user and password in `url` are those of the servers' },
);

const TLS = Type.Object(
  {
    ca: Type.Optional(Type.String({ description: 'Certificate authorities, PEM; ${file:path} reads a file' })),
    cert: Type.Optional(Type.String({ description: 'Client certificate, PEM' })),
    key: Type.Optional(Type.String({ description: 'Key of the client certificate, PEM' })),
    servername: Type.Optional(Type.String({ description: 'Name that the certificate must have; default: the host' })),
  },
  { additionalProperties: false, description: 'TLS settings, where `url` begins with rediss://' },
);

export const REDIS_OPTIONS = Type.Object(
  {
    nodes: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), { description: 'More sentinels, or nodes of the cluster, as host:port; `url` names the first' }),
    ),
    primary: Type.Optional(
      Type.String({ minLength: 1, description: 'Name of the primary that the sentinels watch; `url` and `nodes` then name sentinels' }),
    ),
    sentinel: Type.Optional(SENTINEL),
    cluster: Type.Optional(
      Type.Enum(['plain', 'tagged'], {
        description: 'The server is a cluster. plain: keys as they are, spread over all slots. tagged: each key gets one of 64 hash tags in front, which makes batches atomic per tag and fences them',
      }),
    ),
    tls: Type.Optional(TLS),
    prefix: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: 'What the sink\'s own keys (checkpoint and such) begin with; default: tidemark:{NAME OF THE SINK}:' }),
    ),
    shadow_db: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 99_999,
        description: 'Another database of the same server, for this sink alone: a rebuild fills it beside what is served, and SWAPDB puts it in place. Left out: a rebuild goes over what is served',
      }),
    ),
    transaction_commands: Type.Optional(
      Type.Integer({
        minimum: 100,
        maximum: MAX_TRANSACTION,
        default: MAX_TRANSACTION,
        description: 'Commands in one Redis transaction, at most. Others wait while one runs: about 2 ms per 1,000',
      }),
    ),
    transaction_size: Type.Optional(
      Type.Unsafe<number>(sizeOption({ min: '64KiB', max: '256MiB', default: '8MiB', description: 'Bytes in one Redis transaction, about; one larger row makes a larger one' })),
    ),
    timeout: Type.Optional(
      Type.Unsafe<number>(durationOption({ min: '1s', max: '10m', default: '30s', description: 'A server that does not answer for so long is given up' })),
    ),
    accept_eviction: Type.Optional(
      Type.Boolean({ default: false, description: 'Accept a server that may evict keys: the cache then lacks rows that the log has' }),
    ),
  },
  { additionalProperties: false },
);

const COLUMNS = Type.Unsafe<readonly string[] | Readonly<Record<string, string>>>({
  type: ['array', 'object'],
  items: { type: 'string', minLength: 1 },
  minItems: 1,
  uniqueItems: true,
  minProperties: 1,
  additionalProperties: { type: 'string', minLength: 1 },
  description: 'Columns to keep: a list, or a map from column to its name in Redis; default: all, and those added later',
});

export const REDIS_TABLE_OPTIONS = Type.Object(
  {
    key: Type.Optional(
      Type.String({ minLength: 1, description: 'Key template such as product:{id}; default: {schema}.{table}:{key...}' }),
    ),
    partial_key: Type.Optional(
      Type.Boolean({ default: false, description: 'The template may leave key columns out: those in it are unique by themselves' }),
    ),
    value: Type.Optional(
      Type.Enum(['hash', 'json', 'redisjson'], {
        default: 'hash',
        description: 'hash: one field per column. json: a string that holds one JSON object. redisjson: a document of the RedisJSON module',
      }),
    ),
    columns: Type.Optional(COLUMNS),
    ttl: Type.Optional(
      Type.Unsafe<number>(durationOption({ min: '1s', description: 'A row expires so long after it was last written; default: never' })),
    ),
    index: Type.Optional(
      Type.Unsafe<boolean | string>({
        type: ['boolean', 'string'],
        minLength: 1,
        default: false,
        description: 'Keep the set of the table\'s keys: under this key, or (true) under one of the sink\'s own',
      }),
    ),
    publish: Type.Optional(
      Type.String({ minLength: 1, description: 'Publish the key of every row that changes on this channel' }),
    ),
  },
  { additionalProperties: false },
);

export type TableOptions = Type.Static<typeof REDIS_TABLE_OPTIONS>;
export type ValueKind = NonNullable<TableOptions['value']>;
type FileOptions = Type.Static<typeof REDIS_OPTIONS>;

/** The options of the sink with their defaults. */
export interface RedisOptions {
  readonly url: string;
  readonly nodes: readonly string[];
  readonly primary: string | null;
  readonly sentinel: NonNullable<FileOptions['sentinel']>;
  readonly cluster: 'plain' | 'tagged' | null;
  readonly tls: NonNullable<FileOptions['tls']>;
  readonly prefix: string;
  /** The database in which a rebuild is prepared. */
  readonly shadowDb: number | null;
  readonly transactionCommands: number;
  readonly transactionBytes: number;
  readonly timeoutMs: number;
  readonly acceptEviction: boolean;
}

/** @throws TidemarkError `REDIS_SERVER` when settings contradict each other */
export function readOptions(sink: string, options: Options): RedisOptions {
  const url = options['url'];
  if (typeof url !== 'string') throw new TidemarkError('REDIS_SERVER', 'the sink has no `url`', { where: { sink } });
  const own = options as FileOptions;
  if (own.primary !== undefined && own.cluster !== undefined) {
    throw new TidemarkError('REDIS_SERVER', '`primary` (sentinels) and `cluster` exclude each other', { where: { sink } });
  }
  if (own.cluster !== undefined && own.prefix !== undefined && !/\{[^}]+\}/.test(own.prefix)) {
    throw new TidemarkError('REDIS_SERVER', "`prefix` has no hash tag: in a cluster the sink's own keys must be in one slot", {
      where: { sink }, remedy: 'Put a part of it in braces, such as `tidemark:{cache}:`.',
    });
  }
  return {
    url,
    nodes: own.nodes ?? [],
    primary: own.primary ?? null,
    sentinel: own.sentinel ?? {},
    cluster: own.cluster ?? null,
    tls: own.tls ?? {},
    prefix: own.prefix ?? `tidemark:{${sink}}:`,
    shadowDb: own.shadow_db ?? null,
    transactionCommands: own.transaction_commands ?? MAX_TRANSACTION,
    transactionBytes: unit(own.transaction_size, parseSize, 8 << 20),
    timeoutMs: unit(own.timeout, parseDuration, 30_000),
    acceptEviction: own.accept_eviction ?? false,
  };
}

/** The settings of one table; those of its exact name where the configuration does not come from a file. */
export function tableOptionsOf(config: SinkConfig, table: Pick<TableSchema, 'namespace' | 'name'>): TableOptions {
  const options = config.optionsOf?.(table) ?? config.tableOptions.get(tableName(table)) ?? {};
  const own = options as TableOptions;
  return own.ttl === undefined ? own : { ...own, ttl: unit(own.ttl, parseDuration, 0) };
}

/** The hub hands numbers over; without it (tests, tools) the text of the file is understood as well. */
function unit(value: number | string | undefined, parse: (text: string | number) => number | null, otherwise: number): number {
  return value === undefined ? otherwise : (parse(value) ?? otherwise);
}
