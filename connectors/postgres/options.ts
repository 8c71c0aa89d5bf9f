import { Type } from 'typebox';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { durationOption, sizeOption } from '../../contracts/option-schema.ts';
import type { Options } from '../../contracts/config.ts';
import { durationValue, sizeValue, textValue } from '../../contracts/option-values.ts';

/** How the connector makes WAL of its own while the captured tables are idle. */
export type Heartbeat =
  | { readonly kind: 'none' }
  /** `pg_logical_emit_message`: nothing is written to any table. */
  | { readonly kind: 'message'; readonly everyMs: number }
  /** Updates the one row of a table of the user's. */
  | { readonly kind: 'table'; readonly everyMs: number; readonly statement: string };

/** The connector's settings with defaults filled in. */
export interface PostgresOptions {
  readonly url: string;
  /** A file whose content is the password, read before each connect; null: the password of the address. */
  readonly passwordFile: string | null;
  readonly slot: string;
  readonly publication: string;
  /** Ask for a slot that is synchronized to standbys (PostgreSQL 17 and newer). */
  readonly failover: boolean;
  readonly heartbeat: Heartbeat;
  /** How often the catalog is looked at for what has no event. */
  readonly pollMs: number;
  readonly maxRowBytes: number;
}

const DEFAULT_POLL = '5s';
const DEFAULT_MAX_ROW = '256MiB';

/** JSON Schema of a Postgres source's own settings. */
export const postgresOptionsSchema: Options = {
  type: 'object',
  properties: {
    slot: Type.String({ pattern: '^[a-z0-9_]{1,63}$', description: 'Replication slot. Default: tidemark_ and the name of the source.' }),
    publication: Type.String({ minLength: 1, maxLength: 63, description: 'Publication. Default: tidemark_ and the name of the source.' }),
    failover: Type.Boolean({ default: false, description: 'Make the slot one that standbys keep in step (PostgreSQL 17 and newer), so that it survives a failover; decided when the slot is made.' }),
    password_file: Type.String({ description: 'A file that holds the password; read again before each connection, so that it can be changed at any time.' }),
    heartbeat: {
      description: 'WAL of its own while the captured tables are idle, so that the slot moves on although other databases of the server are busy.',
      oneOf: [
        Type.Literal('none'),
        Type.Literal('message'),
        {
          type: 'object',
          properties: {
            every: durationOption({ description: 'How often. Default 30s.', default: '30s', min: '1s', max: '1d' }),
            statement: Type.String({ description: 'A statement to run, for example an UPDATE of a table of your own, named with its schema. Default: a logical message.' }),
          },
          additionalProperties: false,
        },
      ],
    },
    catalog_poll: durationOption({
      description: 'How often the catalog is looked at for changes of tables that come without an event.',
      default: DEFAULT_POLL, min: '100ms', max: '1h',
    }),
    max_row_size: sizeOption({ description: 'A row above this size stops its table.', default: DEFAULT_MAX_ROW, min: '1MiB', max: '512MiB' }),
  },
  additionalProperties: false,
};

/** @throws TidemarkError `POSTGRES_URL`, `CONFIG_VALUE` */
export function resolveOptions(source: string, options: Options): PostgresOptions {
  const name = `tidemark_${source.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')}`.slice(0, 63);
  const { url } = options;
  if (typeof url !== 'string') throw new TidemarkError('POSTGRES_URL', 'the source has no address', { where: { source } });
  return {
    url,
    passwordFile: textValue(options, 'password_file') ?? null,
    slot: textValue(options, 'slot') ?? name,
    publication: textValue(options, 'publication') ?? name,
    failover: options['failover'] === true,
    heartbeat: heartbeatOf(options['heartbeat']),
    pollMs: durationValue(options, 'catalog_poll', DEFAULT_POLL),
    maxRowBytes: sizeValue(options, 'max_row_size', DEFAULT_MAX_ROW),
  };
}

function heartbeatOf(value: unknown): Heartbeat {
  if (value === undefined || value === 'none') return { kind: 'none' };
  const parts: Options = typeof value === 'object' && value !== null ? { ...value } : {};
  const everyMs = durationValue(parts, 'every', '30s');
  const statement = textValue(parts, 'statement');
  return statement === undefined ? { kind: 'message', everyMs } : { kind: 'table', everyMs, statement };
}
