import type { SinkModule } from '../../contracts/config.ts';
import type { Sink } from '../../contracts/sink.ts';
import { postgresSinkSchema, postgresTableSchema } from './options.ts';
import { PostgresSink } from './sink.ts';

/** Mirrors tables into a Postgres database. */
export const postgresSink: SinkModule<Sink> = {
  type: 'postgres',
  options: postgresSinkSchema,
  tableOptions: postgresTableSchema,
  create: (config, runtime) => new PostgresSink(config, runtime),
};
