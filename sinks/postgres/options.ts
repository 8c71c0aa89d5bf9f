import { Type } from 'typebox';
import type { Options } from '../../contracts/config.ts';
import { TidemarkError } from '../../contracts/errors/error.ts';
import { durationOption } from '../../contracts/option-schema.ts';
import { durationValue } from '../../contracts/option-values.ts';
import { UNFIT_OPTION, UNFIT_TABLE_OPTION } from '../relational/unfit.ts';

export type SynchronousCommit = 'off' | 'local' | 'remote_write' | 'on' | 'remote_apply';

/** The sink's settings with defaults filled in. */
export interface PostgresSinkOptions {
  readonly url: string;
  /** A file whose content is the password, read before each connect; null: the password of the address. */
  readonly passwordFile: string | null;
  /** `on`: a batch counts when it is on the replica's disk. `off`: quicker for small batches; a crash of the replica takes data and checkpoint back together. */
  readonly synchronousCommit: SynchronousCommit;
  /** How long a change of a table's shape waits for readers before it is tried again. */
  readonly lockTimeoutMs: number;
}

const DEFAULT_LOCK_TIMEOUT = '10s';
const COMMITS: readonly SynchronousCommit[] = ['off', 'local', 'remote_write', 'on', 'remote_apply'];

/** JSON Schema of the sink's own settings. */
export const postgresSinkSchema: Options = {
  type: 'object',
  properties: {
    schemas: Type.Record(Type.String(), Type.String({ minLength: 1, maxLength: 63 }), {
      description: 'Schema of the source to schema of the replica; a schema that is not named here keeps its name.',
    }),
    unfit: UNFIT_OPTION,
    password_file: Type.String({ description: 'A file that holds the password; read again before each connection, so that it can be changed at any time.' }),
    synchronous_commit: Type.Unsafe<SynchronousCommit>({
      enum: [...COMMITS],
      default: 'on',
      description: 'When a batch counts as applied; as the setting of PostgreSQL.',
    }),
    lock_timeout: durationOption({
      description: 'How long a change of a table waits for sessions that use it, before it is tried again.',
      default: DEFAULT_LOCK_TIMEOUT, min: '100ms', max: '1h',
    }),
  },
  additionalProperties: false,
};

/** JSON Schema of the settings of one table. */
export const postgresTableSchema: Options = {
  type: 'object',
  properties: {
    as: Type.String({
      minLength: 1,
      maxLength: 130,
      description: 'Name at the replica, `table` or `schema.table`; {schema} and {table} stand for those of the source.',
    }),
    unfit: UNFIT_TABLE_OPTION,
  },
  additionalProperties: false,
};

/** @throws TidemarkError `CONFIG_VALUE` */
export function resolveOptions(sink: string, options: Options): PostgresSinkOptions {
  const { url } = options;
  if (typeof url !== 'string' || url === '') throw new TidemarkError('CONFIG_VALUE', 'the sink has no url', { where: { sink } });
  const commit = options['synchronous_commit'] ?? 'on';
  const synchronousCommit = COMMITS.find((known) => known === commit);
  if (synchronousCommit === undefined) throw new TidemarkError('CONFIG_VALUE', `synchronous_commit is none of ${COMMITS.join(', ')}`, { where: { sink } });
  const file = options['password_file'];
  return { url, passwordFile: typeof file === 'string' ? file : null, synchronousCommit, lockTimeoutMs: durationValue(options, 'lock_timeout', DEFAULT_LOCK_TIMEOUT, { sink }) };
}
