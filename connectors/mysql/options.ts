import { Type } from 'typebox';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { durationOption, sizeOption } from '../../contracts/option-schema.ts';
import type { Options } from '../../contracts/config.ts';
import { durationValue, sizeValue, textValue } from '../../contracts/option-values.ts';

/** The connector's settings with defaults filled in. */
export interface MysqlOptions {
  readonly url: string;
  /** A file whose content is the password, read before each connect; null: the password of the address. */
  readonly passwordFile: string | null;
  /** The id that the hub takes as a replica of the server; null: one that is free is picked. */
  readonly serverId: number | null;
  /** What becomes of dates with a zero year, month or day. */
  readonly zeroDates: 'keep' | 'refuse';
  /** How often the server tells that it is there while it has nothing to send, in milliseconds. */
  readonly heartbeatMs: number;
  readonly maxRowBytes: number;
  /** Tables that are captured although foreign keys change them without a trace in the binlog: `database.table`. */
  readonly acceptCascades: readonly string[];
}

const DEFAULT_HEARTBEAT = '10s';
const DEFAULT_MAX_ROW = '256MiB';
const MAX_SERVER_ID = 0xffff_ffff;

/** JSON Schema of a MySQL or MariaDB source's own settings. */
export const mysqlOptionsSchema: Options = {
  type: 'object',
  properties: {
    server_id: Type.Integer({
      minimum: 1, maximum: MAX_SERVER_ID,
      description: 'The id that the hub takes as a replica of the server. No other replica may have it. Default: one that is free is picked.',
    }),
    password_file: Type.String({ description: 'A file that holds the password; read again before each connection, so that it can be changed at any time.' }),
    zero_dates: {
      description: 'Dates with a zero year, month or day (`0000-00-00`): kept as they are, or refused: the table stops at the first one.',
      default: 'keep',
      oneOf: [Type.Literal('keep'), Type.Literal('refuse')],
    },
    heartbeat: durationOption({
      description: 'How often the server tells that it is there while it has nothing to send. After three times that without a sign the connection is made anew.',
      default: DEFAULT_HEARTBEAT, min: '1s', max: '1h',
    }),
    max_row_size: sizeOption({ description: 'A row above this size stops its table.', default: DEFAULT_MAX_ROW, min: '1MiB', max: '512MiB' }),
    accept_cascades: Type.Array(Type.String({ minLength: 3 }), {
      description: 'Tables (`database.table`) that are captured although foreign keys change their rows in ways that the server does not write into its binlog: their rows may differ from the source until they are copied again.',
    }),
  },
  additionalProperties: false,
};

/** @throws TidemarkError `MYSQL_URL`, `CONFIG_VALUE` */
export function resolveOptions(source: string, options: Options): MysqlOptions {
  const { url } = options;
  if (typeof url !== 'string') throw new TidemarkError('MYSQL_URL', 'the source has no address', { where: { source } });
  return {
    url,
    passwordFile: textValue(options, 'password_file') ?? null,
    serverId: serverIdOf(options['server_id']),
    zeroDates: zeroDatesOf(textValue(options, 'zero_dates') ?? 'keep'),
    heartbeatMs: durationValue(options, 'heartbeat', DEFAULT_HEARTBEAT),
    maxRowBytes: sizeValue(options, 'max_row_size', DEFAULT_MAX_ROW),
    acceptCascades: namesOf(options['accept_cascades']),
  };
}

function serverIdOf(value: unknown): number | null {
  if (value === undefined) return null;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_SERVER_ID) return value;
  throw new TidemarkError('CONFIG_VALUE', 'server_id is not a number from 1 to 4294967295');
}

function zeroDatesOf(value: string): MysqlOptions['zeroDates'] {
  if (value === 'keep' || value === 'refuse') return value;
  throw new TidemarkError('CONFIG_VALUE', 'zero_dates is neither keep nor refuse');
}

function namesOf(value: unknown): string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return [...value];
  throw new TidemarkError('CONFIG_VALUE', 'accept_cascades is not a list of tables');
}
