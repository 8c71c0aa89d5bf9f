import type { SinkModule } from '../../contracts/config.ts';
import type { Sink } from '../../contracts/sink.ts';
import { REDIS_OPTIONS, REDIS_TABLE_OPTIONS } from './options.ts';
import { RedisSink } from './sink.ts';

/** Rows as keys of a Redis server, behind sentinels or in a cluster as well. */
export const redisSink: SinkModule<Sink> = {
  type: 'redis',
  options: { ...REDIS_OPTIONS },
  tableOptions: { ...REDIS_TABLE_OPTIONS },
  create: (config, runtime) => new RedisSink(config, runtime),
};
