import { afterAll, beforeAll } from 'vitest';
import { connectorKit } from '../../../contracts/kit/connector-kit.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { TestSource } from './source-fixture.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

connectorKit('Postgres 18', () => TestSource.make(server));
