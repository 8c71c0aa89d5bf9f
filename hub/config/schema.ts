/**
 * The JSON Schema of the configuration file: common parts, plus what each registered connector and sink adds. The same
 * pieces check the file (one at a time, so that an error speaks of one part) and make the published schema.
 */
import Type from 'typebox';
import type { ConnectorModule, SinkModule } from '../../contracts/config.ts';
import { durationOption, sizeOption } from '../../contracts/option-schema.ts';
import { SIZE_PATTERN } from '../../contracts/units.ts';
import { KEEP_PATTERN } from './keep.ts';

/** A JSON Schema of an object. */
export type ObjectSchema = Readonly<Record<string, unknown>>;

/** What the configuration needs to know of a module. */
export type ConnectorOptions = Pick<ConnectorModule<unknown>, 'type' | 'options'>;
export type SinkOptions = Pick<SinkModule<unknown>, 'type' | 'options' | 'tableOptions'>;

export interface Modules {
  readonly connectors: readonly ConnectorOptions[];
  readonly sinks: readonly SinkOptions[];
}

/** Names of sources and sinks: they become names of folders, slots and labels. */
const NAME_PATTERN = '^[a-z][a-z0-9_-]{0,39}$';

const TABLE_PATTERN = Type.String({
  description: 'schema.table, each part a glob or a name in double quotes; ! in front leaves tables out',
});

const CONNECTION_URL = Type.String({ minLength: 1, description: 'Connection URL; ${NAME} and ${file:path} are resolved' });

/** As people write them. */
export const DEFAULT_LIMITS = { pipeline_memory: '32MiB', on_retained_wal: 'warn' } as const;

const LIMITS = Type.Object(
  {
    pipeline_memory: Type.Optional(
      Type.Unsafe<number>(sizeOption({ min: '4MiB', max: '4GiB', default: DEFAULT_LIMITS.pipeline_memory, description: 'Bytes that one pipeline may hold in memory' })),
    ),
    disk: Type.Optional(
      Type.Unsafe<number | null>({
        type: ['integer', 'string', 'null'],
        pattern: SIZE_PATTERN,
        size: { min: '64MiB' },
        default: null,
        description: 'Bytes that the data folder may take; near it history is folded, then capture stops. null: only the disk itself is a limit',
      }),
    ),
    retainedWal: Type.Optional(
      Type.Unsafe<number | null>({
        type: ['integer', 'string', 'null'],
        pattern: SIZE_PATTERN,
        size: { min: '64MiB' },
        default: null,
        description: 'WAL that a source may hold back for the hub before on_retained_wal acts; null: no limit',
      }),
    ),
    on_retained_wal: Type.Optional(
      Type.Enum(['warn', 'stop', 'drop-slot-and-recopy'], {
        default: DEFAULT_LIMITS.on_retained_wal,
        description: 'What happens at the limit: a warning; the source stops; or its slot is dropped and its tables are copied again',
      }),
    ),
  },
  { additionalProperties: false, description: 'Limits of the whole hub' },
);

/** As people write them. */
export const DEFAULT_LOG = { history: '7d', memory: '128MiB', share: 0.25 } as const;

const LOG = Type.Object(
  {
    history: Type.Optional(
      Type.Unsafe<number | null>({
        ...durationOption({ min: '1m', max: '3650d', default: DEFAULT_LOG.history, description: 'How long every change is kept; older ones are folded into the base. null: age alone folds nothing' }),
        type: ['integer', 'string', 'null'],
      }),
    ),
    history_max: Type.Optional(
      Type.Unsafe<number | null>({
        type: ['integer', 'string', 'null'],
        pattern: SIZE_PATTERN,
        size: { min: '256MiB' },
        default: null,
        description: 'Bytes of changes that are kept for each source; what is above is folded into the base. null: no limit',
      }),
    ),
    tables: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object(
          {
            keep: Type.String({
              pattern: KEEP_PATTERN,
              description: 'compact (the default), all (no record is ever dropped), or for how long records and rows are kept, such as 30d',
            }),
          },
          { additionalProperties: false },
        ),
        { description: 'Tables that are kept in another way than the others, by pattern; the first that matches counts' },
      ),
    ),
    compaction: Type.Optional(
      Type.Object(
        {
          memory: Type.Optional(
            Type.Unsafe<number>(sizeOption({ min: '16MiB', max: '16GiB', default: DEFAULT_LOG.memory, description: 'Bytes of records that are sorted in memory' })),
          ),
          share: Type.Optional(
            Type.Number({ exclusiveMinimum: 0, maximum: 1, default: DEFAULT_LOG.share, description: 'Share of the time that folding may take' }),
          ),
          rate: Type.Optional(
            Type.Unsafe<number | null>({
              type: ['integer', 'string', 'null'],
              pattern: SIZE_PATTERN,
              size: { min: '1MiB' },
              default: null,
              description: 'Bytes of history that folding may read, and of the base that it may write (before they are compressed), in a second, together. null: no limit',
            }),
          ),
        },
        { additionalProperties: false, description: 'What folding history into the base may take' },
      ),
    ),
  },
  { additionalProperties: false, description: 'The logs' },
);

export const HUB_SCHEMA = Type.Object(
  {
    data: Type.Optional(
      Type.String({ minLength: 1, default: './data', description: 'Data folder; relative to the configuration file' }),
    ),
    http: Type.Optional(
      Type.Unsafe<string | null>({
        type: ['string', 'null'],
        default: null,
        description: 'Loopback address of the HTTP API, such as 127.0.0.1:7400; null: only the unix socket in the data folder',
      }),
    ),
    limits: Type.Optional(LIMITS),
    log: Type.Optional(LOG),
  },
  { additionalProperties: false, description: 'The hub itself' },
);
export type HubSection = Type.Static<typeof HUB_SCHEMA>;

