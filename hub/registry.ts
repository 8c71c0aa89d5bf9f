import { mysqlConnector } from '../connectors/mysql/index.ts';
import { postgresConnector } from '../connectors/postgres/index.ts';
import { mysqlSink } from '../sinks/mysql/index.ts';
import { postgresSink } from '../sinks/postgres/index.ts';
import { redisSink } from '../sinks/redis/index.ts';
import type { Registry } from './hub.ts';

/** The one file that names implementations: a new connector or sink is one folder and one line here. */
export const registry: Registry = {
  connectors: [postgresConnector, mysqlConnector],
  sinks: [postgresSink, redisSink, mysqlSink],
};
