import type { ConnectorModule } from '../../contracts/config.ts';
import type { SourceConnector } from '../../contracts/connector.ts';
import { MysqlConnector } from './connector.ts';
import { mysqlOptionsSchema } from './options.ts';
import { mysqlPositions } from './position.ts';

/** What hub/registry.ts names. MySQL and MariaDB alike: which one it is the server says. */
export const mysqlConnector: ConnectorModule<SourceConnector> = {
  type: 'mysql',
  positions: mysqlPositions,
  options: mysqlOptionsSchema,
  create: (config, runtime) => new MysqlConnector(config, runtime),
};
