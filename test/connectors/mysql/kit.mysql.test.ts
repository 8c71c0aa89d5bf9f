import { afterAll, beforeAll, describe } from 'vitest';
import { connectorKit } from '../../../contracts/kit/connector-kit.ts';
import { startMysql, type MysqlServer, type MysqlVersion } from '../../fixtures/mysql.ts';
import { MysqlKitSource } from './kit-source.ts';

const VERSIONS: readonly MysqlVersion[] = ['mysql-8.0', 'mysql-9', 'mariadb-11.8'];

describe.each(VERSIONS)('%s', (version) => {
  let server: MysqlServer;

  beforeAll(async () => {
    server = await startMysql({ version, settings: { max_allowed_packet: 64 << 20 } });
  });

  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  connectorKit(version, () => MysqlKitSource.make(server));
});