const COLUMN_RULES = Type.Object(
  {
    exclude: Type.Optional(Type.Array(Type.String({ minLength: 1 }), { uniqueItems: true, description: 'Columns that never reach the log' })),
    hash: Type.Optional(
      Type.Array(Type.String({ minLength: 1 }), { uniqueItems: true, description: 'Columns kept as hex HMAC-SHA-256 of their value' }),
    ),
  },
  { additionalProperties: false },
);

const SOURCE_COMMON = {
  url: CONNECTION_URL,
  tables: Type.Array(TABLE_PATTERN, { minItems: 1, description: 'Tables that are captured' }),
  columns: Type.Optional(
    Type.Record(Type.String(), COLUMN_RULES, { description: 'Columns left out or hashed before the log, by exact table name' }),
  ),
  hash_key: Type.Optional(
    Type.String({ minLength: 16, description: 'Key of the hashed columns; default: one made once and kept in the data folder' }),
  ),
};
const SOURCE = Type.Object(SOURCE_COMMON);
export type SourceSection = Type.Static<typeof SOURCE>;

const ON_ERROR = Type.Enum(['stop', 'dead-letter'], {
  description: 'What happens to a record that can never be applied: the sink stops (the default), or the record is put aside',
});

const WHEN_BEHIND = Type.Enum(['stop', 'rebuild'], {
  description: 'What becomes of a sink that the log cannot bring up to date: it stops and says so (the default of a replica), or it is rebuilt from the log by itself (the default of a cache)',
});

const SINK_COMMON = {
  from: Type.String({ minLength: 1, description: 'The source whose log it replays' }),
  url: CONNECTION_URL,
  tables: Type.Unsafe<string[] | Record<string, Record<string, unknown>>>({}),
  on_error: Type.Optional(ON_ERROR),
  when_behind: Type.Optional(WHEN_BEHIND),
};
const SINK = Type.Object(SINK_COMMON);
export type SinkSection = Type.Static<typeof SINK>;

/** The outline: which parts there are, and of which type each is. What a part holds is checked by its own schema. */
export function outlineSchema(modules: Modules): ObjectSchema {
  const part = (types: readonly string[]) => ({
    type: 'object',
    required: ['type'],
    properties: { type: { type: 'string', enum: types } },
  });
  return fileSchema(part(modules.connectors.map((module) => module.type)), part(modules.sinks.map((module) => module.type)));
}

/** The schema that is published for editors and other tools. */
export function publishedSchema(modules: Modules): ObjectSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Configuration of Tidemark (tidemark.yaml)',
    ...fileSchema(
      { oneOf: modules.connectors.map(sourceSchema) },
      { oneOf: modules.sinks.map(sinkSchema) },
    ),
  };
}

/** Everything that a source of that type may have. */
export function sourceSchema(module: ConnectorOptions): ObjectSchema {
  return merged(module.type, { ...SOURCE }, module.options);
}

/** Everything that a sink of that type may have. */
export function sinkSchema(module: SinkOptions): ObjectSchema {
  const common = Type.Object({ ...SINK_COMMON, tables: Type.Unsafe(sinkTables(module)) });
  return merged(module.type, { ...common }, module.options);
}

/** The option names that belong to the module and not to every source or sink; `url` among them. */
export function moduleOptionNames(module: { readonly options: ObjectSchema }): string[] {
  return ['url', ...Object.keys(propertiesOf(module.options))];
}

function fileSchema(source: ObjectSchema, sink: ObjectSchema): ObjectSchema {
  const named = (part: ObjectSchema, description: string) => ({
    type: 'object',
    description,
    propertyNames: { pattern: NAME_PATTERN },
    additionalProperties: part,
  });
  return {
    type: 'object',
    required: ['sources'],
    additionalProperties: false,
    properties: {
      hub: HUB_SCHEMA,
      sources: { ...named(source, 'Databases whose changes are captured, by name'), minProperties: 1 },
      sinks: { ...named(sink, 'Places that mirror a source, by name'), type: ['object', 'null'] },
    },
  };
}

function merged(type: string, common: ObjectSchema, own: ObjectSchema): ObjectSchema {
  return {
    ...own,
    type: 'object',
    required: [...new Set(['type', ...namesOf(common['required']), ...namesOf(own['required'])])],
    properties: { type: { type: 'string', const: type }, ...propertiesOf(common), ...propertiesOf(own) },
    additionalProperties: false,
  };
}

/** A list of patterns, or, where the sink has settings per table, a map from pattern to settings. */
function sinkTables(module: SinkOptions): ObjectSchema {
  const description = 'Tables that are mirrored';
  if (module.tableOptions === null) return { type: 'array', items: TABLE_PATTERN, minItems: 1, description };
  return {
    type: ['array', 'object'],
    items: TABLE_PATTERN,
    minItems: 1,
    minProperties: 1,
    additionalProperties: { additionalProperties: false, ...module.tableOptions },
    description: `${description}: a list of patterns, or a map from pattern to settings`,
  };
}

function propertiesOf(schema: ObjectSchema): Readonly<Record<string, unknown>> {
  const properties = schema['properties'];
  return typeof properties === 'object' && properties !== null ? { ...properties } : {};
}

function namesOf(required: unknown): string[] {
  return Array.isArray(required) ? required.filter((name): name is string => typeof name === 'string') : [];
}
