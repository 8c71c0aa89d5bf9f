import { Type } from 'typebox';
import type { Options } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { durationOption } from '../../contracts/option-schema.ts';
import { durationValue } from '../../contracts/option-values.ts';
import { UNFIT_OPTION, UNFIT_TABLE_OPTION } from '../relational/unfit.ts';

/** How rows get to the server: by `LOAD DATA LOCAL`, by statements with rows in them, or by what the server allows. */
export type LoadWay = 'auto' | 'load-data' | 'statements';

/** The sink's settings with defaults filled in. */
export interface MysqlSinkOptions {
  readonly url: string;
  /** A file whose content is the password, read before each connect; null: the password of the address. */
  readonly passwordFile: string | null;
  /** The database with the sink's own tables. */
  readonly ownDatabase: string;
  readonly loadWay: LoadWay;
  /** How long a change of a table's shape waits for those who use the table before it is tried again. */
  readonly lockTimeoutMs: number;
}

const DEFAULT_LOCK_TIMEOUT = '10s';
const DEFAULT_OWN_DATABASE = 'tidemark';
const WAYS: readonly LoadWay[] = ['auto', 'load-data', 'statements'];
/** Characters of a name. */
const MOST_NAME = 64;

/** JSON Schema of the sink's own settings. */
export const mysqlSinkSchema: Options = {
  type: 'object',
  properties: {
    schemas: Type.Record(Type.String(), Type.String({ minLength: 1, maxLength: MOST_NAME }), {
      description: 'Schema or database of the source to database of the replica; one that is not named here keeps its name.',
    }),
    password_file: Type.String({ description: 'A file that holds the password; read again before each connection, so that it can be changed at any time.' }),
    own_database: Type.String({ minLength: 1, maxLength: MOST_NAME, default: DEFAULT_OWN_DATABASE, description: 'Database for the sink\'s own tables: checkpoints, and what is mirrored. Made where it is missing.' }),
    load: Type.Unsafe<LoadWay>({
      enum: [...WAYS],
      default: 'auto',
      description: 'How rows get to the server: `load-data` (LOAD DATA LOCAL, which the server allows with local_infile=ON), `statements` (INSERT with many rows), or what the server allows.',
    }),
    unfit: UNFIT_OPTION,
    lock_timeout: durationOption({
      description: 'How long a change of a table waits for sessions that use it, before it is tried again.',
      default: DEFAULT_LOCK_TIMEOUT, min: '1s', max: '1h',
    }),
  },
  additionalProperties: false,
};

/** JSON Schema of the settings of one table. */
export const mysqlTableSchema: Options = {
  type: 'object',
  properties: {
    as: Type.String({
      minLength: 1,
      maxLength: 2 * MOST_NAME + 1,
      description: 'Name at the replica, `table` or `database.table`; {schema} and {table} stand for those of the source.',
    }),
    unfit: UNFIT_TABLE_OPTION,
  },
  additionalProperties: false,
};

/** @throws TidemarkError `CONFIG_VALUE` */
export function resolveOptions(sink: string, options: Options): MysqlSinkOptions {
  const { url } = options;
  if (typeof url !== 'string' || url === '') throw new TidemarkError('CONFIG_VALUE', 'the sink has no url', { where: { sink } });
  const way = options['load'] ?? 'auto';
  const loadWay = WAYS.find((known) => known === way);
  if (loadWay === undefined) throw new TidemarkError('CONFIG_VALUE', `load is none of ${WAYS.join(', ')}`, { where: { sink } });
  const file = options['password_file'];
  const own = options['own_database'];
  const lockTimeoutMs = durationValue(options, 'lock_timeout', DEFAULT_LOCK_TIMEOUT, { sink });
  return { url, passwordFile: typeof file === 'string' ? file : null, ownDatabase: typeof own === 'string' && own !== '' ? own : DEFAULT_OWN_DATABASE, loadWay, lockTimeoutMs };
}
