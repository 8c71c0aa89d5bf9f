import type { SinkModule } from '../../contracts/config.ts';
import type { Sink } from '../../contracts/sink.ts';
import { mysqlSinkSchema, mysqlTableSchema } from './options.ts';
import { MysqlSink } from './sink.ts';

/** Mirrors tables into databases of a MySQL or MariaDB server. */
export const mysqlSink: SinkModule<Sink> = {
  type: 'mysql',
  options: mysqlSinkSchema,
  tableOptions: mysqlTableSchema,
  create: (config, runtime) => new MysqlSink(config, runtime),
};
