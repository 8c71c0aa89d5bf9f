import type { ConnectorModule } from '../../contracts/config.ts';
import type { SourceConnector } from '../../contracts/connector.ts';
import { PostgresConnector } from './connector.ts';
import { postgresOptionsSchema } from './options.ts';
import { postgresPositions } from './position.ts';

/** What hub/registry.ts names. */
export const postgresConnector: ConnectorModule<SourceConnector> = {
  type: 'postgres',
  positions: postgresPositions,
  options: postgresOptionsSchema,
  create: (config, runtime) => new PostgresConnector(config, runtime),
};
